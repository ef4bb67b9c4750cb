use serde_json::json;

use super::news::news;
use super::*;
use crate::policy::claim::Class;
use crate::policy::usage::Usage;

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn set(annotations: Value, metadata: Value) -> SetView {
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
    SetView::of(&serde_json::from_value(object).unwrap()).unwrap()
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
    }
}

/// Two claims of 10Gi, the first this full.
fn seen(set: SetView, percent: u64) -> Seen {
    let capacity = Bytes::gib(10);
    let used = Bytes(capacity.0 / 100 * percent);
    let usage = Usage {
        claim: "data-db-0".into(),
        total: capacity,
        used,
        available: capacity.saturating_sub(used),
        inodes: None,
        shared: false,
        at: now(),
        source: Source::Agent,
    };
    let claims = vec![claim(0, capacity, capacity), claim(1, capacity, capacity)];
    let reading = Reading::Measured { usage, rate: 0, capacity };
    Seen { set, ready: 2, claims, readings: [("data-db-0".into(), reading)].into(), events: vec![], blind: false }
}

fn auto() -> Value {
    json!({"resize-statefulset-operator/auto-scaled": "true"})
}

#[test]
fn a_full_volume_is_shown_with_the_size_it_is_to_have() {
    let status = compose(&seen(set(auto(), json!({})), 85), now());
    let template = &status.templates[0];
    assert!(status.managed);
    assert_eq!(template.wanted, Some(Bytes::gib(12)));
    assert_eq!(template.notes[0].reason, Reason::AutoResizeTriggered);
    assert_eq!(template.claims[0].usage.as_ref().map(|usage| usage.source), Some("agent"));
    assert_eq!(template.claims[1].state, State::Settled);
}

#[test]
fn a_set_without_our_annotations_is_shown_and_wants_nothing() {
    let status = compose(&seen(set(json!({}), json!({})), 99), now());
    assert!(!status.managed);
    assert_eq!((status.templates[0].wanted, &status.templates[0].growth), (None, &Growth::OnRequest));
    assert!(status.templates[0].notes.is_empty() && status.notes.is_empty());
}

#[test]
fn who_may_not_ask_is_not_told_that_nobody_answers() {
    let mut seen = seen(set(auto(), json!({})), 10);
    seen.readings.clear();
    let reasons =
        |seen: &Seen| compose(seen, now()).templates[0].notes.iter().map(|note| note.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&seen), [Reason::UsageUnknown]);
    seen.blind = true;
    assert_eq!(reasons(&seen), []);
}

#[test]
fn what_happens_to_the_set_is_told() {
    let check = |annotations: Value, metadata: Value, expected: view::Phase| {
        assert_eq!(compose(&seen(set(annotations, metadata), 10), now()).phase, expected);
    };
    let gone = "2026-05-01T11:59:59Z";
    check(auto(), json!({}), view::Phase::Settled);
    check(auto(), json!({"deletionTimestamp": gone}), view::Phase::Deleting);
    let held = json!({"deletionTimestamp": gone, "finalizers": [crate::api::annotations::HOLD]});
    check(auto(), held, view::Phase::SyncingTemplate);
    check(json!({"resize-statefulset-operator/paused": "true"}), json!({}), view::Phase::Paused);
}

#[test]
fn an_owned_set_says_that_its_template_stays() {
    let owner = json!([{"apiVersion": "v1", "kind": "Postgres", "name": "pg", "uid": "2", "controller": true}]);
    let metadata = json!({"ownerReferences": owner});
    let status = compose(&seen(set(auto(), metadata.clone()), 10), now());
    assert_eq!(status.notes[0].reason, Reason::TemplateSyncBlocked);
    let mut allowed = auto();
    allowed["resize-statefulset-operator/allow-owner"] = json!("Postgres");
    assert!(compose(&seen(set(allowed, metadata), 10), now()).notes.is_empty());
}

#[test]
fn a_claim_is_shown_where_it_is() {
    let check = |change: fn(&mut Claim), expected: State| {
        let mut claim = claim(0, Bytes::gib(12), Bytes::gib(10));
        change(&mut claim);
        assert_eq!(state(&claim, &Driver::default()), expected);
    };
    check(|_| {}, State::Growing);
    check(|claim| claim.capacity = Some(Bytes::gib(12)), State::Settled);
    check(|claim| claim.resize = Resize::NodePending, State::GrowingFilesystem);
    check(|claim| claim.resize = Resize::ControllerInfeasible, State::Infeasible);
    check(|claim| claim.phase = Phase::Lost, State::Lost);
    check(|claim| claim.phase = Phase::Pending, State::Pending);
    check(|claim| claim.deleting = true, State::Deleting);
}

#[test]
fn a_replica_without_its_claim_is_missing() {
    let mut seen = seen(set(auto(), json!({})), 10);
    seen.claims.truncate(1);
    assert_eq!(compose(&seen, now()).templates[0].claims[1].state, State::Missing);
}

