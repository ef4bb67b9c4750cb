//! Rows of the new StatefulSet: it adopts its Pods, and what was changed for the CREATE is restored.

use super::*;

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
