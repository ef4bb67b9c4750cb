use serde_json::{Value, json};

use super::*;

fn set(when_deleted: &str, metadata: &Value) -> Item<StatefulSet> {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "db", "uid": "new", "resourceVersion": "7"},
        "spec": {"serviceName": "", "selector": {}, "template": {}, "persistentVolumeClaimRetentionPolicy": {
            "whenDeleted": when_deleted, "whenScaled": "Retain"
        }}
    });
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn leaving(finalizers: &Value) -> Value {
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers})
}

/// The PVC of ordinal 0, written with these owners.
fn claim(version: &str, owners: &[&str]) -> Item<PersistentVolumeClaim> {
    let owner = |owner: &&str| {
        let (kind, uid) = owner.split_once('/').unwrap();
        json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid})
    };
    let owners: Vec<Value> = owners.iter().map(owner).collect();
    let mut meta = json!({"namespace": "shop", "name": "data-db-0", "ownerReferences": owners});
    meta["resourceVersion"] = json!(version);
    serde_json::from_value(json!({"metadata": meta, "spec": {}})).unwrap()
}

fn db() -> SetName {
    SetName::new("shop", "db")
}

const NOW: Duration = Duration::from_secs(100);

fn of(departures: &Departures) -> Departure {
    of_at(departures, NOW)
}

fn of_at(departures: &Departures, now: Duration) -> Departure {
    departures.of(&db(), now).map_or(Departure::Unknown, |seen| seen.departure)
}

fn after(events: impl IntoIterator<Item = Event<Item<StatefulSet>>>) -> Departure {
    let departures = Departures::default();
    events.into_iter().for_each(|event| departures.set(&event, NOW));
    of(&departures)
}

fn with_claims(claims: &[&str]) -> Departure {
    Departure::WithClaims { uid: Uid::new("new"), claims: claims.iter().map(|name| ClaimName::new(*name)).collect() }
}

#[test]
fn a_set_deleted_at_once_takes_its_claims_along_where_its_policy_says_so() {
    let gone = |policy| Event::Delete(set(policy, &json!({})));
    assert_eq!(after([gone("Delete")]), with_claims(&[]));
    assert_eq!(after([gone("Retain")]), Departure::Unknown);
}

#[test]
fn in_the_foreground_it_does_too_and_orphaned_it_does_not() {
    let went = |finalizer: &str| {
        let on_its_way = |finalizers: &Value| set("Delete", &leaving(finalizers));
        let last = on_its_way(&json!([]));
        [Event::Apply(on_its_way(&json!([finalizer]))), Event::Apply(last.clone()), Event::Delete(last)]
    };
    assert_eq!(after(went("foregroundDeletion")), with_claims(&[]));
    assert_eq!(after(went("orphan")), Departure::Orphaned);
    // Somebody's own finalizer: beside it another may have come and gone unseen.
    assert_eq!(after(went("example.com/mine")), Departure::Unknown);
}

#[test]
fn what_is_there_again_or_was_missed_is_not_remembered() {
    let gone = || Event::Delete(set("Delete", &json!({})));
    assert_eq!(after([gone(), Event::Apply(set("Delete", &json!({"uid": "newer"})))]), Departure::Unknown);
    let foreground = Event::Apply(set("Delete", &leaving(&json!(["foregroundDeletion"]))));
    let relisted = [foreground, Event::Init, Event::InitDone, Event::Delete(set("Delete", &leaving(&json!([]))))];
    assert_eq!(after(relisted), Departure::Unknown);
}

const OWNED: &[&str] = &["Namespace/shop", "StatefulSet/new"];
const GUARDED: &[&str] = &["Namespace/shop"];

/// The claims that went with the set, whose deletion has the resourceVersion 7, after these events of its PVC.
fn gone_with(events: impl IntoIterator<Item = Event<Item<PersistentVolumeClaim>>>) -> Departure {
    let departures = Departures::default();
    events.into_iter().for_each(|event| departures.claim(&event, NOW));
    departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
    of(&departures)
}

