//! Tests of what the rows of the resume table leave open: which PVCs get a protective owner reference, when a dry run
//! is trusted, what is waited for, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::backup::BackupHead;
use super::super::phase::{Ending, Phase, State};
use super::super::probes::{Probes, Verdict};
use super::super::set::WhenDeleted;
use super::super::step::{Action, OwnersChange, Read, Step, Wait};
use super::super::{manifest, next};
use super::world::{OLD, World, controller_of, decide, nobody_else, pass};
use crate::api::bytes::Bytes;
use crate::api::names::ClaimName;

fn until(mut world: World, is_there: impl Fn(&World) -> bool) -> World {
    for _ in 0..100 {
        if is_there(&world) {
            return world;
        }
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
    }
    panic!("it never gets there");
}

fn phase_of(world: &World) -> Option<Phase> {
    world.journals.first().map(|(journal, _)| journal.phase)
}

fn written(world: &World) -> Action {
    match decide(world) {
        Step::Write(action) => action,
        other => panic!("expected a write, not {other:?}"),
    }
}

fn waited(world: &World) -> Wait {
    match decide(world) {
        Step::Wait(wait) => wait,
        other => panic!("expected a wait, not {other:?}"),
    }
}

/// The object whose owners are written, the reason, and its owners then.
fn owners_written(world: &World) -> (String, OwnersChange, Vec<String>) {
    match written(world) {
        Action::SetOwners { name, why, owners, .. } => {
            (name, why, owners.iter().map(|owner| owner["uid"].as_str().unwrap().to_owned()).collect())
        }
        other => panic!("expected owners, not {other:?}"),
    }
}

#[test]
fn dry_runs_are_believed_only_of_this_object_and_these_sizes() {
    let world = World::settled();
    let asked = || {
        let mut seen = world.observe();
        let Step::Read(Read::Probes(request)) = next(&seen, world.now) else { panic!("expected the dry runs") };
        seen.probes = Some(world.probe(&request));
        seen.rivals = nobody_else(&seen);
        seen
    };
    let check = |change: fn(&mut Probes), is_believed: bool| {
        let mut seen = asked();
        change(seen.probes.as_mut().unwrap());
        assert_eq!(matches!(next(&seen, world.now), Step::Write(_)), is_believed);
    };
    check(|_| {}, true);
    check(|probes| probes.uid = "uid-of-another".into(), false);
    check(|probes| probes.targets = BTreeMap::from([("data".into(), Bytes::gib(3))]), false);
    check(|probes| probes.targets.clear(), false);
    // If the clock ran back, no dry run is too old.
    check(|probes| probes.at += Duration::from_secs(29), true);
}

/// Prepared, with a backup, and with `whenDeleted: Delete`.
fn backed_up() -> World {
    until(World::deleting_claims(), |world| !world.backups.is_empty())
}

#[test]
fn a_set_that_is_switched_to_delete_meanwhile_is_journalled_as_such_before_its_pvcs_are_protected() {
    let mut world = until(World::settled(), |world| !world.backups.is_empty());
    world.edit(|set| set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!("Delete"));
    world.controllers();
    world.now += Duration::from_secs(5);
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!(journal.when_deleted, WhenDeleted::Delete);
            // The recreation restores these references at its end.
            assert_eq!(journal.owned, ["data-db-0", "data-db-1"].map(ClaimName::new).into());
        }
        other => panic!("expected the journal, not {other:?}"),
    }
    pass(&mut world);
    assert_eq!(owners_written(&world).1, OwnersChange::Protect);
}

#[test]
fn a_protection_is_for_pvcs_of_this_statefulset_and_for_those_that_refer_to_it() {
    let mut world = backed_up();
    let others = |name: &str, owners: Vec<Value>| {
        let mut claim = world.claims[0].clone();
        claim.object.name = name.to_owned();
        claim.object.owners = owners;
        claim
    };
    let (foreign, scaled, named) = (
        others("data-other-0", Vec::new()),
        others("data-db-7", Vec::new()),
        others("by-hand", vec![controller_of(OLD)]),
    );
    world.claims.extend([foreign, scaled, named]);
    let mut protected = Vec::new();
    while let Action::SetOwners { name, why: OwnersChange::Protect, owners, .. } = written(&world) {
        assert_eq!(owners.last().unwrap()["kind"], "Namespace");
        protected.push(name);
        pass(&mut world);
    }
    assert_eq!(protected, ["data-db-0", "data-db-1", "data-db-7", "by-hand"]);
}

