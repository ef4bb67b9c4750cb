//! The `AdmissionReview` of `admission.k8s.io/v1`, as it is read and written.
//!
//! The response always allows: an error of ours must never block a request to the cluster. If a request cannot be
//! parsed, its uid is searched for in the text, because the API server rejects a response without it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::bounded_parse::{self, ParseError};
use super::endpoint::Hook;
use super::patch::Op;
use crate::api::parts::parts;
use crate::api::reasons::Note;

/// The largest body that is read. It holds two objects: one that etcd accepted, 1.5 MiB of protobuf, and one that the
/// API server accepted, 3 MiB of JSON. As JSON and with managedFields both are longer, so this is twice as much.
pub const MAX_REVIEW_BYTES: usize = 8 << 20;

/// The largest number of parts of a body: twice the number in two StatefulSets of 1.5 MiB that consist of small maps
/// alone (63,000 empty tolerations). Skipped parts cost no memory, and this limit keeps the record of open brackets
/// small.
pub const MAX_PARTS: usize = 512 << 10;

/// A uid has 36 characters, a name at most 253.
const MAX_NAME_BYTES: usize = 1024;

/// The length of a warning that every client shows in full.
const MAX_WARNING_CHARS: usize = 120;

/// How many bytes of an unparsable body are searched for a uid: the API server writes it first.
const UID_SEARCH_BYTES: usize = 1024;

/// The operation on the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deleted object.
    Delete,
    /// A connection, such as `exec`.
    Connect,
}

/// The request of a review.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest {
    /// Identifies the request.
    pub uid: String,
    /// The kind of the object.
    pub kind: Kind,
    /// The operation on the object.
    pub operation: Operation,
    /// The namespace of the object.
    #[serde(default)]
    pub namespace: String,
    /// The name of the object; empty if the server still has to generate it.
    #[serde(default)]
    pub name: String,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: bool,
    /// The object as requested.
    #[serde(default)]
    pub object: Value,
    /// The object as stored.
    #[serde(default)]
    pub old_object: Value,
}

/// A kind with its group and version. Displays as `apps/v1 StatefulSet`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// The group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The version, such as `v1`.
    #[serde(default)]
    pub version: String,
    /// The kind, such as `Pod`.
    #[serde(default)]
    pub kind: String,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.group.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{} {}", self.group, self.version, self.kind)
    }
}

/// The response of a review. It always allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionResponse {
    /// Changes to the object.
    pub patch: Vec<Op>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Audit annotations, by short keys.
    pub audit: BTreeMap<&'static str, String>,
    /// Event messages about the object, unless it is a dry run.
    pub notes: Vec<Note>,
}

impl AdmissionResponse {
    /// A response with a warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { warnings: vec![text.into()], ..Self::default() }
    }
}

/// Why a review is not processed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or not a review.
    #[error("the AdmissionReview cannot be parsed: {0}")]
    Malformed(#[source] serde_json::Error),
    /// An unknown version.
    #[error("unknown AdmissionReview version {0}")]
    Version(String),
    /// No request.
    #[error("the AdmissionReview has no request")]
    Empty,
    /// Too many parts: reading them would exceed the memory limit.
    #[error("the AdmissionReview has more than {MAX_PARTS} fields and items")]
    TooManyParts,
    /// Too much content to keep within the budget.
    #[error("the object is too large")]
    TooMuch,
}

impl ReviewError {
    /// The code for the metrics.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Version(_) | Self::Empty => 400,
            Self::TooManyParts | Self::TooMuch => 413,
        }
    }
}

/// Reads a request to a hook, as far as the hook needs it; on failure with its uid, if it can be found.
///
/// # Errors
/// When the body is not a review of a known version, or when its content exceeds the budget.
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
    // Move the objects instead of copying them.
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

/// The first uid in a body.
pub fn uid_in(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(UID_SEARCH_BYTES)]);
    let found = head.split_once("\"uid\"").and_then(|(_, rest)| {
        let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        value.split_once('"').map(|(uid, _)| uid.to_owned())
    });
    found.filter(|uid| uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')).unwrap_or_default()
}

/// The response as bytes.
pub fn write(uid: &str, response: &AdmissionResponse) -> Vec<u8> {
    let mut body = json!({ "uid": uid, "allowed": true });
    if !response.patch.is_empty() {
        use base64::Engine;
        let patch = Value::Array(response.patch.iter().map(Op::to_json).collect()).to_string();
        body["patchType"] = json!("JSONPatch");
        body["patch"] = json!(base64::engine::general_purpose::STANDARD.encode(patch));
    }
    if !response.warnings.is_empty() {
        body["warnings"] = response.warnings.iter().map(|warning| header_safe(warning)).collect();
    }
    if !response.audit.is_empty() {
        body["auditAnnotations"] = json!(response.audit);
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": body }).to_string().into_bytes()
}

/// The warning, shortened, and without characters that an HTTP header must not contain.
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
    fn a_request_is_read_or_its_uid_is_found() {
        let check = |body: &str, expected: Result<&str, (&str, &str)>| {
            let read = read(body.as_bytes(), Hook::Absorb);
            let result = read.map(|request| request.uid).map_err(|(uid, why)| (uid, why.to_string()));
            match (&result, expected) {
                (Ok(uid), Ok(expected)) => assert_eq!(uid, expected),
                (Err((uid, why)), Err((expected, words))) => {
                    assert!(uid == expected && why.contains(words), "{body}: {uid} {why}");
                }
                (result, expected) => panic!("{body}: {result:?}, not {expected:?}"),
            }
        };
        check(&review("admission.k8s.io/v1").to_string(), Ok("0-1"));
        check(&review("admission.k8s.io/v1beta1").to_string(), Err(("0-1", "unknown AdmissionReview version")));
        check("", Err(("", "cannot be parsed")));
        check("[]", Err(("", "cannot be parsed")));
        check("{\"apiVersion\":\"admission.k8s.io/v1\"}", Err(("", "has no request")));
        check("{\"request\": {\"uid\" : \"a-1\", \"object\": ", Err(("a-1", "cannot be parsed")));
        check("{\"request\":{\"uid\":\"a\\u0041\"", Err(("", "cannot be parsed")));
        check("{\"request\":{\"uid\":7}}", Err(("", "cannot be parsed")));
        check(&"[".repeat(100_000), Err(("", "cannot be parsed")));
        let named = |uid: &str| review("admission.k8s.io/v1").to_string().replace("0-1", uid);
        check(&named(&"a".repeat(MAX_NAME_BYTES + 1)), Err(("", "too large")));
    }

    #[test]
    fn a_body_that_would_exhaust_memory_is_not_parsed() {
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
    fn a_response_contains_only_the_fields_that_it_needs() {
        let parse =
            |response: &AdmissionResponse| -> Value { serde_json::from_slice(&write("0-1", response)).unwrap() };
        assert_eq!(parse(&AdmissionResponse::default())["response"], json!({"uid": "0-1", "allowed": true}));
        let long = format!("line\nbreak {}", "é".repeat(200));
        let warned = parse(&AdmissionResponse::warning(long));
        let text = warned["response"]["warnings"][0].as_str().unwrap();
        assert!(text.starts_with("line break é") && text.chars().count() == 120 && text.ends_with('…'));
        let patched =
            parse(&AdmissionResponse { patch: vec![Op::Remove("/a".into())], ..AdmissionResponse::default() });
        assert_eq!(patched["response"]["patchType"], "JSONPatch");
        assert_eq!(patched["response"]["patch"], "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=");
    }
}
