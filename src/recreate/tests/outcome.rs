//! The outcome of a recreation, compared with its journal.

use std::collections::BTreeMap;

use super::super::journal::Journal;
use super::super::outcome::{Outcome, of};
use super::world::{World, data, pass};
use crate::api::bytes::Bytes;

/// A recreation with a new journal.
fn begun() -> (World, Journal) {
    let mut world = World::settled();
    pass(&mut world);
    let journal = world.journals[0].0.clone();
    (world, journal)
}

#[test]
fn without_a_statefulset_the_outcome_has_the_targets_and_the_lost_pods_of_the_journal() {
    let (mut world, mut journal) = begun();
    journal.lost.insert("db-1".to_owned());
    world.set = None;
    let expected = Outcome { targets: journal.targets.clone(), lost: journal.lost.clone(), ..Outcome::default() };
    assert!(!expected.targets.is_empty());
    assert_eq!(of(&world.observe(), &journal), expected);
}

#[test]
fn a_template_is_short_only_if_it_is_smaller_than_its_target() {
    let check = |size: &str, is_short: bool| {
        let (mut world, journal) = begun();
        world.edit(|set| {
            set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = size.into();
        });
        let sizes = BTreeMap::from([(data(), size.parse::<Bytes>().unwrap())]);
        let outcome = of(&world.observe(), &journal);
        assert_eq!((&outcome.sizes, outcome.short == sizes), (&sizes, is_short), "{size}");
        assert_eq!(outcome.short.is_empty(), !is_short, "{size}");
    };
    check("1Gi", true);
    check("2Gi", false);
    check("3Gi", false);
}
