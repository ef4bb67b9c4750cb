use super::*;
use crate::api::annotations::PREFIX;

/// A template in the form of `tests/vectors/absorb.json`, as the server stores it.
fn template(short: &Value) -> Value {
    let mut template = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": short["name"], "creationTimestamp": null},
        "spec": {
            "accessModes": [short["mode"].as_str().unwrap_or("ReadWriteOnce")],
            "resources": {"requests": {"storage": short["size"]}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    });
    if let Some(class) = short["class"].as_str() {
        template["spec"]["storageClassName"] = json!(class);
    }
    if !short["labels"].is_null() {
        template["metadata"]["labels"] = short["labels"].clone();
    }
    template
}

fn set(templates: &Value, vector: &Value) -> Value {
    let templates: Vec<Value> = templates.as_array().unwrap().iter().map(template).collect();
    let mut set = json!({"metadata": {"name": "db"}, "spec": {"replicas": 1, "volumeClaimTemplates": templates}});
    if vector["bare"] != true {
        set["metadata"]["annotations"] = json!({"other/key": "1"});
    }
    if let Some(recorded) = vector["recorded"].as_str() {
        set["metadata"]["annotations"][REQUESTED] = json!(recorded);
    }
    set
}

fn patched(object: &Value, answer: &AdmissionResponse) -> Value {
    let patch = Value::Array(answer.patch.iter().map(Op::to_json).collect());
    let mut object = object.clone();
    json_patch::patch(&mut object, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
    object
}

#[test]
fn the_handler_answers_as_the_vectors_say() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../tests/vectors/absorb.json")).unwrap();
    for vector in vectors {
        let case = &vector["case"];
        let (live, asked) = (set(&vector["live"], &vector), set(&vector["asked"], &vector));
        let answer = absorb(&asked, &live);
        let done = patched(&asked, &answer);
        let kept = done["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"];
        assert_eq!(json!(kept), vector["kept"], "{case}");
        let requested = &done["metadata"]["annotations"][REQUESTED];
        let expected = if vector["kept"] == true { &vector["requested"] } else { &vector["recorded"] };
        assert_eq!(requested, expected, "{case}");
        assert_eq!(json!(answer.warnings), vector["warnings"], "{case}");
        assert!(answer.warnings.iter().all(|warning| !warning.contains("immutable")), "{case}");
        assert_eq!(absorb(&done, &live).patch, [], "{case}: asked again, it changes nothing more");
    }
}

#[test]
fn a_set_without_templates_in_any_spelling_is_left_alone() {
    for spec in [json!({}), json!({"volumeClaimTemplates": []}), json!({"volumeClaimTemplates": null})] {
        for old in [json!({}), json!({"volumeClaimTemplates": []}), json!({"volumeClaimTemplates": null})] {
            assert_eq!(absorb(&json!({ "spec": spec }), &json!({ "spec": old })), AdmissionResponse::default());
        }
    }
}

#[test]
fn what_cannot_be_read_is_left_for_kubernetes() {
    let check = |asked: Value| {
        let with = |templates| json!({"spec": {"volumeClaimTemplates": templates}});
        let live = with(json!([template(&json!({"name": "data", "size": "1Gi"}))]));
        assert_eq!(absorb(&with(asked), &live).patch, []);
    };
    check(json!([template(&json!({"name": "data", "size": "1GB"}))]));
    check(json!([template(&json!({"name": "data"}))]));
    check(json!([{}]));
    check(json!([7]));
    check(json!("data"));
    check(json!([
        template(&json!({"name": "data", "size": "2Gi"})),
        template(&json!({"name": "data", "size": "2Gi"}))
    ]));
}

#[test]
fn what_the_server_fills_in_makes_no_difference() {
    let full = template(&json!({"name": "data", "size": "1Gi"}));
    let mut terse = template(&json!({"name": "data", "size": "2Gi"}));
    for key in ["status", "apiVersion", "kind"] {
        terse.as_object_mut().unwrap().remove(key);
    }
    terse["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
    terse["spec"].as_object_mut().unwrap().remove("volumeMode");
    let with = |template: &Value| json!({"metadata": {}, "spec": {"volumeClaimTemplates": [template]}});
    let done = patched(&with(&terse), &absorb(&with(&terse), &with(&full)));
    assert_eq!(done["spec"], with(&full)["spec"]);
    assert_eq!(done["metadata"]["annotations"][REQUESTED], "data=2Gi");
}

#[test]
fn state_that_a_manifest_brings_along_is_not_believed() {
    let check = |manifest: Option<&str>, live: Option<&str>, expected: Option<&str>, warned: bool| {
        let with = |value: Option<&str>| match value {
            Some(value) => json!({"metadata": {"annotations": {REQUESTED: value}}}),
            None => json!({"metadata": {}}),
        };
        let answer = keep_state(&with(manifest), &with(live));
        let done = patched(&with(manifest), &answer);
        assert_eq!(done["metadata"]["annotations"][REQUESTED].as_str(), expected);
        assert_eq!(!answer.warnings.is_empty(), warned);
        assert_eq!(answer.notes.len(), usize::from(warned));
        assert!(answer.warnings.iter().all(|text| text.chars().count() <= 120));
    };
    check(None, None, None, false);
    check(Some("data=1Ti"), None, None, true);
    check(Some("data=1Ti"), Some("data=2Gi"), Some("data=2Gi"), true);
    check(Some("data=2Gi"), Some("data=2Gi"), Some("data=2Gi"), false);
    // A person takes a request back.
    check(None, Some("data=2Gi"), None, false);
    let new = json!({"metadata": {"annotations": {REQUESTED: "a=1", format!("{PREFIX}transaction"): "x"}}});
    assert_eq!(patched(&new, &keep_state(&new, &Value::Null))["metadata"]["annotations"], json!({}));
}

#[test]
fn an_object_without_metadata_is_left_to_the_server() {
    let template = template(&json!({"name": "data", "size": "1Gi"}));
    let larger = self::template(&json!({"name": "data", "size": "2Gi"}));
    let live = json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [template]}});
    let asked = json!({"spec": {"volumeClaimTemplates": [larger]}});
    assert_eq!(absorb(&asked, &live), AdmissionResponse::default(), "a patch below what is missing does not apply");
}
