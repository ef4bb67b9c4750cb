//! How full are the volumes, as far as this person may know? The agent of each pod is asked through the API server's
//! proxy; where there is none, the kubelet of the node, likewise. Nobody needs a way into the cluster's network for that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;

use crate::api::names::{AGENT_PORT, ClaimName, SetName};
use crate::cluster::client::resources::{NODES, PODS};
use crate::cluster::client::{Address, Client, Error};
use crate::cluster::clock;
use crate::cluster::pods::PodView;
use crate::policy::claim::Claim;
use crate::policy::usage::{Reading, Unknown, judge, read_agent, read_summary};

/// An agent answers in a millisecond; one that cannot be reached is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests at a time: enough to be quick, too few to be noticed.
const AT_ONCE: usize = 16;

/// A claim of a namespace.
pub(crate) type Key = (String, ClaimName);

/// What could be learned.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// For every claim that was asked about.
    pub(crate) readings: BTreeMap<Key, Reading>,
    /// The rights that were missing, as `get nodes/proxy`.
    pub(crate) missing_rights: BTreeSet<String>,
}

impl Measured {
    /// Whether something is unknown only because this person may not ask.
    pub(crate) fn is_blind(&self) -> bool {
        !self.missing_rights.is_empty()
    }

    /// The readings of the claims of one set.
    pub(crate) fn of(&self, set: &SetName, claims: &[Claim]) -> BTreeMap<ClaimName, Reading> {
        let reading = |claim: &Claim| self.readings.get(&(set.namespace.clone(), claim.name.clone()));
        claims.iter().filter_map(|claim| Some((claim.name.clone(), reading(claim)?.clone()))).collect()
    }
}

/// Asks about these claims.
pub(crate) async fn measure(client: &Client, pods: &[Value], claims: &BTreeMap<Key, Claim>) -> Measured {
    let now = clock::now();
    let users: Vec<PodView> = pods.iter().filter_map(|pod| user(pod, claims, now)).collect();
    let mut measured = Measured::default();
    for key in claims.keys() {
        let used = users.iter().any(|user| user.namespace == key.0 && user.claims.contains(&key.1));
        let unknown = if used { Unknown::Silent("nobody was asked".into()) } else { Unknown::NoPod };
        measured.readings.insert(key.clone(), Reading::Unknown(unknown));
    }
    let near = client.within(PATIENCE);
    let agents =
        stream::iter(users.iter().filter(|user| user.agent.is_some()).map(|user| ask_agent(&near, user, claims)));
    measured.take(agents.buffer_unordered(AT_ONCE).collect().await);
    let silent =
        |user: &&PodView| user.claims.iter().any(|claim| !measured.knows(&(user.namespace.clone(), claim.clone())));
    let nodes: BTreeSet<&str> = users.iter().filter(silent).filter_map(|user| user.node.as_deref()).collect();
    let kubelets = stream::iter(nodes.into_iter().map(|node| ask_kubelet(client, node, claims)));
    let answers = kubelets.buffer_unordered(AT_ONCE).collect().await;
    measured.take(answers);
    measured.explain(&users);
    measured
}

type Answer = Result<Vec<(Key, Reading)>, Refused>;

/// Why one of them did not tell.
#[derive(Debug)]
enum Refused {
    /// This person has no right to ask.
    Right(String),
    /// It did not answer; the claims it should have told of.
    Silent(String, Vec<Key>),
}

impl Measured {
    fn knows(&self, key: &Key) -> bool {
        matches!(self.readings.get(key), Some(Reading::Measured { .. }))
    }

