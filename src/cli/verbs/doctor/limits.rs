//! Check for templates that rso expands by usage without a maximum size.

use serde_json::Value;

use super::Context;
use super::findings::Finding;
use crate::api::objects::Resource;
use crate::cluster::client::Error;
use crate::policy::settings::{Auto, Limits};
use crate::workload::statefulset::StatefulSetView;

const DEPLOYMENTS: Resource = Resource { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };

pub(super) async fn check(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    const ABOUT: &str = "limits";
    let findings: Vec<Finding> = context.managed().flat_map(|set| unlimited(&set)).collect();
    if findings.is_empty() {
        return Ok(vec![Finding::good(ABOUT, "each template that rso expands by usage has a max-size")]);
    }
    match context.client.get(&DEPLOYMENTS.of(context.operator_namespace, context.release)).await {
        Ok(Some(operator)) if has_limit(&operator) => {
            Ok(vec![Finding::good(ABOUT, "the operator limits the size of every volume with --max-size")])
        }
        Ok(_) => Ok(findings),
        Err(error @ Error::NotAllowed { .. }) => Ok(vec![Finding::unknown(ABOUT, &error)]),
        Err(error) => Err(error),
    }
}

/// Whether the administrator limits the size of all volumes.
fn has_limit(operator: &Value) -> bool {
    let containers = operator.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let words =
        |container: &Value| ["command", "args"].map(|key| container[key].as_array().cloned().unwrap_or_default());
    let mut words = containers.into_iter().flatten().flat_map(words).flatten();
    words.any(|word| word.as_str().is_some_and(|word| word == "--max-size" || word.starts_with("--max-size=")))
}

fn unlimited(set: &StatefulSetView) -> Vec<Finding> {
    let (settings, _) = set.settings(&Limits::default());
    let without = settings.templates.iter().filter(|(_, own)| own.auto == Auto::On && own.max_size.is_none());
    let finding = |template: &crate::api::names::TemplateName| {
        let what =
            format!("rso expands template {template} by usage without a limit: a runaway log can fill the storage");
        let fix = format!(
            "Set limits.maxSize of the release, for all volumes, or annotate the StatefulSet: kubectl annotate statefulset {} \
             -n {} resize-statefulset-operator/max-size.{template}=QUANTITY",
            set.name.name, set.name.namespace
        );
        Finding::warning(format!("StatefulSet {}", set.name), what, fix)
    };
    without.map(|(template, _)| finding(template)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_that_is_expanded_by_usage_without_a_limit_is_reported() {
        let check = |annotations: Value, expected: &[&str]| {
            let claim = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
            let object = json!({
                "metadata": {"namespace": "shop", "name": "db", "uid": "1", "annotations": annotations},
                "spec": {
                    "serviceName": "db", "selector": {}, "template": {},
                    "volumeClaimTemplates": [claim("data"), claim("wal")],
                },
            });
            let set = StatefulSetView::of(&serde_json::from_value(object).unwrap()).unwrap();
            let fixes: Vec<String> = unlimited(&set).into_iter().filter_map(|finding| finding.fix).collect();
            assert_eq!(fixes.len(), expected.len(), "{fixes:?}");
            for (fix, expected) in fixes.iter().zip(expected) {
                assert!(fix.contains(&format!("max-size.{expected}=")), "{fix}");
            }
        };
        let key = |key: &str| format!("resize-statefulset-operator/{key}");
        check(json!({}), &[]);
        check(json!({key("resize-0"): "5Gi"}), &[]);
        check(json!({key("auto-scaled"): "recommend"}), &[]);
        check(json!({key("auto-scaled"): "true"}), &["data", "wal"]);
        check(json!({key("auto-scaled"): "true", key("max-size.wal"): "9Gi"}), &["data"]);
        check(json!({key("auto-scaled"): "true", key("max-size"): "9Gi"}), &[]);
    }

    #[test]
    fn the_limit_of_the_administrator_is_read_from_the_arguments_of_the_operator() {
        let check = |args: Value, expected: bool| {
            let operator = json!({"spec": {"template": {"spec": {"containers": [{"args": args}]}}}});
            assert_eq!(has_limit(&operator), expected, "{operator}");
        };
        check(json!(["controller", "--max-size=1Ti"]), true);
        check(json!(["controller", "--max-size", "1Ti"]), true);
        check(json!(["controller", "--max-step=1Ti"]), false);
        check(Value::Null, false);
    }
}
