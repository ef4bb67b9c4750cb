//! A checker that finds nothing has to show that it can: a history in which all is well, and one seeded violation at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use rso::api::annotations::KIND_LABEL;
use rso::api::names::{SetName, Uid};
use rso::recreate::journal::Snapshot;
use rso::recreate::manifest;
use rso::recreate::phase::Ending;
use rso::recreate::set::WhenDeleted;

use super::*;
use crate::asked::{Asked, Class};
use crate::fault::{Fault, ReadFault};

/// A set of one pod and one claim; `uid` tells the old one from the new one.
fn set(uid: &str, size: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "ns", "uid": uid, "labels": {"team": "red"}, "annotations": {"a": "b"}},
        "spec": {
            "replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}},
            "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
            ],
        },
        "status": {"currentRevision": "db-1", "updateRevision": "db-1"},
    })
}

fn pod(owner: Option<&str>) -> Value {
    let owners: Vec<Value> = owner.iter().map(|uid| json!({"kind": "StatefulSet", "uid": uid})).collect();
    json!({
        "metadata": {"name": "db-0", "uid": "pod", "ownerReferences": owners},
        "status": {"containerStatuses": [{"name": "db", "containerID": "1", "restartCount": 0}]},
    })
}

fn claim(size: &str) -> Value {
    json!({
        "metadata": {"name": "data-db-0", "uid": "claim"},
        "spec": {"resources": {"requests": {"storage": size}}},
    })
}

/// Builds a history event by event.
#[derive(Default)]
struct Script {
    at: u64,
    events: Vec<Event>,
    held: Value,
}

impl Script {
    fn tell(&mut self, kind: Kind, change: Change, mut object: Value) -> Value {
        self.at += 1;
        object["metadata"]["resourceVersion"] = json!(self.at.to_string());
        self.events.push(Event { at: self.at, kind, change, object: Arc::new(object.clone()), heard: Instant::now() });
        object
    }

    fn journal(&mut self, change: Change, phase: Phase) {
        let journal = journal_of(&self.held, phase);
        let map = journal.encode("ns").unwrap();
        assert_eq!(map["metadata"]["labels"][KIND_LABEL], "journal");
        self.tell(Kind::ConfigMap, change, map);
    }
}

/// The journal of the recreate of this set.
fn journal_of(held: &Value, phase: Phase) -> Journal {
    let time = "2026-01-01T00:00:00Z".parse().unwrap();
    Journal {
        version: 1,
        id: "id".into(),
        set: SetName::new("ns", "db"),
        uid: Uid::new(held["metadata"]["uid"].as_str().unwrap()),
        successor: None,
        phase,
        started_at: time,
        phase_at: time,
        targets: BTreeMap::from([("data".into(), "2Gi".parse().unwrap())]),
        reason: String::new(),
        allow_owner: None,
        when_deleted: WhenDeleted::Retain,
        snapshot: Snapshot {
            update_revision: "db-1".into(),
            template: String::new(),
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
        },
        image: manifest::image(held),
        incidents: Vec::new(),
        ending: None,
        adopted: false,
        owned: BTreeSet::new(),
        lost: BTreeSet::new(),
    }
}

fn asked(method: Method, path: &str, body: Value) -> Asked {
    let now = Instant::now();
    Asked {
        who: 0,
        class: Class::Write,
        number: 0,
        method,
        path: format!("/apis/apps/v1/namespaces/ns/{path}"),
        query: String::new(),
        body,
        at: now,
        delivered: vec![(now, 200, Value::Null)],
        told: Some(200),
    }
}

