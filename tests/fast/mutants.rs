//! Is every excuse in `tests/mutants/mutants.toml` given with a reason, and about code that is still there?

use crate::tree;

#[test]
fn every_excused_mutant_has_a_reason_and_is_about_a_function_that_is_there() {
    let mut has_reason = false;
    let mut count = 0;
    for line in tree::read("tests/mutants/mutants.toml").lines().map(str::trim) {
        if let Some(excused) = line.strip_prefix('\'').and_then(|rest| rest.strip_suffix("',")) {
            let (file, mutant) = excused.split_once(':').unwrap_or_else(|| panic!("{excused} names no file"));
            let function = mutant.rsplit_once(" in ").map_or("", |(_, function)| function.trim_end_matches('$'));
            let is_there = tree::read(&file.replace('\\', "")).contains(&format!("fn {function}("));
            assert!(
                has_reason && is_there,
                "{excused}: it has a reason: {has_reason}; its function is there: {is_there}"
            );
            count += 1;
        }
        has_reason = line.starts_with('#');
    }
    assert!(count > 0, "nothing is excused: then the file is not needed");
}
