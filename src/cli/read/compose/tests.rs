use serde_json::json;

use super::recent_events::select;
use super::*;
use crate::policy::claim::Class;
use crate::policy::reaction::Longest;
use crate::policy::usage::Usage;

pub(in crate::cli::read) fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

pub(in crate::cli::read) fn set(annotations: Value, metadata: Value) -> StatefulSetView {
    let mut object = json!({
        "metadata": {"name": "db", "namespace": "shop", "uid": "1", "annotations": annotations},
        "spec": {
            "serviceName": "db", "selector": {}, "template": {}, "replicas": 2,
            "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}},
            ],
        },
    });
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    StatefulSetView::of(&serde_json::from_value(object).unwrap()).unwrap()
}

fn claim(ordinal: u32, requested: Bytes, capacity: Bytes) -> Claim {
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
        requested,
        capacity: Some(capacity),
        resize: Resize::None,
        class: Some(Class { name: "fast".into(), expandable: true, provisioner: "csi.example.com".into() }),
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    }
}

/// Two PVCs of 10Gi, the first with this usage in percent.
pub(in crate::cli::read) fn snapshot(set: StatefulSetView, percent: u64) -> Snapshot {
    let capacity = Bytes::gib(10);
    let used = Bytes(capacity.0 / 100 * percent);
    let usage = Usage {
        claim: "data-db-0".into(),
        total: capacity,
        used,
        available: capacity.saturating_sub(used),
        inodes: None,
        shared: false,
        write_rate: None,
        at: now(),
        source: Source::Agent,
    };
    let claims = vec![claim(0, capacity, capacity), claim(1, capacity, capacity)];
    let reading = Reading::Measured { usage, rate: Default::default(), capacity };
    Snapshot {
        workload: Workload::of(set, claims),
        ready: 2,
        readings: [("data-db-0".into(), reading)].into(),
        rates: BTreeMap::new(),
        reactions: BTreeMap::new(),
        events: vec![],
        usage_denied: false,
    }
}

fn auto() -> Value {
    json!({"resize-statefulset-operator/auto-scaled": "true"})
}

#[test]
fn a_full_volume_is_shown_with_the_size_that_it_will_have() {
    let status = compose(&snapshot(set(auto(), json!({})), 85), now());
    let template = &status.templates[0];
    assert!(status.managed);
    assert_eq!(template.wanted, Some(Bytes::gib(12)));
    assert_eq!(template.notes[0].reason, Reason::AutoResizeTriggered);
    assert_eq!(template.claims[0].usage.as_ref().map(|usage| usage.source), Some("agent"));
    assert_eq!(template.claims[1].state, State::Stable);
}

#[test]
fn a_volume_has_the_reaction_of_its_storageclass_in_json() {
    let check = |class: &str, expected: Value| {
        let mut snapshot = snapshot(set(auto(), json!({})), 85);
        snapshot.reactions.insert(class.into(), Longest { time: Duration::from_millis(400), of: 3 });
        snapshot.rates.insert("data-db-0".into(), Bytes::gib(1).0 / 2);
        let json = serde_json::to_value(compose(&snapshot, now())).unwrap();
        let claims = &json["templates"][0]["claims"];
        assert_eq!(claims[0]["usage"]["reactionSeconds"], expected, "{claims}");
        assert_eq!(claims[0]["usage"]["fullInSeconds"], json!(3.0), "{claims}");
        assert_eq!(claims[1]["usage"], Value::Null, "{claims}");
    };
    check("fast", json!(0.4));
    check("slow", Value::Null);
}

#[test]
fn a_statefulset_without_annotations_of_rso_is_shown_without_a_wanted_size() {
    let status = compose(&snapshot(set(json!({}), json!({})), 99), now());
    assert!(!status.managed);
    assert_eq!((status.templates[0].wanted, &status.templates[0].expansion), (None, &Expansion::OnRequest));
    assert!(status.templates[0].notes.is_empty() && status.notes.is_empty());
}

