//! Other workloads that would adopt the Pods of a StatefulSet: what is requested, what is found, and whether a label
//! selector matches.
//!
//! Each workload whose selector matches a Pod without a controller adopts that Pod, and during a recreation the Pods
//! have no controller for a moment. Therefore, the workloads whose selectors match must be known beforehand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::api::write::Precondition;

/// The StatefulSet for which other workloads are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RivalsRequest {
    /// The StatefulSet.
    pub of: Precondition,
    /// The labels of everything that it releases: the Pod template, each Pod, each ControllerRevision.
    pub labels: BTreeSet<BTreeMap<String, String>>,
}

/// The other workloads of the namespace whose selector matches the Pods of the StatefulSet. Each of them would adopt
/// the Pods while they have no owner, and delete those that exceed its own number of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rivals {
    /// The StatefulSet, in the state for which they were listed.
    pub of: Precondition,
    /// The workloads, or why they are not known.
    pub found: Found,
}

/// The result of a search for other workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These workloads, as `ReplicaSet web`.
    Rivals(Vec<String>),
    /// The operator may not list them; the message of the API server.
    Forbidden(String),
    /// The result is unknown at the moment.
    Unknown(String),
}

/// Whether a `spec.selector` matches these labels, as the API server and the controllers evaluate it.
///
/// Accepts both a `LabelSelector` (`matchLabels`, `matchExpressions`) and the plain map of a ReplicationController: the
/// values of a plain map are strings, those of a `LabelSelector` never are. An empty selector selects everything, an
/// absent one nothing. A selector that cannot be understood counts as a match, because the caller checks for danger.
pub fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Value::Object(selector) = selector else { return !selector.is_null() };
    if selector.values().any(Value::is_string) {
        return has_all(selector, labels);
    }
    selector.iter().all(|(key, part)| match (key.as_str(), part) {
        (_, Value::Null) => true,
        ("matchLabels", Value::Object(wanted)) => has_all(wanted, labels),
        ("matchExpressions", Value::Array(expressions)) => expressions.iter().all(|one| holds(one, labels)),
        // What a later version adds can only narrow a selector; we do not know by how much.
        (_, _) => true,
    })
}

/// Whether each label is there with this value.
fn has_all(wanted: &Map<String, Value>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| match (labels.get(key), value.as_str()) {
        (Some(own), Some(value)) => own == value,
        (None, _) => false,
        // A value that is not a text cannot be compared.
        (Some(_), None) => true,
    })
}

/// Whether one of `matchExpressions` holds.
fn holds(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Some(key) = expression["key"].as_str() else { return true };
    let own = labels.get(key);
    let is_listed = |own: &String| expression["values"].as_array().is_some_and(|all| all.iter().any(|one| one == own));
    match expression["operator"].as_str() {
        Some("In") => own.is_some_and(is_listed),
        Some("NotIn") => !own.is_some_and(is_listed),
        Some("Exists") => own.is_some(),
        Some("DoesNotExist") => own.is_none(),
        Some(_) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether the selector matches a Pod with the labels `app=db` and `tier=back`.
    fn check(selector: Value, expected: bool) {
        let labels = [("app", "db"), ("tier", "back")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(selects(&selector, &BTreeMap::from(labels)), expected, "{selector}");
    }

    #[test]
    fn each_of_match_labels_must_be_there_with_its_value() {
        check(json!({"matchLabels": {"app": "db"}}), true);
        check(json!({"matchLabels": {"app": "db", "tier": "back"}}), true);
        check(json!({"matchLabels": {"app": "web"}}), false);
        check(json!({"matchLabels": {"app": "db", "role": "main"}}), false);
        check(json!({"matchLabels": {"app": ""}}), false);
    }

    #[test]
    fn each_of_match_expressions_must_hold() {
        let one = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(one("app", "In", &["web", "db"]), true);
        check(one("app", "In", &["web"]), false);
        check(one("role", "In", &["db"]), false);
        check(one("app", "NotIn", &["web"]), true);
        check(one("app", "NotIn", &["web", "db"]), false);
        // A label that is absent has none of the values.
        check(one("role", "NotIn", &["db"]), true);
        check(one("app", "Exists", &[]), true);
        check(one("role", "Exists", &[]), false);
        check(one("app", "DoesNotExist", &[]), false);
        check(one("role", "DoesNotExist", &[]), true);
        let two = |second: &str| {
            json!({"matchLabels": {"app": "db"}, "matchExpressions": [
                {"key": "app", "operator": "Exists"}, {"key": second, "operator": "Exists"},
            ]})
        };
        check(two("tier"), true);
        check(two("role"), false);
    }

    #[test]
    fn an_empty_selector_selects_everything_and_an_absent_one_nothing() {
        check(json!({}), true);
        check(json!({"matchLabels": {}}), true);
        check(json!({"matchLabels": null, "matchExpressions": []}), true);
        check(Value::Null, false);
    }

    #[test]
    fn the_selector_of_a_replication_controller_is_a_plain_map() {
        check(json!({"app": "db"}), true);
        check(json!({"app": "db", "tier": "front"}), false);
        check(json!({"app": "web"}), false);
        // A label may have any name.
        check(json!({"matchLabels": "db"}), false);
    }

    #[test]
    fn a_selector_that_cannot_be_understood_counts_as_one_that_matches() {
        check(json!("app=db"), true);
        check(json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["d*"]}]}), true);
        check(json!({"matchExpressions": [{"operator": "Exists"}]}), true);
        check(json!({"matchFields": {"metadata.name": "db-0"}}), true);
        // What can be understood still rules it out.
        check(json!({"matchLabels": {"app": "web"}, "matchFields": {}}), false);
    }
}
