//! What is carried from the old set to the new one, and what a restore makes of a backup.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::managed_fields;
use super::super::manifest::*;
use super::super::restore::{Raised, RestoreError, RestorePlan, plan};
use super::super::set::WhenDeleted;
use super::world::{World, data};
use crate::api::annotations::{HOLD, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};

fn set() -> Value {
    World::settled().set.unwrap()
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut set = set();
    change(&mut set);
    set
}

fn size_of(set: &Value) -> &Value {
    &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
}

#[test]
fn what_the_server_owns_and_what_is_ours_is_left_behind_and_nothing_else() {
    let live = changed(|set| {
        set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        set["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        set["metadata"]["selfLink"] = json!("/x");
        set["metadata"]["finalizers"] = json!(["orphan", HOLD, "x/y", "foregroundDeletion"]);
        set["metadata"]["annotations"][TRANSACTION] = json!("t");
        set["metadata"]["future"] = json!([]);
        set["spec"]["volumeClaimTemplates"][0]["metadata"]["creationTimestamp"] = Value::Null;
    });
    let expected = json!({
        "namespace": "shop", "name": "db", "labels": { "app": "db" }, "annotations": { "note": "keep" },
        "finalizers": ["x/y"], "future": [],
    });
    let bare = bare(&live);
    assert_eq!(bare["metadata"], expected);
    assert_eq!(bare.get("status"), None);
    assert_eq!(bare["spec"]["futureField"], json!({ "kept": true }));
    let template = &bare["spec"]["volumeClaimTemplates"][0];
    assert_eq!((template.get("status"), template["metadata"].get("creationTimestamp")), (None, None));
    assert_eq!(super::super::manifest::bare(&bare), bare, "once is enough");
}

#[test]
fn what_holds_nothing_of_anybody_is_dropped() {
    let empty = changed(|set| {
        set["metadata"]["annotations"] = json!({ TRANSACTION: "t" });
        set["metadata"]["finalizers"] = json!([HOLD]);
    });
    let null = changed(|set| {
        set["metadata"]["annotations"] = Value::Null;
        set["metadata"]["finalizers"] = Value::Null;
    });
    for set in [empty, null] {
        let metadata = &bare(&set)["metadata"];
        assert_eq!((metadata.get("annotations"), metadata.get("finalizers")), (None, None));
    }
    // What is no list and no map is somebody's; the server will say what it thinks of it.
    let strange = changed(|set| set["metadata"]["annotations"] = json!(false));
    assert_eq!(bare(&strange)["metadata"]["annotations"], json!(false));
}

#[test]
fn the_image_keeps_all_but_the_status() {
    let (live, image) = (set(), image(&set()));
    assert!(live.get("status").is_some() && image.get("status").is_none());
    assert_eq!(image["metadata"], live["metadata"]);
    assert_eq!(image["spec"], live["spec"]);
}

#[test]
fn noise_makes_no_difference_and_an_edit_does() {
    let noise = changed(|set| {
        set["metadata"]["resourceVersion"] = json!("99");
        set["status"] = json!({});
    });
    assert!(same(&set(), &noise));
    assert!(!same(&set(), &changed(|set| set["metadata"]["labels"]["app"] = json!("other"))));
}

#[test]
fn sizes_only_grow() {
    let targets = |size: Bytes| BTreeMap::from([(data(), size)]);
    let size = |object: &Value, target: Bytes| {
        templates(object, &targets(target))[0]["spec"]["resources"]["requests"]["storage"].clone()
    };
    assert_eq!(size(&set(), Bytes::gib(2)), "2Gi");
    assert_eq!(size(&set(), Bytes::mib(512)), "1Gi");
    // As large already, by another word: it stays as it was written.
    let same = changed(|set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("1024Mi")
    });
    assert_eq!(size(&same, Bytes::gib(1)), "1024Mi");
    // What cannot be read is below everything.
    let strange =
        changed(|set| set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("?"));
    assert_eq!(size(&strange, Bytes::gib(1)), "1Gi");
    let other = BTreeMap::from([(TemplateName::from("other"), Bytes::gib(9))]);
    assert_eq!(templates(&set(), &other), set()["spec"]["volumeClaimTemplates"]);
}

#[test]
fn what_is_created_cannot_restart_a_pod_or_own_a_claim_and_is_known_as_ours() {
    let targets = BTreeMap::from([(data(), Bytes::gib(2))]);
    let created = to_create(&image(&set()), &targets, "t");
    assert_eq!(created["metadata"]["annotations"], json!({ "note": "keep", TRANSACTION: "t" }));
    assert_eq!(created["spec"]["updateStrategy"], json!({ "type": "OnDelete" }));
    assert_eq!(size_of(&created), "2Gi");
    let retention = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(created["spec"]["persistentVolumeClaimRetentionPolicy"], retention);
    // A server too old for the policy is not sent one.
    let old = changed(|set| drop(set["spec"].as_object_mut().unwrap().remove("persistentVolumeClaimRetentionPolicy")));
    assert_eq!(to_create(&image(&old), &targets, "t")["spec"].get("persistentVolumeClaimRetentionPolicy"), None);
}

