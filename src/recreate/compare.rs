//! Differences between the StatefulSet that was asked for and the one that the API server answered.
//!
//! Admission may change what is written: a policy adds a label to the pod template on every UPDATE, or lowers a size on
//! CREATE. Both go unnoticed by the code of the answer alone. So every write of a StatefulSet that could restart Pods or
//! lose the new size is first sent as a dry run, and its answer is compared here, field by field.

use serde_json::{Value, json};

use super::manifest;
use crate::api::annotations::TRANSACTION;

/// What admission made of a write, beyond what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths of fields on which Pods, sizes or the life of the object depend. Without values: a template may hold secrets.
    pub serious: Vec<String>,
    /// Paths of labels and annotations of the StatefulSet itself. They are carried.
    pub harmless: Vec<String>,
}

/// What the object is to be after this merge patch.
pub fn patched(object: &Value, patch: &Value) -> Value {
    let mut patched = object.clone();
    json_patch::merge(&mut patched, patch);
    patched
}

/// How the answer to a write differs from what was asked for.
///
/// `asked` is the object of a CREATE as it was sent, or the object of a PATCH as it is to be. What only the server writes
/// is left out; our own finalizer and transaction id are not: an object without them is not the one that was asked for.
pub fn changes(asked: &Value, answered: &Value) -> Changes {
    let mut changes = Changes::default();
    let id = |object: &Value| object["metadata"]["annotations"][TRANSACTION].clone();
    for path in manifest::paths(&comparable(asked), &comparable(answered)) {
        let of_metadata = ["metadata.labels", "metadata.annotations"].iter().any(|part| path.starts_with(part));
        // Where all annotations are taken off, the path of what differs does not name ours.
        let is_ours = path.ends_with(TRANSACTION) || (path == "metadata.annotations" && id(asked) != id(answered));
        let into = if of_metadata && !is_ours { &mut changes.harmless } else { &mut changes.serious };
        into.push(path);
    }
    changes
}

/// The object without its status, what only the server writes, and what means nothing.
fn comparable(object: &Value) -> Value {
    let mut left = manifest::bare(object);
    // These are asked for by name.
    left["metadata"]["finalizers"] = object["metadata"]["finalizers"].clone();
    let transaction = &object["metadata"]["annotations"][TRANSACTION];
    if !transaction.is_null() {
        left["metadata"]["annotations"][TRANSACTION] = transaction.clone();
    }
    // The server says in each answer which API it is of; a list's items and a patch do not.
    left["apiVersion"] = json!("apps/v1");
    left["kind"] = json!("StatefulSet");
    manifest::sizes_in_one_spelling(&mut left);
    prune(&mut left);
    left
}

/// Takes members away that say as much as if they were missing: `creationTimestamp: null`, `labels: {}`.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(prune);
        members.retain(|_, value| match value {
            Value::Null => false,
            Value::Object(members) => !members.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        });
    }
    if let Value::Array(items) = value {
        items.iter_mut().for_each(prune);
    }
}

