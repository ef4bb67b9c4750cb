//! Tests of the resume table, row by row: the phase and the StatefulSet as a crash left them, and the one step that
//! follows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::dependent::Kind;
use super::super::observed::{Guard, Stored};
use super::super::phase::{Ending, Phase, State};
use super::super::probes::Verdict;
use super::super::rivals::Found;
use super::super::set::WhenDeleted;
use super::super::step::{Action, Look, OwnersChange, Step, Wait};
use super::super::{journal, next, outcome};
use super::world::{OLD, World, controller_of, data, decide, pass};
use crate::api::annotations::{HOLD, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::reasons::Reason;

/// A world whose recreation has come this far.
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

fn at(phase: Phase) -> World {
    until(World::settled(), |world| world.journals.first().is_some_and(|(journal, _)| journal.phase == phase))
}

fn held() -> World {
    until(World::settled(), |world| is_held(world.set.as_ref().unwrap()))
}

fn deleted() -> World {
    until(World::settled(), |world| world.deletes == 1)
}

fn released() -> World {
    until(World::settled(), |world| world.set.is_none())
}

fn created() -> World {
    until(World::settled(), |world| world.creates == 1)
}

fn is_held(set: &Value) -> bool {
    set["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HOLD)))
}

fn written(world: &World) -> Action {
    match decide(world) {
        Step::Write(action) => action,
        other => panic!("expected a write, not {other:?}"),
    }
}

fn refused(world: &World) -> crate::api::reasons::Note {
    match decide(world) {
        Step::Refuse(note) => note,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn phase_written(world: &World) -> Phase {
    match written(world) {
        Action::UpdateJournal { journal, .. } | Action::CreateJournal(journal) => journal.phase,
        other => panic!("expected a journal, not {other:?}"),
    }
}

fn ending_written(world: &World) -> Option<Ending> {
    match written(world) {
        Action::DeleteJournal { ending, .. } => ending,
        other => panic!("expected the end, not {other:?}"),
    }
}

#[test]
fn it_begins_with_the_journal_and_touches_nothing_before() {
    assert_eq!(phase_written(&World::settled()), Phase::Prepared);
}

#[test]
fn a_template_that_is_large_enough_needs_nothing() {
    let mut world = World::settled();
    world.edit(|set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    assert_eq!(decide(&world), Step::Done { again: None });
}

#[test]
fn a_server_that_grows_templates_in_place_needs_no_recreate() {
    let mut world = World::settled();
    world.verdicts[4] = Verdict::Accepted;
    assert!(matches!(written(&world), Action::PatchTemplates { .. }));
    pass(&mut world);
    assert_eq!(world.size(), "2Gi");
    assert_eq!(decide(&world), Step::Done { again: None });
    assert_eq!(world.deletes, 0);
}

#[test]
fn prepared_continues_with_the_backup_then_the_hold_then_the_phase_then_the_delete() {
    let mut world = at(Phase::Prepared);
    assert!(matches!(written(&world), Action::CreateBackup(_)));
    pass(&mut world);
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers == [HOLD]));
    pass(&mut world);
    world.controllers();
    assert_eq!(phase_written(&world), Phase::Deleting);
    pass(&mut world);
    let expected = world.observe().live().unwrap().guard();
    assert_eq!(written(&world), Action::Delete { guard: expected });
}

#[test]
fn prepared_with_a_closed_gate_takes_everything_back_and_ends_undone() {
    let mut world = held();
    world.verdicts[0] = Verdict::Refused("policy".to_owned());
    // The journal records it first: a former leader that is about to permit the DELETE gets a conflict.
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!((journal.phase, journal.ending), (Phase::Prepared, Some(Ending::Undone)));
        }
        other => panic!("expected the journal, not {other:?}"),
    }
    pass(&mut world);
    // It stays so, even if the gate opens meanwhile.
    world.verdicts[0] = Verdict::AlreadyExists;
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers.is_empty()));
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::Undone));
    pass(&mut world);
    assert!(world.is_clean());
    world.verdicts[0] = Verdict::Refused("policy".to_owned());
    assert_eq!(refused(&world).reason, Reason::TemplateSyncBlocked);
}