#[test]
fn only_the_newest_event_of_a_reason_is_news_and_only_for_an_hour() {
    let at = |minutes: i64, reason: &str| EventStatus {
        at: now() - jiff::SignedDuration::from_mins(minutes),
        reason: reason.into(),
        warning: false,
        note: format!("{minutes}"),
        claim: None,
    };
    let events = [at(5, "ClaimExpanded"), at(2, "ClaimExpanded"), at(3, "TemplateSynced"), at(61, "BackupCreated")];
    let notes: Vec<String> = news(&events, &[], now()).into_iter().map(|event| event.note).collect();
    assert_eq!(notes, ["2", "3"]);
    let told = [Note::new(Reason::TemplateSynced, "x")];
    assert_eq!(news(&events, &told, now()).len(), 1);
}

/// An Event of so many minutes ago.
fn told(minutes: i64, reason: Reason, claim: Option<&str>, note: &str) -> EventStatus {
    EventStatus {
        at: now() - jiff::SignedDuration::from_mins(minutes),
        reason: reason.as_str().into(),
        warning: reason.severity() == Severity::Warning,
        note: note.into(),
        claim: claim.map(Into::into),
    }
}

#[test]
fn warnings_come_before_news_until_what_they_warned_of_has_ended() {
    let check = |events: &[EventStatus], expected: &[Reason]| {
        let shown: Vec<String> = news(events, &[], now()).into_iter().map(|event| event.reason).collect();
        assert_eq!(shown, expected.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    };
    let quota = || told(9, Reason::QuotaExceeded, None, "claim data-db-1 cannot grow to 12Gi");
    let grown = |claim: &str| told(2, Reason::ClaimExpanded, Some(claim), "has 12Gi");
    check(
        &[
            told(1, Reason::TemplateSyncing, None, "x"),
            grown("data-db-0"),
            told(3, Reason::BackupCreated, None, "x"),
            quota(),
            told(20, Reason::ExpansionStuck, Some("data-db-2"), "x"),
        ],
        &[Reason::QuotaExceeded, Reason::ExpansionStuck, Reason::TemplateSyncing],
    );
    // The claim it is about has grown; another one that has says nothing, nor one whose name is only its beginning.
    check(&[grown("data-db-1"), quota()], &[Reason::ClaimExpanded]);
    check(&[grown("data-db-10"), quota()], &[Reason::QuotaExceeded, Reason::ClaimExpanded]);
    let of_claim = told(9, Reason::QuotaExceeded, Some("data-db-1"), "cannot grow");
    check(&[grown("data-db-1"), of_claim.clone()], &[Reason::ClaimExpanded]);
    // It was refused after it grew.
    check(
        &[told(1, Reason::QuotaExceeded, Some("data-db-1"), "x"), grown("data-db-1")],
        &[Reason::QuotaExceeded, Reason::ClaimExpanded],
    );
    let deferred = told(5, Reason::TemplateSyncDeferred, None, "x");
    check(&[told(1, Reason::TemplateSynced, None, "x"), deferred.clone()], &[Reason::TemplateSynced]);
    check(
        &[told(6, Reason::TemplateSynced, None, "x"), deferred],
        &[Reason::TemplateSyncDeferred, Reason::TemplateSynced],
    );
}

#[test]
fn what_is_refused_is_not_shown_as_a_fact() {
    let mut annotations = json!({});
    annotations["resize-statefulset-operator/resize.data"] = json!("12Gi");
    let mut seen = seen(set(annotations, json!({})), 10);
    let reasons = |seen: &Seen| {
        let status = compose(seen, now());
        let notes: Vec<Reason> = status.templates[0].notes.iter().map(|note| note.reason).collect();
        (notes, status.events.into_iter().map(|event| event.reason).collect::<Vec<_>>())
    };
    assert_eq!(reasons(&seen).0, [Reason::ResizeRequested]);
    seen.events = vec![
        told(2, Reason::ResizeRequested, None, "2 of 2 claims are raised to 12Gi"),
        told(2, Reason::QuotaExceeded, Some("data-db-1"), "cannot grow to 12Gi"),
    ];
    assert_eq!(reasons(&seen), (vec![], vec!["QuotaExceeded".to_owned()]));
    seen.events.push(told(1, Reason::ClaimExpanded, Some("data-db-1"), "has 12Gi"));
    assert_eq!(reasons(&seen).0, [Reason::ResizeRequested]);
}

#[test]
fn an_event_is_read_at_the_time_it_was_seen_last() {
    let mut object = json!({
        "reason": "CooldownActive", "type": "Warning", "note": "claim data-db-0 …",
        "eventTime": "2026-05-01T11:00:00.000000Z",
    });
    assert_eq!(event(&object).unwrap().at, "2026-05-01T11:00:00Z".parse().unwrap());
    object["series"] = json!({"count": 2, "lastObservedTime": "2026-05-01T11:30:00.000000Z"});
    assert_eq!(event(&object).unwrap().at, "2026-05-01T11:30:00Z".parse().unwrap());
    object["reason"] = json!("SuccessfulCreate");
    assert!(event(&object).is_none());
}
