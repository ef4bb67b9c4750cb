//! What is read out of the objects of the API server.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::dependent::owners_changed;
use super::super::phase::Phase;
use super::super::step::{Action, Step};
use super::world::{World, decide, pass};
use crate::api::names::SetName;

#[test]
fn a_pvc_is_protected_by_its_own_namespace_only() {
    let check = |kind: &str, uid: &str, expected: bool| {
        let mut claim = World::settled().claims.remove(0);
        claim.object.owners = vec![json!({ "kind": kind, "name": "shop", "uid": uid })];
        assert_eq!(claim.is_protected_by(&"uid-of-shop".into()), expected, "{kind} {uid}");
    };
    check("Namespace", "uid-of-shop", true);
    check("Namespace", "uid-of-an-earlier-one", false);
    check("Backup", "uid-of-shop", false);
}

#[test]
fn the_protections_of_another_statefulset_do_not_count() {
    let mut world = World::settled();
    pass(&mut world);
    let (journal, _) = &mut world.journals[0];
    (journal.set, journal.uid, journal.phase) = (SetName::new("shop", "other"), "uid-9".into(), Phase::Guarded);
    world.intent = None;
    assert_eq!(decide(&world), Step::Done { again: None });
    // A journal has one name all its life: under the name of ours, another StatefulSet in its head is damage.
    world.journals[0].0.uid = "uid-1".into();
    assert!(matches!(decide(&world), Step::Write(Action::DeleteJournal { .. })));
}

#[test]
fn the_last_write_of_the_owners_is_told_by_the_managed_fields() {
    let written = |time: &str, field: &str| json!({ "time": time, "fieldsV1": { "f:metadata": { field: {} } } });
    let check = |entries: Value, expected: Option<&str>| {
        let metadata = json!({ "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": entries });
        let expected: Option<Timestamp> = expected.map(|time| time.parse().unwrap());
        assert_eq!(owners_changed(&metadata), expected, "{metadata}");
    };
    let owners = |time| written(time, "f:ownerReferences");
    check(json!([owners("2026-01-02T00:00:00Z")]), Some("2026-01-02T00:00:00Z"));
    // The latest, in whatever order, and of no other field.
    let both = json!([owners("2026-01-04T00:00:00Z"), owners("2026-01-03T00:00:00Z")]);
    check(both, Some("2026-01-04T00:00:00Z"));
    let other = written("2026-01-05T00:00:00Z", "f:labels");
    check(json!([owners("2026-01-02T00:00:00Z"), other]), Some("2026-01-02T00:00:00Z"));
    // Created with its owners.
    check(json!([other]), Some("2026-01-01T00:00:00Z"));
    check(Value::Null, Some("2026-01-01T00:00:00Z"));
    assert_eq!(owners_changed(&json!({})), None);
}