#[test]
fn prepared_with_a_gate_that_opens_by_itself_waits_a_little_before_it_is_taken_back() {
    let mut world = held();
    world.pods[0].deleting = true;
    assert!(matches!(decide(&world), Step::Wait(_)));
    world.now += Duration::from_secs(11);
    assert_eq!(phase_written(&world), Phase::Prepared);
    pass(&mut world);
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers.is_empty()));
}

#[test]
fn deleting_that_did_not_happen_is_tried_again_with_the_same_object() {
    let world = at(Phase::Deleting);
    assert!(matches!(written(&world), Action::Delete { guard } if guard.uid.as_str() == OLD));
}

#[test]
fn deleting_after_an_edit_takes_a_fresh_image_first() {
    let mut world = at(Phase::Deleting);
    world.edit(|set| set["metadata"]["labels"]["edited"] = json!("yes"));
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!(journal.image["metadata"]["labels"]["edited"], "yes");
            assert_eq!(journal.phase, Phase::Deleting);
        }
        other => panic!("expected a fresh image, not {other:?}"),
    }
}

#[test]
fn the_permit_of_the_delete_tells_the_pods_that_are_there_then() {
    let mut world = held();
    world.pods[0].uid = "uid-of-its-successor".into();
    world.controllers();
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!(journal.phase, Phase::Deleting);
            assert_eq!(journal.snapshot.pods["db-0"].as_str(), "uid-of-its-successor");
        }
        other => panic!("expected the journal, not {other:?}"),
    }
}

#[test]
fn a_set_that_is_held_is_asked_about_with_one_hold() {
    let world = held();
    match next(&world.observe(), world.now) {
        Step::Look(Look::Probes(request)) => assert_eq!(request.finalizers, [HOLD]),
        other => panic!("expected the dry runs, not {other:?}"),
    }
}

#[test]
fn deleting_after_mere_status_noise_deletes_at_once() {
    let mut world = at(Phase::Deleting);
    world.edit(|set| set["status"]["availableReplicas"] = json!(2));
    assert!(matches!(written(&world), Action::Delete { .. }));
}

#[test]
fn deleting_with_a_closed_gate_goes_back_to_prepared_before_the_hold_goes() {
    let mut world = at(Phase::Deleting);
    world.verdicts[1] = Verdict::Refused("policy".to_owned());
    assert_eq!(phase_written(&world), Phase::Prepared);
}

#[test]
fn a_rollout_that_begins_while_it_is_held_is_not_deleted() {
    let mut world = at(Phase::Deleting);
    world.edit(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("busybox:2"));
    world.controllers();
    world.now += Duration::from_secs(60);
    assert_eq!(phase_written(&world), Phase::Prepared);
}

#[test]
fn orphaning_waits_and_never_deletes_again() {
    let world = deleted();
    assert!(matches!(decide(&world), Step::Wait(Wait { state: State::Orphaning, .. })));
}

#[test]
fn orphaning_is_assisted_when_the_garbage_collector_does_not_come() {
    let mut world = deleted();
    world.now += Duration::from_secs(31);
    let mut stripped = 0;
    while let Action::SetOwners { why: OwnersChange::Strip, owners, .. } = written(&world) {
        assert!(owners.is_empty());
        stripped += 1;
        pass(&mut world);
    }
    assert_eq!(stripped, 3, "two pods and a revision");
    assert_eq!(phase_written(&world), Phase::Releasing);
    pass(&mut world);
    assert!(matches!(written(&world), Action::Release { finalizers, .. } if finalizers.is_empty()));
}

#[test]
fn a_reference_that_comes_late_is_stripped_before_the_release() {
    let mut world = deleted();
    world.controllers();
    world.pods[1].owners.push(controller_of(OLD));
    assert!(matches!(written(&world), Action::SetOwners { name, .. } if name == "db-1"));
    pass(&mut world);
    assert_eq!(phase_written(&world), Phase::Releasing);
}

#[test]
fn an_edit_while_terminating_is_journalled_before_the_release() {
    let mut world = until(deleted(), |world| world.journals[0].0.phase == Phase::Releasing);
    world.edit(|set| set["spec"]["replicas"] = json!(5));
    match written(&world) {
        Action::UpdateJournal { journal, .. } => assert_eq!(journal.image["spec"]["replicas"], 5),
        other => panic!("expected the journal, not {other:?}"),
    }
}