#[test]
fn what_was_changed_for_the_creation_is_taken_back_unless_somebody_chose_otherwise() {
    let created = |strategy: &str, retention: &str| {
        changed(|set| {
            set["spec"]["updateStrategy"] = json!({ "type": strategy });
            set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!(retention);
        })
    };
    let image = set();
    let rolling = image["spec"]["updateStrategy"].clone();
    let back = json!({ "whenDeleted": "Delete" });
    use WhenDeleted::{Delete, Retain};
    let restored = |live: &Value, when| restored_spec(live, &image, when);
    assert_eq!(restored(&created("OnDelete", "Retain"), Retain), Some(json!({ "updateStrategy": rolling })));
    assert_eq!(
        restored(&created("OnDelete", "Retain"), Delete),
        Some(json!({ "updateStrategy": rolling, "persistentVolumeClaimRetentionPolicy": back }))
    );
    assert_eq!(
        restored(&created("RollingUpdate", "Retain"), Delete),
        Some(json!({ "persistentVolumeClaimRetentionPolicy": back }))
    );
    assert_eq!(restored(&created("RollingUpdate", "Delete"), Delete), None);
    assert_eq!(restored(&created("RollingUpdate", "Retain"), Retain), None);
    // It was OnDelete before, or nothing is known of before: it stays.
    for before in [json!({ "type": "OnDelete" }), Value::Null] {
        let image = changed(|set| set["spec"]["updateStrategy"] = before);
        assert_eq!(restored_spec(&created("OnDelete", "Retain"), &image, Retain), None);
    }
}

fn entry(manager: &str, subresource: Option<&str>, fields: Value) -> Value {
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "subresource": subresource, "time": "1", "fieldsV1": fields,
    })
}

fn merged(before: &[&Value], now: &[&Value]) -> Value {
    let with = |entries: &[&Value]| changed(|set| set["metadata"]["managedFields"] = json!(entries));
    managed_fields::restored(&with(now), &with(before))
}

#[test]
fn the_fields_are_given_back_to_the_tools_and_what_they_wrote_since_is_theirs_too() {
    let fields = |key: &str| json!({ "f:spec": { key: {} } });
    let helm = entry("helm", None, fields("f:replicas"));
    let ours = entry(MANAGER, None, fields("f:template"));
    let status = entry("kube-controller-manager", Some("status"), json!({ "f:status": {} }));
    let our_status = entry(MANAGER, Some("status"), json!({ "f:status": {} }));
    // Ours go, those of the old status too: the new object earns its own.
    assert_eq!(merged(&[&helm, &ours, &status], &[&ours]), json!([helm]));
    assert_eq!(merged(&[&helm], &[&ours, &status]), json!([helm, status]));
    assert_eq!(merged(&[&helm], &[&our_status]), json!([helm, our_status]));
    // What a tool has written since is added to what it had.
    let mut since = entry("helm", None, fields("f:template"));
    since["time"] = json!("2");
    let mut both = entry("helm", None, json!({ "f:spec": { "f:replicas": {}, "f:template": {} } }));
    both["time"] = json!("2");
    assert_eq!(merged(&[&helm], &[&since]), json!([both]));
    // The same tool by another way of writing is another entry.
    let mut applied = helm.clone();
    applied["operation"] = json!("Apply");
    assert_eq!(merged(&[&helm], &[&applied]), json!([helm, applied]));
}

#[test]
fn a_template_is_edited_when_somebody_else_has_written_it_since() {
    let written =
        |entries: Value| managed_fields::template_is_edited(&changed(|set| set["metadata"]["managedFields"] = entries));
    let template = json!({ "f:spec": { "f:template": {} } });
    assert!(!written(json!([entry(MANAGER, None, template.clone())])));
    assert!(!written(json!([entry("helm", None, json!({ "f:spec": { "f:replicas": {} } }))])));
    assert!(written(json!([entry(MANAGER, None, template.clone()), entry("helm", None, template)])));
    assert!(!written(Value::Null));
}

#[test]
fn the_last_write_is_the_latest_entry_of_the_operator_without_a_subresource() {
    let at = |manager: &str, subresource: Option<&str>, day: u32| {
        let mut entry = entry(manager, subresource, json!({}));
        entry["time"] = json!(format!("2026-01-0{day}T00:00:00Z"));
        entry
    };
    let check = |entries: &[Value], expected: Option<&str>| {
        let written = managed_fields::written_at(&changed(|set| set["metadata"]["managedFields"] = json!(entries)));
        assert_eq!(written.map(|time| time.to_string()).as_deref(), expected, "{entries:?}");
    };
    let others = [at("helm", None, 5), at(MANAGER, Some("status"), 6)];
    check(&others, None);
    let [helm, status] = others;
    let all = [at(MANAGER, None, 2), at(MANAGER, None, 3), at(MANAGER, None, 1), helm, status];
    check(&all, Some("2026-01-03T00:00:00Z"));
}

