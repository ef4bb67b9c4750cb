//! What does the API server ask, and how is it answered? `AdmissionReview` of `admission.k8s.io/v1`, in and out.
//!
//! Whatever comes, the answer is a review that allows: an error of ours must never stand between a person and the cluster.
//! The uid of a question that cannot be read is looked for in its text, since the API server refuses an answer without it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::hook::Hook;
use super::bounded_parse::{self, ParseError};
use super::patch::Op;
use crate::api::parts::parts;
use crate::api::reasons::Note;

/// A longer question is not read. The body holds two objects: one that etcd took, 1.5 MiB of protobuf, and one that the API
/// server took, 3 MiB of JSON. As JSON and with managedFields both are longer, so this is twice as much.
pub const MAX_REVIEW_BYTES: usize = 8 << 20;

/// The most parts of a body: twice what two StatefulSets of 1.5 MiB have that consist of small maps alone (63,000 empty
/// tolerations). What is skipped costs no memory, and this keeps what remembers the open brackets small.
pub const MAX_PARTS: usize = 512 << 10;

/// A uid has 36 characters, a name at most 253.
const MAX_NAME_BYTES: usize = 1024;

/// Warnings of this length are shown whole by every client.
const MAX_WARNING_CHARS: usize = 120;

/// As far as a uid is looked for in a body that cannot be read: the API server writes it first.
const UID_SEARCH_BYTES: usize = 1024;

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is new.
    Create,
    /// It is changed.
    Update,
    /// It is taken away.
    Delete,
    /// Something like `exec`.
    Connect,
}

/// A question.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest {
    /// Which question this is.
    pub uid: String,
    /// Of which kind the object is.
    pub kind: Kind,
    /// What is done to it.
    pub operation: Operation,
    /// Where it is.
    #[serde(default)]
    pub namespace: String,
    /// Its name; empty when the server has still to make one up.
    #[serde(default)]
    pub name: String,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: bool,
    /// The object as it is to be.
    #[serde(default)]
    pub object: Value,
    /// The object as it is.
    #[serde(default)]
    pub old_object: Value,
}

/// A kind with its group and version. Displays as `apps/v1 StatefulSet`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Such as `v1`.
    #[serde(default)]
    pub version: String,
    /// Such as `Pod`.
    #[serde(default)]
    pub kind: String,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.group.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{} {}", self.group, self.version, self.kind)
    }
}

/// What is answered. Always "yes".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionResponse {
    /// Changes to the object.
    pub patch: Vec<Op>,
    /// For the person who asked.
    pub warnings: Vec<String>,
    /// For the audit log, by short keys.
    pub audit: BTreeMap<&'static str, String>,
    /// To be told as an Event about the object, unless it is a dry run.
    pub notes: Vec<Note>,
}

impl AdmissionResponse {
    /// Yes, with a word to the person.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { warnings: vec![text.into()], ..Self::default() }
    }
}

/// Why a question has no meaning.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or not a review.
    #[error("the review cannot be read: {0}")]
    Malformed(#[source] serde_json::Error),
    /// A version of the future, or of the past.
    #[error("the review is of the unknown version {0}")]
    Version(String),
    /// Nothing was asked.
    #[error("the review asks nothing")]
    Empty,
    /// So much that reading it would take more memory than there is for it.
    #[error("the review has more than {MAX_PARTS} fields and items")]
    TooManyParts,
    /// More of it would have to be kept than there is room for.
    #[error("the object is too large")]
    TooMuch,
}

impl ReviewError {
    /// The code for the count.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Version(_) | Self::Empty => 400,
            Self::TooManyParts | Self::TooMuch => 413,
        }
    }
}

/// Reads a question to a hook, as far as the hook needs it; on failure with its uid, as far as it can be found.
///
/// # Errors
/// When it is no review of a version that is known, or more of it would have to be kept than there is room for.
pub fn read(body: &[u8], hook: Hook) -> Result<AdmissionRequest, (String, ReviewError)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Review {
        #[serde(default)]
        api_version: String,
        request: Option<AdmissionRequest>,
    }
    let unread = |why| (uid_in(body), why);
    if parts(body) > MAX_PARTS {
        return Err(unread(ReviewError::TooManyParts));
    }
    let mut review = bounded_parse::parse(body, hook).map_err(|error| {
        unread(match error {
            ParseError::Json(error) => ReviewError::Malformed(error),
            ParseError::TooMuch => ReviewError::TooMuch,
        })
    })?;
    // The objects are moved, not made a second time.
    let mut object = |key| review.get_mut("request").and_then(|request| request.get_mut(key)).map(Value::take);
    let mut objects = ["object", "oldObject"].map(&mut object);
    let review: Review = serde_json::from_value(review).map_err(|error| unread(ReviewError::Malformed(error)))?;
    if review.api_version != "admission.k8s.io/v1" {
        return Err(unread(ReviewError::Version(review.api_version.chars().take(64).collect())));
    }
    let mut request = review.request.ok_or_else(|| unread(ReviewError::Empty))?;
    if [&request.uid, &request.namespace, &request.name].into_iter().any(|text| text.len() > MAX_NAME_BYTES) {
        return Err(unread(ReviewError::TooMuch));
    }
    [request.object, request.old_object] = [0, 1].map(|index| objects[index].take().unwrap_or_default());
    Ok(request)
}

