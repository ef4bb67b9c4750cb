//! The minimum size of a new PVC: that of its siblings, which may have been expanded since the template was written.
//!
//! If the template is outdated, a new replica would start with a smaller volume than the others need. The hook only
//! ever raises a request, so a PVC that is restored from a snapshot keeps at least the size of the snapshot.

use serde_json::{Value, json};

use super::patch::Op;
use super::review::AdmissionResponse;
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::storage::{self, REQUEST_POINTER};

/// The existing PVCs of the same template, from the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siblings {
    /// The template of all of them.
    pub template: TemplateName,
    /// The largest request.
    pub largest: Bytes,
}

/// Handles the CREATE of a PVC. `siblings`: `None` if it belongs to no StatefulSet that rso manages.
pub fn floor(claim: &Value, siblings: Option<&Siblings>) -> AdmissionResponse {
    let Some(Siblings { template, largest }) = siblings else { return AdmissionResponse::default() };
    match storage::request(claim) {
        Some(requested) if requested < *largest && is_resizable(&claim["spec"], *largest) => AdmissionResponse {
            patch: vec![Op::Replace(REQUEST_POINTER.to_owned(), json!(largest))],
            warnings: vec![format!(
                "raised storage from {requested} to {largest}, the size of the other PVCs of {template}"
            )],
            ..AdmissionResponse::default()
        },
        Some(_) | None => AdmissionResponse::default(),
    }
}

/// Whether a larger volume can be provided: not if the PVC names a volume, or selects among volumes that an
/// administrator created.
fn is_resizable(spec: &Value, size: Bytes) -> bool {
    let certain = spec["volumeName"].as_str().is_some_and(|name| !name.is_empty());
    let by_hand = spec["selector"].is_object() || spec["storageClassName"] == "";
    let limit = spec["resources"]["limits"]["storage"].as_str().map(str::parse::<Bytes>);
    !certain && !by_hand && limit.is_none_or(|limit| limit.is_ok_and(|limit| limit >= size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pvc_is_raised_to_its_siblings_and_never_lowered() {
        let check = |spec: Value, largest: Option<u64>, expected: Option<&str>| {
            let siblings = largest.map(|gib| Siblings { template: "data".into(), largest: Bytes::gib(gib) });
            let claim = json!({ "spec": spec });
            let patch = floor(&claim, siblings.as_ref()).patch;
            let expected: Vec<_> =
                expected.map(|size| Op::Replace(REQUEST_POINTER.into(), json!(size))).into_iter().collect();
            assert_eq!(patch, expected, "{claim}");
        };
        let sized = |size: &str| json!({"resources": {"requests": {"storage": size}}});
        let with = |more: Value| {
            let mut spec = sized("1Gi");
            more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
            spec
        };
        check(sized("1Gi"), Some(5), Some("5Gi"));
        check(sized("5Gi"), Some(5), None);
        check(sized("9Gi"), Some(5), None);
        check(sized("5120Mi"), Some(5), None);
        check(sized("1Gi"), None, None);
        check(sized("much"), Some(5), None);
        check(json!({}), Some(5), None);
        check(with(json!({"dataSource": {"kind": "VolumeSnapshot", "name": "s"}})), Some(5), Some("5Gi"));
        check(with(json!({"volumeName": "pv-7"})), Some(5), None);
        check(with(json!({"volumeName": ""})), Some(5), Some("5Gi"));
        check(with(json!({"storageClassName": ""})), Some(5), None);
        check(with(json!({"storageClassName": "local"})), Some(5), Some("5Gi"));
        check(with(json!({"selector": {"matchLabels": {"a": "b"}}})), Some(5), None);
        check(json!({"resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "2Gi"}}}), Some(5), None);
    }
}