    fn take(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Ok(readings) => readings.into_iter().for_each(|(key, reading)| self.keep(key, reading)),
                Err(Refused::Right(right)) => drop(self.missing_rights.insert(right)),
                Err(Refused::Silent(why, keys)) => {
                    keys.into_iter().for_each(|key| self.keep(key, Reading::Unknown(Unknown::Silent(why.clone()))));
                }
            }
        }
    }

    /// Where nobody could tell, what the pod is doing may be why.
    fn explain(&mut self, users: &[PodView]) {
        for (key, reading) in &mut self.readings {
            let user = users.iter().find(|user| user.namespace == key.0 && user.claims.contains(&key.1));
            if let (Reading::Unknown(Unknown::Silent(said)), Some(user)) = (&*reading, user) {
                *reading = Reading::Unknown(user.unknown(said.clone()));
            }
        }
    }

    /// A measured value is never replaced by an unknown one.
    fn keep(&mut self, key: Key, reading: Reading) {
        match self.readings.remove(&key) {
            Some(known @ (Reading::Measured { .. } | Reading::Idle { .. })) => {
                self.readings.insert(key, known.fuller(reading))
            }
            Some(Reading::Unknown(_)) | None => self.readings.insert(key, reading),
        };
    }
}

async fn ask_agent(client: &Client, user: &PodView, claims: &BTreeMap<Key, Claim>) -> Answer {
    let key = |claim: &ClaimName| (user.namespace.clone(), claim.clone());
    let keys = || user.claims.iter().map(key).collect();
    let pod = PODS.of(&user.namespace, format!("{}:{AGENT_PORT}", user.name));
    let at = clock::now();
    let body = ask(client, Address { subresource: Some("proxy/disk"), ..pod }).await.map_err(|e| refused(e, keys()))?;
    let volumes = read_agent(&body, at).map_err(|error| Refused::Silent(error.to_string(), keys()))?;
    // The pod is believed about its own claims only.
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

async fn ask_kubelet(client: &Client, node: &str, claims: &BTreeMap<Key, Claim>) -> Answer {
    let address = Address { subresource: Some("proxy/stats/summary"), ..NODES.global(node) };
    let body = ask(client, address).await.map_err(|error| refused(error, Vec::new()))?;
    let volumes = read_summary(&body, clock::now()).map_err(|error| Refused::Silent(error.to_string(), Vec::new()))?;
    let readings = volumes.into_iter().filter_map(|volume| {
        let key = (volume.namespace, volume.usage.claim.clone());
        let reading = judge(volume.usage, claims.get(&key)?, 0);
        Some((key, reading))
    });
    Ok(readings.collect())
}

async fn ask(client: &Client, address: Address) -> Result<Vec<u8>, Error> {
    let body = client.get(&address).await?;
    Ok(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
}

fn refused(error: Error, keys: Vec<Key>) -> Refused {
    match error {
        Error::NotAllowed { call, .. } => Refused::Right(format!("{} {}", call.verb, call.resource)),
        Error::Refused { message, .. }
        | Error::Invalid { message, .. }
        | Error::Unsent { message, .. }
        | Error::Busy { message, .. }
        | Error::Server { message, .. } => Refused::Silent(message, keys),
        Error::NoAnswer { source, .. } => Refused::Silent(source.to_string(), keys),
        Error::Unreadable { source, .. } => Refused::Silent(source.to_string(), keys),
    }
}

/// A pod that uses one of the claims, whether it runs or not; of its claims only those.
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
    fn a_pod_that_uses_the_claim_is_asked_where_its_agent_runs_whatever_its_phase() {
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
    fn where_nobody_could_tell_the_pod_is_why() {
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
    fn what_was_measured_is_not_forgotten_for_a_silence() {
        let key = ("shop".to_owned(), ClaimName::from("data-db-0"));
        let body = br#"[{"dir":"/d","pvc_name":"data-db-0","all_bytes":1000000000,"free_bytes":400000000}]"#;
        let usage = read_agent(body, jiff::Timestamp::UNIX_EPOCH).unwrap().remove(0).usage.unwrap();
        let known = judge(usage, &claims()[&key], 0);
        let mut measured = Measured::default();
        measured.take(vec![
            Ok(vec![(key.clone(), known.clone())]),
            Err(Refused::Silent("gone".into(), vec![key.clone()])),
            Err(Refused::Right("get nodes/proxy".into())),
        ]);
        assert_eq!(measured.readings[&key], known);
        assert_eq!(measured.missing_rights.len(), 1);
    }
}
