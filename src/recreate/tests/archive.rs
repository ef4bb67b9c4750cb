//! Archives: what is packed is what was given, and nothing larger is unpacked than may be.

use serde_json::json;

use super::super::archive::*;

/// Text that does not compress below six bits a letter, the same each time.
fn noise(letters: usize) -> String {
    let mut state = 1_u64;
    let letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 58) as usize])
    };
    std::iter::repeat_with(letter).take(letters).collect()
}

#[test]
fn what_fits_a_config_map_is_packed_and_what_does_not_is_refused() {
    let text = json!(noise(10_000));
    assert_eq!(unpack(&pack(&text).unwrap()).unwrap(), text);
    let most = (1 << 20) - 4096;
    assert_eq!(bounded(vec![0; most]).map(|packed| packed.len()), Ok(most));
    assert_eq!(bounded(vec![0; most + 1]), Err(ArchiveError::TooLarge(most + 1)));
    assert!(matches!(pack(&json!(noise(1_420_000))), Err(ArchiveError::TooLarge(_))));
}

#[test]
fn what_unpacks_to_more_than_any_set_can_be_is_not_unpacked() {
    // Quotes count: the text of a string is two longer than the string.
    let of = |size: usize| pack(&json!(" ".repeat(size - 2))).unwrap();
    let most = usize::try_from(MOST_UNPACKED).unwrap();
    assert_eq!(most, 8 << 20);
    assert!(unpack(&of(most)).is_ok());
    assert_eq!(unpack(&of(most + 1)), Err(ArchiveError::Bomb));
    assert!(matches!(unpack(b"no gzip"), Err(ArchiveError::Unpack(_))));
    // A list of so many has a comma fewer, and a bracket.
    let list = |parts: usize| unpack(&pack(&json!(vec![0; parts])).unwrap()).map(drop);
    assert_eq!(list(512 << 10), Ok(()));
    assert_eq!(list((512 << 10) + 1), Err(ArchiveError::Bomb));
}

#[test]
fn a_checksum_is_that_of_sha256sum() {
    assert_eq!(checksum(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(bytes_of(&base64_of(&[0, 255, 7])).unwrap(), [0, 255, 7]);
    assert_eq!(base64_of(&[0, 255, 7]), "AP8H");
}
