use serde_json::json;

use super::*;

fn review(object: Value) -> Value {
    json!({"apiVersion": "v", "kind": "AdmissionReview", "request": {
        "uid": "1", "userInfo": {"username": "anna"}, "options": null, "object": object.clone(), "oldObject": object,
    }})
}

fn object(hook: Hook, object: Value) -> Value {
    parse(review(object).to_string().as_bytes(), hook).unwrap()["request"]["object"].take()
}

#[test]
fn fields_that_no_hook_reads_are_skipped() {
    let metadata = json!({"name": "db", "annotations": {"a": "b"}, "managedFields": [{"manager": "x"}]});
    let kept = json!({"name": "db", "annotations": {"a": "b"}});
    let templates = json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]);
    let set = json!({
        "metadata": metadata, "status": {"replicas": 1},
        "spec": {"volumeClaimTemplates": templates, "template": {"spec": {"tolerations": [{}, {}]}}},
    });
    let expected = json!({"metadata": kept, "spec": {"volumeClaimTemplates": templates}});
    assert_eq!(object(Hook::Absorb, set.clone()), expected);
    assert_eq!(object(Hook::State, set), expected);
    let claim = json!({"metadata": metadata, "spec": {"volumeName": "v"}, "status": {}});
    assert_eq!(object(Hook::Floor, claim), json!({"metadata": kept, "spec": {"volumeName": "v"}}));
    let container = json!({"name": "c", "env": [{"name": "A"}], "livenessProbe": {}, "ports": [{"containerPort": 1}]});
    let pod = json!({"metadata": metadata, "spec": {"containers": [container], "hostNetwork": true}});
    let container = json!({"name": "c", "ports": [{"containerPort": 1}]});
    let expected = json!({"metadata": kept, "spec": {"containers": [container], "hostNetwork": true}});
    assert_eq!(object(Hook::Agent, pod), expected);
    let whole = parse(review(json!({})).to_string().as_bytes(), Hook::Agent).unwrap();
    assert_eq!(whole, json!({"apiVersion": "v", "request": {"uid": "1", "object": {}, "oldObject": {}}}));
}

#[test]
fn the_budget_limits_kept_values_and_not_skipped_ones() {
    let check = |what: &str, object: String, kept: bool| {
        let body = format!(r#"{{"request":{{"object":{object}}}}}"#);
        let parsed = parse(body.as_bytes(), Hook::Absorb);
        assert_eq!(parsed.is_ok(), kept, "{what}");
        assert!(kept || matches!(parsed, Err(ParseError::TooMuch)), "{what}");
    };
    let many = |item: &str, times: usize| format!("[{}0]", format!("{item},").repeat(times));
    let templates = |list: String| format!(r#"{{"spec":{{"volumeClaimTemplates":{list}}}}}"#);
    check("maps", templates(many(r#"{"":0}"#, MAX_VALUES / 2)), false);
    check("lists", templates(many("[]", MAX_VALUES)), false);
    check("numbers", templates(many("0", MAX_VALUES)), false);
    check("a few", templates(many("0", MAX_VALUES - 10)), true);
    check("a long text", templates(format!("\"{}\"", "x".repeat(MAX_TEXT_BYTES))), false);
    check("a long key", format!(r#"{{"metadata":{{"{}":0}}}}"#, "x".repeat(MAX_TEXT_BYTES)), false);
    check("annotations", format!(r#"{{"metadata":{{"annotations":{}}}}}"#, many("[]", MAX_VALUES)), false);
    check("a pod template", format!(r#"{{"spec":{{"template":{}}}}}"#, many(r#"{"":0}"#, 63_000)), true);
    check("managedFields", format!(r#"{{"metadata":{{"managedFields":{}}}}}"#, many(r#"{"":0}"#, 63_000)), true);
}

#[test]
fn kept_values_are_those_that_serde_json_reads() {
    for text in ["null", "true", "-1", "1.5", "18446744073709551615", "\"a\\u0041\"", "[1,[2]]", "{\"a\":{\"b\":null}}"]
    {
        let body = format!(r#"{{"apiVersion":{text}}}"#);
        let expected: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parse(body.as_bytes(), Hook::State).unwrap(), expected);
    }
    for broken in ["", "{", "{}x", "[1,", "{\"a\":}"] {
        assert!(matches!(parse(broken.as_bytes(), Hook::State), Err(ParseError::Json(_))), "{broken}");
    }
}
