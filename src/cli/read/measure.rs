//! The usage of volumes, as far as this user may read it: from the agent of each Pod, else from the kubelet of the node.
//!
//! The API server proxies these requests, so the user needs no access to the network of the cluster. (The operator asks agents
//! and kubelets directly, in `cluster::usage`.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::api::bytes::Percent;
use crate::api::names::{AGENT_PORT, ClaimName, SetName};
use crate::api::objects::{Address, NODES, PODS};
use crate::cluster::client::{Client, Error};
use crate::cluster::clock;
use crate::cluster::pods::{Pod, PodView};
use crate::policy::claim::Claim;
use crate::policy::failure::ContainerFailure;
use crate::policy::usage::{Rate, Reading, Source, Unknown, judge, read_agent, read_summary};
use crate::workload::snapshot::Workload;

/// A reachable agent answers in a millisecond.
const AGENT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest number of requests at the same time: enough to be fast, too few to load the API server.
const MAX_CONCURRENT_REQUESTS: usize = 16;

/// The time between two measurements of a volume.
const BETWEEN: Duration = Duration::from_secs(1);

/// The namespace and the name of a PVC.
pub(crate) type Key = (String, ClaimName);

/// The measurements.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// For each PVC.
    pub(crate) readings: BTreeMap<Key, Reading>,
    /// How fast volumes fill, in bytes per second: those that are at least half full, and do.
    pub(crate) rates: BTreeMap<Key, u64>,
    /// The containers that do not run, of the Pods that use each PVC.
    pub(crate) failures: BTreeMap<Key, Vec<ContainerFailure>>,
    /// The permissions that this user lacks, such as `get nodes/proxy`.
    pub(crate) missing_permissions: BTreeSet<String>,
}

impl Measured {
    /// Whether this user lacks a permission to measure.
    pub(crate) fn is_denied(&self) -> bool {
        !self.missing_permissions.is_empty()
    }

    /// Adds what is known of the PVCs of a StatefulSet that nothing measures.
    pub(crate) fn add_evidence(&self, workload: &mut Workload) {
        let namespace = workload.set.name.namespace.clone();
        for claim in workload.claims_mut() {
            let failures = self.failures.get(&(namespace.clone(), claim.name.clone()));
            claim.rescue.evidence.failures = failures.cloned().unwrap_or_default();
        }
    }

    /// The rates of the PVCs of one StatefulSet.
    pub(crate) fn rates_of(&self, set: &SetName) -> BTreeMap<ClaimName, u64> {
        let own = self.rates.iter().filter(|((namespace, _), _)| *namespace == set.namespace);
        own.map(|((_, claim), rate)| (claim.clone(), *rate)).collect()
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

/// Measures these PVCs; those that an agent measures and that are at least half full, twice, to see how fast they fill.
pub(crate) async fn measure(client: &Client, pods: &[Value], claims: &BTreeMap<Key, Claim>) -> Measured {
    let mut measured = measure_once(client, pods, claims).await;
    let fuller: BTreeMap<Key, Claim> = claims
        .iter()
        .filter(|(key, _)| measured.is_half_full(key))
        .map(|(key, claim)| (key.clone(), claim.clone()))
        .collect();
    if fuller.is_empty() {
        return measured;
    }
    tokio::time::sleep(BETWEEN).await;
    let mut later = Measured::default();
    let users: Vec<PodView> = pods.iter().filter_map(|pod| user(pod, &fuller, clock::now())).collect();
    later.ask_agents(client, &users, &fuller).await;
    for key in fuller.into_keys() {
        let pair = measured.readings.get(&key).zip(later.readings.get(&key));
        if let Some(rate) = pair.and_then(|(before, after)| rate(before, after)) {
            measured.rates.insert(key, rate);
        }
    }
    measured
}

/// How fast a volume fills that was measured twice, in bytes per second; `None` if it does not.
fn rate(before: &Reading, after: &Reading) -> Option<u64> {
    let (Reading::Measured { usage: before, .. }, Reading::Measured { usage: after, .. }) = (before, after) else {
        return None;
    };
    let written = u128::from(after.used.0.checked_sub(before.used.0)?);
    let millis = u128::try_from(after.at.duration_since(before.at).as_millis()).ok()?;
    u64::try_from((written * 1_000).checked_div(millis)?).ok().filter(|rate| *rate > 0)
}

async fn measure_once(client: &Client, pods: &[Value], claims: &BTreeMap<Key, Claim>) -> Measured {
    let now = clock::now();
    let users: Vec<PodView> = pods.iter().filter_map(|pod| user(pod, claims, now)).collect();
    let mut measured = Measured::default();
    for key in claims.keys() {
        let used = users.iter().any(|user| user.namespace == key.0 && user.claims.contains(&key.1));
        let unknown = if used { Unknown::Silent("not measured".into()) } else { Unknown::NoPod };
        measured.readings.insert(key.clone(), Reading::Unknown(unknown));
    }
    for user in &users {
        for claim in &user.claims {
            let of_claim = measured.failures.entry((user.namespace.clone(), claim.clone())).or_default();
            of_claim.extend(user.failures.iter().cloned());
        }
    }
    measured.ask_agents(client, &users, claims).await;
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
    async fn ask_agents(&mut self, client: &Client, users: &[PodView], claims: &BTreeMap<Key, Claim>) {
        let impatient = client.with_deadline(AGENT_TIMEOUT);
        let agents = users.iter().filter(|user| user.agent.is_some()).map(|user| ask_agent(&impatient, user, claims));
        let measurements = stream::iter(agents).buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await;
        self.add(measurements);
    }

    /// Whether an agent measures this PVC, and it is worth a second measurement.
    fn is_half_full(&self, key: &Key) -> bool {
        match self.readings.get(key) {
            Some(Reading::Measured { usage, .. }) => {
                usage.source == Source::Agent && usage.fullness() >= Some(Percent::whole(50))
            }
            Some(Reading::Idle { .. } | Reading::Unknown(_)) | None => false,
        }
    }

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
                Ok(usage) => judge(usage, claims.get(&key)?, Rate::default()),
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
        let reading = judge(volume.usage, claims.get(&key)?, Rate::default());
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
    let mut user = PodView::of(&Pod::deserialize(pod).ok()?, now);
    let namespace = user.namespace.clone();
    user.claims.retain(|claim| claims.contains_key(&(namespace.clone(), claim.clone())));
    (!user.claims.is_empty()).then_some(user)
}

#[cfg(test)]
mod tests;
