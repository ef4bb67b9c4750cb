//! The usage of volumes, as far as this user may read it: from the agent of each Pod, else from the kubelet of the node.
//!
//! The API server proxies these requests, so the user needs no access to the network of the cluster. (The operator asks agents
//! and kubelets directly, in `cluster::usage`.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;

use crate::api::names::{AGENT_PORT, ClaimName, SetName};
use crate::api::objects::{Address, NODES, PODS};
use crate::cluster::client::{Client, Error};
use crate::cluster::clock;
use crate::cluster::pods::PodView;
use crate::policy::claim::Claim;
use crate::policy::usage::{Reading, Unknown, judge, read_agent, read_summary};

/// A reachable agent answers in a millisecond.
const AGENT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest number of requests at the same time: enough to be fast, too few to load the API server.
const MAX_CONCURRENT_REQUESTS: usize = 16;

/// The namespace and the name of a PVC.
pub(crate) type Key = (String, ClaimName);

/// The measurements.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// For each PVC.
    pub(crate) readings: BTreeMap<Key, Reading>,
    /// The permissions that this user lacks, such as `get nodes/proxy`.
    pub(crate) missing_permissions: BTreeSet<String>,
}

impl Measured {
    /// Whether this user lacks a permission to measure.
    pub(crate) fn is_denied(&self) -> bool {
        !self.missing_permissions.is_empty()
    }

    /// The measurements of the PVCs of one StatefulSet.
    pub(crate) fn of<'a>(
        &self,
        set: &SetName,
        claims: impl Iterator<Item = &'a Claim>,
    ) -> BTreeMap<ClaimName, Reading> {
        let reading = |claim: &Claim| self.readings.get(&(set.namespace.clone(), claim.name.clone()));
        claims.filter_map(|claim| Some((claim.name.clone(), reading(claim)?.clone()))).collect()
    }
}

/// Measures these PVCs.
pub(crate) async fn measure(client: &Client, pods: &[Value], claims: &BTreeMap<Key, Claim>) -> Measured {
    let now = clock::now();
    let users: Vec<PodView> = pods.iter().filter_map(|pod| user(pod, claims, now)).collect();
    let mut measured = Measured::default();
    for key in claims.keys() {
        let used = users.iter().any(|user| user.namespace == key.0 && user.claims.contains(&key.1));
        let unknown = if used { Unknown::Silent("not measured".into()) } else { Unknown::NoPod };
        measured.readings.insert(key.clone(), Reading::Unknown(unknown));
    }
    let impatient = client.with_deadline(AGENT_TIMEOUT);
    let agents =
        stream::iter(users.iter().filter(|user| user.agent.is_some()).map(|user| ask_agent(&impatient, user, claims)));
    measured.add(agents.buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await);
    let is_unmeasured =
        |user: &&PodView| user.claims.iter().any(|claim| !measured.has(&(user.namespace.clone(), claim.clone())));
    let nodes: BTreeSet<&str> = users.iter().filter(is_unmeasured).filter_map(|user| user.node.as_deref()).collect();
    let kubelets = stream::iter(nodes.into_iter().map(|node| ask_kubelet(client, node, claims)));
    let measurements = kubelets.buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await;
    measured.add(measurements);
    measured.explain(&users);
    measured
}

/// What an agent or a kubelet returned.
type Measurement = Result<Vec<(Key, Reading)>, Unmeasured>;

/// Why an agent or a kubelet returned no usage.
#[derive(Debug)]
enum Unmeasured {
    /// This user lacks a permission.
    Denied(String),
    /// It did not answer; the PVCs that it would have measured.
    NoAnswer(String, Vec<Key>),
}

impl Measured {
    fn has(&self, key: &Key) -> bool {
        matches!(self.readings.get(key), Some(Reading::Measured { .. }))
    }

    fn add(&mut self, measurements: Vec<Measurement>) {
        for measurement in measurements {
            match measurement {
                Ok(readings) => readings.into_iter().for_each(|(key, reading)| self.keep(key, reading)),
                Err(Unmeasured::Denied(permission)) => drop(self.missing_permissions.insert(permission)),
                Err(Unmeasured::NoAnswer(why, keys)) => {
                    keys.into_iter().for_each(|key| self.keep(key, Reading::Unknown(Unknown::Silent(why.clone()))));
                }
            }
        }
    }

    /// For an unknown usage, the state of the Pod may be the reason.
    fn explain(&mut self, users: &[PodView]) {
        for (key, reading) in &mut self.readings {
            let user = users.iter().find(|user| user.namespace == key.0 && user.claims.contains(&key.1));
            if let (Reading::Unknown(Unknown::Silent(why)), Some(user)) = (&*reading, user) {
                *reading = Reading::Unknown(user.unknown(why.clone()));
            }
        }
    }

