//! What must hold of the webhook whatever it is sent?

use rso::api::bytes::Bytes;
use rso::api::names::ClaimName;
use rso::webhook::absorb::{absorb, keep_state};
use rso::webhook::floor::{Siblings, floor};
use rso::webhook::hook::{Facts, Hook};
use rso::webhook::inject::inject;
use rso::webhook::patch::Op;
use rso::webhook::review::Answer;
use serde_json::Value;

/// Everything belongs to a set that grows, so that every hook has something to do.
struct Busy;

impl Facts for Busy {
    fn siblings(&self, _: &str, _: &ClaimName) -> Option<Siblings> {
        Some(Siblings { template: "data".into(), largest: Bytes::gib(5) })
    }

    fn agent(&self, _: &str, _: &Value) -> Option<&str> {
        Some("agent:1")
    }
}

/// Any bytes to any hook: the answer is a review that allows, and whatever it patches applies.
pub fn a_body(data: &[u8]) {
    Hook::ALL.iter().for_each(|hook| answer_is_sound(*hook, data));
}

/// Any two sets, as `[object, oldObject]`: what is answered applies, touches only what it may, and is final.
pub fn a_pair(data: &[u8]) {
    if let Ok((object, old)) = serde_json::from_slice::<(Value, Value)>(data) {
        pair_is_sound(&object, &old);
    }
}

/// Bytes in, a review out that allows and whose warnings are short.
pub fn answer_is_sound(hook: Hook, body: &[u8]) {
    let answered = hook.answer(body, &Busy);
    let review: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    let response = &review["response"];
    assert_eq!(response["allowed"], true);
    assert!(response["uid"].is_string());
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().expect("a warning is text");
        assert!(text.chars().count() <= 120 && !text.contains(char::is_control), "{text:?}");
    }
    if let Ok(Value::Object(question)) = serde_json::from_slice(body) {
        let (object, old) = (&question.get("request").unwrap_or(&Value::Null)["object"], Value::Null);
        pair_is_sound(object, &old);
    }
}

/// Two objects in, patches out that apply, touch only what they may, and leave nothing to do.
pub fn pair_is_sound(object: &Value, old: &Value) {
    let absorbed = absorb(object, old);
    let done = applied(object, &absorbed);
    only_touches(&absorbed, &["/spec/volumeClaimTemplates", "/metadata/annotations", REQUESTED]);
    assert!(absorb(&done, old).patch.is_empty(), "absorbed twice");
    let kept = keep_state(object, old);
    only_touches(&kept, &[REQUESTED, TRANSACTION]);
    applied(object, &kept);
    let siblings = Siblings { template: "data".into(), largest: Bytes::gib(5) };
    let raised = floor(object, Some(&siblings));
    only_touches(&raised, &["/spec/resources/requests/storage"]);
    assert!(floor(&applied(object, &raised), Some(&siblings)).patch.is_empty(), "raised twice");
    let injected = inject(object, "agent:1");
    let lists = ["/spec/volumes", "/spec/volumes/-", "/spec/initContainers", "/spec/initContainers/-"];
    only_touches(&injected, &lists);
    assert!(inject(&applied(object, &injected), "agent:1").patch.is_empty(), "injected twice");
}

const REQUESTED: &str = "/metadata/annotations/resize-statefulset-operator~1requested";
const TRANSACTION: &str = "/metadata/annotations/resize-statefulset-operator~1transaction";

fn only_touches(answer: &Answer, allowed: &[&str]) {
    for op in &answer.patch {
        assert!(allowed.contains(&op.path()), "{} is none of its business", op.path());
    }
}

fn applied(object: &Value, answer: &Answer) -> Value {
    let patch = Value::Array(answer.patch.iter().map(Op::to_json).collect());
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).expect("a patch that applies");
    object
}
