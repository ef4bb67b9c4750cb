//! Tests of each preflight check: what fails it, and whether that resolves by itself.

use std::time::Duration;

use serde_json::json;

use super::super::dependent::Dependent;
use super::super::phase::Phase;
use super::super::preflight::answers;
use super::super::probes::Verdict;
use super::super::rivals::Found;
use super::super::step::{Action, Read, Step};
use super::super::{manifest, next, preflight};
use super::world::{OLD, World, controller_of, data, decide, nobody_else, pass, set_name};
use crate::api::annotations::{ALLOW_OWNER, PAUSED};
use crate::api::bytes::Bytes;
use crate::api::names::SetName;
use crate::api::reasons::Reason;

/// Checks the refusal after a change of the world, and a word that must be in it.
fn check(change: impl FnOnce(&mut World), reason: Reason, word: &str) {
    let mut world = World::settled();
    change(&mut world);
    match decide(&world) {
        Step::Refuse(note) => {
            assert_eq!(note.reason, reason, "{note}");
            assert!(note.text.contains(word), "{word:?} is not in {note}");
        }
        other => panic!("expected a refusal about {word:?}, not {other:?}"),
    }
}

const DEFERRED: Reason = Reason::TemplateSyncDeferred;
const BLOCKED: Reason = Reason::TemplateSyncBlocked;

#[test]
fn a_terminating_namespace_begins_nothing() {
    check(|world| world.namespace.terminating = true, BLOCKED, "namespace");
}