/// A recreate as it should be. A seed changes one thing of it.
fn history(seed: Seed) -> History {
    let mut script = Script::default();
    let before = script.tell(Kind::StatefulSet, Change::Added, set("old", "1Gi"));
    script.tell(Kind::Pod, Change::Added, pod(Some("old")));
    script.tell(Kind::Claim, Change::Added, claim("1Gi"));
    let settled = script.at;
    if seed != Seed::SmallClaim {
        script.tell(Kind::Claim, Change::Modified, claim("2Gi"));
    }
    script.held = before;
    script.journal(Change::Added, Phase::Prepared);
    let mut held = set("old", "1Gi");
    held["metadata"]["finalizers"] = json!([HOLD]);
    if seed == Seed::Rollout {
        held["status"]["updateRevision"] = json!("db-2");
    }
    script.held = script.tell(Kind::StatefulSet, Change::Modified, held.clone());
    script.journal(Change::Modified, Phase::Deleting);
    held["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    script.held = script.tell(Kind::StatefulSet, Change::Modified, held.clone());
    if seed != Seed::EarlyRelease {
        script.tell(Kind::Pod, Change::Modified, pod(None));
    }
    if seed == Seed::LostEdit {
        held["metadata"]["labels"]["team"] = json!("blue");
        let old = script.held.clone();
        script.tell(Kind::StatefulSet, Change::Modified, held.clone());
        script.held = old;
    }
    script.journal(Change::Modified, Phase::Releasing);
    if seed == Seed::NoJournal {
        script.journal(Change::Deleted, Phase::Releasing);
    }
    held["metadata"]["finalizers"] = Value::Null;
    script.tell(Kind::StatefulSet, Change::Deleted, held);
    let mut new = set("new", "2Gi");
    new["metadata"]["annotations"][TRANSACTION] = json!("id");
    if seed == Seed::OtherTemplate {
        new["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    }
    script.tell(Kind::StatefulSet, Change::Added, new.clone());
    if seed == Seed::Twice {
        script.tell(Kind::StatefulSet, Change::Deleted, new.clone());
        script.tell(Kind::StatefulSet, Change::Added, new.clone());
    }
    if seed == Seed::EarlyRelease {
        script.tell(Kind::Pod, Change::Modified, pod(None));
    }
    script.journal(Change::Modified, Phase::Adopting);
    script.tell(Kind::Pod, Change::Modified, pod(Some("new")));
    if seed != Seed::LeftTransaction {
        script.tell(Kind::StatefulSet, Change::Modified, set("new", "2Gi"));
    }
    script.journal(Change::Deleted, Phase::Adopting);
    if seed == Seed::Again {
        // Its size was put back.
        script.held = script.tell(Kind::StatefulSet, Change::Modified, set("new", "1Gi"));
        script.journal(Change::Added, Phase::Prepared);
        script.journal(Change::Deleted, Phase::Prepared);
    }
    let uid = json!({"uid": "old", "resourceVersion": "6"});
    History {
        events: script.events,
        asked: vec![
            asked(Method::POST, "configmaps", json!({"metadata": {"name": "rso-journal-old"}})),
            asked(Method::PATCH, "statefulsets/db", json!({"metadata": uid})),
            asked(Method::DELETE, "statefulsets/db", json!({"preconditions": uid, "propagationPolicy": "Orphan"})),
        ],
        deeds: Vec::new(),
        settled,
        end: End::Grown,
        pods: Pods::Stay,
        fault: None,
        targets: BTreeMap::from([("data".to_owned(), "2Gi".to_owned())]),
    }
}

/// What is wrong in the order of events. What is wrong elsewhere is changed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seed {
    Nothing,
    SmallClaim,
    Rollout,
    EarlyRelease,
    LostEdit,
    NoJournal,
    OtherTemplate,
    Twice,
    LeftTransaction,
    Again,
}

fn found(history: &History) -> Vec<String> {
    violations(history).iter().map(|how| how.split(": ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn where_all_is_well_nothing_is_found() {
    assert_eq!(violations(&history(Seed::Nothing)), Vec::<String>::new());
}

#[test]
fn what_is_wrong_in_the_order_of_events_is_found() {
    let check = |seed, expected: &str| {
        let found = found(&history(seed));
        assert!(found.iter().any(|how| how == expected), "{seed:?}: {found:?}");
    };
    check(Seed::SmallClaim, "no set is deleted before its claims are large and its rollout is over");
    check(Seed::Rollout, "no set is deleted before its claims are large and its rollout is over");
    check(Seed::EarlyRelease, "at the release nothing refers to the old set");
    check(Seed::LostEdit, "an absent set is remembered, as it was last edited");
    check(Seed::NoJournal, "an absent set is remembered, as it was last edited");
    check(Seed::OtherTemplate, "the pod template that is created is one that somebody else applied");
    check(Seed::Twice, "a transaction makes at most one set, and none when it is over");
    check(Seed::Twice, "a set of somebody else is never deleted");
    check(Seed::LeftTransaction, "at rest nothing of ours is left");
    check(Seed::Again, "the same recreate does not follow itself");
}

#[test]
fn a_journal_that_arrives_late_about_a_set_that_is_gone_begins_nothing() {
    let mut late = history(Seed::Nothing);
    let journal = late.events.iter().find(|event| event.kind == Kind::ConfigMap).unwrap().clone();
    let at = late.events.last().unwrap().at + 1;
    late.events.push(Event { at, ..journal });
    assert!(!found(&late).contains(&"the same recreate does not follow itself".to_owned()));
}

#[test]
fn what_happens_to_pods_and_claims_is_found() {
    let check = |kind, change, object: Value, expected: &str| {
        let mut history = history(Seed::Nothing);
        let at = history.events.last().map_or(0, |event| event.at) + 1;
        history.events.push(Event { at, kind, change, object: Arc::new(object), heard: Instant::now() });
        let found = found(&history);
        assert!(found.iter().any(|how| how == expected), "{found:?}");
    };
    let mut restarted = pod(Some("new"));
    restarted["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    check(Kind::Pod, Change::Modified, restarted, "no pod is deleted or restarted");
    check(Kind::Pod, Change::Deleted, pod(Some("new")), "no pod is deleted or restarted");
    check(Kind::Claim, Change::Deleted, claim("2Gi"), "no claim is deleted or asked for less");
    check(Kind::Claim, Change::Modified, claim("1Gi"), "no claim is deleted or asked for less");
    let mut guarded = claim("2Gi");
    guarded["metadata"]["ownerReferences"] = json!([{"kind": "Namespace"}]);
    check(Kind::Claim, Change::Modified, guarded, "at rest nothing of ours is left");
}

#[test]
fn a_claim_asks_for_less_only_of_what_was_refused_and_for_more_than_it_has() {
    let check = |capacity: &str, word: Value, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let mut refused = claim("2Gi");
        refused["status"] = json!({"capacity": {"storage": capacity}, "allocatedResourceStatuses": {"storage": word}});
        for object in [refused, claim("1536Mi")] {
            let at = history.events.last().map_or(0, |event| event.at) + 1;
            let (kind, change, object) = (Kind::Claim, Change::Modified, Arc::new(object));
            history.events.push(Event { at, kind, change, object, heard: Instant::now() });
        }
        assert_eq!(found(&history), expected, "{capacity} {word}");
    };
    let bad = ["no claim is deleted or asked for less"];
    check("1Gi", json!("ControllerResizeInfeasible"), &[]);
    check("1536Mi", json!("ControllerResizeInfeasible"), &bad);
    check("1Gi", json!("ControllerResizeInProgress"), &bad);
    check("1Gi", Value::Null, &bad);
}

#[test]
fn at_the_release_of_a_set_that_goes_in_the_foreground_only_its_revisions_may_refer_to_it() {
    let check = |kind: Kind, how: &'static str, expected: bool| {
        let mut history = history(Seed::Nothing);
        let release = |event: &Event| event.kind == Kind::StatefulSet && event.change == Change::Deleted;
        let at = history.events.iter().position(release).unwrap();
        let mut late = pod(Some("old"));
        late["metadata"]["name"] = json!("late");
        let (at_once, object) = (history.events[at].at, Arc::new(late));
        let event = Event { at: at_once, kind, change: Change::Added, object, heard: Instant::now() };
        history.events.insert(at, event);
        history.deeds.push((Deed::Delete(how), 4));
        let is_found = found(&history).iter().any(|one| one == "at the release nothing refers to the old set");
        assert_eq!(is_found, expected, "{kind:?} {how}");
    };
    check(Kind::Revision, "Foreground", false);
    check(Kind::Revision, "Background", true);
    check(Kind::Pod, "Foreground", true);
}

#[test]
fn what_people_did_is_missed() {
    let mut edited = history(Seed::Nothing);
    edited.deeds.push((Deed::Patch(json!({"metadata": {"labels": {"team": "blue"}}})), 4));
    assert_eq!(found(&edited), ["every edit that was accepted is there in the end"]);
    let mut deleted = history(Seed::Nothing);
    deleted.deeds.push((Deed::Delete("Orphan"), 6));
    assert!(found(&deleted).iter().any(|how| how == "what somebody deleted is not created"), "{:?}", found(&deleted));
}

#[test]
fn what_is_wrong_with_a_request_is_found() {
    let check = |request: Asked, expected: &str| {
        let mut history = history(Seed::Nothing);
        history.asked.push(request);
        assert_eq!(found(&history), [expected]);
    };
    let of = |uid: &str| json!({"uid": uid, "resourceVersion": "6"});
    let deletes = |only: Value, how: &str| json!({"preconditions": only, "propagationPolicy": how});
    let unguarded = deletes(json!({"uid": "old"}), "Orphan");
    check(asked(Method::DELETE, "statefulsets/db", unguarded), "every write carries its precondition");
    check(
        asked(Method::DELETE, "statefulsets/db", deletes(of("old"), "Background")),
        "every write carries its precondition",
    );
    check(
        asked(Method::PATCH, "persistentvolumeclaims/c", json!({"metadata": {}})),
        "every write carries its precondition",
    );
    check(
        asked(Method::PATCH, "statefulsets/db", json!({"metadata": of("other")})),
        "only what is journalled is written",
    );
}

#[test]
fn a_write_on_half_the_knowledge_is_found() {
    let mut history = history(Seed::Nothing);
    let began = Instant::now();
    let read = |number, after, told| Asked {
        class: Class::Read,
        number,
        at: began + Duration::from_millis(after),
        told,
        ..asked(Method::GET, "pods", Value::Null)
    };
    let body = json!({"metadata": {"uid": "old", "resourceVersion": "6"}});
    let write = Asked { at: began + Duration::from_millis(500), ..asked(Method::PATCH, "statefulsets/db", body) };
    history.fault = Some(Fault::Read(1, ReadFault::Reset));
    history.asked.extend([read(1, 100, None), write]);
    assert_eq!(found(&history), ["no write follows a read that failed"]);
    // The next round may begin in the very moment in which the read has failed.
    history.asked.push(read(2, 100, Some(200)));
    assert_eq!(found(&history), Vec::<String>::new());
}

#[test]
fn a_recreate_that_is_begun_and_taken_back_again_and_again_is_found() {
    let check = |times: usize, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let begun = asked(Method::POST, "configmaps", json!({"metadata": {"name": "rso-journal-old"}}));
        history.asked.extend(std::iter::repeat_n(begun, times));
        assert_eq!(found(&history), expected, "{times}");
    };
    check(3, &[]);
    check(7, &["what is taken back is not begun again at once"]);
}

#[test]
fn that_all_is_taken_back_may_be_written_on_what_a_dry_run_said() {
    let check = |ending: Option<Ending>, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let began = Instant::now();
        let held = json!({"metadata": {"uid": "old", "resourceVersion": "6"}});
        let mut body = Journal { ending, ..journal_of(&held, Phase::Prepared) }.encode("ns").unwrap();
        body["metadata"]["resourceVersion"] = json!("7");
        let read =
            Asked { class: Class::Read, number: 1, told: None, at: began, ..asked(Method::GET, "pods", Value::Null) };
        let write = asked(Method::PUT, "configmaps/rso-journal-old", body);
        history.fault = Some(Fault::Read(1, ReadFault::Reset));
        history.asked.extend([read, Asked { at: began + Duration::from_millis(1), ..write }]);
        assert_eq!(found(&history), expected, "{ending:?}");
    };
    check(Some(Ending::Undone), &[]);
    check(None, &["no write follows a read that failed"]);
}

#[test]
fn a_dry_run_of_one_claim_binds_that_claim_alone() {
    let check = |written: &str, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let began = Instant::now();
        let body = json!({"metadata": {"uid": "claim", "resourceVersion": "3"}});
        let of = |name: &str| asked(Method::PATCH, &format!("persistentvolumeclaims/{name}"), body.clone());
        let failed = Asked { class: Class::Read, number: 1, told: None, at: began, ..of("data-db-0") };
        history.fault = Some(Fault::Read(1, ReadFault::Reset));
        history.asked.extend([failed, Asked { at: began + Duration::from_millis(1), ..of(written) }]);
        assert_eq!(found(&history), expected, "{written}");
    };
    check("data-db-0", &["no write follows a read that failed"]);
    check("data-db-1", &[]);
}