/// The uid that a body names first.
pub fn uid_in(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(UID_SEARCH_BYTES)]);
    let found = head.split_once("\"uid\"").and_then(|(_, rest)| {
        let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        value.split_once('"').map(|(uid, _)| uid.to_owned())
    });
    found.filter(|uid| uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')).unwrap_or_default()
}

/// The answer as it is sent.
pub fn write(uid: &str, answer: &AdmissionResponse) -> Vec<u8> {
    let mut response = json!({ "uid": uid, "allowed": true });
    if !answer.patch.is_empty() {
        use base64::Engine;
        let patch = Value::Array(answer.patch.iter().map(Op::to_json).collect()).to_string();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(base64::engine::general_purpose::STANDARD.encode(patch));
    }
    if !answer.warnings.is_empty() {
        response["warnings"] = answer.warnings.iter().map(|warning| header_safe(warning)).collect();
    }
    if !answer.audit.is_empty() {
        response["auditAnnotations"] = json!(answer.audit);
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
        .to_string()
        .into_bytes()
}

/// A warning that fits, without what an HTTP header must not hold.
fn header_safe(warning: &str) -> String {
    let plain: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.chars().count() <= MAX_WARNING_CHARS {
        return plain;
    }
    plain.chars().take(MAX_WARNING_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(version: &str) -> Value {
        json!({
            "kind": "AdmissionReview", "apiVersion": version,
            "request": {"uid": "0-1", "kind": {"group": "apps", "version": "v1", "kind": "StatefulSet"}, "operation": "UPDATE"},
        })
    }

    #[test]
    fn a_question_is_read_or_its_uid_is_found() {
        let check = |body: &str, expected: Result<&str, (&str, &str)>| {
            let read = read(body.as_bytes(), Hook::Absorb);
            let told = read.map(|request| request.uid).map_err(|(uid, why)| (uid, why.to_string()));
            match (&told, expected) {
                (Ok(uid), Ok(expected)) => assert_eq!(uid, expected),
                (Err((uid, why)), Err((expected, words))) => {
                    assert!(uid == expected && why.contains(words), "{body}: {uid} {why}");
                }
                (told, expected) => panic!("{body}: {told:?}, not {expected:?}"),
            }
        };
        check(&review("admission.k8s.io/v1").to_string(), Ok("0-1"));
        check(&review("admission.k8s.io/v1beta1").to_string(), Err(("0-1", "unknown version")));
        check("", Err(("", "cannot be read")));
        check("[]", Err(("", "cannot be read")));
        check("{\"apiVersion\":\"admission.k8s.io/v1\"}", Err(("", "asks nothing")));
        check("{\"request\": {\"uid\" : \"a-1\", \"object\": ", Err(("a-1", "cannot be read")));
        check("{\"request\":{\"uid\":\"a\\u0041\"", Err(("", "cannot be read")));
        check("{\"request\":{\"uid\":7}}", Err(("", "cannot be read")));
        check(&"[".repeat(100_000), Err(("", "cannot be read")));
        let named = |uid: &str| review("admission.k8s.io/v1").to_string().replace("0-1", uid);
        check(&named(&"a".repeat(MAX_NAME_BYTES + 1)), Err(("", "too large")));
    }

    #[test]
    fn a_bomb_is_not_parsed() {
        let check = |bomb: &str, code: Option<u16>| {
            let head = r#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":"0-1","kind":{},"operation":"UPDATE","object":"#;
            let read = read(format!("{head}{bomb}}}}}").as_bytes(), Hook::Absorb);
            let failed = read.err().map(|(uid, why)| (uid, why.code()));
            assert_eq!(failed, code.map(|code| ("0-1".to_owned(), code)), "{}", &bomb[..40]);
        };
        let maps = |count: usize| format!(r#"[{}{{}}]"#, r#"{"":0},"#.repeat(count));
        check(&maps(MAX_PARTS / 2), Some(413));
        check(&maps(bounded_parse::MAX_VALUES), Some(413));
        check(&format!(r#"{{"metadata":{{"annotations":{}}}}}"#, maps(bounded_parse::MAX_VALUES)), Some(413));
        check(&"[".repeat(MAX_REVIEW_BYTES - 1024), Some(413));
        check(&format!("\"{}\"", "x".repeat(bounded_parse::MAX_TEXT_BYTES)), Some(413));
        check(&format!(r#"{{"spec":{{"template":{}}}}}"#, maps(126_000)), None);
    }

    #[test]
    fn an_answer_says_what_it_has_to_and_no_more() {
        let parse = |answer: &AdmissionResponse| -> Value { serde_json::from_slice(&write("0-1", answer)).unwrap() };
        assert_eq!(parse(&AdmissionResponse::default())["response"], json!({"uid": "0-1", "allowed": true}));
        let long = format!("line\nbreak {}", "é".repeat(200));
        let warned = parse(&AdmissionResponse::warning(long));
        let text = warned["response"]["warnings"][0].as_str().unwrap();
        assert!(text.starts_with("line break é") && text.chars().count() == 120 && text.ends_with('…'));
        let patched = parse(&AdmissionResponse { patch: vec![Op::Remove("/a".into())], ..AdmissionResponse::default() });
        assert_eq!(patched["response"]["patchType"], "JSONPatch");
        assert_eq!(patched["response"]["patch"], "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=");
    }
}