#[test]
fn absent_after_the_release_is_created() {
    match written(&released()) {
        Action::Create(set) => {
            assert_eq!(set["spec"]["updateStrategy"], json!({ "type": "OnDelete" }));
            assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "2Gi");
            assert!(set["metadata"]["annotations"][TRANSACTION].is_string());
            assert!(set["metadata"]["uid"].is_null() && set["status"].is_null());
            assert_eq!(set["spec"]["futureField"]["kept"], true);
        }
        other => panic!("expected the CREATE, not {other:?}"),
    }
}

#[test]
fn absent_before_the_history_was_asked_asks_it() {
    let world = released();
    assert!(matches!(next(&world.observe(), world.now), Step::Look(Look::LastObject { .. })));
}

#[test]
fn absent_with_a_history_that_is_gone_is_created_from_the_journal() {
    let mut world = released();
    world.removed.clear();
    assert!(matches!(written(&world), Action::Create(_)));
}

#[test]
fn absent_while_deleting_means_that_the_hold_was_forced_and_is_told() {
    let mut world = deleted();
    world.edit(|set| set["metadata"]["finalizers"] = json!([]));
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!((journal.phase, journal.incidents.len()), (Phase::Releasing, 1));
        }
        other => panic!("expected the journal, not {other:?}"),
    }
    pass(&mut world);
    assert!(matches!(written(&world), Action::Create(_)));
}

#[test]
fn absent_before_it_was_ever_held_stays_deleted() {
    let mut world = at(Phase::Prepared);
    world.delete(&[]);
    assert_eq!(ending_written(&world), Some(Ending::Deleted));
}

#[test]
fn a_new_set_that_somebody_deleted_is_not_created_again() {
    let mut world = created();
    world.delete(&[]);
    assert!(world.set.is_none());
    assert_eq!(ending_written(&world), Some(Ending::Deleted));
    let mut world = until(created(), |world| world.journals[0].0.phase == Phase::Adopting);
    world.delete(&[]);
    assert_eq!(ending_written(&world), Some(Ending::Deleted));
}

#[test]
fn a_delete_by_somebody_while_held_brings_the_set_back_and_is_told() {
    let mut world = held();
    world.delete(&[]);
    while let Action::SetOwners { why: OwnersChange::Strip, .. } = written(&world) {
        pass(&mut world);
    }
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!((journal.phase, journal.incidents.len()), (Phase::Releasing, 1));
        }
        other => panic!("expected the journal, not {other:?}"),
    }
}

fn allow_delete(set: &mut Value) {
    set["metadata"]["annotations"]["resize-statefulset-operator/allow-delete"] = json!("true");
}

#[test]
fn a_delete_by_somebody_who_says_so_is_respected_before_ours_was_permitted() {
    let mut world = held();
    world.edit(allow_delete);
    world.delete(&[]);
    let world = until(world, |world| world.journals.is_empty());
    assert!(world.set.is_none());
}

#[test]
fn the_same_word_after_our_own_delete_is_an_edit_and_the_set_comes_back_with_it() {
    let mut world = deleted();
    world.edit(allow_delete);
    let world = until(world, |world| world.set.as_ref().is_some_and(|set| set["metadata"]["uid"] != OLD));
    assert_eq!(world.set.unwrap()["metadata"]["annotations"]["resize-statefulset-operator/allow-delete"], "true");
}

#[test]
fn a_word_that_a_delete_is_meant_undoes_what_was_not_yet_deleted() {
    let mut world = held();
    world.edit(allow_delete);
    let world = until(world, |world| world.journals.is_empty());
    assert!(!is_held(world.set.as_ref().unwrap()));
    assert_eq!(refused(&world).reason, Reason::TemplateSyncBlocked);
}

#[test]
fn a_foreground_delete_while_held_loses_its_finalizer_with_the_hold() {
    let mut world = held();
    world.delete(&["foregroundDeletion"]);
    let world = until(world, |world| world.journals[0].0.phase == Phase::Releasing);
    assert!(matches!(written(&world), Action::Release { finalizers, .. } if finalizers.is_empty()));
}

