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

fn patched(object: &Value, response: &AdmissionResponse) -> Value {
    let patch = Value::Array(response.patch.iter().map(Op::to_json).collect());
    let mut object = object.clone();
    json_patch::patch(&mut object, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
    object
}

#[test]
fn the_hook_responds_as_the_vectors_require() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../tests/vectors/absorb.json")).unwrap();
    for vector in vectors {
        let case = &vector["case"];
        let (live, requested) = (set(&vector["live"], &vector), set(&vector["asked"], &vector));
        let response = absorb(&requested, &live);
        let done = patched(&requested, &response);
        let kept = done["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"];
        assert_eq!(json!(kept), vector["kept"], "{case}");
        let requested = &done["metadata"]["annotations"][REQUESTED];
        let expected = if vector["kept"] == true { &vector["requested"] } else { &vector["recorded"] };
        assert_eq!(requested, expected, "{case}");
        assert_eq!(json!(response.warnings), vector["warnings"], "{case}");
        assert!(response.warnings.iter().all(|warning| !warning.contains("immutable")), "{case}");
        assert_eq!(absorb(&done, &live).patch, [], "{case}: a second call changes nothing");
    }
}

#[test]
fn a_statefulset_without_templates_is_not_changed() {
    for spec in [json!({}), json!({"volumeClaimTemplates": []}), json!({"volumeClaimTemplates": null})] {
        for old in [json!({}), json!({"volumeClaimTemplates": []}), json!({"volumeClaimTemplates": null})] {
            assert_eq!(absorb(&json!({ "spec": spec }), &json!({ "spec": old })), AdmissionResponse::default());
        }
    }
}

#[test]
fn templates_that_cannot_be_parsed_are_left_for_kubernetes_to_reject() {
    let check = |requested: Value| {
        let with = |templates| json!({"spec": {"volumeClaimTemplates": templates}});
        let live = with(json!([template(&json!({"name": "data", "size": "1Gi"}))]));
        assert_eq!(absorb(&with(requested), &live).patch, []);
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
fn fields_with_server_defaults_make_no_difference() {
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
fn operator_annotations_in_a_manifest_are_ignored() {
    let check = |manifest: Option<&str>, live: Option<&str>, expected: Option<&str>, warned: bool| {
        let with = |value: Option<&str>| match value {
            Some(value) => json!({"metadata": {"annotations": {REQUESTED: value}}}),
            None => json!({"metadata": {}}),
        };
        let response = keep_state(&with(manifest), &with(live));
        let done = patched(&with(manifest), &response);
        assert_eq!(done["metadata"]["annotations"][REQUESTED].as_str(), expected);
        assert_eq!(!response.warnings.is_empty(), warned);
        assert_eq!(response.notes.len(), usize::from(warned));
        assert!(response.warnings.iter().all(|text| text.chars().count() <= 120));
    };
    check(None, None, None, false);
    check(Some("data=1Ti"), None, None, true);
    check(Some("data=1Ti"), Some("data=2Gi"), Some("data=2Gi"), true);
    check(Some("data=2Gi"), Some("data=2Gi"), Some("data=2Gi"), false);
    // A user withdraws a request.
    check(None, Some("data=2Gi"), None, false);
    let new = json!({"metadata": {"annotations": {REQUESTED: "a=1", format!("{PREFIX}transaction"): "x"}}});
    assert_eq!(patched(&new, &keep_state(&new, &Value::Null))["metadata"]["annotations"], json!({}));
}

#[test]
fn an_object_without_metadata_is_left_for_the_server_to_reject() {
    let template = template(&json!({"name": "data", "size": "1Gi"}));
    let larger = self::template(&json!({"name": "data", "size": "2Gi"}));
    let live = json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [template]}});
    let requested = json!({"spec": {"volumeClaimTemplates": [larger]}});
    assert_eq!(absorb(&requested, &live), AdmissionResponse::default(), "a patch below what is missing does not apply");
}