#[test]
fn a_merge_patch_turns_one_value_into_the_other_and_contains_only_the_changes() {
    let check = |from: Value, to: Value, expected: Value| {
        let patch = merge_patch(&from, &to);
        assert_eq!(patch, expected, "{from} {to}");
        let mut patched = from;
        json_patch::merge(&mut patched, &patch);
        assert_eq!(patched, to);
    };
    check(json!({ "a": 1 }), json!({ "a": 1 }), json!({}));
    check(json!({ "kept": 1, "gone": 2 }), json!({ "kept": 1 }), json!({ "gone": null }));
    check(json!({ "a": { "b": 1, "c": 2 } }), json!({ "a": { "b": 3, "c": 2 } }), json!({ "a": { "b": 3 } }));
    check(json!({ "a": [1, 2] }), json!({ "a": [1], "new": 4 }), json!({ "a": [1], "new": 4 }));
}

#[test]
fn a_checksum_of_a_template_tells_templates_apart() {
    let other = changed(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("busybox:2"));
    assert_eq!(template_checksum(&set()), template_checksum(&changed(|set| set["spec"]["replicas"] = json!(9))));
    assert_ne!(template_checksum(&set()), template_checksum(&other));
    assert_eq!(template_checksum(&set()).len(), 64);
}

#[test]
fn only_the_hold_and_the_garbage_collectors_finalizers_are_transient() {
    assert_eq!([HOLD, "orphan", "foregroundDeletion", "x/y"].map(is_transient), [true, true, true, false]);
}

#[test]
fn differences_are_told_as_paths_without_sizes() {
    let check = |change: fn(&mut Value), expected: &[&str]| {
        assert_eq!(differences(&set(), &changed(change)), expected);
        assert_eq!(differences(&changed(change), &set()), expected);
    };
    check(|_| {}, &[]);
    check(|set| set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("9Gi"), &[]);
    check(|set| set["spec"]["replicas"] = json!(5), &["spec.replicas"]);
    check(|set| set["metadata"]["labels"]["new"] = json!("x"), &["metadata.labels.new"]);
    check(
        |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x"),
        &["spec.template.spec.containers[0].image"],
    );
    check(|set| set["spec"]["template"]["spec"]["containers"] = json!([]), &["spec.template.spec.containers"]);
}

fn claims(sizes: &[(&str, Bytes)]) -> BTreeMap<ClaimName, Bytes> {
    sizes.iter().map(|(name, size)| (ClaimName::new(*name), *size)).collect()
}

#[test]
fn a_restore_creates_what_was_saved_as_large_as_its_largest_claim() {
    let sizes = claims(&[
        ("data-db-0", Bytes::gib(3)),
        ("data-db-1", Bytes::gib(5)),
        ("data-db-2", Bytes::gib(4)),
        ("data-other-0", Bytes::gib(9)),
    ]);
    match plan(&set(), None, &sizes).unwrap() {
        RestorePlan::Create { manifest, raised } => {
            let (from, to, claim) = (Bytes::gib(1), Bytes::gib(5), ClaimName::new("data-db-1"));
            assert_eq!(raised, [Raised { template: data(), from, to, claim }]);
            assert_eq!(size_of(&manifest), "5Gi");
            assert_eq!(manifest["metadata"].get("uid"), None);
        }
        RestorePlan::Nothing => panic!("there is something to do"),
    }
    let same = claims(&[("data-db-0", Bytes::gib(1))]);
    match plan(&set(), None, &same).unwrap() {
        RestorePlan::Create { manifest, raised } => {
            assert_eq!((size_of(&manifest), raised), (&json!("1Gi"), Vec::new()))
        }
        RestorePlan::Nothing => panic!("there is something to do"),
    }
}

#[test]
fn a_restore_never_touches_a_set_that_is_there() {
    let live = |live: &Value| plan(&set(), Some(live), &BTreeMap::new());
    assert_eq!(live(&set()), Ok(RestorePlan::Nothing));
    match live(&changed(|set| set["spec"]["replicas"] = json!(5))) {
        Err(error @ RestoreError::Exists { .. }) => assert!(error.to_string().contains("spec.replicas"), "{error}"),
        other => panic!("expected a refusal, not {other:?}"),
    }
    let deleting = changed(|set| set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert!(matches!(live(&deleting), Err(RestoreError::Deleting(_))));
}

#[test]
fn what_is_no_set_is_not_restored() {
    let check = |change: fn(&mut Value), word: &str| match plan(&changed(change), None, &BTreeMap::new()) {
        Err(error @ RestoreError::Malformed(_)) => assert!(error.to_string().contains(word), "{error}"),
        other => panic!("expected a refusal, not {other:?}"),
    };
    check(|set| set["kind"] = json!("Pod"), "not a StatefulSet");
    check(|set| set["metadata"]["namespace"] = json!(""), "metadata.namespace");
    check(|set| set["metadata"]["name"] = Value::Null, "metadata.name");
    check(|set| set["spec"]["replicas"] = json!("many"), "spec.replicas");
}