#[test]
fn a_user_without_the_permission_sees_no_warning_about_an_unknown_usage() {
    let mut snapshot = snapshot(set(auto(), json!({})), 10);
    snapshot.readings.clear();
    let reasons = |snapshot: &Snapshot| {
        compose(snapshot, now()).templates[0].notes.iter().map(|note| note.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&snapshot), [Reason::UsageUnknown]);
    snapshot.usage_denied = true;
    assert_eq!(reasons(&snapshot), []);
}

#[test]
fn the_phase_is_what_happens_to_the_statefulset() {
    let check = |annotations: Value, metadata: Value, expected: view::Phase| {
        assert_eq!(compose(&snapshot(set(annotations, metadata), 10), now()).phase, expected);
    };
    let gone = "2026-05-01T11:59:59Z";
    check(auto(), json!({}), view::Phase::Stable);
    check(auto(), json!({"deletionTimestamp": gone}), view::Phase::Deleting);
    let held = json!({"deletionTimestamp": gone, "finalizers": [crate::api::annotations::HOLD]});
    check(auto(), held, view::Phase::Recreating);
    check(json!({"resize-statefulset-operator/paused": "true"}), json!({}), view::Phase::Paused);
}

#[test]
fn an_owned_statefulset_has_a_note_that_its_template_is_not_updated() {
    let owner = json!([{"apiVersion": "v1", "kind": "Postgres", "name": "pg", "uid": "2", "controller": true}]);
    let metadata = json!({"ownerReferences": owner});
    let status = compose(&snapshot(set(auto(), metadata.clone()), 10), now());
    assert_eq!(status.notes[0].reason, Reason::TemplateSyncBlocked);
    let mut allowed = auto();
    allowed["resize-statefulset-operator/allow-owner"] = json!("Postgres");
    assert!(compose(&snapshot(set(allowed, metadata), 10), now()).notes.is_empty());
}

#[test]
fn a_pvc_is_shown_with_its_state() {
    let check = |change: fn(&mut Claim), expected: State| {
        let mut claim = claim(0, Bytes::gib(12), Bytes::gib(10));
        change(&mut claim);
        assert_eq!(state(&claim, &Driver::default()), expected);
    };
    check(|_| {}, State::Expanding);
    check(|claim| claim.capacity = Some(Bytes::gib(12)), State::Stable);
    check(|claim| claim.resize = Resize::NodePending, State::ExpandingFilesystem);
    check(|claim| claim.resize = Resize::ControllerInfeasible, State::Infeasible);
    check(|claim| claim.phase = Phase::Lost, State::Lost);
    check(|claim| claim.phase = Phase::Pending, State::Pending);
    check(|claim| claim.deleting = true, State::Deleting);
}

#[test]
fn the_pvc_of_a_replica_that_has_none_is_missing() {
    let mut snapshot = snapshot(set(auto(), json!({})), 10);
    snapshot.workload.groups[0].claims.truncate(1);
    assert_eq!(compose(&snapshot, now()).templates[0].claims[1].state, State::Missing);
}

#[test]
fn the_newest_event_of_each_reason_is_shown_for_an_hour() {
    let at = |minutes: i64, reason: &str| EventStatus {
        at: now() - jiff::SignedDuration::from_mins(minutes),
        reason: reason.into(),
        warning: false,
        note: format!("{minutes}"),
        claim: None,
    };
    let events = [at(5, "ClaimExpanded"), at(2, "ClaimExpanded"), at(3, "TemplateSynced"), at(61, "BackupCreated")];
    let notes: Vec<String> = select(&events, &[], now()).into_iter().map(|event| event.note).collect();
    assert_eq!(notes, ["2", "3"]);
    let notes = [Note::new(Reason::TemplateSynced, "", "x")];
    assert_eq!(select(&events, &notes, now()).len(), 1);
}

/// An Event of this age in minutes.
fn event_of(minutes: i64, reason: Reason, claim: Option<&str>, note: &str) -> EventStatus {
    EventStatus {
        at: now() - jiff::SignedDuration::from_mins(minutes),
        reason: reason.as_str().into(),
        warning: reason.severity() == Severity::Warning,
        note: note.into(),
        claim: claim.map(Into::into),
    }
}

