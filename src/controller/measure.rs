//! How full are the volumes now? Asks only for what is due, and says when it will be.
//!
//! A volume far from its threshold cannot reach it before the disk has been written at full speed, so that it is looked at
//! once a minute; one that is near, every second. What was measured last stands in between.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::context::Context;
use super::look::Seen;
use super::reconcile::Next;
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::{AGENT_CONTAINER, AGENT_PORT, ClaimName, Ordinal, pod_name};
use crate::cluster::usage;
use crate::policy::claim::{Claim, Phase};
use crate::policy::settings::{Auto, Settings};
use crate::policy::usage::{History, Reading, Unknown, Usage, judge, next_look};
use crate::telemetry::registry::{Fill, Volume};

/// The fastest that a volume is taken to be written, in bytes per second: more than the fastest network disk of any cloud.
const FASTEST_WRITE: u64 = 4 << 30;
/// Who could not be measured is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What is remembered of the volumes of one set.
#[derive(Debug, Default)]
pub struct Gauges(HashMap<ClaimName, Gauge>);

#[derive(Debug)]
struct Gauge {
    history: History,
    reading: Reading,
    /// The claim's capacity then: when it is another one now, the reading is of the past.
    capacity: Option<Bytes>,
    due: Timestamp,
}

/// What is known of every volume that grows by usage. Asks those whose time has come.
pub(super) async fn readings(
    context: &Context,
    seen: &Seen,
    settings: &Settings,
    gauges: &mut Gauges,
    now: Timestamp,
) -> BTreeMap<ClaimName, Reading> {
    let wanted = wanted(seen, settings);
    gauges.0.retain(|name, _| wanted.values().flatten().any(|(claim, _)| claim.name == *name));
    let runs = |ordinal: &Ordinal| context.cache.pod(&seen.set.name, *ordinal).is_some_and(|pod| is_running(&pod));
    let due = wanted
        .iter()
        .filter(|(ordinal, claims)| claims.iter().any(|(claim, _)| gauges.is_due(claim, || runs(ordinal), now)));
    let answers =
        join_all(due.map(|(ordinal, claims)| async { (*ordinal, ask(context, seen, *ordinal, claims).await) })).await;
    for (ordinal, mut answers) in answers {
        for (claim, thresholds) in wanted.get(&ordinal).into_iter().flatten() {
            let answer = answers.remove(&claim.name).unwrap_or(Err(Unknown::NoPod));
            if let Ok(usage) = &answer {
                count(context, seen, ordinal, claim, usage);
            }
            gauges.take(claim, *thresholds, answer, now);
        }
    }
    gauges.0.iter().map(|(name, gauge)| (name.clone(), gauge.reading.clone())).collect()
}

/// When the next one is due.
pub(super) fn next(gauges: &Gauges, now: Timestamp) -> Next {
    let soonest = gauges.0.values().map(|gauge| gauge.due).min();
    soonest.map_or(Next::Change, |due| Next::After(Duration::try_from(due.duration_since(now)).unwrap_or_default()))
}

/// The smaller of the two thresholds: how near is near.
type Threshold = Percent;

/// The claims that grow by usage, by the ordinal of the pod that uses them.
fn wanted<'a>(seen: &'a Seen, settings: &Settings) -> BTreeMap<Ordinal, Vec<(&'a Claim, Threshold)>> {
    let mut wanted: BTreeMap<Ordinal, Vec<_>> = BTreeMap::new();
    for (template, claims) in &seen.claims {
        let Some(settings) = settings.templates.get(template).filter(|settings| settings.auto != Auto::Off) else {
            continue;
        };
        for claim in claims.iter().filter(|claim| claim.phase == Phase::Bound && !claim.deleting) {
            wanted.entry(claim.ordinal).or_default().push((claim, settings.threshold));
        }
    }
    wanted
}