#[test]
fn references_of_claims_are_taken_off_by_the_controller_and_by_us_where_it_does_not_come() {
    let retained = |world: &World| {
        world.set.as_ref().unwrap()["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    };
    let mut world = backed_up();
    while !retained(&world) {
        pass(&mut world);
    }
    // The controller has observed the change, but has not updated all PVCs yet.
    world.controllers();
    let set = controller_of(OLD);
    world.claims[1].object.owners.push(set.clone());
    let wait = waited(&world);
    assert_eq!((wait.state, wait.at_most), (State::Retained, Duration::from_millis(20)));
    // It never removes the references of PVCs of scaled-down ordinals.
    let mut scaled = world.claims[1].clone();
    scaled.object.name = "data-db-7".to_owned();
    world.claims.push(scaled);
    let (name, why, owners) = owners_written(&world);
    assert_eq!((name.as_str(), why), ("data-db-7", OwnersChange::Strip));
    assert_eq!(owners, ["uid-of-shop"]);
    pass(&mut world);
    // It does not always update the others either.
    assert_eq!(waited(&world).state, State::Retained);
    world.now += Duration::from_secs(10);
    assert_eq!(owners_written(&world).0, "data-db-1");
}

#[test]
fn the_wait_for_a_failed_check_begins_with_the_last_write_of_rso_however_long_many_protections_took() {
    let retained = |world: &World| {
        let set = world.set.as_ref().unwrap();
        !world.journals.is_empty() && set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    };
    let mut world = until(World::deleting_claims(), retained);
    // The StatefulSet controller has not observed rso's own change of `whenDeleted` yet.
    world.edit(|set| set["status"]["observedGeneration"] = json!(0));
    world.now += Duration::from_secs(60);
    assert!(matches!(decide(&world), Step::Write(Action::UpdateJournal { .. })), "nothing was written for long");
    let now = world.now.to_string();
    world.edit(|set| set["metadata"]["managedFields"] = json!([{ "manager": manifest::MANAGER, "time": now }]));
    assert!(matches!(decide(&world), Step::Wait(_)));
}

#[test]
fn backups_that_are_too_many_go_also_when_it_is_taken_back_and_one_that_is_kept_by_others_is_left_to_them() {
    let is_held = |world: &World| world.set.as_ref().unwrap()["metadata"]["finalizers"][0].is_string();
    let mut world = until(World::settled(), is_held);
    let (_, newest) = world.backups.pop_last().unwrap();
    for number in 1..=5 {
        let name = format!("db-backup-{number}");
        world.backups.insert(number, BackupHead { name, deleting: number == 1, transaction: None, ..newest.clone() });
    }
    world.backups.insert(6, newest);
    world.verdicts[0] = Verdict::Refused("policy".to_owned());
    let mut deleted = Vec::new();
    while let Step::Write(action) = decide(&world) {
        if let Action::DeleteBackup { name, .. } = &action {
            deleted.push(name.clone());
            world.backups.retain(|_, head| head.name != *name);
        } else {
            world.apply(&action);
        }
    }
    assert_eq!(deleted, ["db-backup-2", "db-backup-3"]);
}

#[test]
fn what_is_rolled_back_is_the_finalizer_then_retain_then_the_protections_then_the_journal() {
    let is_held = |world: &World| world.set.as_ref().unwrap()["metadata"]["finalizers"][0].is_string();
    let mut world = until(World::deleting_claims(), is_held);
    world.verdicts[0] = Verdict::Refused("policy".to_owned());
    let mut steps = Vec::new();
    while let Step::Write(action) = decide(&world) {
        steps.push(match action {
            Action::UpdateJournal { journal, .. } => format!("{:?}", journal.ending),
            Action::SetFinalizers { finalizers, .. } => format!("{finalizers:?}"),
            Action::SetRetention { when_deleted, .. } => when_deleted.as_str().to_owned(),
            Action::SetOwners { why, .. } => format!("{why:?}"),
            Action::DeleteJournal { ending, .. } => format!("{ending:?}"),
            other => panic!("{other:?} takes nothing back"),
        });
        pass(&mut world);
    }
    assert_eq!(steps, ["Some(Undone)", "[]", "Delete", "Unprotect", "Unprotect", "Some(Undone)"]);
    assert!(world.is_clean());
}

#[test]
fn a_recreate_ends_by_itself_when_somebody_else_has_enlarged_the_template() {
    let mut world = until(World::settled(), |world| !world.backups.is_empty());
    world.edit(|set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    pass(&mut world);
    assert!(matches!(written(&world), Action::DeleteJournal { ending: Some(Ending::Undone), .. }));
}

#[test]
fn the_orphaning_is_looked_at_every_second_and_no_later_than_it_is_assisted() {
    let mut world = until(World::settled(), |world| world.deletes == 1);
    assert_eq!(waited(&world).at_most, Duration::from_secs(1));
    world.now += Duration::from_millis(29_500);
    assert_eq!(waited(&world).at_most, Duration::from_millis(500));
    world.now += Duration::from_millis(500);
    assert_eq!(owners_written(&world).1, OwnersChange::Strip);
}

#[test]
fn a_finalizer_that_somebody_put_on_the_deleted_set_is_waited_for_and_told() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Releasing));
    world.edit(|set| set["metadata"]["finalizers"].as_array_mut().unwrap().push(json!("x/y")));
    pass(&mut world);
    assert!(matches!(written(&world), Action::Release { finalizers, .. } if finalizers == ["x/y"]));
    pass(&mut world);
    let wait = waited(&world);
    assert_eq!((wait.state, wait.at_most), (State::Releasing, Duration::from_secs(5)));
    assert!(wait.note.unwrap().text.contains("x/y"));
}

