//! Does the webhook stand whatever it is sent? The properties of the fuzz targets `review` and `pair`, with input
//! that looks more like reviews, sets and pods than bytes do.

use proptest::prelude::*;
use rso::webhook::hook::Hook;
use serde_json::{Value, json};

use crate::fuzz::properties::webhook as properties;

const REQUESTED: &str = "resize-statefulset-operator/requested";

/// Any JSON, with the words that the hooks look for more likely than others.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "metadata",
        "spec",
        "volumeClaimTemplates",
        "name",
        "annotations",
        REQUESTED,
        "resources",
        "requests",
        "storage",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "persistentVolumeClaim",
        "claimName",
        "data",
        "1Gi",
        "-5",
        "9e99",
        "",
        "a/b~c",
        "securityContext",
        "labels",
        "limits",
        "cpu",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        let member = (words.clone(), inner.clone()).prop_map(|(word, value)| (word.to_owned(), value));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            prop::collection::vec(member, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A set of up to three templates that may or may not be sound, with or without annotations.
fn any_set() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["data", "wal", "log"]);
    let size = prop::sample::select(vec!["1Gi", "1024Mi", "2Gi", "10e9", "10G", "", "x"]);
    let template = (name, size).prop_map(
        |(name, size)| json!({"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}}}),
    );
    let annotations = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        ".{0,12}".prop_map(|text| json!({ REQUESTED: text })),
        Just(json!({ REQUESTED: "data=2Gi,wal=5Gi" })),
    ];
    let templates = prop::collection::vec(prop_oneof![9 => template, 1 => any_json()], 0..4);
    (templates, annotations).prop_map(|(templates, annotations)| {
        json!({"metadata": {"annotations": annotations}, "spec": {"volumeClaimTemplates": templates}})
    })
}

/// A pod whose volumes, mounts and resources are of any kind.
fn any_pod() -> impl Strategy<Value = Value> {
    let volume = prop_oneof![
        Just(json!({"name": "a", "persistentVolumeClaim": {"claimName": "a-db-0"}})),
        Just(json!({"name": "b", "persistentVolumeClaim": {"claimName": "b-db-0"}})),
        Just(json!({"name": "a", "emptyDir": {}})),
        any_json(),
    ];
    let container = (any_json(), prop::sample::select(vec!["a", "b", "c"])).prop_map(|(resources, mounted)| {
        json!({"name": "c", "resources": resources, "volumeMounts": [{"name": mounted, "mountPath": "/x"}]})
    });
    let lists = (prop::collection::vec(volume, 0..4), prop::collection::vec(container, 0..3), any_json());
    lists.prop_map(|(volumes, containers, init)| {
        json!({"spec": {"volumes": volumes, "containers": containers, "initContainers": init}})
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_hook_fall(body in prop::collection::vec(any::<u8>(), 0..256)) {
        Hook::ALL.iter().for_each(|hook| properties::answer_is_sound(*hook, &body));
    }

    #[test]
    fn no_review_makes_a_hook_fall(object in any_json(), old in any_json(), kind in 0..3_usize,
        operation in prop::sample::select(vec!["CREATE", "UPDATE", "DELETE", "CONNECT"])) {
        let kinds = [("apps", "StatefulSet"), ("", "PersistentVolumeClaim"), ("", "Pod")];
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "0-1", "kind": {"group": kinds[kind].0, "version": "v1", "kind": kinds[kind].1},
                "operation": operation, "object": object, "oldObject": old,
            },
        });
        Hook::ALL.iter().for_each(|hook| properties::answer_is_sound(*hook, review.to_string().as_bytes()));
    }

    #[test]
    fn what_is_answered_about_two_sets_applies_and_is_final(object in any_set(), old in any_set()) {
        properties::pair_is_sound(&object, &old);
    }

    #[test]
    fn what_is_answered_about_a_pod_applies_and_is_final(pod in any_pod()) {
        properties::pair_is_sound(&pod, &Value::Null);
    }

    #[test]
    fn what_is_answered_about_anything_applies_and_is_final(object in any_json(), old in any_json()) {
        properties::pair_is_sound(&object, &old);
    }
}
