//! Rows before the DELETE: the journal begins, is rolled back, and permits the DELETE.

use super::*;

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
fn prepared_continues_with_the_backup_then_the_finalizer_then_the_phase_then_the_delete() {
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
fn prepared_with_a_failed_check_rolls_everything_back_and_ends_undone() {
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
    // It stays so, even if the check passes in the meantime.
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
fn prepared_with_a_failed_check_that_may_resolve_by_itself_waits_before_it_rolls_back() {
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
fn a_statefulset_with_the_finalizer_is_dry_run_with_one_finalizer() {
    let world = held();
    match next(&world.observe(), world.now) {
        Step::Read(Read::Probes(request)) => assert_eq!(request.finalizers, [HOLD]),
        other => panic!("expected the dry runs, not {other:?}"),
    }
}

#[test]
fn a_policy_that_arrives_and_would_change_a_pod_rolls_everything_back_before_the_delete() {
    let mut world = held();
    world.of_pods = BTreeMap::from([("db-1".to_owned(), Verdict::Changed(vec!["spec".to_owned()]))]);
    match written(&world) {
        Action::UpdateJournal { journal, .. } => assert_eq!(journal.ending, Some(Ending::Undone)),
        other => panic!("expected to roll back, not {other:?}"),
    }
    for _ in 0..3 {
        pass(&mut world);
    }
    assert!(world.is_clean());
    assert_eq!(world.deletes, 0);
    assert!(refused(&world).text.contains("changes spec of Pod db-1"));
}

#[test]
fn deleting_after_mere_status_noise_deletes_at_once() {
    let mut world = at(Phase::Deleting);
    world.edit(|set| set["status"]["availableReplicas"] = json!(2));
    assert!(matches!(written(&world), Action::Delete { .. }));
}

#[test]
fn deleting_with_a_failed_check_goes_back_to_prepared_before_the_finalizer_is_removed() {
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
fn who_else_selects_the_pods_is_asked_again_of_the_held_set_directly_before_the_delete() {
    let mut world = until(World::settled(), |world| matches!(written(world), Action::Delete { .. }));
    world.rivals = Found::Rivals(vec!["ReplicaSet web".to_owned()]);
    match written(&world) {
        Action::UpdateJournal { journal, .. } => assert_eq!(journal.ending, Some(Ending::Undone)),
        other => panic!("expected to roll back, not {other:?}"),
    }
}
