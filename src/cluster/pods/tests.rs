use serde_json::{Value, json};

use super::*;
use crate::policy::usage::Part;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// So many seconds before now.
fn ago(seconds: i64) -> String {
    (now() - jiff::SignedDuration::from_secs(seconds)).to_string()
}

/// A pod with an agent, its status as in the watch (`true`) or whole.
fn views(status: &Value) -> [PodView; 2] {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "db-0", "namespace": "shop", "uid": "u", "creationTimestamp": ago(3_600)},
        "spec": {
            "nodeName": "n1",
            "initContainers": [
                {"name": "rso-agent", "image": "i", "ports": [{"containerPort": 1251}]},
                {"name": "prepare", "image": "i"},
            ],
            "containers": [{"name": "db", "image": "i"}],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data-db-0"}},
            ],
        },
        "status": status,
    }))
    .unwrap();
    [PodView::of(&pod, now()), PodView::of(&pod.lean(), now())]
}

fn container(name: &str, state: &Value, last: &Value) -> Value {
    json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state, "lastState": last})
}

fn runs(since: i64) -> Value {
    json!({"running": {"startedAt": ago(since)}})
}

fn ended(code: i32, before: i64) -> Value {
    json!({"terminated": {"exitCode": code, "reason": "Error", "finishedAt": ago(before)}})
}

fn waits(reason: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": "m"}})
}

fn status(phase: &str, agent: &Value, prepare: &Value, db: &Value) -> Value {
    let pair = |name: &str, pair: &Value| container(name, &pair[0], &pair[1]);
    json!({
        "phase": phase, "podIP": "10.0.0.7", "startTime": ago(1_800),
        "initContainerStatuses": [pair("rso-agent", agent), pair("prepare", prepare)],
        "containerStatuses": [pair("db", db)],
    })
}

#[test]
fn an_agent_is_asked_while_its_own_container_runs_whatever_the_pod_does() {
    let check = |phase: &str, agent: Value, expected: bool| {
        let idle = json!([waits("PodInitializing"), {}]);
        for view in views(&status(phase, &json!([agent, {}]), &idle, &idle)) {
            assert_eq!(view.agent.is_some(), expected, "{phase} {agent}");
        }
    };
    check("Running", runs(900), true);
    check("Pending", runs(900), true);
    check("Pending", waits("PodInitializing"), false);
    check("Pending", waits("ImagePullBackOff"), false);
    check("Running", ended(137, 1), false);
}

#[test]
fn a_volume_is_idle_from_when_the_last_container_but_the_agent_ended() {
    let check = |phase: &str, prepare: Value, db: Value, expected: Option<i64>| {
        let expected = expected.map(|before| ago(before).parse::<Timestamp>().unwrap());
        for view in views(&status(phase, &json!([runs(900), {}]), &prepare, &db)) {
            assert_eq!(view.ran, expected, "{phase} {prepare} {db}");
        }
    };
    let (done, never) = (json!([ended(0, 1_000), {}]), json!([waits("PodInitializing"), {}]));
    check("Running", done.clone(), json!([runs(900), {}]), Some(0));
    check("Running", done.clone(), json!([runs(5), ended(1, 60)]), Some(0));
    check("Running", done.clone(), json!([waits("CrashLoopBackOff"), ended(1, 60)]), Some(60));
    check("Running", done.clone(), json!([ended(1, 2), ended(1, 60)]), Some(2));
    check("Pending", json!([runs(5), {}]), never.clone(), Some(0));
    check("Pending", json!([waits("CrashLoopBackOff"), ended(1, 40)]), never.clone(), Some(40));
    check("Pending", never.clone(), never.clone(), None);
    check("Failed", done.clone(), json!([ended(1, 7), {}]), Some(7));
    // An end without a time may have been just now.
    check("Pending", json!([{"terminated": {"exitCode": 1}}, {}]), never, Some(0));
}

#[test]
fn the_newest_start_of_a_container_that_runs_in_a_pod_that_does_not_run_well_is_known() {
    let check = |phase: &str, prepare: Value, db: Value, expected: Option<i64>| {
        let expected = expected.map(|before| ago(before).parse::<Timestamp>().unwrap());
        for view in views(&status(phase, &json!([runs(900), {}]), &prepare, &db)) {
            assert_eq!(view.started, expected, "{phase} {prepare} {db}");
        }
    };
    let (done, never) = (json!([ended(0, 1_000), {}]), json!([waits("PodInitializing"), {}]));
    check("Running", done.clone(), json!([runs(5), ended(1, 60)]), Some(5));
    check("Running", done, json!([waits("CrashLoopBackOff"), ended(1, 60)]), None);
    check("Pending", json!([runs(7), ended(1, 60)]), never.clone(), Some(7));
    // The agent is asked itself.
    check("Pending", never.clone(), never, None);
}