impl Gauges {
    /// Whether its time has come: also when its pod has started since.
    fn is_due(&self, claim: &Claim, runs: impl FnOnce() -> bool, now: Timestamp) -> bool {
        self.0.get(&claim.name).is_none_or(|gauge| {
            let had_no_pod = matches!(gauge.reading, Reading::Unknown(Unknown::NoPod));
            gauge.due <= now || gauge.capacity != claim.capacity || (had_no_pod && runs())
        })
    }

    fn take(&mut self, claim: &Claim, threshold: Threshold, answer: Result<Usage, Unknown>, now: Timestamp) {
        let known = self.0.remove(&claim.name);
        let mut history = known.map(|gauge| gauge.history).unwrap_or_default();
        let (reading, wait) = match answer {
            Ok(usage) => {
                history.add(&usage);
                let wait = next_look(&usage, threshold, FASTEST_WRITE);
                (judge(usage, claim, history.rate()), wait)
            }
            Err(unknown) => (Reading::Unknown(unknown), ASK_AGAIN),
        };
        let due = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.0.insert(claim.name.clone(), Gauge { history, reading, capacity: claim.capacity, due });
    }
}

type Answers = HashMap<ClaimName, Result<Usage, Unknown>>;

/// Asks about the volumes of one pod.
async fn ask(context: &Context, seen: &Seen, ordinal: Ordinal, claims: &[(&Claim, Threshold)]) -> Answers {
    let set = &seen.set.name;
    let Some(pod) = context.cache.pod(set, ordinal).filter(|pod| is_running(pod)) else {
        return claims.iter().map(|(claim, _)| (claim.name.clone(), Err(Unknown::NoPod))).collect();
    };
    let names: Vec<ClaimName> =
        claims.iter().map(|(claim, _)| claim.name.clone()).filter(|name| uses(&pod, name)).collect();
    let asked = usage::Pod {
        namespace: &set.namespace,
        name: &pod_name(set, ordinal),
        agent: agent(&pod),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()),
        claims: &names,
    };
    let answers = context.sources.ask(&asked).await;
    answers.into_iter().map(|(name, answer)| (name, answer.map_err(Unknown::Silent))).collect()
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

/// Whether the pod has this claim: an agent is only believed about the volumes of its own pod.
fn uses(pod: &Pod, claim: &ClaimName) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| volume.persistent_volume_claim.as_ref())
        .any(|volume| volume.claim_name == claim.as_str())
}

/// Where the agent of the pod listens, if it has one.
fn agent(pod: &Pod) -> Option<SocketAddr> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == AGENT_CONTAINER)?;
    let port = container.ports.iter().flatten().next().and_then(|port| u16::try_from(port.container_port).ok());
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(ip, port.unwrap_or(AGENT_PORT)))
}

fn count(context: &Context, seen: &Seen, ordinal: Ordinal, claim: &Claim, usage: &Usage) {
    let (set, pod) = (&seen.set.name, pod_name(&seen.set.name, ordinal));
    let volume = Volume { set, template: &claim.template, claim: &claim.name, pod: &pod };
    let inodes = usage.inodes.map(|inodes| (inodes.total, inodes.total.saturating_sub(inodes.free)));
    let fill = Fill { capacity: usage.total, used: usage.used, available: usage.available, inodes, at: usage.at };
    context.telemetry.metrics.volume(volume, &fill);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{at, claim};

    #[test]
    fn a_volume_is_looked_at_again_when_it_is_due_has_grown_or_has_a_pod_at_last() {
        let check = |why: Unknown, capacity: Bytes, later: i64, runs: bool, expected: bool| {
            let mut gauges = Gauges::default();
            gauges.take(&claim(0, Bytes::gib(1)), Percent::whole(80), Err(why), at(0));
            assert_eq!(gauges.is_due(&claim(0, capacity), || runs, at(later)), expected, "{later} {runs}");
        };
        let same = Bytes::gib(1);
        check(Unknown::NoPod, same, 1, false, false);
        check(Unknown::NoPod, same, 1, true, true);
        check(Unknown::Silent("refused".to_owned()), same, 1, true, false);
        check(Unknown::NoPod, Bytes::gib(2), 1, false, true);
        check(Unknown::NoPod, same, 10, false, true);
    }
}
