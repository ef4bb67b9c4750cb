use serde_json::json;

use super::*;
use crate::policy::claim::{Phase, Resize, Sizer};
use crate::recreate::manifest::MANAGER;

fn set() -> SetName {
    SetName::new("shop", "db")
}

fn claim(change: impl FnOnce(&mut Value)) -> Value {
    let mut claim = json!({
        "metadata": {"namespace": "shop", "name": "data-db-3", "uid": "u-1", "resourceVersion": "7"},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "fast"},
        "status": {"phase": "Bound", "capacity": {"storage": "10737418240"}},
    });
    change(&mut claim);
    claim
}

fn look(change: impl FnOnce(&mut Value)) -> Result<Claim, ReadError> {
    read(&view(claim(change)), &set(), &"data".into(), None)
}

fn view(claim: Value) -> ClaimView {
    serde_json::from_value(claim).unwrap()
}

#[test]
fn a_claim_is_read_with_every_part_that_deciding_needs() {
    let read = look(|claim| {
        claim["metadata"]["annotations"] = json!({RESIZED_AT: "2026-01-02T03:04:05Z"});
        claim["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        claim["spec"]["volumeMode"] = json!("Block");
    });
    let read = read.unwrap();
    assert_eq!((read.name.as_str(), read.ordinal.0, read.uid.as_str()), ("data-db-3", 3, "u-1"));
    assert_eq!((read.requested, read.capacity), (Bytes::gib(10), Some(Bytes::gib(10))));
    assert_eq!((read.phase, read.resize), (Phase::Bound, Resize::None));
    assert!(read.deleting && read.block_mode);
    assert_eq!(read.resized_at, Some("2026-01-02T03:04:05Z".parse().unwrap()));
}

#[test]
fn who_set_the_size_last_is_known() {
    let fields = |path: Value| json!({"f:spec": {"f:resources": {"f:requests": path}}});
    let entry =
        |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
    let read = look(|claim| {
        claim["metadata"]["managedFields"] = json!([
            entry("kubectl", "2026-01-02T03:04:05Z", fields(json!({"f:storage": {}}))),
            entry("rso-controller", "2026-01-02T03:05:00Z", fields(json!({"f:storage": {}}))),
            entry("kube-controller-manager", "2026-01-02T03:06:00Z", json!({"f:status": {}})),
        ]);
        claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    });
    let sizer =
        Some(Sizer { manager: MANAGER.to_owned(), is_ours: true, at: Some("2026-01-02T03:05:00Z".parse().unwrap()) });
    let read = read.unwrap();
    assert_eq!((read.sizer, read.protected), (sizer, true));
    assert_eq!(look(|_| ()).unwrap().sizer, None);
}

#[test]
fn what_may_be_missing_is_missing_without_harm() {
    let read = look(|claim| {
        claim["status"] = Value::Null;
        claim["metadata"]["annotations"] = json!({RESIZED_AT: "yesterday"});
    });
    let read = read.unwrap();
    assert_eq!((read.phase, read.capacity, read.resized_at), (Phase::Pending, None, None));
}

#[test]
fn steps_without_a_measurement_that_cannot_be_read_allow_no_other() {
    let check = |value: Value, expected: u32| {
        let read = look(|claim| claim["metadata"]["annotations"] = json!({RESCUED: value})).unwrap();
        assert_eq!(read.rescue.steps, expected, "{value}");
    };
    check(Value::Null, 0);
    check(json!("2"), 2);
    check(json!(""), u32::MAX);
    check(json!("-1"), u32::MAX);
    check(json!("99999999999"), u32::MAX);
}

#[test]
fn a_claim_without_identity_or_size_or_of_another_set_is_not_touched() {
    let check = |change: fn(&mut Value), part: &str| {
        let told = look(change).unwrap_err().to_string();
        assert!(told.contains(part), "{told}");
    };
    check(|claim| claim["metadata"]["uid"] = Value::Null, "metadata.uid");
    check(|claim| claim["metadata"]["resourceVersion"] = Value::Null, "metadata.resourceVersion");
    check(|claim| claim["spec"]["resources"]["requests"]["storage"] = json!("ten"), "requests.storage");
    check(|claim| claim["metadata"]["name"] = json!("wal-db-3"), "not a PVC of template data of shop/db");
    check(|claim| claim["metadata"]["namespace"] = json!("other"), "not a PVC of template data of shop/db");
    assert!(read(&view(json!({})), &set(), &"data".into(), None).is_err());
}

#[test]
fn a_class_that_cannot_be_read_is_known_by_the_claim_alone() {
    let check = |annotations: Value, expected: &str| {
        let claim = view(json!({"metadata": {"annotations": annotations}}));
        assert_eq!(class_unread(&claim, "fast").provisioner, expected);
        assert!(class_unread(&claim, "fast").expandable, "the API server is asked");
    };
    check(
        json!({"volume.kubernetes.io/storage-provisioner": "new", "volume.beta.kubernetes.io/storage-provisioner": "old"}),
        "new",
    );
    check(json!({"volume.beta.kubernetes.io/storage-provisioner": "old"}), "old");
    check(json!({}), "");
}

#[test]
fn a_class_grows_volumes_only_where_it_says_so() {
    let check = |allowed: Value, expected: bool| {
        let object = json!({"metadata": {"name": "fast"}, "provisioner": "p", "allowVolumeExpansion": allowed});
        assert_eq!(
            class(serde_json::from_value(object).unwrap()),
            Class { name: "fast".into(), expandable: expected, provisioner: "p".into() }
        );
    };
    check(json!(true), true);
    check(json!(false), false);
    check(Value::Null, false);
}

#[test]
fn an_expansion_is_one_patch_of_size_and_time_on_one_version() {
    let claim = look(|_| {}).unwrap();
    let write = |claim: &Claim, rescued: Rescued| {
        expansion("shop", claim, Bytes::gib(12), rescued, "2026-01-02T03:04:05.678Z".parse().unwrap())
    };
    let annotation = |claim: &Claim, rescued: Rescued| {
        write(claim, rescued).merge_patch().unwrap()["metadata"]["annotations"].get(RESCUED).cloned()
    };
    assert_eq!(annotation(&claim, Rescued::Over), None);
    assert_eq!(annotation(&claim, Rescued::Steps(2)), Some(json!("2")));
    let mut rescued = claim.clone();
    rescued.rescue.steps = 2;
    assert_eq!(annotation(&rescued, Rescued::Unchanged), None, "it stays");
    assert_eq!(annotation(&rescued, Rescued::Over), Some(Value::Null));
    let write = write(&claim, Rescued::Unchanged);
    assert_eq!((write.verb(), write.object.to_string().as_str()), ("patch", "persistentvolumeclaims shop/data-db-3"));
    let expected = json!({
        "metadata": {"uid": "u-1", "resourceVersion": "7", "annotations": {RESIZED_AT: "2026-01-02T03:04:05Z"}},
        "spec": {"resources": {"requests": {"storage": "12Gi"}}},
    });
    assert_eq!(write.merge_patch(), Some(&expected));
}