#[test]
fn the_record_of_an_apply_is_taken_off_whatever_failed_before_but_not_while_a_journal_is_there() {
    let check = |is_over: bool, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let began = Instant::now();
        let at = |after, asked| Asked { at: began + Duration::from_millis(after), ..asked };
        let only = json!({"preconditions": {"uid": "journal", "resourceVersion": "9"}});
        let ended = asked(Method::DELETE, "configmaps/rso-journal-old", only);
        history.asked.extend(is_over.then(|| at(1, ended)));
        history.fault = Some(Fault::Read(1, ReadFault::Reset));
        let read = Asked { class: Class::Read, number: 1, told: None, ..asked(Method::GET, "pods", Value::Null) };
        let record = json!({"metadata": {"annotations": {REQUESTED: null}, "resourceVersion": "9", "uid": "new"}});
        history.asked.extend([at(2, read), at(3, asked(Method::PATCH, "statefulsets/db", record))]);
        assert_eq!(found(&history), expected, "{is_over}");
    };
    check(true, &[]);
    check(false, &["no write follows a read that failed"]);
}

#[test]
fn a_claim_grows_behind_a_dry_run_of_its_own_whatever_failed_before() {
    let check = |is_tried: bool, expected: &[&str]| {
        let mut history = history(Seed::Nothing);
        let began = Instant::now();
        let body = json!({"metadata": {"uid": "claim", "resourceVersion": "3"}});
        let at = |number, after, path: &str, method| Asked {
            number,
            at: began + Duration::from_millis(after),
            ..asked(method, path, body.clone())
        };
        let read = |asked: Asked, told| Asked { class: Class::Read, told, ..asked };
        history.fault = Some(Fault::Read(1, ReadFault::Reset));
        history.asked.push(read(at(1, 1, "configmaps", Method::GET), None));
        let tried = read(at(2, 2, "persistentvolumeclaims/data-db-0", Method::PATCH), Some(200));
        history.asked.extend(is_tried.then_some(tried));
        history.asked.push(at(0, 3, "persistentvolumeclaims/data-db-0", Method::PATCH));
        assert_eq!(found(&history), expected, "{is_tried}");
    };
    check(true, &[]);
    check(false, &["no write follows a read that failed"]);
}
