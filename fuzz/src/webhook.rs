//! What must hold of the webhook whatever it is sent?

use rso::api::bytes::Bytes;
use rso::api::names::ClaimName;
use rso::webhook::absorb::{absorb, keep_state};
use rso::webhook::bounded_parse;
use rso::webhook::floor::{Siblings, floor};
use rso::webhook::hook::{Caller, Hook, Lookup};
use rso::webhook::inject::inject;
use rso::webhook::patch::Op;
use rso::webhook::review::{self, AdmissionResponse};
use serde_json::{Value, json};

/// Everything belongs to a set that grows, so that every hook has something to do.
struct Busy;

impl Lookup for Busy {
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
    let answered = hook.handle(Caller::ApiServer, body, &Busy);
    a_stranger_hears_no_more(hook, body, &answered.body);
    only_what_fits_is_kept(hook, body);
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

/// Nothing that is known of claims and pods reaches one who is not the API server, and nothing is told on his word.
fn a_stranger_hears_no_more(hook: Hook, body: &[u8], known: &[u8]) {
    let answered = hook.handle(Caller::Unverified, body, &Busy);
    assert_eq!(answered.events, None);
    match hook {
        Hook::State | Hook::Absorb => assert_eq!(answered.body, known),
        Hook::Floor | Hook::Agent => {
            let review: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
            assert_eq!(review["response"].get("patch"), None);
        }
    }
}

/// However long the body is.
fn only_what_fits_is_kept(hook: Hook, body: &[u8]) {
    if let Ok(kept) = bounded_parse::parse(body, hook) {
        let (values, text) = weight(&kept);
        assert!(
            values <= bounded_parse::MAX_VALUES && text <= bounded_parse::MAX_TEXT_BYTES,
            "{values} values, {text} bytes"
        );
    }
}

fn weight(value: &Value) -> (usize, usize) {
    let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (1, 0),
        Value::String(text) => (1, text.len()),
        Value::Array(items) => items.iter().map(weight).fold((1, 0), add),
        Value::Object(members) => {
            members.iter().map(|(key, value)| add((0, key.len()), weight(value))).fold((1, 0), add)
        }
    }
}

/// What is skipped of an object while it is read changes no answer.
fn what_is_kept_is_enough(object: &Value, old: &Value) {
    let kept = |hook: Hook| {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": "1", "kind": {}, "operation": "UPDATE", "object": object, "oldObject": old},
        });
        review::read(review.to_string().as_bytes(), hook).ok()
    };
    let siblings = Siblings { template: "data".into(), largest: Bytes::gib(5) };
    for hook in Hook::ALL {
        let Some(request) = kept(hook) else { continue };
        let answer = |object: &Value, old: &Value| match hook {
            Hook::State => keep_state(object, old),
            Hook::Absorb => absorb(object, old),
            Hook::Floor => floor(object, Some(&siblings)),
            Hook::Agent => inject(object, "agent:1"),
        };
        let (whole, part) = (answer(object, old), answer(&request.object, &request.old_object));
        assert_eq!(whole, part, "{hook:?} reads what is not kept");
    }
}

/// Two objects in, patches out that apply, touch only what they may, and leave nothing to do.
pub fn pair_is_sound(object: &Value, old: &Value) {
    what_is_kept_is_enough(object, old);
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
    let lists = ["/spec/volumes", "/spec/volumes/-", "/spec/initContainers", "/spec/initContainers/0"];
    only_touches(&injected, &lists);
    assert!(inject(&applied(object, &injected), "agent:1").patch.is_empty(), "injected twice");
}

const REQUESTED: &str = "/metadata/annotations/resize-statefulset-operator~1requested";
const TRANSACTION: &str = "/metadata/annotations/resize-statefulset-operator~1transaction";

fn only_touches(answer: &AdmissionResponse, allowed: &[&str]) {
    for op in &answer.patch {
        assert!(allowed.contains(&op.path()), "{} is none of its business", op.path());
    }
}

fn applied(object: &Value, answer: &AdmissionResponse) -> Value {
    let patch = Value::Array(answer.patch.iter().map(Op::to_json).collect());
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).expect("a patch that applies");
    object
}
