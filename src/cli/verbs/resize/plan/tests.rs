use serde_json::{Value, json};

use super::*;
use crate::api::names::Ordinal;
use crate::cli::failure::Exit;
use crate::policy::claim::{Class, Phase, Resize};
use crate::workload::snapshot::Workload;

fn claim(ordinal: u32, size: u64, expandable: bool) -> Claim {
    Claim {
        name: ClaimName::new(format!("data-db-{ordinal}")),
        template: "data".into(),
        ordinal: Ordinal(ordinal),
        uid: "u".into(),
        resource_version: "1".into(),
        phase: Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: Bytes::gib(size),
        capacity: Some(Bytes::gib(size)),
        resize: Resize::None,
        class: Some(Class { name: "fast".into(), expandable, provisioner: "csi.example.com".into() }),
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    }
}

/// A StatefulSet with a template of 10Gi and these PVCs.
fn snapshot(annotations: Value, metadata: Value, claims: Vec<Claim>) -> Snapshot {
    let mut object = json!({
        "metadata": {"name": "db", "namespace": "shop", "uid": "1", "annotations": annotations},
        "spec": {
            "serviceName": "db", "selector": {}, "template": {}, "replicas": claims.len(),
            "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}},
            ],
        },
    });
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    let set = StatefulSetView::of(&serde_json::from_value(object).unwrap()).unwrap();
    Snapshot {
        ready: u32::try_from(claims.len()).unwrap(),
        workload: Workload::of(set, claims),
        rates: BTreeMap::new(),
        reactions: BTreeMap::new(),
        readings: BTreeMap::new(),
        events: vec![],
        usage_denied: false,
    }
}

fn planned(snapshot: &Snapshot, size: u64) -> Result<Plan, Failure> {
    plan(snapshot, &Request { template: "data".into(), size: Bytes::gib(size) }, Timestamp::UNIX_EPOCH)
}

fn change(snapshot: &Snapshot, size: u64) -> Change {
    match planned(snapshot, size) {
        Ok(Plan::Change(change)) => change,
        other => panic!("{other:?}"),
    }
}

fn sizes(change: &Change) -> Vec<(u64, u64)> {
    change.claims.iter().map(|(_, from, to)| (from.0 >> 30, to.0 >> 30)).collect()
}

#[test]
fn a_larger_size_expands_the_pvcs_and_updates_the_template() {
    let change = change(&snapshot(json!({}), json!({}), vec![claim(0, 10, true), claim(1, 12, true)]), 20);
    assert_eq!(sizes(&change), [(10, 20), (12, 20)]);
    assert_eq!(change.template, Some((Bytes::gib(10), Bytes::gib(20))));
    assert!(change.remarks[0].contains("the Pods keep running"), "{:?}", change.remarks);
}

#[test]
fn a_remark_says_what_the_update_of_the_template_waits_for() {
    let mut waiting = snapshot(json!({}), json!({}), vec![claim(0, 10, true), claim(1, 10, true)]);
    waiting.ready = 1;
    let remark = change(&waiting, 20).remarks.remove(0);
    assert!(remark.contains("1 of 2 are") && remark.ends_with("kubectl get pods -n shop"), "{remark}");
    let transaction = json!({"resize-statefulset-operator/transaction": "1"});
    let remark = change(&snapshot(transaction, json!({}), vec![claim(0, 10, true)]), 20).remarks.remove(0);
    assert!(remark.contains("after the recreation in progress"), "{remark}");
}

#[test]
fn a_statefulset_without_replicas_gets_a_larger_template() {
    let change = change(&snapshot(json!({}), json!({}), vec![]), 20);
    assert_eq!((sizes(&change), change.template), (vec![], Some((Bytes::gib(10), Bytes::gib(20)))));
}

#[test]
fn a_request_for_the_present_size_changes_nothing() {
    let plan = planned(&snapshot(json!({}), json!({}), vec![claim(0, 10, true)]), 10);
    assert_eq!(plan, Ok(Plan::Nothing("statefulset.apps/db data already has 10Gi".into())));
}

#[test]
fn a_smaller_size_and_an_impossible_one_are_refused() {
    let check = |snapshot: Snapshot, size: u64, expected: &str| {
        let failure = planned(&snapshot, size).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused, "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
    };
    let max = json!({"resize-statefulset-operator/max-size.data": "15Gi"});
    let deleting = json!({"deletionTimestamp": "2026-05-01T12:00:00Z"});
    check(snapshot(json!({}), json!({}), vec![claim(0, 10, true)]), 9, "template data of shop/db has 10Gi");
    check(snapshot(json!({}), json!({}), vec![claim(0, 12, true)]), 11, "PVC data-db-0 has 12Gi");
    check(snapshot(json!({}), json!({}), vec![claim(0, 10, false)]), 20, "does not allow expansion");
    check(snapshot(max, json!({}), vec![claim(0, 10, true)]), 20, "max-size of 15Gi");
    check(snapshot(json!({}), deleting, vec![claim(0, 10, true)]), 20, "is being deleted");
}

#[test]
fn a_remark_says_what_delays_or_prevents_a_change() {
    let check = |annotations: Value, metadata: Value, with_template: bool, expected: &str| {
        let change = change(&snapshot(annotations, metadata, vec![claim(0, 10, true)]), 20);
        assert!(change.remarks.iter().any(|remark| remark.contains(expected)), "{:?}", change.remarks);
        assert_eq!(change.template.is_some(), with_template);
    };
    let owner = json!([{"apiVersion": "v1", "kind": "Postgres", "name": "pg", "uid": "2", "controller": true}]);
    let owned = json!({"ownerReferences": owner});
    check(json!({"resize-statefulset-operator/paused": "true"}), json!({}), true, "paused");
    check(json!({"resize-statefulset-operator/template-sync": "Never"}), json!({}), false, "template-sync is Never");
    check(json!({"resize-statefulset-operator/resize-0": "30Gi"}), json!({}), true, "resize-0 requests 30Gi");
    check(json!({}), owned, false, "Postgres pg owns the StatefulSet");
}
