//! What must hold of the names of claims and backups? What is made is read back, and nothing else is.

use arbitrary::{Result, Unstructured};
use rso::api::names::{ClaimName, Ordinal, SetName, TemplateName};
use rso::recreate::backup;

use super::draw;

/// Any template, set, ordinal and text.
pub fn a_name(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let parts = ["data", "db", "data-db", "db-0", "0", "-", "1-1", "wal", "a.b"];
    let template = TemplateName::new(draw::word(u, &parts)?);
    let set = SetName::new("shop", draw::word(u, &parts)?);
    let ordinal = Ordinal(u.arbitrary()?);
    let claim = ClaimName::of(&template, &set, ordinal);
    assert_eq!(claim.ordinal_of(&template, &set), Some(ordinal), "{claim} is not read back");

    let number = u.arbitrary()?;
    let name = backup::name_of(&set, number);
    assert_eq!(backup::number_of(&set, &name), Some(number), "{name} is not read back");

    let ending = draw::word(u, &["0", "00", "+1", "-1", "1 ", "4294967295", "4294967296", "1-0"])?;
    let any = if u.arbitrary()? { format!("{template}-{}-{ending}", set.name) } else { draw::text(u, 64)? };
    if let Some(ordinal) = ClaimName::new(any.as_str()).ordinal_of(&template, &set) {
        assert_eq!(ClaimName::of(&template, &set, ordinal).as_str(), any, "it would be made otherwise");
    }
    if let Some(number) = backup::number_of(&set, &any) {
        assert_eq!(backup::name_of(&set, number), any, "it would be made otherwise");
    }
    long_names(&set, number, u.int_in_range(1..=253)?);
    Ok(())
}

/// However long the set's name, the names made of it are legal.
fn long_names(set: &SetName, number: u64, length: usize) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let stem: String = set.name.chars().filter(|c| plain(*c) || matches!(c, '-' | '.')).collect();
    let name: String = format!("a{stem}").chars().cycle().take(length - 1).chain(['z']).collect();
    let set = SetName::new("shop", name);
    for (made, longest) in [(backup::name_of(&set, number), 253), (backup::label_of(&set), 63)] {
        assert!(made.len() <= longest, "{made} is too long");
        assert!(made.starts_with(plain) && made.ends_with(plain), "{made} is not legal");
    }
    assert_eq!(backup::number_of(&set, &backup::name_of(&set, number)), Some(number));
}