    /// Adds a measurement. An unknown usage does not replace a known one.
    fn keep(&mut self, key: Key, reading: Reading) {
        match self.readings.remove(&key) {
            Some(known @ (Reading::Measured { .. } | Reading::Idle { .. })) => {
                self.readings.insert(key, known.fuller(reading))
            }
            Some(Reading::Unknown(_)) | None => self.readings.insert(key, reading),
        };
    }
}

async fn ask_agent(client: &Client, user: &PodView, claims: &BTreeMap<Key, Claim>) -> Measurement {
    let key = |claim: &ClaimName| (user.namespace.clone(), claim.clone());
    let keys = || user.claims.iter().map(key).collect();
    let pod = PODS.of(&user.namespace, format!("{}:{AGENT_PORT}", user.name));
    let at = clock::now();
    let body =
        get(client, Address { subresource: Some("proxy/disk"), ..pod }).await.map_err(|e| unmeasured(e, keys()))?;
    let volumes = read_agent(&body, at).map_err(|error| Unmeasured::NoAnswer(error.to_string(), keys()))?;
    // A Pod can report only its own PVCs.
    let own = volumes.into_iter().filter(|volume| user.claims.contains(&volume.claim));
    Ok(own
        .filter_map(|volume| {
            let key = key(&volume.claim);
            let reading = match volume.usage {
                Ok(usage) => judge(usage, claims.get(&key)?, 0),
                Err(why) => Reading::Unknown(Unknown::Silent(why)),
            };
            Some((key, reading))
        })
        .collect())
}

async fn ask_kubelet(client: &Client, node: &str, claims: &BTreeMap<Key, Claim>) -> Measurement {
    let address = Address { subresource: Some("proxy/stats/summary"), ..NODES.global(node) };
    let body = get(client, address).await.map_err(|error| unmeasured(error, Vec::new()))?;
    let volumes =
        read_summary(&body, clock::now()).map_err(|error| Unmeasured::NoAnswer(error.to_string(), Vec::new()))?;
    let readings = volumes.into_iter().filter_map(|volume| {
        let key = (volume.namespace, volume.usage.claim.clone());
        let reading = judge(volume.usage, claims.get(&key)?, 0);
        Some((key, reading))
    });
    Ok(readings.collect())
}

async fn get(client: &Client, address: Address) -> Result<Vec<u8>, Error> {
    let body = client.get(&address).await?;
    Ok(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
}

fn unmeasured(error: Error, keys: Vec<Key>) -> Unmeasured {
    match error {
        Error::NotAllowed { call, .. } => Unmeasured::Denied(format!("{} {}", call.verb, call.resource)),
        Error::Refused { message, .. }
        | Error::Invalid { message, .. }
        | Error::Unsent { message, .. }
        | Error::Busy { message, .. }
        | Error::Server { message, .. } => Unmeasured::NoAnswer(message, keys),
        Error::NoAnswer { source, .. } => Unmeasured::NoAnswer(source.to_string(), keys),
        Error::Unreadable { source, .. } => Unmeasured::NoAnswer(source.to_string(), keys),
    }
}

/// A Pod that uses one of these PVCs, running or not, with only these PVCs.
fn user(pod: &Value, claims: &BTreeMap<Key, Claim>, now: Timestamp) -> Option<PodView> {
    let mut user = PodView::of(&serde_json::from_value(pod.clone()).ok()?, now);
    let namespace = user.namespace.clone();
    user.claims.retain(|claim| claims.contains_key(&(namespace.clone(), claim.clone())));
    (!user.claims.is_empty()).then_some(user)
}

#[cfg(test)]
mod tests {
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
    fn a_missing_answer_does_not_replace_a_known_usage() {
        let key = ("shop".to_owned(), ClaimName::from("data-db-0"));
        let body = br#"[{"dir":"/d","pvc_name":"data-db-0","all_bytes":1000000000,"free_bytes":400000000}]"#;
        let usage = read_agent(body, jiff::Timestamp::UNIX_EPOCH).unwrap().remove(0).usage.unwrap();
        let known = judge(usage, &claims()[&key], 0);
        let mut measured = Measured::default();
        measured.add(vec![
            Ok(vec![(key.clone(), known.clone())]),
            Err(Unmeasured::NoAnswer("gone".into(), vec![key.clone()])),
            Err(Unmeasured::Denied("get nodes/proxy".into())),
        ]);
        assert_eq!(measured.readings[&key], known);
        assert_eq!(measured.missing_permissions.len(), 1);
    }
}