#[test]
fn a_paused_set_begins_nothing_but_finishes_what_is_in_flight() {
    let pause = |world: &mut World| world.edit(|set| set["metadata"]["annotations"][PAUSED] = json!("true"));
    check(pause, DEFERRED, "paused");
    let mut world = World::settled();
    pass(&mut world);
    pause(&mut world);
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn a_foreign_finalizer_blocks() {
    check(|world| world.edit(|set| set["metadata"]["finalizers"] = json!(["x/y"])), BLOCKED, "x/y");
}

#[test]
fn one_recreate_at_a_time_in_a_namespace() {
    let other = |namespace: &str| {
        let mut world = World::settled();
        pass(&mut world);
        let mut entry = world.journals.remove(0);
        entry.0.set = SetName::new(namespace, "other");
        entry.0.uid = format!("uid-of-{namespace}").as_str().into();
        entry
    };
    check(|world| world.journals.push(other("shop")), DEFERRED, "shop/other");
    let ten = |phase: Phase, age: i64| {
        move |world: &mut World| {
            let now = world.now;
            world.journals.extend((0..10).map(|n| {
                let mut entry = other(&format!("ns-{n}"));
                entry.0.phase = phase;
                entry.0.phase_at = now - jiff::SignedDuration::from_secs(age);
                entry
            }));
        }
    };
    check(ten(Phase::Deleting, 0), DEFERRED, "10 StatefulSets");
    check(ten(Phase::Releasing, 3_600), DEFERRED, "10 StatefulSets");
    check(ten(Phase::Adopting, 59), DEFERRED, "10 StatefulSets");
    // A recreation that is stuck, and a StatefulSet that is still managed, do not stop the others.
    for (phase, age) in [(Phase::Adopting, 60), (Phase::Prepared, 0), (Phase::Guarded, 0)] {
        let mut world = World::settled();
        ten(phase, age)(&mut world);
        assert!(matches!(decide(&world), Step::Write(_)), "{phase:?}");
    }
    let mut world = World::settled();
    world.journals.push(other("elsewhere"));
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn of_two_that_began_at_once_the_one_with_the_smaller_name_goes_on() {
    let after_the_other = |uid: &str, phase: Phase| {
        let mut world = World::settled();
        pass(&mut world);
        let mut entry = world.journals[0].clone();
        entry.0.set = SetName::new("shop", "other");
        entry.0.uid = uid.into();
        entry.0.phase = phase;
        world.journals.push(entry);
        decide(&world)
    };
    assert!(matches!(after_the_other("uid-2", Phase::Prepared), Step::Write(Action::CreateBackup(_))));
    assert!(matches!(after_the_other("uid-0", Phase::Prepared), Step::Wait(_)));
    // A recreation that is past the point of no return cannot be rolled back, regardless of its name.
    assert!(matches!(after_the_other("uid-2", Phase::Deleting), Step::Wait(_)));
}

#[test]
fn an_owner_blocks_unless_it_is_allowed() {
    let own = |world: &mut World| {
        let owner = json!({ "kind": "Prometheus", "name": "p", "uid": "u", "controller": true });
        world.edit(|set| set["metadata"]["ownerReferences"] = json!([owner]));
    };
    check(own, BLOCKED, &format!("{ALLOW_OWNER}=Prometheus"));
    let mut world = World::settled();
    own(&mut world);
    world.intent.as_mut().unwrap().allow_owner = Some("Prometheus".to_owned());
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn an_intent_about_an_earlier_object_is_looked_at_afresh() {
    check(|world| world.intent.as_mut().unwrap().uid = Some("another".into()), DEFERRED, "replaced");
}

#[test]
fn a_set_of_so_many_parts_that_a_recreate_would_not_fit_into_memory_blocks_and_one_of_fewer_does_not() {
    let tolerations = |count: usize| {
        move |world: &mut World| {
            world.edit(|set| set["spec"]["template"]["spec"]["tolerations"] = vec![json!({"": 0}); count].into());
        }
    };
    check(tolerations(super::super::archive::MOST_PARTS_OF_A_SET / 2), BLOCKED, "fields and items");
    let mut world = World::settled();
    tolerations(super::super::archive::MOST_PARTS_OF_A_SET / 2 - 1_000)(&mut world);
    let step = decide(&world);
    assert!(!matches!(&step, Step::Refuse(note) if note.text.contains("fields and items")), "{step:?}");
}

#[test]
fn managed_fields_count_as_parts_and_the_maximum_of_parts_does_not_block() {
    use crate::api::parts::parts;
    let world = World::settled();
    let targets = &world.intent.as_ref().unwrap().targets;
    let created = manifest::to_create(world.set.as_ref().unwrap(), targets, "0123456789abcdef").to_string();
    // An array has as many parts as items.
    let left = super::super::archive::MOST_PARTS_OF_A_SET - parts(created.as_bytes());
    let fields = |count: usize| {
        move |world: &mut World| world.edit(|set| set["metadata"]["managedFields"] = vec![json!(0); count].into())
    };
    check(fields(left + 1), BLOCKED, "fields and items");
    let mut world = World::settled();
    fields(left)(&mut world);
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn templates_must_exist_and_only_grow() {
    let ask = |template: &str, size: Bytes| {
        let template = template.into();
        move |world: &mut World| {
            world.intent.as_mut().unwrap().targets.insert(template, size);
        }
    };
    check(ask("wal", Bytes::gib(1)), BLOCKED, "no volumeClaimTemplate wal");
    // A smaller requested size beside a larger one is refused, not applied; alone, there is nothing to do.
    let with_wal = |world: &mut World| {
        world.edit(|set| {
            let mut wal = set["spec"]["volumeClaimTemplates"][0].clone();
            wal["metadata"]["name"] = json!("wal");
            set["spec"]["volumeClaimTemplates"].as_array_mut().unwrap().push(wal);
        });
    };
    check(
        |world| {
            with_wal(world);
            ask("wal", Bytes(1))(world);
        },
        BLOCKED,
        "cannot shrink",
    );
    // A template at its present size may be requested beside one that expands.
    let mut world = World::settled();
    with_wal(&mut world);
    ask("wal", Bytes::gib(1))(&mut world);
    for ordinal in 0..2 {
        let mut claim = world.claims[ordinal].clone();
        claim.object.name = format!("wal-db-{ordinal}");
        world.claims.push(claim);
    }
    world.controllers();
    assert!(matches!(decide(&world), Step::Write(_)));
    let mut world = World::settled();
    world.intent.as_mut().unwrap().targets = std::collections::BTreeMap::from([(data(), Bytes(1))]);
    assert_eq!(decide(&world), Step::Done { again: None });
}

#[test]
fn a_set_too_large_for_etcd_or_a_config_map_blocks() {
    let noise = |bytes: usize| {
        // Incompressible, and the same each time.
        let mut state = 1_u64;
        let text: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (state >> 57) as u8 % 90)
        })
        .filter(|letter| !matches!(letter, '"' | '\\'))
        .take(bytes)
        .collect();
        text
    };
    let with = |env: String, manager: String| {
        move |world: &mut World| {
            world.edit(|set| {
                set["spec"]["template"]["env"] = json!(env);
                set["metadata"]["managedFields"] = json!([{ "manager": manager }]);
            });
        }
    };
    // What the server adds needs space too: 64 KiB below the 1.5 MiB of etcd.
    let mut empty = World::settled();
    with(String::new(), String::new())(&mut empty);
    let object = empty.set.as_ref().unwrap();
    let targets = &empty.intent.as_ref().unwrap().targets;
    let created = manifest::to_create(object, targets, "0123456789abcdef").to_string().len();
    let most = (1536 << 10) - (64 << 10) - created - object["metadata"]["managedFields"].to_string().len();
    check(with(noise(most), String::new()), BLOCKED, "ConfigMap");
    check(with(noise(most + 1), String::new()), BLOCKED, "etcd");
    // The new StatefulSet gets its field managers back.
    check(with(noise(most - 99_999), noise(100_000)), BLOCKED, "etcd");
}

#[test]
fn a_refusal_of_another_policy_is_another_event() {
    let case = |policy: &str| {
        let mut world = World::settled();
        let why = format!("ValidatingAdmissionPolicy '{policy}' with binding 'all' denied request: no");
        world.verdicts[1] = Verdict::Refused(why.clone());
        let Step::Refuse(note) = decide(&world) else { panic!("expected a refusal") };
        (note.case, answers::refused(&why).case)
    };
    assert_eq!(case("a"), case("a"));
    let ((dry, write), (other_dry, other_write)) = (case("a"), case("b"));
    assert!(dry != other_dry && write != other_write);
}

#[test]
fn a_set_that_is_not_settled_is_deferred() {
    let status = |field: &'static str, value: serde_json::Value| {
        move |world: &mut World| world.edit(|set| set["status"][field] = value)
    };
    check(status("observedGeneration", json!(0)), DEFERRED, "generation");
    // A status of the object that was replaced stays on the new one.
    let mut world = World::settled();
    status("observedGeneration", json!(99))(&mut world);
    assert!(matches!(decide(&world), Step::Write(_)));
    check(status("replicas", json!(1)), DEFERRED, "created");
    check(status("replicas", json!(3)), DEFERRED, "3 replicas are created and 2 are requested");
    check(status("readyReplicas", json!(null)), DEFERRED, "0/2 replicas are ready");
    check(status("availableReplicas", json!(1)), DEFERRED, "available");
    check(status("currentRevision", json!("db-0")), DEFERRED, "rollout");
    check(status("updateRevision", json!("")), DEFERRED, "revision");
    check(|world| world.pods[1].revision = Some("db-0".to_owned()), DEFERRED, "db-0");
}

