//! The dry runs of a recreation: the copy under another name, the change of the spec, the protective owner reference of a
//! PVC, and the owner of each Pod.

use serde_json::{Value, json};

use super::super::manifest::{no_restart_patch, renamed};
use super::super::probes::{ProbeRequest, Verdict};
use super::super::step::{Read, Step};
use super::super::{next, write};
use super::world::{World, controller_of, nobody_else, pass, set_name};

const ID: &str = "0123456789abcdef";

/// The dry runs that a recreation requests first.
fn requested(world: &World) -> ProbeRequest {
    match next(&world.observe(), world.now) {
        Step::Read(Read::Probes(request)) => *request,
        other => panic!("expected the dry runs, not {other:?}"),
    }
}

#[test]
fn the_copy_differs_only_in_its_name() {
    let request = requested(&World::settled());
    let mut copy = request.copy.clone();
    assert_ne!(copy["metadata"]["name"], request.create["metadata"]["name"]);
    copy["metadata"]["name"] = request.create["metadata"]["name"].clone();
    assert_eq!(copy, request.create);
}

#[test]
fn the_name_of_the_copy_ends_with_the_start_of_the_id_and_has_at_most_52_characters() {
    let check = |name: &str, expected: &str| {
        assert_eq!(renamed(&json!({ "metadata": { "name": name } }), ID)["metadata"]["name"], expected);
    };
    check("db", "db-01234567");
    // A label has at most 63 characters; a hyphen and the hash of a revision take 11 of them.
    check(&"n".repeat(43), &format!("{}-01234567", "n".repeat(43)));
    check(&"n".repeat(44), &format!("{}-01234567", "n".repeat(43)));
    // A name that is cut after a hyphen does not get a second one.
    check(&format!("{}-more", "n".repeat(42)), &format!("{}-01234567", "n".repeat(42)));
}

#[test]
fn the_dry_run_of_the_spec_changes_only_what_is_not_ondelete_and_retain_already() {
    let check = |strategy: &str, when_deleted: &str, expected: Option<Value>| {
        let retention = json!({ "whenDeleted": when_deleted });
        let object = json!({
            "spec": { "updateStrategy": { "type": strategy }, "persistentVolumeClaimRetentionPolicy": retention },
        });
        assert_eq!(no_restart_patch(&object), expected, "{strategy} {when_deleted}");
    };
    let on_delete = json!({ "type": "OnDelete", "rollingUpdate": null });
    let retain = json!({ "whenDeleted": "Retain" });
    check("OnDelete", "Retain", None);
    check("RollingUpdate", "Retain", Some(json!({ "updateStrategy": on_delete })));
    check("OnDelete", "Delete", Some(json!({ "persistentVolumeClaimRetentionPolicy": retain })));
    check(
        "RollingUpdate",
        "Delete",
        Some(json!({ "updateStrategy": on_delete, "persistentVolumeClaimRetentionPolicy": retain })),
    );
}

#[test]
fn the_dry_run_of_a_protection_uses_the_first_pvc_of_a_pod_without_one_and_requires_when_deleted_delete() {
    let check = |mut world: World, change: fn(&mut World), expected: Option<&str>| {
        pass(&mut world);
        change(&mut world);
        let protect = requested(&world).protect;
        assert_eq!(protect.as_ref().map(|protect| protect.claim.as_str()), expected);
        if let Some(protect) = protect {
            let claim = world.claims.iter().find(|claim| claim.object.name == protect.claim).unwrap();
            let (protective, owners) = protect.owners.split_last().unwrap();
            assert_eq!((owners, &protect.guard), (claim.object.owners.as_slice(), &claim.object.guard()));
            assert_eq!((&protective["kind"], &protective["uid"]), (&json!("Namespace"), &json!("uid-of-shop")));
        }
    };
    fn protect(world: &mut World, index: usize) {
        let namespace = json!({ "kind": "Namespace", "name": "shop", "uid": "uid-of-shop" });
        world.claims[index].object.owners.push(namespace);
    }
    check(World::settled(), |_| {}, None);
    check(World::deleting_claims(), |_| {}, Some("data-db-0"));
    check(World::deleting_claims(), |world| protect(world, 0), Some("data-db-1"));
    let both = |world: &mut World| (0..2).for_each(|index| protect(world, index));
    check(World::deleting_claims(), both, None);
    let of_another = |world: &mut World| {
        let mut other = world.claims[0].clone();
        other.object.name = "data-other-0".to_owned();
        world.claims.insert(0, other);
    };
    check(World::deleting_claims(), of_another, Some("data-db-0"));
}

