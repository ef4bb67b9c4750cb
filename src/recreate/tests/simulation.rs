//! Simulations of whole recreations, disturbed at every step.

use serde_json::{Value, json};

use super::super::step::{Action, Step};
use super::world::{Applied, World, data, pass};
use crate::api::bytes::Bytes;

/// More iterations than any recreation needs.
const MOST: usize = 200;

/// Runs undisturbed until there is nothing to do for a while. Returns the number of iterations.
fn run(world: &mut World) -> usize {
    run_with(world, 0, &|_| true)
}

/// The same, with a disturbance before that iteration, or as soon after it as there is something to disturb: a client
/// that edits a StatefulSet at a moment at which it is absent gets an error, and retries.
fn run_with(world: &mut World, at: usize, disturb: &dyn Fn(&mut World) -> bool) -> usize {
    let mut quiet = 0;
    let mut disturbed = false;
    for number in 0..MOST {
        if number >= at && !disturbed {
            disturbed = disturb(world);
        }
        let passed = pass(world);
        check_always(world, &passed.step);
        if passed.applied.is_none() {
            world.controllers();
        }
        quiet = if matches!(passed.step, Step::Done { again: None } | Step::Refuse(_)) { quiet + 1 } else { 0 };
        // A refusal may resolve by itself once the controllers have acted.
        if quiet > 3 && number >= at {
            return number;
        }
    }
    panic!("it does not reach a steady state");
}

/// Checks what holds after every single step.
fn check_always(world: &World, step: &Step) {
    if let Step::Write(action @ Action::Delete { .. }) = step {
        assert!(world.claims.iter().all(|claim| claim.requested >= Bytes::gib(2)), "a PVC is too small: {action:?}");
    }
    let to_come_back = world.creates < world.deletes && !world.namespace.terminating;
    if world.set.is_none() && !world.removed.is_empty() && to_come_back {
        assert!(!world.journals.is_empty(), "the StatefulSet is absent without a journal");
    }
    assert!(world.creates <= world.recreates, "it was created twice");
}

/// An edit by another client, if there is anything to edit.
fn edit(world: &mut World, change: impl FnOnce(&mut Value)) -> bool {
    let is_there = world.set.is_some();
    world.edit(change);
    is_there
}

fn assert_landed(world: &World, context: &str) {
    assert!(world.is_clean(), "{context}: something is left");
    assert_eq!(world.size(), "2Gi", "{context}");
    let set = world.set.as_ref().unwrap();
    assert_eq!(set["spec"]["updateStrategy"]["type"], "RollingUpdate", "{context}");
    assert_eq!(set["spec"]["futureField"]["kept"], true, "{context}");
    assert_eq!(set["metadata"]["annotations"]["note"], "keep", "{context}");
    let uid = set["metadata"]["uid"].as_str().unwrap().into();
    assert!(world.pods.iter().all(|pod| pod.controlled_by(&uid)), "{context}: a pod is unmanaged");
    let fields = set["metadata"]["managedFields"].as_array().unwrap();
    assert!(fields.iter().all(|entry| entry["manager"] == "helm"), "{context}: {fields:?}");
}

#[test]
fn undisturbed_the_set_comes_back_larger_with_all_its_pods() {
    for (mut world, when_deleted) in [
        (World::settled(), "Retain"),
        (World::with_replicas(0), "Retain"),
        (World::with_replicas(12), "Retain"),
        (World::deleting_claims(), "Delete"),
    ] {
        let (pods, claims) = (world.pods.len(), world.claims.len());
        run(&mut world);
        assert_landed(&world, when_deleted);
        assert_eq!((world.pods.len(), world.claims.len()), (pods, claims));
        assert_eq!((world.deletes, world.creates), (1, 1));
        let policy = &world.set.as_ref().unwrap()["spec"]["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(policy["whenDeleted"], when_deleted);
        assert_eq!(world.backups.len(), 1);
    }
}

/// Disturbs the world before each step in turn, on both kinds of StatefulSet, and checks the end.
fn at_every_step(disturb: impl Fn(&mut World) -> bool, judge: impl Fn(&World, &str)) {
    for start in [World::settled(), World::deleting_claims()] {
        let steps = run(&mut start.clone());
        assert!(steps > 12, "a recreate takes more steps than that");
        for at in 0..=steps {
            let mut world = start.clone();
            run_with(&mut world, at, &disturb);
            judge(&world, &format!("disturbed before step {at}"));
        }
    }
}

#[test]
fn status_noise_at_any_step_changes_nothing() {
    at_every_step(|world| edit(world, |set| set["metadata"]["noise"] = json!(null)), assert_landed);
}

#[test]
fn an_edit_at_any_step_survives() {
    at_every_step(
        |world| edit(world, |set| set["metadata"]["labels"]["edited"] = json!("yes")),
        |world, context| {
            assert_landed(world, context);
            assert_eq!(world.set.as_ref().unwrap()["metadata"]["labels"]["edited"], "yes", "{context}");
        },
    );
}

#[test]
fn a_new_pod_template_at_any_step_survives_and_is_rolled_out_by_its_own_strategy() {
    let roll_out = |world: &mut World| {
        edit(world, |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("busybox:2");
            let entry = json!({ "manager": "helm", "fieldsV1": { "f:spec": { "f:template": {} } } });
            set["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
        })
    };
    at_every_step(roll_out, |world, context| {
        let set = world.set.as_ref().unwrap();
        assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "busybox:2", "{context}");
        assert_eq!(set["spec"]["updateStrategy"]["type"], "RollingUpdate", "{context}");
        assert!(world.is_clean(), "{context}");
    });
}