#[test]
fn the_new_set_is_journalled_before_anything_else() {
    match written(&created()) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!(journal.phase, Phase::Adopting);
            assert_eq!(journal.successor.unwrap().as_str(), "uid-new-1");
        }
        other => panic!("expected the journal, not {other:?}"),
    }
}

#[test]
fn the_new_set_is_journalled_again_until_phase_and_successor_say_so() {
    let without_successor = {
        let mut world = adopting();
        world.journals[0].0.successor = None;
        world
    };
    for world in [without_successor, journalled(adopting(), Phase::Releasing)] {
        assert_eq!(phase_written(&world), Phase::Adopting);
    }
}

#[test]
fn a_create_that_may_be_the_second_carries_the_hold_until_the_first_can_arrive_no_more() {
    let created = |after| {
        let mut world = released();
        world.now += Duration::from_millis(after);
        match written(&world) {
            Action::Create(object) => (is_held(&object), world),
            other => panic!("expected the create, not {other:?}"),
        }
    };
    assert!(!created(1_999).0);
    let (held, mut world) = created(2_000);
    assert!(held);
    pass(&mut world);
    assert_eq!(phase_written(&world), Phase::Adopting);
    pass(&mut world);
    world.controllers();
    let mut gone = world.clone();
    gone.delete(&[]);
    // The finalization continues as far as it can, and its end waits.
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
    pass(&mut world);
    world.controllers();
    for mut world in [world, gone] {
        let is_waited_for = |world: &World| matches!(decide(world), Step::Wait(Wait { state: State::Landing, .. }));
        assert!(is_waited_for(&world));
        world.now += Duration::from_millis(14_999);
        assert!(is_waited_for(&world));
        world.now += Duration::from_millis(1);
        match written(&world) {
            Action::SetFinalizers { finalizers, .. } => assert_eq!(finalizers, [""; 0]),
            other => panic!("expected the hold to come off, not {other:?}"),
        }
    }
}

#[test]
fn an_edit_that_is_heard_of_after_a_create_does_not_make_the_next_create_the_first() {
    let mut world = released();
    let mut deaf = world.clone();
    deaf.removed.clear();
    assert!(matches!(written(&deaf), Action::Create(_)));
    world.now += Duration::from_secs(6);
    world.removed.iter_mut().for_each(|set| set["metadata"]["labels"]["edit"] = json!("heard of late"));
    assert_eq!(phase_written(&world), Phase::Releasing);
    pass(&mut world);
    match written(&world) {
        Action::Create(object) => {
            assert_eq!(object["metadata"]["labels"]["edit"], "heard of late");
            assert!(is_held(&object));
        }
        other => panic!("expected the create, not {other:?}"),
    }
}

fn adopting() -> World {
    until(created(), |world| world.journals[0].0.phase == Phase::Adopting)
}

#[test]
fn adopting_waits_for_every_pod_and_revision_of_the_snapshot() {
    let mut world = adopting();
    world.controllers();
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
    let mut without_pod = world.clone();
    without_pod.pods[1].owners.clear();
    assert!(matches!(decide(&without_pod), Step::Wait(Wait { state: State::Adopting, note: None, .. })));
    let mut without_revision = world.clone();
    without_revision.revisions[0].owners.clear();
    assert!(matches!(decide(&without_revision), Step::Wait(_)));
    let mut unseen = world;
    unseen.edit(|set| set["status"]["observedGeneration"] = json!(0));
    assert!(matches!(decide(&unseen), Step::Wait(_)));
}

#[test]
fn a_status_of_the_old_object_on_the_new_one_is_not_waited_for_without_end() {
    let mut world = adopting();
    world.controllers();
    world.edit(|set| set["status"]["observedGeneration"] = json!(set["metadata"]["generation"].as_i64().unwrap() + 1));
    assert!(matches!(written(&world), Action::RestoreSpec { .. }), "what it owns shows that it is observed");
    let mut nothing_owned = world;
    nothing_owned.pods.clear();
    nothing_owned.revisions.clear();
    assert!(matches!(decide(&nothing_owned), Step::Wait(Wait { state: State::Adopting, .. })));
    nothing_owned.now += Duration::from_secs(60);
    assert!(matches!(written(&nothing_owned), Action::RestoreSpec { .. }));
}