#[test]
fn the_claims_are_those_that_referred_to_it_when_it_was_deleted() {
    let check = |events: &[(&str, &[&str])], expected: &[&str]| {
        let told = events.iter().map(|(version, owners)| Event::Apply(claim(version, owners)));
        assert_eq!(gone_with(told), with_claims(expected), "{events:?}");
    };
    check(&[("5", OWNED)], &["data-db-0"]);
    // The garbage collector was faster than the news; and somebody who took it off before, to keep the data.
    check(&[("5", OWNED), ("8", GUARDED)], &["data-db-0"]);
    check(&[("5", OWNED), ("6", GUARDED)], &[]);
    // What counts is the first write without it, and the last with it.
    check(&[("4", OWNED), ("5", GUARDED), ("8", GUARDED)], &[]);
    check(&[("3", OWNED), ("4", GUARDED), ("5", OWNED), ("8", GUARDED)], &["data-db-0"]);
    // Numbers, not text; and what is none says nothing.
    check(&[("5", OWNED), ("10", GUARDED)], &["data-db-0"]);
    check(&[("5", OWNED), ("later", GUARDED)], &[]);
    check(&[("5", OWNED), ("", GUARDED)], &[]);
    // One that it never owned, and one that has no guard.
    check(&[("8", GUARDED)], &[]);
    check(&[("5", &["Namespace/shop", "StatefulSet/old"])], &[]);
    check(&[("5", OWNED), ("8", &["StatefulSet/new"])], &[]);
}

#[test]
fn in_the_foreground_the_garbage_collector_begins_long_before_the_set_is_gone() {
    let check = |written: &str, expected: &[&str]| {
        let departures = Departures::default();
        let leaving = |version: &str, finalizers: &Value| {
            let mut meta = leaving(finalizers);
            meta["resourceVersion"] = json!(version);
            set("Delete", &meta)
        };
        departures.claim(&Event::Apply(claim("10", OWNED)), NOW);
        departures.set(&Event::Apply(leaving("20", &json!(["foregroundDeletion"]))), NOW);
        departures.claim(&Event::Apply(claim(written, GUARDED)), NOW);
        departures.set(&Event::Apply(leaving("30", &json!(["foregroundDeletion"]))), NOW);
        departures.set(&Event::Delete(leaving("40", &json!([]))), NOW + AHEAD * 9);
        assert_eq!(of_at(&departures, NOW + AHEAD * 9), with_claims(expected), "{written}");
        assert_eq!(departures.of(&db(), NOW).unwrap().resource_version, "40");
    };
    check("21", &["data-db-0"]);
    check("19", &[]);
}

#[test]
fn a_list_does_not_say_which_write_took_the_reference_off() {
    let [owned, later] = [claim("5", OWNED), claim("8", GUARDED)];
    let relisted = |last| [Event::Apply(owned.clone()), Event::Init, Event::InitApply(last), Event::InitDone];
    assert_eq!(gone_with(relisted(owned.clone())), with_claims(&["data-db-0"]));
    // Written again after the deletion, by whomever: somebody may have taken it off before.
    assert_eq!(gone_with(relisted(later)), with_claims(&[]));
}

#[test]
fn where_the_clock_contradicts_the_resource_versions_are_of_different_stores_and_all_is_forgotten_in_time() {
    let departures = Departures::default();
    departures.claim(&Event::Apply(claim("5", OWNED)), NOW - AHEAD * 3);
    departures.claim(&Event::Apply(claim("8", GUARDED)), NOW - AHEAD * 2);
    departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
    assert_eq!(of(&departures), with_claims(&[]));
    assert_eq!(of_at(&departures, NOW + KEPT), Departure::Unknown);
}

#[test]
fn what_was_read_is_known_once_the_watch_has_told_of_it() {
    let departures = Departures::default();
    let read = |version: &str| Dependent {
        kind: crate::recreate::dependent::Kind::Claim,
        name: "data-db-0".to_owned(),
        uid: Uid::new("claim"),
        resource_version: version.to_owned(),
        generation: None,
        owners: Vec::new(),
        revision: None,
        labels: std::collections::BTreeMap::new(),
        deleting: false,
        owners_changed: None,
    };
    assert!(departures.knows("shop", &read("8")), "it is not guarded, as far as the watch has told");
    departures.claim(&Event::Apply(claim("9", &["Namespace/shop", "StatefulSet/new"])), NOW);
    for (version, expected) in [("8", true), ("9", true), ("10", false)] {
        assert_eq!(departures.knows("shop", &read(version)), expected, "{version}");
    }
}
