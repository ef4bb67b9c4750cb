//! Do the pages and the chart say how much memory is enough, and do they say the same?

use rso::api::bytes::Bytes;

use crate::{chart, tree};

#[path = "../scale/sizing.rs"]
#[allow(dead_code, reason = "shared with the load test, which compares it with what is measured")]
mod sizing;

#[test]
fn the_formula_of_the_memory_limit_is_on_the_pages() {
    for page in ["docs/scale.md", "docs/deploying.md"] {
        let formula = format!("`{}`", sizing::formula());
        assert!(tree::read(page).contains(&formula), "{page} does not have {formula}");
    }
}

#[test]
fn the_chart_says_for_how_many_volumes_its_memory_limit_is_enough() {
    let values = chart::values();
    let limit = values.iter().find(|value| value.path == "resources.limits.memory").unwrap();
    let volumes = sizing::volumes(limit.default.parse().unwrap());
    let says = format!("enough for {},000 volumes", volumes / 1_000);
    assert!(limit.meaning.contains(&says), "`{says}` is not in: {}", limit.meaning);
    assert!(tree::read("docs/deploying.md").contains(&says), "`{says}` is not in docs/deploying.md");
}

#[test]
fn a_limit_is_enough_for_as_many_volumes_as_it_says() {
    for limit in ["256Mi", "512Mi", "1Gi", "4Gi"].map(|limit| limit.parse::<Bytes>().unwrap()) {
        let volumes = usize::try_from(sizing::volumes(limit)).unwrap();
        assert!(sizing::limit(volumes, 0) <= limit && sizing::limit(volumes + 1_000, 0) > limit, "{limit}");
    }
    assert_eq!(sizing::volumes(Bytes(0)), 0);
    assert_eq!(sizing::limit(10, 100).0, sizing::BASE.0 + 10 * sizing::VOLUME.0 + 100 * sizing::OTHER.0);
}