/// The incident in the journal that is written next.
fn incident(world: &World) -> String {
    match written(world) {
        Action::UpdateJournal { journal, .. } => journal.incidents.last().expect("an incident").text.clone(),
        other => panic!("expected the journal, not {other:?}"),
    }
}

fn owned_by(kind: &str, name: &str) -> Vec<Value> {
    vec![json!({ "kind": kind, "name": name, "uid": format!("uid-of-{name}"), "controller": true })]
}

#[test]
fn a_pod_that_another_controller_took_is_named_at_once_and_the_landing_does_not_wait_for_ever() {
    let mut world = adopting();
    world.controllers();
    world.pods[1].owners = owned_by("ReplicaSet", "web");
    let Step::Wait(Wait { note: Some(note), .. }) = decide(&world) else { panic!("expected to wait") };
    assert!(note.text.contains("Pod db-1 is now owned by ReplicaSet web"), "{}", note.text);
    world.now += Duration::from_secs(60);
    assert!(incident(&world).contains("ReplicaSet web"));
    pass(&mut world);
    assert!(matches!(written(&world), Action::RestoreSpec { .. }), "everything else is put back");
    pass(&mut world);
    // The controller has observed the restored spec, and has adopted all that it can.
    world.edit(|set| set["status"]["observedGeneration"] = set["metadata"]["generation"].clone());
    assert!(matches!(written(&world), Action::RestoreOwnership { .. }));
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::Landed));
}

#[test]
fn a_pod_that_nobody_adopts_is_reported_and_the_landing_does_not_wait_for_ever() {
    let mut world = adopting();
    world.controllers();
    world.pods[1].owners.clear();
    world.now += Duration::from_secs(59);
    assert!(matches!(decide(&world), Step::Wait(_)));
    world.now += Duration::from_secs(1);
    assert!(incident(&world).contains("Pod db-1 has no owner yet"));
}

#[test]
fn a_revision_that_another_set_took_does_not_hold_up_the_landing_where_the_one_in_force_is_right() {
    let mut world = adopting();
    world.controllers();
    world.revisions[0].owners = owned_by("StatefulSet", "cache");
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
    // If it is not right, the Event names it.
    world.edit(|set| set["status"]["updateRevision"] = json!("db-9"));
    let Step::Wait(Wait { note: Some(note), .. }) = decide(&world) else { panic!("expected to wait") };
    assert!(note.text.contains("ControllerRevision db-1 is now owned by StatefulSet cache"), "{}", note.text);
}

#[test]
fn adopting_does_not_wait_for_a_pod_on_its_way_out() {
    let mut world = adopting();
    world.controllers();
    world.pods[1].owners.clear();
    world.pods[1].deleting = true;
    assert!(matches!(written(&world), Action::RestoreSpec { .. }), "its node may never come back");
}

#[test]
fn adopting_does_not_wait_for_a_pod_that_is_gone_or_another_now() {
    let mut world = adopting();
    world.controllers();
    world.pods[0].owners.clear();
    world.pods[0].uid = "uid-of-its-successor".into();
    world.pods.remove(1);
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
}

#[test]
fn a_webhook_that_changes_the_template_on_its_way_in_restarts_no_pod() {
    let mut world = adopting();
    world.edit(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mutated:1"));
    world.set.as_mut().unwrap()["metadata"]["managedFields"] = json!([]);
    world.controllers();
    assert_eq!(world.set.as_ref().unwrap()["spec"]["updateStrategy"]["type"], "OnDelete");
    // The template is restored, and nothing else.
    match written(&world) {
        Action::RestoreSpec { spec, .. } => {
            let containers = json!([{ "name": "c", "image": "busybox:1" }]);
            assert_eq!(spec, json!({ "template": { "spec": { "containers": containers } } }));
        }
        other => panic!("expected the template, not {other:?}"),
    }
    let mut healed = world.clone();
    pass(&mut healed);
    healed.controllers();
    assert!(matches!(written(&healed), Action::RestoreSpec { spec, .. } if spec["updateStrategy"].is_object()));
    // Another client applies a template: that change is kept, and the finalization continues.
    world.set.as_mut().unwrap()["metadata"]["managedFields"] =
        json!([{ "manager": "helm", "fieldsV1": { "f:spec": { "f:template": {} } } }]);
    assert!(matches!(written(&world), Action::RestoreSpec { .. }));
}

#[test]
fn landing_restores_the_strategy_then_the_ownership_then_ends() {
    let mut world = adopting();
    world.controllers();
    pass(&mut world);
    world.controllers();
    match written(&world) {
        Action::RestoreOwnership { managed_fields, .. } => assert_eq!(managed_fields[0]["manager"], "helm"),
        other => panic!("expected the ownership, not {other:?}"),
    }
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::Landed));
}

