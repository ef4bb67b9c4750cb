//! A PVCPolicy as the API server returns it, before its values are parsed.
//!
//! A value of an unexpected type must not hide the others: the object may be newer than this program. Therefore the fields
//! of `template` and `limits` stay JSON here. There is no type for the status: the operator does not read it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The kind.
pub const KIND: &str = "PVCPolicy";
/// The largest priority.
pub const MAX_PRIORITY: u16 = 1000;

/// The object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PvcPolicy {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: Spec,
}

/// What is read of `metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// When it was created: of two equal policies, the older one wins.
    pub creation_timestamp: Option<Timestamp>,
}

/// `spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Of two policies of one namespace, the one with the larger priority wins.
    #[serde(default)]
    pub priority: u16,
    /// The PVCs, by their labels.
    pub selector: Selector,
    /// The namespaces, by their labels; only in the operator's namespace.
    pub namespace_selector: Option<Selector>,
    /// Settings; `None` if the policy only limits.
    pub template: Option<BTreeMap<String, Value>>,
    /// Bounds.
    #[serde(default)]
    pub limits: BTreeMap<String, Value>,
    /// Fields that this program does not know.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// A label selector; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels with their values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements, all of which must hold.
    #[serde(default)]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// The values of `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// How a label compares with the values of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or does not exist.
    NotIn,
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&String>) -> bool {
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed,
            Operator::NotIn => !is_listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_selects_as_in_kubernetes() {
        let labels: BTreeMap<String, String> =
            [("app", "db"), ("tier", "")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let check = |selector: Value, expected: bool| {
            let read: Selector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(read.selects(&labels), expected, "{selector}");
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(json!({}), true);
        check(json!({"matchLabels": {"app": "db"}}), true);
        check(json!({"matchLabels": {"app": "db", "x": "y"}}), false);
        check(json!({"matchLabels": {"tier": ""}}), true);
        check(expression("app", "In", &["web", "db"]), true);
        check(expression("app", "In", &["web"]), false);
        check(expression("app", "NotIn", &["web"]), true);
        check(expression("x", "NotIn", &["web"]), true);
        check(expression("app", "NotIn", &["db"]), false);
        check(json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true);
        check(json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false);
        check(
            json!({"matchLabels": {"app": "db"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}),
            true,
        );
    }

    #[test]
    fn an_object_with_fields_of_a_newer_version_is_read() {
        let object = json!({
            "apiVersion": "resize-statefulset-operator.io/v1alpha1", "kind": KIND,
            "metadata": {"namespace": "shop", "name": "db", "uid": "1", "creationTimestamp": "2026-11-30T03:00:00Z"},
            "spec": {"selector": {}, "newer": 1, "template": {"threshold": 85.5, "newer": []}},
            "status": {"observedGeneration": "not even a number"},
        });
        let policy: PvcPolicy = serde_json::from_value(object).unwrap();
        assert_eq!(policy.spec.unknown.keys().collect::<Vec<_>>(), ["newer"]);
        assert_eq!(policy.spec.template.unwrap().len(), 2);
        assert_eq!((policy.spec.priority, policy.spec.limits.len()), (0, 0));
    }
}