#[test]
fn warnings_come_first_until_what_they_warn_of_has_ended() {
    let check = |events: &[EventStatus], expected: &[Reason]| {
        let shown: Vec<String> = select(events, &[], now()).into_iter().map(|event| event.reason).collect();
        assert_eq!(shown, expected.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    };
    let quota = || event_of(9, Reason::QuotaExceeded, None, "PVC data-db-1 cannot be expanded to 12Gi");
    let expanded = |claim: &str| event_of(2, Reason::ClaimExpanded, Some(claim), "has 12Gi");
    check(
        &[
            event_of(1, Reason::TemplateSyncing, None, "x"),
            expanded("data-db-0"),
            event_of(3, Reason::BackupCreated, None, "x"),
            quota(),
            event_of(20, Reason::ExpansionStuck, Some("data-db-2"), "x"),
        ],
        &[Reason::QuotaExceeded, Reason::ExpansionStuck, Reason::TemplateSyncing],
    );
    // The PVC that it is about has been expanded. An expansion of another PVC ends nothing, nor of one whose name is longer.
    check(&[expanded("data-db-1"), quota()], &[Reason::ClaimExpanded]);
    check(&[expanded("data-db-10"), quota()], &[Reason::QuotaExceeded, Reason::ClaimExpanded]);
    let of_claim = event_of(9, Reason::QuotaExceeded, Some("data-db-1"), "cannot be expanded");
    check(&[expanded("data-db-1"), of_claim.clone()], &[Reason::ClaimExpanded]);
    // The Warning is newer than the expansion.
    check(
        &[event_of(1, Reason::QuotaExceeded, Some("data-db-1"), "x"), expanded("data-db-1")],
        &[Reason::QuotaExceeded, Reason::ClaimExpanded],
    );
    let deferred = event_of(5, Reason::TemplateSyncDeferred, None, "x");
    check(&[event_of(1, Reason::TemplateSynced, None, "x"), deferred.clone()], &[Reason::TemplateSynced]);
    check(
        &[event_of(6, Reason::TemplateSynced, None, "x"), deferred],
        &[Reason::TemplateSyncDeferred, Reason::TemplateSynced],
    );
}

#[test]
fn an_expansion_that_is_refused_is_not_announced() {
    let mut annotations = json!({});
    annotations["resize-statefulset-operator/resize.data"] = json!("12Gi");
    let mut snapshot = snapshot(set(annotations, json!({})), 10);
    let reasons = |snapshot: &Snapshot| {
        let status = compose(snapshot, now());
        let notes: Vec<Reason> = status.templates[0].notes.iter().map(|note| note.reason).collect();
        (notes, status.events.into_iter().map(|event| event.reason).collect::<Vec<_>>())
    };
    assert_eq!(reasons(&snapshot).0, [Reason::ResizeRequested]);
    snapshot.events = vec![
        event_of(2, Reason::ResizeRequested, None, "2 of 2 PVCs: requested 12Gi"),
        event_of(2, Reason::QuotaExceeded, Some("data-db-1"), "cannot be expanded to 12Gi"),
    ];
    assert_eq!(reasons(&snapshot), (vec![], vec!["QuotaExceeded".to_owned()]));
    snapshot.events.push(event_of(1, Reason::ClaimExpanded, Some("data-db-1"), "has 12Gi"));
    assert_eq!(reasons(&snapshot).0, [Reason::ResizeRequested]);
}

#[test]
fn an_event_has_the_time_of_its_last_occurrence() {
    let mut object = json!({
        "reason": "CooldownActive", "type": "Warning", "note": "PVC data-db-0 …",
        "eventTime": "2026-05-01T11:00:00.000000Z",
    });
    assert_eq!(event(&object).unwrap().at, "2026-05-01T11:00:00Z".parse().unwrap());
    object["series"] = json!({"count": 2, "lastObservedTime": "2026-05-01T11:30:00.000000Z"});
    assert_eq!(event(&object).unwrap().at, "2026-05-01T11:30:00Z".parse().unwrap());
    object["reason"] = json!("SuccessfulCreate");
    assert!(event(&object).is_none());
}
