//! The storage sizes of a PVC, and of an entry of `volumeClaimTemplates`: where they stand, and how they are read.

use serde_json::Value;

use super::bytes::Bytes;
use super::received::PersistentVolumeClaim;

/// The JSON pointer of the requested size.
pub const REQUEST_POINTER: &str = "/spec/resources/requests/storage";

/// `spec.resources.requests.storage`; `None` if it is missing or malformed.
pub fn request(claim: &Value) -> Option<Bytes> {
    request_text(claim)?.parse().ok()
}

/// The requested size as it is written.
pub fn request_text(claim: &Value) -> Option<&str> {
    claim.pointer(REQUEST_POINTER)?.as_str()
}

/// [`request`] of the fields that rso reads.
pub fn requested(claim: &PersistentVolumeClaim) -> Option<Bytes> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.storage.as_ref()?.parse().ok()
}

/// `status.capacity.storage` of a PVC; `None` if it is missing or malformed.
pub fn capacity(claim: &Value) -> Option<Bytes> {
    claim["status"]["capacity"]["storage"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_size_is_read_alike_from_json_and_from_the_fields_that_are_read() {
        let check = |spec: Value, expected: Option<Bytes>| {
            let claim = json!({ "spec": spec, "status": {"capacity": {"storage": "12Gi"}} });
            assert_eq!((request(&claim), capacity(&claim)), (expected, Some(Bytes::gib(12))));
            let typed = serde_json::from_value(claim).unwrap();
            assert_eq!(requested(&typed), expected);
        };
        check(json!({"resources": {"requests": {"storage": "10Gi"}}}), Some(Bytes::gib(10)));
        check(json!({"resources": {"requests": {"storage": "10240Mi"}}}), Some(Bytes::gib(10)));
        check(json!({"resources": {"requests": {"storage": "much"}}}), None);
        check(json!({"resources": {"limits": {"storage": "10Gi"}}}), None);
        check(json!({}), None);
        assert_eq!(capacity(&json!({})), None);
    }
}