#[test]
fn a_crash_at_any_step_is_only_a_pause() {
    // Nothing is remembered between iterations, so a crash is an iteration whose response is lost: the next one
    // observes what was done.
    for start in [World::settled(), World::deleting_claims()] {
        let mut lost = start.clone();
        let steps = run(&mut start.clone());
        for _ in 0..steps * 2 {
            lost.controllers();
            let before = lost.clone();
            let done = pass(&mut lost);
            // The write did not arrive: the same observation results in the same step again.
            let mut again = before;
            again.now = lost.now;
            if done.applied == Some(Applied::Done) {
                assert_eq!(pass(&mut again).applied, Some(Applied::Done));
            }
        }
        run(&mut lost);
        assert_landed(&lost, "crashed");
    }
}

#[test]
fn a_delete_by_somebody_never_leaves_pods_without_a_set_and_is_respected_outside_the_hold() {
    at_every_step(
        |world| {
            world.delete(&[]);
            true
        },
        |world, context| {
            assert!(world.is_clean(), "{context}");
            match &world.set {
                // Deleted while it had the finalizer: recreated, with every Pod.
                Some(_) => {
                    assert_landed(world, context);
                    assert_eq!(world.pods.len(), 2, "{context}");
                }
                None => assert!(world.journals.is_empty(), "{context}"),
            }
            // With `whenDeleted: Delete`, the PVCs of a StatefulSet that was deleted before it had the finalizer are
            // deleted with it, as requested.
            let may_go = world.set.is_none() && world.claims_go_with_it;
            assert!(may_go || world.claims.len() == 2, "{context}");
        },
    );
}

#[test]
fn somebody_who_takes_the_name_at_any_step_keeps_it() {
    at_every_step(
        |world| {
            if world.set.is_none() {
                world.create_foreign("2Gi");
            }
            true
        },
        |world, context| {
            assert!(world.is_clean(), "{context}");
            assert_eq!(world.size(), "2Gi", "{context}");
        },
    );
}

#[test]
fn a_namespace_that_goes_away_at_any_step_is_not_held_up() {
    at_every_step(
        |world| {
            world.namespace.terminating = true;
            true
        },
        |world, context| {
            let held = world
                .set
                .as_ref()
                .is_some_and(|set| set["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()));
            assert!(world.journals.is_empty() && !held, "{context}");
        },
    );
}

#[test]
fn a_journal_that_is_deleted_at_any_step_loses_no_set() {
    at_every_step(
        |world| {
            // While the StatefulSet is absent, the journal is its only copy; that is why it is kept where tenants have
            // no access.
            if world.set.is_some() {
                world.journals.clear();
            }
            true
        },
        |world, context| {
            assert!(world.set.is_some(), "{context}");
            assert_eq!(world.pods.len(), 2, "{context}");
            assert!(world.journals.is_empty(), "{context}");
        },
    );
}

#[test]
fn a_set_that_is_scaled_at_any_step_keeps_its_new_number() {
    at_every_step(
        |world| edit(world, |set| set["spec"]["replicas"] = json!(1)),
        |world, context| {
            assert_eq!(world.set.as_ref().unwrap()["spec"]["replicas"], 1, "{context}");
            assert!(world.is_clean(), "{context}");
        },
    );
}

#[test]
fn a_finalizer_that_is_forced_away_at_any_step_does_not_lose_the_set() {
    at_every_step(
        |world| {
            let deleting = world.set.as_ref().is_some_and(|set| !set["metadata"]["deletionTimestamp"].is_null());
            if deleting {
                world.edit(|set| set["metadata"]["finalizers"] = json!([]));
            }
            true
        },
        |world, context| {
            assert!(world.is_clean(), "{context}");
            assert_eq!(world.size(), "2Gi", "{context}");
            assert_eq!(world.claims.len(), 2, "{context}");
        },
    );
}

#[test]
fn an_edit_while_it_is_terminating_is_in_the_new_set() {
    let mut world = World::settled();
    let mut edited = false;
    for _ in 0..MOST {
        let deleting = world.set.as_ref().is_some_and(|set| !set["metadata"]["deletionTimestamp"].is_null());
        if deleting && !edited {
            edited = true;
            world.edit(|set| set["spec"]["replicas"] = json!(2));
            world.edit(|set| set["metadata"]["labels"]["late"] = json!("yes"));
        }
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
    }
    assert!(edited);
    assert_landed(&world, "edited while terminating");
    assert_eq!(world.set.as_ref().unwrap()["metadata"]["labels"]["late"], "yes");
}

#[test]
fn an_edit_that_slips_in_with_the_release_is_replayed() {
    let mut world = World::settled();
    for _ in 0..MOST {
        let before = world.removed.len();
        if pass(&mut world).applied.is_none() {
            world.controllers();
        }
        if world.removed.len() > before {
            world.removed[before]["metadata"]["labels"]["slipped"] = json!("in");
        }
    }
    assert_landed(&world, "slipped");
    assert_eq!(world.set.as_ref().unwrap()["metadata"]["labels"]["slipped"], "in");
}

#[test]
fn old_backups_go_when_it_has_landed() {
    let mut world = World::settled();
    for size in 2..=6 {
        let target = Bytes::gib(size);
        world.claims.iter_mut().for_each(|claim| claim.requested = target);
        world.intent.as_mut().unwrap().targets.insert(data(), target);
        world.recreates += 1;
        world.now += std::time::Duration::from_secs(60);
        run(&mut world);
        assert_eq!(world.size(), target.to_string());
    }
    assert_eq!(world.backups.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
}
