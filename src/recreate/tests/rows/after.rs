//! Rows after the DELETE: the dependents are orphaned, the StatefulSet is released and created again.

use super::*;

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
    assert!(matches!(next(&world.observe(), world.now), Step::Read(Read::LastObject { .. })));
}

#[test]
fn absent_with_a_history_that_is_gone_is_created_from_the_journal() {
    let mut world = released();
    world.removed.clear();
    assert!(matches!(written(&world), Action::Create(_)));
}

#[test]
fn absent_while_deleting_means_that_the_finalizer_was_removed_by_force_and_is_reported() {
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
fn a_foreground_delete_loses_its_finalizer_together_with_that_of_rso() {
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
fn a_create_that_may_be_the_second_carries_the_finalizer_until_the_first_can_arrive_no_more() {
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
            other => panic!("expected the finalizer to be removed, not {other:?}"),
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
