//! Tests of a StatefulSet that a user deletes while its PVCs still have protective owner references: what happens to
//! the PVCs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::dependent::Claim;
use super::super::next;
use super::super::observed::{Departure, Observed, Rules};
use super::super::phase::Phase;
use super::super::step::{Action, OwnersChange, Step};
use super::world::{World, controller_of, pass};
use crate::api::names::{ClaimName, Uid};

const NEW: &str = "uid-new-1";

/// A StatefulSet whose recreation is complete and whose PVCs have protective owner references.
fn protecting() -> World {
    let mut world = World::deleting_claims();
    for _ in 0..100 {
        if world.journals.first().is_some_and(|(journal, _)| journal.phase == Phase::Guarded) {
            world.controllers();
            return world;
        }
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
    }
    panic!("the recreation never completes");
}

/// The same, deleted; the garbage collector has removed the references.
fn deleted() -> World {
    let mut world = protecting();
    world.set = None;
    for claim in &mut world.claims {
        claim.object.owners.retain(|owner| owner["uid"] != NEW);
    }
    world
}

fn decided(world: &World, departure: Departure) -> Step {
    next(&Observed { departure, ..world.observe() }, world.now)
}

/// Deleted with these PVCs.
fn with(claims: &[&str]) -> Departure {
    Departure::WithClaims { uid: Uid::new(NEW), claims: claims.iter().map(|name| ClaimName::new(*name)).collect() }
}

/// The owners that remain on the first protected PVC.
fn owners(step: Step) -> Vec<Value> {
    match step {
        Step::Write(Action::SetOwners { name, owners, why: OwnersChange::Unprotect, .. }) if name == "data-db-0" => {
            owners
        }
        other => panic!("expected data-db-0 to lose its protective owner reference, not {other:?}"),
    }
}

#[test]
fn a_claim_that_goes_with_its_set_gets_its_owner_back_at_once() {
    let world = deleted();
    let reference = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": NEW});
    assert_eq!(owners(decided(&world, with(&["data-db-0", "data-db-1"]))), [reference]);
    // The garbage collector has not run yet: one reference is enough.
    let mut early = protecting();
    early.set = None;
    assert_eq!(owners(decided(&early, with(&["data-db-0"]))), [controller_of(NEW)]);
}

#[test]
fn a_claim_that_never_belonged_to_the_set_gets_no_owner() {
    assert_eq!(owners(decided(&deleted(), with(&["data-db-1"]))), Vec::<Value>::new());
}

#[test]
fn where_nobody_knows_or_it_was_orphaned_claims_stay_and_protections_stay_their_time() {
    for departure in [Departure::Unknown, Departure::Orphaned] {
        let mut world = deleted();
        assert!(matches!(decided(&world, departure.clone()), Step::Done { again: Some(_) }));
        world.now += Rules::default().protect_for;
        assert_eq!(owners(decided(&world, departure)), Vec::<Value>::new());
    }
}

#[test]
fn a_set_that_came_back_keeps_its_claims() {
    let world = protecting();
    assert!(matches!(decided(&world, with(&["data-db-0"])), Step::Done { again: Some(_) }));
    let mut late = world;
    late.now += Rules::default().protect_for;
    assert_eq!(owners(decided(&late, with(&["data-db-0"]))), [controller_of(NEW)]);
}

#[test]
fn a_set_that_is_on_its_way_out_for_long_keeps_its_protections_until_it_is_gone() {
    let mut world = protecting();
    world.delete(&["foregroundDeletion"]);
    world.now += Rules::default().protect_for * 2;
    assert!(matches!(decided(&world, Departure::Unknown), Step::Done { again: Some(_) }));
    // rso does not block the deletion of a namespace.
    world.namespace.terminating = true;
    assert!(matches!(decided(&world, Departure::Unknown), Step::Write(Action::SetOwners { .. })));
}

/// The PVC of an ordinal that was scaled down, with these owners.
fn leftover(owners: Vec<Value>) -> Claim {
    let mut claim = World::deleting_claims().claims[0].clone();
    claim.object.name = "data-db-7".to_owned();
    claim.object.uid = Uid::new("uid-of-data-db-7");
    claim.object.owners = owners;
    claim
}

#[test]
fn what_scaling_down_has_left_belongs_to_the_new_set_as_to_the_old() {
    let check = |owners: Vec<Value>, expected: bool| {
        let mut world = World::deleting_claims();
        world.claims.push(leftover(owners));
        for _ in 0..100 {
            if world.journals.first().is_some_and(|(journal, _)| journal.phase == Phase::Guarded) {
                break;
            }
            if pass(&mut world).applied.is_none() {
                world.controllers();
            }
        }
        let claim = &world.claims[2].object;
        assert_eq!(claim.refers_to(&Uid::new(NEW)), expected, "{claim:?}");
        assert!(!claim.refers_to(&Uid::new(super::world::OLD)));
    };
    check(vec![controller_of(super::world::OLD)], true);
    check(Vec::new(), false);
}

#[test]
fn a_claim_that_goes_with_its_pod_as_the_set_is_scaled_down_loses_its_protection_at_once() {
    let check = |when_scaled: &str, owner: Value, expected: bool| {
        let mut world = protecting();
        world.edit(|set| set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!(when_scaled));
        let protective = world.claims[0].object.owners.iter().find(|owner| owner["kind"] == "Namespace").cloned();
        world.claims.push(leftover(vec![protective.unwrap(), owner.clone()]));
        match decided(&world, Departure::Unknown) {
            Step::Write(Action::SetOwners { name, owners, why: OwnersChange::Unprotect, .. }) => {
                assert!(expected && name == "data-db-7" && owners == [owner]);
            }
            step => assert!(!expected && matches!(step, Step::Done { again: Some(_) }), "{step:?}"),
        }
    };
    let pod = || json!({"apiVersion": "v1", "kind": "Pod", "name": "db-7", "uid": "uid-of-db-7"});
    check("Delete", pod(), true);
    check("Retain", pod(), false);
    check("Delete", controller_of(NEW), false);
}

#[test]
fn the_journal_goes_when_the_last_claim_has_its_owner() {
    let mut world = deleted();
    let names: BTreeSet<_> = world.claims.iter().map(|claim| ClaimName::new(claim.object.name.as_str())).collect();
    let departure = Departure::WithClaims { uid: Uid::new(NEW), claims: names };
    for _ in 0..3 {
        let Step::Write(action) = decided(&world, departure.clone()) else { panic!("it waits") };
        world.apply(&action);
    }
    assert!(world.journals.is_empty());
    assert_eq!(decided(&world, departure), Step::Done { again: None });
}