/// The fields in one line: the first few, and how many more.
pub fn listed(paths: &[String]) -> String {
    const MOST: usize = 3;
    let first = paths.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > MOST { format!("{first} and {} more", paths.len() - MOST) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::annotations::HOLD;

    fn set() -> Value {
        json!({
            "metadata": {
                "name": "db", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 3,
                "annotations": { TRANSACTION: "t" }, "finalizers": [HOLD],
            },
            "spec": {
                "replicas": 2, "selector": { "matchLabels": { "app": "db" } }, "updateStrategy": { "type": "OnDelete" },
                "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "c" }] } },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" },
                    "spec": { "resources": { "requests": { "storage": "2Gi" } } } }],
            },
        })
    }

    fn check(change: impl FnOnce(&mut Value), serious: &[&str], harmless: &[&str]) {
        let mut answer = set();
        change(&mut answer);
        let found = changes(&set(), &answer);
        assert_eq!((&found.serious[..], &found.harmless[..]), (&owned(serious)[..], &owned(harmless)[..]), "{answer}");
    }

    fn owned(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn what_only_the_server_writes_is_no_change() {
        check(
            |set| {
                set["apiVersion"] = json!("apps/v1");
                set["kind"] = json!("StatefulSet");
                set["metadata"]["uid"] = json!("2");
                set["metadata"]["resourceVersion"] = json!("8");
                set["metadata"]["generation"] = json!(4);
                set["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                set["metadata"]["managedFields"] = json!([{ "manager": "rso-controller" }]);
                set["metadata"]["labels"] = json!({});
                set["status"] = json!({ "replicas": 2 });
                set["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
                set["spec"]["volumeClaimTemplates"][0]["status"] = json!({ "phase": "Pending" });
            },
            &[],
            &[],
        );
    }

    #[test]
    fn labels_and_annotations_of_the_set_itself_are_carried() {
        check(|set| set["metadata"]["labels"] = json!({ "team": "x" }), &[], &["metadata.labels"]);
        check(|set| set["metadata"]["annotations"]["a"] = json!("x"), &[], &["metadata.annotations.a"]);
    }

    #[test]
    fn the_first_annotation_is_harmless_if_no_transaction_id_was_sent() {
        let mut asked = set();
        asked["metadata"]["annotations"] = json!({});
        let mut answer = asked.clone();
        answer["metadata"]["annotations"]["a"] = json!("x");
        assert_eq!(
            changes(&asked, &answer),
            Changes { serious: owned(&[]), harmless: owned(&["metadata.annotations"]) }
        );
    }

    #[test]
    fn a_label_is_harmless_even_if_the_transaction_id_differs() {
        let id = format!("metadata.annotations.{TRANSACTION}");
        let other = |set: &mut Value| {
            set["metadata"]["annotations"][TRANSACTION] = json!("another");
            set["metadata"]["labels"] = json!({ "team": "x" });
        };
        check(other, &[&id], &["metadata.labels"]);
    }

    #[test]
    fn whatever_restarts_pods_or_takes_the_size_back_is_serious() {
        let template = "spec.template";
        check(
            |set| set["spec"]["template"]["metadata"]["labels"]["team"] = json!("x"),
            &[&format!("{template}.metadata.labels.team")],
            &[],
        );
        check(
            |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/c"),
            &[&format!("{template}.spec.containers[0].image")],
            &[],
        );
        check(
            |set| set["spec"]["template"]["spec"]["containers"] = json!([{ "name": "c" }, { "name": "proxy" }]),
            &[&format!("{template}.spec.containers")],
            &[],
        );
        let size = "spec.volumeClaimTemplates[0].spec.resources.requests.storage";
        check(
            |set| set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("1Gi"),
            &[size],
            &[],
        );
        check(|set| set["spec"]["replicas"] = json!(3), &["spec.replicas"], &[]);
        check(
            |set| set["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate" }),
            &["spec.updateStrategy.type"],
            &[],
        );
    }

    #[test]
    fn an_answer_without_our_finalizer_or_our_id_is_not_what_was_asked_for() {
        check(|set| set["metadata"]["finalizers"] = json!([]), &["metadata.finalizers"], &[]);
        check(|set| set["metadata"]["finalizers"] = json!([HOLD, "a/b"]), &["metadata.finalizers"], &[]);
        check(|set| set["metadata"]["ownerReferences"] = json!([{ "uid": "o" }]), &["metadata.ownerReferences"], &[]);
        let mut other = set();
        other["metadata"]["annotations"][TRANSACTION] = json!("another");
        let path = format!("metadata.annotations.{TRANSACTION}");
        assert_eq!(changes(&set(), &other).serious, std::slice::from_ref(&path));
        other["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(changes(&set(), &other).serious, ["metadata.annotations"], "none at all is left");
    }

    #[test]
    fn an_equal_size_in_other_words_is_the_same_size() {
        check(
            |set| set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("2048Mi"),
            &[],
            &[],
        );
    }

    #[test]
    fn a_patch_is_compared_with_the_object_as_it_is_to_be() {
        let asked = patched(&set(), &json!({ "metadata": { "finalizers": [], "annotations": { TRANSACTION: null } } }));
        let mut answer = set();
        answer["metadata"]["finalizers"] = json!([]);
        answer["metadata"]["annotations"] = json!({});
        assert_eq!(changes(&asked, &answer), Changes::default());
        assert_eq!(changes(&asked, &set()).serious.len() + changes(&asked, &set()).harmless.len(), 2);
    }

    #[test]
    fn many_fields_are_counted() {
        assert_eq!(listed(&owned(&["a", "b", "c"])), "a, b, c");
        assert_eq!(listed(&owned(&["a", "b", "c", "d", "e"])), "a, b, c and 2 more");
    }
}