#[test]
fn with_on_delete_the_pods_tell_whether_it_is_rolled_out() {
    let on_delete = |world: &mut World| {
        world.edit(|set| {
            set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
            set["status"]["currentRevision"] = json!("db-0");
            set["status"]["observedGeneration"] = json!(2);
        });
    };
    let mut world = World::settled();
    on_delete(&mut world);
    assert!(matches!(decide(&world), Step::Write(_)));
    check(
        |world| {
            on_delete(world);
            world.pods[0].revision = Some("db-0".to_owned());
        },
        DEFERRED,
        "db-0 has revision",
    );
}

#[test]
fn every_pod_must_be_there_and_owned() {
    check(|world| drop(world.pods.remove(0)), DEFERRED, "db-0 does not exist");
    check(|world| world.pods[1].owners.clear(), DEFERRED, "does not belong");
    check(|world| world.pods[1].deleting = true, DEFERRED, "terminating");
    // A Pod of another controller, or of this StatefulSet without it being the controller.
    check(|world| world.pods[1].owners = vec![controller_of("uid-0")], DEFERRED, "does not belong");
    check(|world| world.pods[1].owners[0]["controller"] = json!(false), DEFERRED, "does not belong");
    // A Pod that is scaled down is waited for while it terminates; a Pod of another StatefulSet is not.
    let leaving = |owner: &'static str| {
        move |world: &mut World| {
            let mut pod = world.pods[1].clone();
            (pod.name, pod.deleting, pod.owners) = ("db-7".to_owned(), true, vec![controller_of(owner)]);
            world.pods.push(pod);
        }
    };
    check(leaving(OLD), DEFERRED, "db-7 is terminating");
    let mut world = World::settled();
    leaving("uid-0")(&mut world);
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn every_claim_must_be_there_whole_and_large() {
    check(|world| drop(world.claims.remove(0)), DEFERRED, "data-db-0 does not exist");
    check(|world| world.claims[1].object.deleting = true, BLOCKED, "being deleted");
    check(|world| world.claims[1].object.owners = vec![controller_of("uid-0")], BLOCKED, "earlier StatefulSet");
    check(|world| world.claims[1].requested = Bytes::gib(1), DEFERRED, "requests 1Gi");
    // A PVC that belongs to another object, even one of that name, or to another StatefulSet, blocks nothing.
    for (kind, name) in [("Backup", "db"), ("StatefulSet", "other")] {
        let mut world = World::settled();
        world.claims[1].object.owners = vec![json!({ "kind": kind, "name": name, "uid": "u" })];
        assert!(matches!(decide(&world), Step::Write(_)), "{kind} {name}");
    }
}

