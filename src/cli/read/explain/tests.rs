use serde_json::{Value, json};

use super::super::compose::tests::{now, set, snapshot};
use super::*;

/// The explanation of the template `data` of a StatefulSet with these annotations, whose first PVC is so full.
fn explained(annotations: &[(&str, &str)], percent: u64) -> TemplateExplanation {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
    let snapshot = snapshot(set(Value::Object(annotations), json!({})), percent);
    explain(&snapshot, now()).templates.remove(0)
}

fn check(annotations: &[(&str, &str)], percent: u64, result: &str, fix: Option<&str>, resize: Option<&str>) {
    let explained = explained(annotations, percent);
    assert_eq!(explained.result, result, "{annotations:?}");
    assert_eq!((explained.fix.as_deref(), explained.resize.as_deref()), (fix, resize), "{annotations:?}");
    assert_eq!(explained.gates.len(), Gate::ALL.len());
}

#[test]
fn the_result_is_that_of_the_operator_with_the_command_that_continues() {
    let auto = ("auto-scaled", "true");
    let resize = Some("rso resize db 12Gi -t data -n shop");
    let set = "kubectl annotate statefulset db -n shop";
    let on = format!("{set} --overwrite resize-statefulset-operator/auto-scaled=true");
    check(&[], 85, "no expansion", Some(&on), resize);
    check(&[auto], 50, "no expansion", None, resize);
    check(&[auto], 85, "expands to 12Gi", None, None);
    check(&[("auto-scaled", "recommend")], 85, "recommends 12Gi", None, None);
    check(&[("resize-0", "15Gi")], 50, "expands to 15Gi, as requested", Some(&on), None);
    let larger = format!("{set} --overwrite resize-statefulset-operator/max-size.data=12Gi");
    check(&[auto, ("max-size.data", "10Gi")], 85, "no expansion: MaxSizeReached", Some(&larger), None);
    let resume = format!("{set} resize-statefulset-operator/paused-");
    check(&[auto, ("paused", "true")], 85, "paused; would expand to 12Gi", Some(&resume), None);
}

#[test]
fn each_setting_has_its_origin() {
    let explained = explained(&[("auto-scaled", "true"), ("increase.data", "10Gi"), ("threshold", "70%")], 50);
    let setting = |key: &str| explained.settings.iter().find(|line| line.key == key).unwrap();
    let increase = setting("increase");
    assert_eq!((increase.value.as_str(), increase.from.as_str()), ("10Gi", "annotation increase.data"));
    assert_eq!(setting("template-sync").from, "default");
    let threshold = explained.gates.iter().find(|line| line.gate == "over threshold").unwrap();
    assert_eq!((threshold.value.as_str(), threshold.from.as_str()), ("70%", "annotation threshold"));
    assert!(explained.settings.iter().all(|line| !SHOWN_BY_GATES.contains(&line.key)));
}

#[test]
fn a_usage_that_the_user_may_not_read_is_no_reason_to_say_no() {
    let annotations = json!({"resize-statefulset-operator/auto-scaled": "true"});
    let mut snapshot = snapshot(set(annotations, json!({})), 85);
    snapshot.readings.clear();
    let unknown = explain(&snapshot, now()).templates.remove(0);
    assert_eq!((unknown.result.as_str(), unknown.stops_at), ("no expansion", Some("usage known")));
    assert_eq!(unknown.fix.as_deref(), Some("kubectl describe pod db-0 -n shop"));
    snapshot.usage_denied = true;
    let denied = explain(&snapshot, now()).templates.remove(0);
    assert_eq!((denied.result.as_str(), denied.fix), (DENIED, None));
}