#[test]
fn a_size_that_was_put_back_on_the_way_in_is_no_success() {
    let mut world = adopting();
    world.edit(|set| set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("1Gi"));
    world.controllers();
    pass(&mut world);
    world.controllers();
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::PutBack));
    let (journal, _) = &world.journals[0];
    let outcome = outcome::of(&world.observe(), journal);
    assert_eq!((&outcome.sizes, &outcome.short), (&sizes(1), &sizes(1)));
}

#[test]
fn what_was_changed_for_the_recreate_alone_is_no_difference_and_what_admission_adds_is() {
    for start in [World::settled(), World::deleting_claims()] {
        let is_there = |world: &World| matches!(decide(world), Step::Write(Action::RestoreOwnership { .. }));
        let mut world = until(start, is_there);
        pass(&mut world);
        let changed = |world: &World| outcome::of(&world.observe(), &world.journals[0].0).changed;
        assert_eq!(changed(&world), Vec::<String>::new());
        world.edit(|set| set["metadata"]["labels"]["team"] = json!("x"));
        assert_eq!(changed(&world), ["metadata.labels.team"]);
    }
}

fn sizes(gib: u64) -> BTreeMap<TemplateName, Bytes> {
    BTreeMap::from([(data(), Bytes::gib(gib))])
}

#[test]
fn pods_that_were_deleted_or_replaced_meanwhile_are_counted_by_name() {
    let check = |change: fn(&mut World), lost: &[&str]| {
        let mut world = adopting();
        world.controllers();
        change(&mut world);
        let found = outcome::of(&world.observe(), &world.journals[0].0).lost;
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), lost);
    };
    check(|_| {}, &[]);
    check(|world| drop(world.pods.remove(1)), &["db-1"]);
    check(|world| world.pods[0].uid = "uid-of-its-successor".into(), &["db-0"]);
    check(|world| world.pods[0].deleting = true, &["db-0"]);
    check(|world| world.journals[0].0.lost.extend(["db-0".to_owned()]), &["db-0"]);
    // A user scaled it down, or rolled out another template.
    let scale = |world: &mut World| {
        world.edit(|set| set["spec"]["replicas"] = json!(1));
        world.pods.remove(1);
    };
    check(scale, &[]);
    let roll_out = |world: &mut World| {
        world.pods.clear();
        world.edit(|set| {
            set["status"]["updateRevision"] = json!("db-2");
            set["metadata"]["managedFields"] =
                json!([{ "manager": "helm", "fieldsV1": { "f:spec": { "f:template": {} } } }]);
        });
    };
    check(roll_out, &[]);
    // The same in a write of rso.
    let by_policy = |world: &mut World| {
        world.pods.clear();
        world.edit(|set| set["status"]["updateRevision"] = json!("db-2"));
    };
    check(by_policy, &["db-0", "db-1"]);
}

#[test]
fn a_pod_that_is_replaced_before_the_delete_is_not_forgotten() {
    let mut world = until(World::settled(), |world| world.set.as_ref().is_some_and(is_held));
    world.pods[1].uid = "uid-of-its-successor".into();
    match written(&world) {
        Action::UpdateJournal { journal, .. } => {
            assert_eq!((journal.phase, journal.lost.len()), (Phase::Deleting, 1));
        }
        other => panic!("expected the journal, not {other:?}"),
    }
}

#[test]
fn who_else_selects_the_pods_is_asked_again_of_the_held_set_directly_before_the_delete() {
    let mut world = until(World::settled(), |world| matches!(written(world), Action::Delete { .. }));
    world.rivals = Found::Rivals(vec!["ReplicaSet web".to_owned()]);
    match written(&world) {
        Action::UpdateJournal { journal, .. } => assert_eq!(journal.ending, Some(Ending::Undone)),
        other => panic!("expected to roll back, not {other:?}"),
    }
}

