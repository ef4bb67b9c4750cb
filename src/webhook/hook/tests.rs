use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::annotations::REQUESTED;
use crate::api::bytes::Bytes;

/// Everything belongs to a set that grows.
struct Known;

impl Facts for Known {
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

fn answered(hook: Hook, body: &[u8]) -> (u16, Value) {
    let answered = hook.answer(body, &Known);
    (answered.code, serde_json::from_slice(&answered.body).expect("an answer that can be read"))
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
    let check = |path: &str, expected: Option<Hook>| assert_eq!(Hook::at(path), expected, "{path}");
    check("/absorb", Some(Hook::Absorb));
    check("/floor", Some(Hook::Floor));
    check("/agent", Some(Hook::Agent));
    check("/state", Some(Hook::State));
    check("/", None);
    check("absorb", None);
    check("/absorb/", None);
}

#[test]
fn every_question_is_allowed_and_a_strange_one_is_warned_about() {
    let check = |hook: Hook, review: Value, code: u16, patched: bool| {
        let (seen, answer) = answered(hook, review.to_string().as_bytes());
        let response = &answer["response"];
        assert_eq!(seen, code, "{review}");
        assert_eq!(response["allowed"], true);
        assert_eq!(response["uid"], "0-1");
        assert_eq!(response["patch"].is_string(), patched, "{answer}");
        assert_eq!(code != 200, response["warnings"][0].as_str().is_some_and(|text| text.contains("unseen")));
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
fn a_forged_state_is_told_as_an_event_unless_it_is_a_dry_run() {
    let mut forged = set("1Gi");
    forged["metadata"]["annotations"] = json!({REQUESTED: "data=9Ti"});
    let mut review = review(SET, "UPDATE", forged, set("1Gi"));
    let told = |review: &Value| Hook::State.answer(review.to_string().as_bytes(), &Known).told;
    let (set, uid, notes) = told(&review).expect("an Event");
    assert_eq!((set.to_string().as_str(), uid.as_str(), notes.len()), ("ns/db", "u", 1));
    review["request"]["dryRun"] = json!(true);
    assert_eq!(told(&review), None);
}

/// Any JSON, with the words that the hooks look for more likely than others.
fn json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "metadata",
        "spec",
        "volumeClaimTemplates",
        "name",
        "annotations",
        REQUESTED,
        "resources",
        "requests",
        "storage",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "persistentVolumeClaim",
        "claimName",
        "data",
        "1Gi",
        "-5",
        "9e99",
        "",
        "a/b~c",
        "securityContext",
        "labels",
        "limits",
        "cpu",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((words.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A set of up to three templates that may or may not be sound, with or without annotations.
fn some_set() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["data", "wal", "log"]);
    let size = prop::sample::select(vec!["1Gi", "1024Mi", "2Gi", "10e9", "10G", "", "x"]);
    let template = (name, size, json()).prop_map(|(name, size, more)| {
        let odd = if more.is_string() { more } else { Value::Null };
        json!({"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}, "x": odd}})
    });
    let annotations = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        ".{0,12}".prop_map(|text| json!({REQUESTED: text})),
        Just(json!({REQUESTED: "data=2Gi,wal=5Gi"})),
    ];
    (prop::collection::vec(prop_oneof![9 => template, 1 => json()], 0..4), annotations).prop_map(
        |(templates, annotations)| json!({"metadata": {"annotations": annotations}, "spec": {"volumeClaimTemplates": templates}}),
    )
}

fn applied(object: &Value, patch: &[crate::webhook::patch::Op]) -> Value {
    let ops = Value::Array(patch.iter().map(crate::webhook::patch::Op::to_json).collect());
    let mut object = object.clone();
    let ops: json_patch::Patch = serde_json::from_value(ops).expect("a patch");
    json_patch::patch(&mut object, &ops).expect("a patch that applies");
    object
}

proptest! {
    #[test]
    fn no_bytes_make_a_hook_fall(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for hook in Hook::ALL {
            prop_assert_eq!(&answered(hook, &bytes).1["response"]["allowed"], true);
        }
    }

    #[test]
    fn no_objects_make_a_hook_fall(object in json(), old in json(), operation in 0..4_usize) {
        let operation = ["CREATE", "UPDATE", "DELETE", "CONNECT"][operation];
        for (hook, kind) in Hook::ALL.into_iter().zip([SET, SET, ("", "v1", "PersistentVolumeClaim"), ("", "v1", "Pod")]) {
            let review = review(kind, operation, object.clone(), old.clone()).to_string();
            prop_assert_eq!(&answered(hook, review.as_bytes()).1["response"]["allowed"], true);
        }
    }

    #[test]
    fn what_absorb_answers_applies_touches_only_what_it_may_and_is_final(object in some_set(), old in some_set()) {
        let answer = absorb(&object, &old);
        let done = applied(&object, &answer.patch);
        for op in &answer.patch {
            let allowed = ["/spec/volumeClaimTemplates", "/metadata/annotations", "/metadata/annotations/resize-statefulset-operator~1requested"];
            prop_assert!(allowed.contains(&op.path()), "{}", op.path());
        }
        if !answer.patch.is_empty() {
            prop_assert_eq!(&done["spec"], &old["spec"]);
        }
        prop_assert_eq!(absorb(&done, &old).patch, vec![]);
        prop_assert!(answer.warnings.iter().all(|text| !text.contains("immutable")));
    }

    #[test]
    fn what_the_other_hooks_answer_applies_to_any_object(object in json(), old in json()) {
        let siblings = Siblings { template: "data".into(), largest: Bytes::gib(5) };
        applied(&object, &keep_state(&object, &old).patch);
        applied(&object, &floor(&object, Some(&siblings)).patch);
        applied(&object, &inject(&object, "agent:1").patch);
    }
}
