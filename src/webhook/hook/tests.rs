use serde_json::json;

use super::*;
use crate::api::annotations::REQUESTED;
use crate::api::bytes::Bytes;

/// Every object belongs to a StatefulSet that rso manages.
struct EverythingManaged;

impl Lookup for EverythingManaged {
    fn siblings(&self, _: &str, _: &ClaimName) -> Option<Siblings> {
        Some(Siblings { template: "data".into(), largest: Bytes::gib(5) })
    }

    fn agent(&self, _: &str, _: &Value) -> Option<&str> {
        Some("agent:1")
    }
}

fn review(kind: (&str, &str, &str), operation: &str, object: Value, old: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0-1",
            "kind": {"group": kind.0, "version": kind.1, "kind": kind.2},
            "operation": operation, "namespace": "ns", "name": "db", "object": object, "oldObject": old,
            "userInfo": {"username": "anna"}, "dryRun": false, "options": null,
        },
    })
}

fn handled(hook: Hook, body: &[u8]) -> (u16, Value) {
    let reply = hook.handle(Caller::ApiServer, body, &EverythingManaged);
    (reply.code, serde_json::from_slice(&reply.body).expect("a response that can be parsed"))
}

fn set(size: &str) -> Value {
    json!({
        "metadata": {"name": "db", "uid": "u"},
        "spec": {"volumeClaimTemplates": [
            {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
        ]},
    })
}

const SET: (&str, &str, &str) = ("apps", "v1", "StatefulSet");

#[test]
fn a_hook_is_found_by_its_path() {
    let check = |path: &str, expected: Option<(Hook, &str)>| assert_eq!(Hook::at(path), expected, "{path}");
    check("/absorb", Some((Hook::Absorb, "")));
    check("/floor", Some((Hook::Floor, "")));
    check("/agent", Some((Hook::Agent, "")));
    check("/state", Some((Hook::State, "")));
    check("/floor/0a1b", Some((Hook::Floor, "0a1b")));
    check("/floor/0a/1b", Some((Hook::Floor, "0a/1b")));
    check("/absorb/", Some((Hook::Absorb, "")));
    check("/", None);
    check("", None);
    check("absorb", None);
    check("/absorbs", None);
    check("//absorb", None);
}

#[test]
fn every_request_is_allowed_and_an_unexpected_one_gets_a_warning() {
    let check = |hook: Hook, review: Value, code: u16, patched: bool| {
        let (seen, review_response) = handled(hook, review.to_string().as_bytes());
        let response = &review_response["response"];
        assert_eq!(seen, code, "{review}");
        assert_eq!(response["allowed"], true);
        assert_eq!(response["uid"], "0-1");
        assert_eq!(response["patch"].is_string(), patched, "{review_response}");
        assert_eq!(
            code != 200,
            response["warnings"][0].as_str().is_some_and(|text| text.contains("without processing it"))
        );
    };
    check(Hook::Absorb, review(SET, "UPDATE", set("2Gi"), set("1Gi")), 200, true);
    check(Hook::Absorb, review(SET, "UPDATE", set("1Gi"), set("1Gi")), 200, false);
    check(Hook::Absorb, review(SET, "CREATE", set("2Gi"), Value::Null), 422, false);
    check(Hook::Absorb, review(SET, "UPDATE", set("2Gi"), Value::Null), 422, false);
    check(Hook::Absorb, review(SET, "DELETE", Value::Null, set("1Gi")), 422, false);
    check(Hook::Absorb, review(("apps", "v2", "StatefulSet"), "UPDATE", set("2Gi"), set("1Gi")), 422, false);
    check(Hook::Absorb, review(("", "v1", "Pod"), "UPDATE", set("2Gi"), set("1Gi")), 422, false);
    let claim = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    check(Hook::Floor, review(("", "v1", "PersistentVolumeClaim"), "CREATE", claim.clone(), Value::Null), 200, true);
    check(Hook::Floor, review(("", "v1", "PersistentVolumeClaim"), "UPDATE", claim.clone(), claim), 422, false);
    check(Hook::Agent, review(("", "v1", "Pod"), "CREATE", json!({"spec": {}}), Value::Null), 200, false);
    check(Hook::State, review(SET, "CREATE", set("2Gi"), Value::Null), 200, false);
}

#[test]
fn an_unverified_caller_learns_nothing_beyond_its_request() {
    let check = |hook: Hook, review: Value, same: bool| {
        let body = review.to_string().into_bytes();
        let [verified, unverified] =
            [Caller::ApiServer, Caller::Unverified].map(|caller| hook.handle(caller, &body, &EverythingManaged).body);
        assert_eq!(verified == unverified, same, "{review}");
        assert!(same || String::from_utf8_lossy(&unverified).contains(r#""response":{"allowed":true,"uid":"0-1"}"#));
    };
    let claim = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    check(Hook::Floor, review(("", "v1", "PersistentVolumeClaim"), "CREATE", claim, Value::Null), false);
    let pod = json!({"metadata": {}, "spec": {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
        "containers": [{"name": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
    }});
    check(Hook::Agent, review(("", "v1", "Pod"), "CREATE", pod, Value::Null), false);
    check(Hook::Absorb, review(SET, "UPDATE", set("2Gi"), set("1Gi")), true);
}

#[test]
fn a_forged_annotation_is_recorded_as_an_event_unless_it_is_a_dry_run() {
    let mut forged = set("1Gi");
    forged["metadata"]["annotations"] = json!({REQUESTED: "data=9Ti"});
    let mut review = review(SET, "UPDATE", forged, set("1Gi"));
    let handle = |caller, review: &Value| Hook::State.handle(caller, review.to_string().as_bytes(), &EverythingManaged);
    let events = |review: &Value| handle(Caller::ApiServer, review).events;
    let unverified = handle(Caller::Unverified, &review);
    assert_eq!(unverified.events, None, "for an unverified caller");
    assert_eq!(unverified.body, handle(Caller::ApiServer, &review).body);
    let (set, uid, notes) = events(&review).expect("an Event");
    assert_eq!((set.to_string().as_str(), uid.as_str(), notes.len()), ("ns/db", "u", 1));
    review["request"]["dryRun"] = json!(true);
    assert_eq!(events(&review), None);
}