#[test]
fn a_foreign_set_is_never_deleted_and_ends_as_superseded() {
    let mut world = released();
    world.create_foreign("1Gi");
    assert_eq!(ending_written(&world), Some(Ending::Superseded));
    pass(&mut world);
    assert!(world.set.is_some());
}

/// The world, with its journal in this phase.
fn journalled(mut world: World, phase: Phase) -> World {
    world.journals[0].0.phase = phase;
    world
}

#[test]
fn a_foreign_set_is_left_alone_in_every_phase() {
    for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Guarded) {
        let mut world = released();
        world.create_foreign("1Gi");
        let world = journalled(world, phase);
        assert_eq!(ending_written(&world), Some(Ending::Superseded), "{phase:?}");
    }
}

#[test]
fn a_set_that_is_being_orphaned_is_never_deleted_again_in_any_phase() {
    for phase in [Phase::Prepared, Phase::Deleting, Phase::Releasing] {
        let world = journalled(deleted(), phase);
        assert!(matches!(decide(&world), Step::Wait(Wait { state: State::Orphaning, .. })), "{phase:?}");
    }
}

#[test]
fn a_set_that_is_orphaned_is_verified_in_every_phase() {
    for phase in [Phase::Prepared, Phase::Deleting, Phase::Releasing] {
        let mut world = journalled(deleted(), phase);
        world.controllers();
        world.revisions[0].owners.push(controller_of(OLD));
        assert!(matches!(written(&world), Action::SetOwners { kind: Kind::Revision, .. }), "{phase:?}");
    }
}

#[test]
fn a_foreign_set_with_pods_that_still_refer_to_the_old_one_has_them_stripped() {
    let mut world = released();
    world.create_foreign("2Gi");
    world.pods[0].owners = vec![controller_of(OLD)];
    assert!(matches!(written(&world), Action::SetOwners { why: OwnersChange::Strip, .. }));
}

#[test]
fn a_namespace_that_terminates_gets_its_hold_removed_and_the_journal_dropped() {
    let mut world = deleted();
    world.namespace.terminating = true;
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers == ["orphan"]));
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::NamespaceGone));
}

#[test]
fn a_hold_without_a_journal_is_removed_after_a_journal_has_said_so() {
    let mut world = held();
    world.journals.clear();
    match written(&world) {
        Action::CreateJournal(journal) => {
            assert_eq!((journal.phase, journal.ending), (Phase::Prepared, Some(Ending::Undone)));
        }
        other => panic!("expected a journal, not {other:?}"),
    }
    pass(&mut world);
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers.is_empty()));
    pass(&mut world);
    assert!(matches!(written(&world), Action::DeleteJournal { ending: Some(Ending::Undone), .. }));
}

#[test]
fn a_hold_without_a_journal_in_a_terminating_namespace_is_removed_at_once() {
    let mut world = held();
    world.journals.clear();
    world.namespace.terminating = true;
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers.is_empty()));
}

#[test]
fn a_held_and_deleted_set_without_a_journal_is_its_own_backup() {
    let mut world = deleted();
    world.journals.clear();
    world.intent = None;
    match written(&world) {
        Action::CreateJournal(journal) => {
            assert_eq!(journal.phase, Phase::Deleting);
            assert_eq!(journal.image["metadata"]["uid"], OLD);
            assert_eq!(journal.incidents.len(), 1);
        }
        other => panic!("expected a journal, not {other:?}"),
    }
}

#[test]
fn a_held_and_deleted_set_of_a_terminating_namespace_is_not_held_up() {
    let mut world = deleted();
    world.journals.clear();
    world.namespace.terminating = true;
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers == ["orphan"]));
}

#[test]
fn a_marker_without_a_journal_waits_for_a_person() {
    let mut world = adopting();
    world.journals.clear();
    assert_eq!(refused(&world).reason, Reason::TemplateSyncBlocked);
}

fn with_unreadable_journal(world: &World, error: journal::JournalError) -> Step {
    let mut seen = world.observe();
    let guard = Guard { uid: "uid-of-journal".into(), resource_version: "9".to_owned() };
    seen.journal = Stored::Unreadable { name: "rso-journal-uid-1".to_owned(), guard, error };
    next(&seen, world.now)
}

