//! A parser of the messages of the API server and of its admission plugins.

use super::{Kind, Quota};
use crate::api::bytes::Bytes;

/// What refused, by the first phrase that is known. The message of a policy contains any text that its author wrote, so
/// policies are matched first.
pub(super) fn kind(message: &str) -> Kind {
    policy(message)
        .or_else(|| webhook(message))
        .or_else(|| quota(message))
        .or_else(|| limit_range(message))
        .or_else(|| too_long(message))
        .unwrap_or_else(|| by_plain_words(message))
}

/// The message without `persistentvolumeclaims "x" is forbidden: `, which the reader knows.
pub(super) fn bare(message: &str) -> &str {
    [" is forbidden: ", " is invalid: "].iter().find_map(|words| after(message, words)).unwrap_or(message)
}

fn by_plain_words(message: &str) -> Kind {
    let says = |words: &str| message.contains(words);
    let class_is_missing = says("storageclass.storage.k8s.io \"") && says("not found");
    if class_is_missing || says("pvc can be resized") || says("does not support resize") {
        Kind::NotResizable
    } else if says("grant the verb") || (says("User \"") && says(" cannot ")) {
        Kind::Rights
    } else if says(" is invalid: ") {
        Kind::Invalid
    } else {
        Kind::Other
    }
}

/// `ValidatingAdmissionPolicy 'cap' with binding 'cap-all' denied request: …`; the status code is 422 unless the policy
/// sets another. The message of a mutating policy that fails has `policy 'cap' with binding …`.
fn policy(message: &str) -> Option<Kind> {
    let is_mutating = || after(message, "policy '").filter(|rest| rest.contains("' with binding '"));
    let rest = after(message, "ValidatingAdmissionPolicy '").or_else(is_mutating)?;
    let (name, rest) = rest.split_once('\'')?;
    let binding =
        after(rest, "with binding '").and_then(|rest| rest.split_once('\'')).map_or("", |(binding, _)| binding);
    Some(Kind::Policy { name: name.to_owned(), binding: binding.to_owned() })
}

/// `admission webhook "x" denied the request: …`, or `failed calling webhook "x": …`.
fn webhook(message: &str) -> Option<Kind> {
    let words = ["admission webhook \"", "failed calling webhook \""];
    let rest = words.iter().find_map(|words| after(message, words))?;
    Some(Kind::Webhook { name: rest.split_once('"')?.0.to_owned() })
}

/// `exceeded quota: q, requested: requests.storage=2Gi, used: requests.storage=9Gi, limited: requests.storage=10Gi`.
/// Each list has only the resources that are exceeded. The resource with the least room counts, storage before others.
fn quota(message: &str) -> Option<Kind> {
    let rest = after(message, "exceeded quota: ")?;
    let (name, rest) = rest.split_once(", requested: ")?;
    let (requested, rest) = rest.split_once(", used: ")?;
    let (used, limited) = rest.split_once(", limited: ")?;
    let exceeded = requested.split(',').filter_map(|part| {
        let (resource, requested) = part.split_once('=')?;
        Some(Quota {
            name: name.to_owned(),
            resource: resource.trim().to_owned(),
            requested: requested.trim().parse().ok()?,
            used: amount(used, resource)?,
            limited: amount(limited, resource)?,
        })
    });
    let least = exceeded.min_by_key(|quota| (!is_storage(&quota.resource), quota.room()))?;
    Some(if is_storage(&least.resource) { Kind::StorageQuota(least) } else { Kind::ObjectQuota(least) })
}

/// `requests.storage`, and the same of one class: `fast.storageclass.storage.k8s.io/requests.storage`.
fn is_storage(resource: &str) -> bool {
    resource.rsplit('/').next() == Some("requests.storage")
}

/// The amount of one resource in `a=1,b=2Gi`; what follows the list in an error message is cut off.
fn amount(list: &str, resource: &str) -> Option<Bytes> {
    let parts = list.split(',').filter_map(|part| part.split_once('='));
    let (_, amount) = parts.into_iter().find(|(name, _)| name.trim() == resource.trim())?;
    amount.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).next()?.parse().ok()
}

/// `maximum storage usage per PersistentVolumeClaim is 450Mi, but request is 500Mi`.
fn limit_range(message: &str) -> Option<Kind> {
    let rest = after(message, "maximum storage usage per PersistentVolumeClaim is ")?;
    Some(Kind::LimitRange { max: rest.split([',', ' ', ']']).next()?.trim_end_matches('.').parse().ok() })
}

/// `metadata.annotations: Too long: may not be more than 262144 bytes`.
fn too_long(message: &str) -> Option<Kind> {
    let (before, _) = message.split_once(": Too long: ")?;
    let part = before.rsplit([' ', '[']).next().unwrap_or_default();
    let part = if part.is_empty() || part == "]" { "the whole".to_owned() } else { part.to_owned() };
    Some(Kind::TooLong { part })
}

fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.split_once(words).map(|(_, rest)| rest)
}
