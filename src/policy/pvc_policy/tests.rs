use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(spec: &Value) -> Result<(Policy, Vec<FieldError>), FieldError> {
    Policy::read(&json!({"metadata": {"namespace": "shop", "name": "db"}, "spec": spec}))
}

#[test]
fn an_invalid_field_has_no_effect_and_the_others_apply() {
    let template =
        json!({"threshold": 85, "increase": "10Gi", "maxSize": "1Ti", "newer": {"a": 1}, "rescue": "Enabled"});
    let (policy, errors) = read(&json!({"selector": {}, "template": template, "limits": {"maxSize": "2Ti"}})).unwrap();
    let expected = [("increase", "10Gi"), ("max-size", "1Ti"), ("rescue", "true"), ("auto-scaled", "true")];
    let mut settings: Vec<_> = policy.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!((settings, policy.limits.max_size), (expected, Some(Bytes::gib(2048))));
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["spec.template.newer: unknown field", "spec.template.threshold: must be a string"]);
}

#[test]
fn a_policy_without_a_template_only_limits() {
    let (policy, errors) = read(&json!({"selector": {}, "limits": {"maxStep": "5Gi", "minCooldown": "1h"}})).unwrap();
    assert_eq!((policy.settings.len(), errors.len()), (0, 0));
    assert_eq!((policy.limits.max_step, policy.limits.min_cooldown.as_secs()), (Some(Bytes::gib(5)), 3600));
}

#[test]
fn a_policy_whose_selector_cannot_be_parsed_selects_nothing() {
    let check = |spec: Value, expected: &str| {
        let error = read(&spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({}), "missing field `selector`");
    check(json!({"selector": {"matchFields": []}}), "matchFields");
    check(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}}), "In and NotIn need values");
    check(json!({"selector": {}, "priority": -1}), "integer");
}

/// Any JSON, also at the bounds of the fields.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        "[0-9.]{1,30}(Gi|Ei|%|h|)".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{0,12}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn no_object_makes_the_reader_panic_or_report_without_end(
        field in prop::sample::select(fields::template().iter().chain(&fields::limits()).map(|f| f.name.clone()).collect::<Vec<_>>()),
        value in any_json(),
        other in any_json(),
    ) {
        let spec = json!({"selector": {}, "template": {&field: &value, "mode": &other}, "limits": {&field: &value}});
        let result = read(&spec);
        let (policy, errors) = result.unwrap();
        prop_assert!(errors.len() <= 5 && errors.iter().all(|error| error.to_string().len() < 600), "{errors:?}");
        let is_auto = policy.settings.contains(&("auto-scaled", "true".to_owned()));
        let has_max = policy.settings.iter().any(|(key, _)| *key == "max-size") || policy.limits.max_size.is_some();
        prop_assert!(!is_auto || has_max || field == "totalSize", "{spec}");
        let _ = read(&json!({"selector": &value, "namespaceSelector": &other, "limits": {}}));
        let _ = Policy::read(&value);
    }
}