#[test]
fn pvcs_of_ordinals_that_are_scaled_away_block_nothing() {
    let mut world = World::settled();
    let mut leftover = world.claims[1].clone();
    leftover.object.name = "data-db-7".to_owned();
    leftover.requested = Bytes::gib(1);
    world.claims.push(leftover);
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn ordinals_may_start_anywhere() {
    let mut world = World::settled();
    world.edit(|set| set["spec"]["ordinals"] = json!({ "start": 5 }));
    for (index, ordinal) in [5, 6].into_iter().enumerate() {
        world.pods[index].name = format!("db-{ordinal}");
        world.claims[index].object.name = format!("data-db-{ordinal}");
    }
    world.controllers();
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn references_must_have_been_quiet_for_a_while() {
    let recent = |world: &mut World| world.pods[0].owners_changed = Some(world.now - Duration::from_secs(1));
    check(recent, DEFERRED, "k8s#131284");
    let mut world = World::settled();
    recent(&mut world);
    world.now += Duration::from_secs(2);
    assert!(matches!(decide(&world), Step::Write(_)));
}

#[test]
fn a_dry_run_that_is_refused_blocks_and_one_that_is_unknown_defers() {
    for index in 0..4 {
        check(|world| world.verdicts[index] = Verdict::Refused("by policy".to_owned()), BLOCKED, "by policy");
        check(|world| world.verdicts[index] = Verdict::Unknown("timeout".to_owned()), DEFERRED, "timeout");
        check(|world| world.verdicts[index] = Verdict::Conflict, DEFERRED, "retries");
    }
    check(
        |world| world.verdicts[5] = Verdict::Refused("by policy".to_owned()),
        BLOCKED,
        "under another name: by policy",
    );
    check(|world| world.verdicts[6] = Verdict::Refused("by policy".to_owned()), BLOCKED, "changing updateStrategy");
    check(|world| world.verdicts[7] = Verdict::Refused("by policy".to_owned()), BLOCKED, "adding an ownerReference");
    for index in [2, 5, 6] {
        let changed = || Verdict::Changed(vec!["spec.template.metadata.labels.team".to_owned()]);
        check(|world| world.verdicts[index] = changed(), BLOCKED, "changes spec.template.metadata.labels.team");
    }
    let own = || Verdict::Refused(format!("denied request: {}: with its …", answers::OWN_POLICY));
    check(|world| world.verdicts[0] = own(), BLOCKED, "changes its annotations, updateStrategy or whenDeleted");
    // The API server might accept larger templates in place: only a refusal lets the recreation begin.
    check(|world| world.verdicts[4] = Verdict::Unknown("reset".to_owned()), DEFERRED, "in place got no answer (reset)");
    // A CREATE of the same name would be accepted: the StatefulSet has just disappeared.
    check(|world| world.verdicts[0] = Verdict::Accepted, DEFERRED, "creating");
}

#[test]
fn a_pod_that_admission_would_change_or_refuse_blocks_by_name_and_comes_before_what_resolves_by_itself() {
    let all = |answers: &[(&str, Verdict)]| {
        let of_pods = answers.iter().map(|(pod, verdict)| ((*pod).to_owned(), verdict.clone())).collect();
        move |world: &mut World| world.of_pods = of_pods
    };
    let changed = |field: &str| Verdict::Changed(vec![field.to_owned()]);
    let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
    let refused = || Verdict::Refused(policy.to_owned());
    check(all(&[("db-1", changed("spec"))]), BLOCKED, "changes spec of Pod db-1 on every UPDATE");
    check(all(&[("db-1", changed("spec"))]), BLOCKED, "the containers could restart");
    check(all(&[("db-1", changed("spec"))]), BLOCKED, "`kubectl delete pod db-1`");
    check(all(&[("db-0", changed("spec")), ("db-1", changed("spec"))]), BLOCKED, "of Pod db-0, db-1 on");
    check(all(&[("db-0", changed("metadata.labels"))]), BLOCKED, "the StatefulSet controller would replace the Pods");
    check(all(&[("db-0", refused())]), BLOCKED, "the owner of Pod db-0: ValidatingAdmissionPolicy");
    check(all(&[("db-0", refused())]), BLOCKED, "exempt the Pods in it");
    check(all(&[("db-0", Verdict::Refused("pods is forbidden".to_owned()))]), BLOCKED, "pods is forbidden");
    let own = "denied request: rso may change only the annotation resize-seen and metadata.ownerReferences of a Pod";
    check(
        all(&[("db-0", Verdict::Refused(own.to_owned()))]),
        BLOCKED,
        "changes spec, labels, or annotations of Pod db-0",
    );
    check(all(&[("db-0", Verdict::Conflict)]), DEFERRED, "Pod db-0 changed during a dry run");
    check(
        all(&[("db-1", Verdict::Unknown("timeout".to_owned()))]),
        DEFERRED,
        "the owner of Pod db-1 got no answer (timeout)",
    );
    check(all(&[("db-0", Verdict::Conflict), ("db-1", changed("spec"))]), BLOCKED, "Pod db-1");
    check(all(&[("db-0", Verdict::Conflict), ("db-1", refused())]), BLOCKED, "Pod db-1");
}

#[test]
fn a_workload_that_selects_the_same_pods_blocks_by_name_and_what_is_not_known_does_too() {
    let two = || vec!["ReplicaSet web".to_owned(), "StatefulSet cache".to_owned()];
    check(
        |world| world.rivals = Found::Rivals(two()),
        BLOCKED,
        "the selector of ReplicaSet web, StatefulSet cache also matches",
    );
    check(|world| world.rivals = Found::Forbidden("cannot list jobs".to_owned()), BLOCKED, "cannot list jobs");
    check(|world| world.rivals = Found::Unknown("timeout".to_owned()), DEFERRED, "timeout");
}

#[test]
fn rivals_are_looked_up_by_every_label_set_that_is_let_go_of() {
    let mut world = World::settled();
    world.pods[1].labels.insert("role".to_owned(), "primary".to_owned());
    world.pods.push(Dependent { owners: Vec::new(), ..world.pods[0].clone() });
    world.pods[2].labels.insert("stray".to_owned(), "yes".to_owned());
    let mut seen = world.observe();
    let Step::Read(Read::Probes(request)) = next(&seen, world.now) else { panic!("expected the dry runs") };
    seen.probes = Some(world.probe(&request));
    let Step::Read(Read::Rivals(request)) = next(&seen, world.now) else { panic!("expected the rivals") };
    assert!(request.labels.iter().any(|labels| labels.contains_key("role")), "a label of one Pod alone counts");
    assert!(request.labels.iter().all(|labels| !labels.contains_key("stray")), "what is not ours is not released");
    // An answer about another state of the StatefulSet does not count.
    seen.rivals = nobody_else(&seen);
    seen.rivals.as_mut().unwrap().of.resource_version = "0".to_owned();
    assert!(matches!(next(&seen, world.now), Step::Read(Read::Rivals(_))));
}

#[test]
fn dry_runs_are_not_believed_for_ever() {
    let world = World::settled();
    let mut seen = world.observe();
    let Step::Read(Read::Probes(request)) = next(&seen, world.now) else { panic!("expected the dry runs") };
    seen.probes = Some(world.probe(&request));
    seen.rivals = nobody_else(&seen);
    assert!(matches!(next(&seen, world.now), Step::Write(_)));
    assert!(matches!(next(&seen, world.now + Duration::from_secs(29)), Step::Write(_)));
    assert!(matches!(next(&seen, world.now + Duration::from_secs(30)), Step::Read(_)));
    seen.probes.as_mut().unwrap().generation += 1;
    assert!(matches!(next(&seen, world.now), Step::Read(_)));
}

#[test]
fn every_check_has_a_name_and_states_what_it_ensures() {
    let names: std::collections::BTreeSet<_> = preflight::CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), preflight::CHECKS.len());
    assert!(preflight::CHECKS.iter().all(|check| !check.ensures.is_empty()));
    assert_eq!(set_name().to_string(), "shop/db");
}