#[test]
fn somebody_elses_set_gets_no_pod_that_refers_to_the_old_one() {
    let mut world = until(World::settled(), |world| world.set.is_none());
    world.create_foreign("1Gi");
    world.pods[1].owners.push(controller_of(OLD));
    assert_eq!(owners_written(&world), ("db-1".to_owned(), OwnersChange::Strip, Vec::new()));
    // Before anything is deleted, rso does not remove a reference to the old StatefulSet.
    world.journals[0].0.phase = Phase::Prepared;
    assert!(matches!(written(&world), Action::DeleteJournal { ending: Some(Ending::Superseded), .. }));
}

#[test]
fn our_own_set_is_known_by_its_uid_when_somebody_took_its_id_off() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Adopting));
    world.edit(|set| set["metadata"]["annotations"].as_object_mut().unwrap().clear());
    world.controllers();
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
}

#[test]
fn a_late_reference_to_the_old_set_is_taken_off_before_it_lands() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Adopting));
    world.controllers();
    world.pods[0].owners.push(controller_of(OLD));
    assert_eq!(owners_written(&world), ("db-0".to_owned(), OwnersChange::Strip, vec!["uid-new-1".to_owned()]));
}

#[test]
fn another_revision_of_an_unchanged_template_is_waited_for_and_told_after_a_minute() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Adopting));
    world.controllers();
    world.edit(|set| set["status"]["updateRevision"] = json!("db-9"));
    let wait = waited(&world);
    assert_eq!((wait.state, wait.at_most, wait.note), (State::Adopting, Duration::from_millis(250), None));
    world.now += Duration::from_secs(60);
    let wait = waited(&world);
    assert_eq!(wait.at_most, Duration::from_secs(5));
    assert!(wait.note.unwrap().text.contains("although its template is unchanged"));
}

#[test]
fn a_pod_with_an_owner_that_is_not_its_controller_is_waited_for_without_a_warning() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Adopting));
    world.controllers();
    let mut owner = controller_of("uid-of-another");
    owner["controller"] = json!(false);
    world.pods[0].owners = vec![owner];
    let wait = waited(&world);
    assert_eq!((wait.state, wait.note), (State::Adopting, None));
}

#[test]
fn an_adoption_that_the_controller_has_not_begun_is_waited_for_and_reported_after_a_minute() {
    let mut world = until(World::settled(), |world| phase_of(world) == Some(Phase::Adopting));
    world.now += Duration::from_secs(59);
    assert_eq!(waited(&world).note, None);
    world.now += Duration::from_secs(1);
    assert!(waited(&world).note.unwrap().text.contains("Pod db-0 has no owner yet"));
}

#[test]
fn a_failed_check_that_may_resolve_by_itself_is_evaluated_four_times_a_second_for_ten_seconds() {
    let mut world = until(World::settled(), |world| !world.backups.is_empty());
    world.pods[0].deleting = true;
    let started = world.journals[0].0.phase_at;
    world.now = started + Duration::from_secs(5);
    assert_eq!(waited(&world).at_most, Duration::from_millis(250));
    world.now = started + Duration::from_millis(9_900);
    assert_eq!(waited(&world).at_most, Duration::from_millis(100));
    world.now = started + Duration::from_secs(10);
    assert!(matches!(written(&world), Action::UpdateJournal { .. }));
}

#[test]
fn an_older_journal_that_waits_to_remove_its_protections_is_replaced_by_the_newer_one() {
    let protected = |world: &World| phase_of(world) == Some(Phase::Guarded);
    let mut world = until(World::deleting_claims(), protected);
    let (mut older, mut guard) = world.journals[0].clone();
    older.uid = "uid-0".into();
    guard.uid = "uid-of-older".into();
    let name = older.name();
    world.journals[0].0.phase = Phase::Adopting;
    world.journals.push((older, guard));
    match written(&world) {
        Action::DeleteJournal { name: deleted, ending, .. } => assert_eq!((deleted, ending), (name, None)),
        other => panic!("expected the older journal, not {other:?}"),
    }
    pass(&mut world);
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!((journal.phase, journal.ending), (Phase::Guarded, Some(Ending::Landed)));
        }
        other => panic!("expected the journal to wait, not {other:?}"),
    }
}