#[test]
fn one_container_that_runs_beside_one_that_does_not_may_write() {
    let mut both = status("Running", &json!([runs(900), {}]), &json!([ended(0, 1_000), {}]), &json!([runs(900), {}]));
    let second = container("exporter", &waits("CrashLoopBackOff"), &ended(1, 30));
    both["containerStatuses"].as_array_mut().unwrap().push(second);
    for view in views(&both) {
        assert_eq!(view.ran, Some(now()));
        assert_eq!(view.failing, None, "the pod runs");
    }
    // A sidecar among the init containers likewise.
    let crash = json!([waits("CrashLoopBackOff"), ended(1, 30)]);
    for view in views(&status("Running", &json!([runs(900), {}]), &json!([runs(900), {}]), &crash)) {
        assert_eq!(view.ran, Some(now()));
    }
}

#[test]
fn a_pod_that_does_not_run_is_reported_with_the_container_and_the_words_of_kubernetes() {
    let check = |status: Value, expected: Option<(Part, &str, Option<i32>, &str)>| {
        for view in views(&status) {
            let failing = view.failing.as_ref();
            let found = failing.map(|f| (f.part.clone(), f.reason.as_str(), f.exit_code, f.message.as_str()));
            assert_eq!(found, expected, "{status}");
        }
    };
    let (prepare, db) = (|| Part::InitContainer("prepare".to_owned()), || Part::Container("db".to_owned()));
    let of = |phase: &str, prepare: Value, db: Value| {
        status(phase, &json!([runs(900), {}]), &json!([prepare, {}]), &json!([db, {}]))
    };
    let never = || waits("PodInitializing");
    check(of("Running", ended(0, 1_000), runs(900)), None);
    check(of("Pending", runs(900), never()), None);
    check(of("Pending", waits("CrashLoopBackOff"), never()), Some((prepare(), "CrashLoopBackOff", None, "m")));
    check(of("Pending", ended(1, 1), never()), Some((prepare(), "Error", Some(1), "")));
    check(of("Running", ended(0, 1_000), waits("CrashLoopBackOff")), Some((db(), "CrashLoopBackOff", None, "m")));
    check(of("Pending", ended(0, 1_000), waits("ImagePullBackOff")), Some((db(), "ImagePullBackOff", None, "m")));
    let condition =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes"}]);
    check(json!({"phase": "Pending", "conditions": condition}), Some((Part::Pod, "Unschedulable", None, "no nodes")));
    check(
        json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
        Some((Part::Pod, "Evicted", None, "disk")),
    );
}

#[test]
fn while_a_container_waits_for_its_next_start_the_cause_is_its_last_end() {
    let check = |last: Value, expected: (Option<i32>, &str)| {
        let prepare = json!([waits("CrashLoopBackOff"), last]);
        for view in views(&status("Pending", &json!([runs(900), {}]), &prepare, &json!([waits("PodInitializing"), {}])))
        {
            let failing = view.failing.unwrap();
            assert_eq!((failing.exit_code, failing.message.as_str()), expected, "{last}");
        }
    };
    let end = |code: i32, message: &str| json!({"terminated": {"exitCode": code, "reason": "Error", "message": message, "finishedAt": ago(9)}});
    check(end(1, "No space left on device"), (Some(1), "No space left on device"));
    check(end(0, ""), (Some(0), ""));
    check(json!({}), (None, "m"));
}

#[test]
fn an_agent_that_fails_is_the_cause_only_if_no_other_container_is() {
    let check = |prepare: Value, expected: &str| {
        let agent = json!([waits("CrashLoopBackOff"), ended(137, 5)]);
        for view in views(&status("Pending", &agent, &json!([prepare, {}]), &json!([waits("PodInitializing"), {}]))) {
            assert_eq!(view.failing.unwrap().part, Part::InitContainer(expected.to_owned()), "{prepare}");
        }
    };
    check(waits("PodInitializing"), "rso-agent");
    check(waits("CrashLoopBackOff"), "prepare");
}

#[test]
fn a_pod_that_is_being_created_for_five_minutes_does_not_start() {
    let check = |agent: Value, prepare: Value, db: Value, started: i64, expected: Option<&str>| {
        let mut status = status("Pending", &json!([agent, {}]), &json!([prepare, {}]), &json!([db, {}]));
        status["startTime"] = json!(ago(started));
        for view in views(&status) {
            let found = view.failing.as_ref().map(|failing| (&failing.part, failing.reason.as_str()));
            assert_eq!(found, expected.map(|reason| (&Part::Pod, reason)), "{status}");
            let is_silent = matches!(view.unknown("refused".to_owned()), Unknown::Silent(_));
            assert_eq!(is_silent, view.ran == Some(now()), "while nothing runs, nobody can answer: {status}");
        }
    };
    // The kubelet says this of every container while a volume is not mounted, if there is an init container.
    let waiting = || waits("PodInitializing");
    check(waiting(), waiting(), waiting(), 299, None);
    check(waiting(), waiting(), waiting(), 300, Some("PodInitializing"));
    check(runs(290), waiting(), waiting(), 300, Some("PodInitializing"));
    check(runs(290), ended(0, 280), waits("ContainerCreating"), 300, Some("ContainerCreating"));
    // Preparing may take long.
    check(runs(290), runs(280), waiting(), 86_400, None);
}

