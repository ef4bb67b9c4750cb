//! Rows of unexpected objects: a StatefulSet of another client, a lost journal, protective owner references.

use super::*;
use crate::api::write::Precondition;

#[test]
fn a_foreign_set_is_never_deleted_and_ends_as_superseded() {
    let mut world = released();
    world.create_foreign("1Gi");
    assert_eq!(ending_written(&world), Some(Ending::Superseded));
    pass(&mut world);
    assert!(world.set.is_some());
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
fn a_namespace_that_terminates_gets_its_finalizer_removed_and_the_journal_deleted() {
    let mut world = deleted();
    world.namespace.terminating = true;
    assert!(matches!(written(&world), Action::SetFinalizers { finalizers, .. } if finalizers == ["orphan"]));
    pass(&mut world);
    assert_eq!(ending_written(&world), Some(Ending::NamespaceGone));
}

#[test]
fn a_finalizer_without_a_journal_is_removed_after_a_journal_is_written() {
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
fn a_finalizer_without_a_journal_in_a_terminating_namespace_is_removed_at_once() {
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
    let guard = Precondition { uid: "uid-of-journal".into(), resource_version: "9".to_owned() };
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
fn protections_come_before_retain_and_are_removed_ten_minutes_after_the_end() {
    let mut world = until(World::deleting_claims(), |world| !world.backups.is_empty());
    for _ in 0..2 {
        assert!(matches!(written(&world), Action::SetOwners { why: OwnersChange::Protect, .. }));
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
        assert!(matches!(written(&world), Action::SetOwners { why: OwnersChange::Unprotect, .. }));
        pass(&mut world);
    }
    assert_eq!(ending_written(&world), None);
    pass(&mut world);
    assert!(world.is_clean());
    assert!(world.claims.iter().all(|claim| claim.object.controlled_by(&"uid-new-1".into())));
}

#[test]
fn a_protection_is_removed_together_with_a_late_reference_to_the_old_statefulset() {
    let mut world = until(World::deleting_claims(), |world| {
        world.journals.first().is_some_and(|(journal, _)| journal.phase == Phase::Guarded)
    });
    world.now += Duration::from_secs(600);
    world.claims[0].object.owners.retain(|owner| owner["kind"] == "Namespace");
    world.claims[0].object.owners.push(controller_of(OLD));
    let (claim, new) = (world.claims[0].object.name.clone(), "uid-new-1");
    match written(&world) {
        Action::SetOwners { name, owners, .. } => assert_eq!((name, owners), (claim.clone(), Vec::new())),
        other => panic!("expected the protection to be removed, not {other:?}"),
    }
    // A reference that is not to a StatefulSet of this name belongs to another client.
    let others = [("Backup", "db"), ("StatefulSet", "other")];
    let others = others.map(|(kind, name)| json!({ "kind": kind, "name": name, "uid": "uid-of-another" }));
    let before = world.claims[0].object.owners.clone();
    world.claims[0].object.owners.extend(others.clone());
    match written(&world) {
        Action::SetOwners { owners, .. } => assert_eq!(owners, others),
        other => panic!("expected the protection to be removed, not {other:?}"),
    }
    world.claims[0].object.owners = before;
    // A reference to the existing StatefulSet stays.
    world.claims[0].object.owners.push(controller_of(new));
    match written(&world) {
        Action::SetOwners { name, owners, .. } => assert_eq!((name, owners), (claim, vec![controller_of(new)])),
        other => panic!("expected the protection to be removed, not {other:?}"),
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
