use serde_json::json;

use super::*;
use crate::api::bytes::Bytes;
use crate::api::names::Ordinal;
use crate::policy::claim::{Phase, Resize};

fn claims() -> BTreeMap<Key, Claim> {
    let claim = Claim {
        name: "data-db-0".into(),
        template: "data".into(),
        ordinal: Ordinal(0),
        uid: "u".into(),
        resource_version: "1".into(),
        phase: Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: Bytes::gib(1),
        capacity: Some(Bytes::gib(1)),
        resize: Resize::None,
        class: None,
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    };
    [(("shop".to_owned(), claim.name.clone()), claim)].into()
}

fn pod(claim: &str, agent: &Value, prepare: &Value) -> Value {
    let status = |name: &str, state: &Value| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state});
    json!({
        "metadata": {"name": "db-0", "namespace": "shop", "creationTimestamp": "1969-12-31T23:00:00Z"},
        "spec": {
            "nodeName": "n1",
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "d", "persistentVolumeClaim": {"claimName": claim}}],
            "initContainers": [{"name": "rso-agent"}, {"name": "prepare"}],
            "containers": [{"name": "db"}],
        },
        "status": {
            "phase": "Pending", "podIP": "10.0.0.7",
            "initContainerStatuses": [status("rso-agent", agent), status("prepare", prepare)],
        },
    })
}

#[test]
fn a_pod_that_uses_the_pvc_is_measured_if_its_agent_runs_in_any_phase() {
    let (runs, waits) = (json!({"running": {}}), json!({"waiting": {"reason": "PodInitializing"}}));
    let check = |pod: Value, expected: Option<bool>| {
        let user = user(&pod, &claims(), Timestamp::UNIX_EPOCH);
        assert_eq!(user.map(|user| user.agent.is_some()), expected, "{pod}");
    };
    check(pod("data-db-0", &runs, &waits), Some(true));
    check(pod("data-db-0", &waits, &waits), Some(false));
    check(pod("other", &runs, &waits), None);
    check(Value::Null, None);
}

#[test]
fn a_pod_that_does_not_run_is_the_reason_for_an_unknown_usage() {
    let crash = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (runs, key) = (json!({"running": {}}), ("shop".to_owned(), ClaimName::from("data-db-0")));
    let explained = |prepare: &Value| {
        let users = [user(&pod("data-db-0", &runs, prepare), &claims(), Timestamp::UNIX_EPOCH).unwrap()];
        let mut measured = Measured::default();
        measured.keep(key.clone(), Reading::Unknown(Unknown::Silent("refused".into())));
        measured.explain(&users);
        measured.readings.remove(&key).unwrap()
    };
    assert!(matches!(explained(&crash), Reading::Unknown(Unknown::NotRunning(failing)) if failing.pod == "db-0"));
    assert_eq!(explained(&runs), Reading::Unknown(Unknown::Silent("refused".into())));
}

#[test]
fn a_rate_is_what_was_written_between_two_measurements() {
    let check = |before: (u64, i64), after: (u64, i64), expected: Option<u64>| {
        let [before, after] = [before, after].map(|(free, millis)| {
            let body = format!(r#"[{{"dir":"/d","pvc_name":"data-db-0","all_bytes":1000000000,"free_bytes":{free}}}]"#);
            let at = jiff::Timestamp::from_millisecond(millis).unwrap();
            let usage = read_agent(body.as_bytes(), at).unwrap().remove(0).usage.unwrap();
            judge(usage, &claims()[&("shop".to_owned(), ClaimName::from("data-db-0"))], Rate::default())
        });
        assert_eq!(rate(&before, &after), expected, "{before:?} {after:?}");
    };
    check((400_000_000, 0), (350_000_000, 1_000), Some(50_000_000));
    check((400_000_000, 0), (350_000_000, 2_000), Some(25_000_000));
    check((400_000_000, 0), (400_000_000, 1_000), None);
    check((400_000_000, 0), (450_000_000, 1_000), None);
    check((400_000_000, 0), (350_000_000, 0), None);
    check((400_000_000, 1_000), (350_000_000, 0), None);
}

#[test]
fn a_missing_answer_does_not_replace_a_known_usage() {
    let key = ("shop".to_owned(), ClaimName::from("data-db-0"));
    let body = br#"[{"dir":"/d","pvc_name":"data-db-0","all_bytes":1000000000,"free_bytes":400000000}]"#;
    let usage = read_agent(body, jiff::Timestamp::UNIX_EPOCH).unwrap().remove(0).usage.unwrap();
    let known = judge(usage, &claims()[&key], Rate::default());
    let mut measured = Measured::default();
    measured.add(vec![
        Ok(vec![(key.clone(), known.clone())]),
        Err(Unmeasured::NoAnswer("gone".into(), vec![key.clone()])),
        Err(Unmeasured::Denied("get nodes/proxy".into())),
    ]);
    assert_eq!(measured.readings[&key], known);
    assert_eq!(measured.missing_permissions.len(), 1);
}