#[test]
fn the_last_words_of_a_container_that_does_not_run_are_kept() {
    let check = |db: Value, expected: &[(&str, Option<i32>, &str)]| {
        let agent = json!([ended(1, 5), waits("CrashLoopBackOff")]);
        for view in views(&status("Running", &agent, &json!([ended(0, 1_000), {}]), &db)) {
            let failures = view.failures.iter();
            let found: Vec<_> = failures.map(|f| (f.reason.as_str(), f.exit_code, f.message.as_str())).collect();
            assert_eq!(found, expected, "{db}");
            assert!(view.failures.iter().all(|failure| failure.container == "db"));
        }
    };
    let said = |message: &str| json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message, "finishedAt": ago(9)}});
    let full = "cp: No space left on device";
    check(json!([waits("CrashLoopBackOff"), said(full)]), &[("CrashLoopBackOff", None, "m"), ("Error", Some(1), full)]);
    check(json!([said(full), said("before")]), &[("Error", Some(1), full), ("Error", Some(1), "before")]);
    check(json!([waits("PodInitializing"), {}]), &[]);
    check(json!([ended(0, 5), {}]), &[]);
    check(json!([runs(3), said(full)]), &[]);
    // The last words are at the end of what a container wrote.
    let log = format!("{}{full}", "x".repeat(4_000));
    let kept = format!("{}{full}", "x".repeat(128 - "cp: ".len()));
    check(json!([said(&log), {}]), &[("Error", Some(1), &kept)]);
}

#[test]
fn who_has_just_started_is_not_yet_expected_to_be_measured() {
    let check = |started: i64, db: Value, expected: &Unknown| {
        let mut status = status("Running", &json!([runs(900), {}]), &json!([ended(0, 1_000), {}]), &json!([db, {}]));
        status["startTime"] = json!(ago(started));
        status["initContainerStatuses"][0]["state"] = runs(started);
        for view in views(&status) {
            assert_eq!(view.unknown("refused".to_owned()), *expected, "{started} {db}");
        }
    };
    let silent = Unknown::Silent("refused".to_owned());
    check(10, runs(5), &Unknown::NotYet);
    check(119, runs(119), &Unknown::NotYet);
    check(120, runs(120), &silent);
    check(900, runs(900), &silent);
}

#[test]
fn only_an_agent_that_cannot_start_is_stuck() {
    let check = |name: &str, state: Value, expected: bool| {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "db-0"},
            "status": {"phase": "Pending", "initContainerStatuses": [container(name, &state, &json!({}))]},
        }))
        .unwrap();
        let pod = pod.lean();
        assert_eq!(has_stuck_agent(&pod, "i"), expected, "{name} {state}");
        assert!(!has_stuck_agent(&pod, "another"), "{name} {state}");
    };
    check("rso-agent", waits("ImagePullBackOff"), true);
    check("rso-agent", waits("CreateContainerConfigError"), true);
    check("rso-agent", waits("PodInitializing"), false);
    check("rso-agent", runs(5), false);
    check("prepare", waits("ImagePullBackOff"), false);
}

#[test]
fn little_is_kept_of_a_pod_that_runs_well_and_no_long_message_of_another() {
    let lean = |status: &Value| serde_json::from_value::<Pod>(json!({ "status": status })).unwrap().lean();
    let well = status("Running", &json!([runs(900), {}]), &json!([ended(0, 1_000), {}]), &json!([runs(900), {}]));
    let well = lean(&well);
    assert!(well.main.is_empty());
    assert_eq!((well.init.len(), &*well.init[0].image), (1, ""));
    let long = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "ä".repeat(10_000)}});
    let mut status = json!({"phase": "Failed", "message": "ä".repeat(10_000)});
    status["initContainerStatuses"] = json!([container("a", &long, &json!({}))]);
    let ill = lean(&status);
    let (_, kept) = ill.init[0].waiting().unwrap();
    assert!(kept.len() <= 256 && kept.starts_with('ä'));
    let kept = ill.failed.unwrap().message.unwrap();
    assert!(kept.len() <= super::lean::MESSAGE && kept.starts_with('ä'));
}