#[test]
fn the_dry_run_of_a_pod_removes_its_reference_to_the_statefulset_and_requires_only_its_uid() {
    let mut world = World::settled();
    let other = json!({ "apiVersion": "v1", "kind": "Other", "name": "else", "uid": "uid-of-else" });
    world.pods[1].owners.push(other.clone());
    let request = requested(&world);
    let sent = |index: usize| write::orphan(&request.pods[index], &set_name());
    assert_eq!(request.pods.len(), 2);
    assert_eq!((sent(0).verb(), sent(0).object.to_string()), ("patch", "pods shop/db-0".to_owned()));
    let patch = |uid: &str, owners: Value| json!({ "metadata": { "uid": uid, "ownerReferences": owners } });
    assert_eq!(sent(0).merge_patch(), Some(&patch("uid-of-db-0", json!([]))));
    assert_eq!(sent(1).merge_patch(), Some(&patch("uid-of-db-1", json!([other]))));
}

#[test]
fn a_pod_that_the_statefulset_does_not_own_gets_no_dry_run() {
    let mut world = World::settled();
    let mut stray = world.pods[0].clone();
    (stray.name, stray.owners) = ("db-7".to_owned(), vec![controller_of("uid-of-another")]);
    world.pods.push(stray);
    let pods: Vec<_> = requested(&world).pods.into_iter().map(|orphan| orphan.pod.name).collect();
    assert_eq!(pods, ["db-0", "db-1"]);
}

#[test]
fn a_pod_that_was_replaced_after_its_dry_run_gets_another_one() {
    let mut world = World::settled();
    let answers = world.probe(&requested(&world));
    let asks = |world: &World| {
        let mut seen = world.observe();
        (seen.probes, seen.rivals) = (Some(answers.clone()), nobody_else(&seen));
        matches!(next(&seen, world.now), Step::Read(Read::Probes(_)))
    };
    assert!(!asks(&world));
    world.pods[1].uid = "uid-of-its-successor".into();
    assert!(asks(&world));
}

#[test]
fn the_response_about_a_pod_shows_a_change_of_its_spec_or_that_the_selector_no_longer_matches() {
    let selector = json!({ "matchLabels": { "app": "db" } });
    let check = |generation: Option<i64>, response: Value, expected: Verdict| {
        let mut orphan = requested(&World::settled()).pods.remove(0);
        orphan.pod.generation = generation;
        assert_eq!(orphan.verdict(&json!({ "metadata": response }), &selector), expected, "{generation:?} {response}");
    };
    let pod = |version: &str, generation: Value, app: &str| {
        let labels = json!({ "app": app, "controller-revision-hash": "db-1" });
        json!({ "resourceVersion": version, "generation": generation, "labels": labels })
    };
    let changed = |fields: &[&str]| Verdict::Changed(fields.iter().map(|field| (*field).to_owned()).collect());
    check(Some(1), pod("1", json!(1), "db"), Verdict::Accepted);
    check(Some(1), pod("1", json!(2), "db"), changed(&["spec"]));
    check(Some(1), pod("1", json!(1), "web"), changed(&["metadata.labels"]));
    check(Some(1), pod("1", json!(2), "web"), changed(&["spec", "metadata.labels"]));
    let mut labeled = pod("1", json!(1), "db");
    labeled["labels"]["team"] = json!("x");
    check(Some(1), labeled, Verdict::Accepted);
    // The kubelet updates the status all the time; only another spec or other labels need to be observed again.
    check(Some(1), pod("2", json!(1), "db"), Verdict::Accepted);
    check(Some(1), pod("2", json!(2), "db"), Verdict::Conflict);
    check(Some(1), pod("2", json!(1), "web"), Verdict::Conflict);
    // A Pod that is older than generations has none until its spec changes.
    check(None, pod("1", Value::Null, "db"), Verdict::Accepted);
    check(None, pod("1", json!(1), "db"), changed(&["spec"]));
}

#[test]
fn labels_that_the_selector_did_not_match_before_are_not_a_change() {
    let orphan = requested(&World::settled()).pods.remove(0);
    let labels = json!(orphan.pod.labels);
    let response = json!({ "metadata": { "resourceVersion": "1", "generation": 1, "labels": labels } });
    assert_eq!(orphan.verdict(&response, &json!({ "matchLabels": { "app": "other" } })), Verdict::Accepted);
}