#[test]
fn a_damaged_journal_is_only_dropped_while_the_set_is_there() {
    let checksum = || journal::JournalError::Checksum;
    let dropped = |step: Step| matches!(step, Step::Write(Action::DeleteJournal { ending: None, .. }));
    assert!(dropped(with_unreadable_journal(&World::settled(), checksum())));
    assert!(dropped(with_unreadable_journal(&deleted(), checksum())));
    assert!(matches!(with_unreadable_journal(&held(), checksum()), Step::Write(Action::SetFinalizers { .. })));
    assert!(matches!(with_unreadable_journal(&released(), checksum()), Step::Refuse(_)));
    // If the namespace is being deleted as well, there is nothing to restore.
    let mut leaving = released();
    leaving.namespace.terminating = true;
    assert!(dropped(with_unreadable_journal(&leaving, checksum())));
    let newer = journal::JournalError::Newer(2);
    assert!(matches!(with_unreadable_journal(&World::settled(), newer), Step::Refuse(_)));
}

#[test]
fn guards_come_before_retain_and_are_dropped_ten_minutes_after_landing() {
    let mut world = until(World::deleting_claims(), |world| !world.backups.is_empty());
    for _ in 0..2 {
        assert!(matches!(written(&world), Action::SetOwners { why: OwnersChange::Guard, .. }));
        pass(&mut world);
    }
    assert!(matches!(written(&world), Action::SetRetention { when_deleted: WhenDeleted::Retain, .. }));
    pass(&mut world);
    let mut world = until(world, |world| world.journals[0].0.phase == Phase::Guarded);
    world.controllers();
    world.now += Duration::from_secs(599);
    assert_eq!(decide(&world), Step::Done { again: Some(Duration::from_secs(1)) });
    world.now += Duration::from_secs(1);
    for _ in 0..2 {
        assert!(matches!(written(&world), Action::SetOwners { why: OwnersChange::Unguard, .. }));
        pass(&mut world);
    }
    assert_eq!(ending_written(&world), None);
    pass(&mut world);
    assert!(world.is_clean());
    assert!(world.claims.iter().all(|claim| claim.object.controlled_by(&"uid-new-1".into())));
}

#[test]
fn a_guard_goes_together_with_a_late_reference_to_the_old_set() {
    let mut world = until(World::deleting_claims(), |world| {
        world.journals.first().is_some_and(|(journal, _)| journal.phase == Phase::Guarded)
    });
    world.now += Duration::from_secs(600);
    world.claims[0].object.owners.retain(|owner| owner["kind"] == "Namespace");
    world.claims[0].object.owners.push(controller_of(OLD));
    let (claim, new) = (world.claims[0].object.name.clone(), "uid-new-1");
    match written(&world) {
        Action::SetOwners { name, owners, .. } => assert_eq!((name, owners), (claim.clone(), Vec::new())),
        other => panic!("expected the guard to be dropped, not {other:?}"),
    }
    // A reference that is not to a StatefulSet of this name belongs to another client.
    let others = [("Backup", "db"), ("StatefulSet", "other")];
    let others = others.map(|(kind, name)| json!({ "kind": kind, "name": name, "uid": "uid-of-another" }));
    let before = world.claims[0].object.owners.clone();
    world.claims[0].object.owners.extend(others.clone());
    match written(&world) {
        Action::SetOwners { owners, .. } => assert_eq!(owners, others),
        other => panic!("expected the guard to be dropped, not {other:?}"),
    }
    world.claims[0].object.owners = before;
    // A reference to the existing StatefulSet stays.
    world.claims[0].object.owners.push(controller_of(new));
    match written(&world) {
        Action::SetOwners { name, owners, .. } => assert_eq!((name, owners), (claim, vec![controller_of(new)])),
        other => panic!("expected the guard to be dropped, not {other:?}"),
    }
}

#[test]
fn every_write_but_a_create_carries_a_precondition() {
    let mut world = World::deleting_claims();
    for _ in 0..100 {
        if let Step::Write(action) = decide(&world) {
            let creates = matches!(action, Action::Create(_) | Action::CreateJournal(_) | Action::CreateBackup(_));
            assert_eq!(action.guard().is_none(), creates, "{action:?}");
        }
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
    }
}
