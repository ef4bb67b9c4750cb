//! How full are the volumes now? Asked in tasks of their own, beside the passes: who does not answer delays no pass, and no
//! other StatefulSet. Asks only for what is due; a pass reads what is known and is triggered when that changes.
//!
//! A volume far from its threshold cannot reach it before the disk has been written at full speed, so that it is looked at
//! once a minute; one that is near, every second.

mod gauges;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

use self::gauges::{ByPod, Gauges, Wanted};
use super::context::Context;
use super::queue::{self, Requests, Triggers};
use crate::api::names::{ClaimName, Ordinal, SetName, pod_name};
use crate::cluster::clock;
use crate::cluster::pods::PodView;
use crate::cluster::usage;
use crate::policy::claim::{Claim, Phase};
use crate::policy::settings::Auto;
use crate::policy::usage::{Reading, Unknown, Usage};
use crate::telemetry::registry::{Fill, Volume};
use crate::workload::snapshot::Workload;

/// StatefulSets that are measured at the same time. Each only waits; how many requests are open is bounded by whom they go
/// to, in `cluster::usage`.
const AT_ONCE: usize = 1_024;
/// A StatefulSet is not measured more often than this, whatever is due.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// What is measured, for all StatefulSets.
#[derive(Debug)]
pub struct Measuring {
    sets: Mutex<HashMap<SetName, Gauges>>,
    due: Triggers,
    requests: Mutex<Option<Requests>>,
}

impl Default for Measuring {
    fn default() -> Self {
        let (due, requests) = queue::triggers();
        Self { sets: Mutex::default(), due, requests: Mutex::new(Some(requests)) }
    }
}

impl Measuring {
    /// Stops measuring a StatefulSet, until a pass wants it again.
    pub fn forget(&self, set: &SetName) {
        self.lock().remove(set);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SetName, Gauges>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of every volume that grows by usage: no request. Volumes whose time has come are asked about meanwhile.
pub(super) fn readings(context: &Context, workload: &Workload, now: Timestamp) -> BTreeMap<ClaimName, Reading> {
    let set = &workload.set.name;
    let wanted = wanted(workload);
    if wanted.is_empty() {
        context.measuring.forget(set);
        return BTreeMap::new();
    }
    let mut sets = context.measuring.lock();
    let gauges = sets.entry(set.clone()).or_default();
    if gauges.want(wanted, |ordinal| view(context, set, ordinal, now), now) {
        context.measuring.due.now(set.clone());
    }
    gauges.readings(now)
}

/// Measures, until it is dropped. `passes`: where a pass is asked for.
pub(super) async fn run(context: &Arc<Context>, passes: &Triggers) {
    let requests = context.measuring.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(requests) = requests else { return std::future::pending().await };
    let work = |set| {
        let (context, passes) = (context.clone(), passes.clone());
        async move { look(&context, &passes, &set).await }
    };
    queue::run(requests, AT_ONCE, |_| (), std::future::pending(), work).await;
}

/// Asks the pods of one StatefulSet that are due. Answers when the next one is.
async fn look(context: &Context, passes: &Triggers, set: &SetName) -> Option<Duration> {
    let now = clock::now();
    let due = context.measuring.lock().get(set)?.due(|ordinal| view(context, set, ordinal, now), now);
    let mut asked: FuturesUnordered<_> =
        due.into_iter().map(|(ordinal, claims)| ask(context, set, ordinal, claims)).collect();
    while let Some(answers) = asked.next().await {
        if context.take(set, answers)? {
            passes.now(set.clone());
        }
    }
    let next = context.measuring.lock().get(set)?.next()?;
    Some(Duration::try_from(next.duration_since(clock::now())).unwrap_or_default().max(LEAST_WAIT))
}

/// What was said about the volumes of one pod.
struct Answers {
    ordinal: Ordinal,
    pod: Option<PodView>,
    of_claims: Vec<(Claim, Result<Usage, Unknown>)>,
}

impl Context {
    /// Takes what was said. Answers whether it is a reason for a pass; none when nobody wants it any more.
    fn take(&self, set: &SetName, answers: Answers) -> Option<bool> {
        let now = clock::now();
        let mut sets = self.measuring.lock();
        let gauges = sets.get_mut(set)?;
        let mut news = false;
        for (claim, answer) in answers.of_claims {
            let usage = answer.as_ref().ok().cloned();
            let Some(is_news) = gauges.take(answers.ordinal, &claim.name, answers.pod.as_ref(), answer, now) else {
                continue;
            };
            news |= is_news;
            if let Some(usage) = usage {
                count(self, set, &claim, &usage);
            }
        }
        Some(news)
    }
}

/// The claims that grow by usage, by the ordinal of the pod that uses them.
fn wanted(workload: &Workload) -> ByPod {
    let mut wanted = ByPod::new();
    for (group, settings) in workload.configured().filter(|(_, settings)| settings.auto != Auto::Off) {
        for claim in group.claims.iter().filter(|claim| claim.phase == Phase::Bound && !claim.is_leaving()) {
            let of_pod = wanted.entry(claim.ordinal).or_default();
            of_pod.push(Wanted { claim: claim.clone(), settings: settings.clone() });
        }
    }
    wanted
}

fn view(context: &Context, set: &SetName, ordinal: Ordinal, now: Timestamp) -> Option<PodView> {
    context.cache.pod(set, ordinal).map(|pod| PodView::of(&pod, now))
}

/// Asks about the volumes of one pod.
async fn ask(context: &Context, set: &SetName, ordinal: Ordinal, claims: Vec<Claim>) -> Answers {
    let Some(pod) = view(context, set, ordinal, clock::now()) else {
        let of_claims = claims.into_iter().map(|claim| (claim, Err(Unknown::NoPod))).collect();
        return Answers { ordinal, pod: None, of_claims };
    };
    // An agent is only believed about the volumes of its own pod.
    let names: Vec<ClaimName> =
        claims.iter().map(|claim| claim.name.clone()).filter(|name| pod.claims.contains(name)).collect();
    let asked = usage::Pod {
        namespace: &set.namespace,
        name: &pod_name(set, ordinal),
        agent: pod.agent,
        node: pod.node.as_deref(),
        claims: &names,
    };
    let mut answers = context.sources.ask(&asked).await;
    let of_claims = claims.into_iter().map(|claim| {
        let answer = answers.remove(&claim.name);
        let answer = answer.map_or(Err(Unknown::NoPod), |answer| answer.map_err(|said| pod.unknown(said)));
        (claim, answer)
    });
    let of_claims = of_claims.collect();
    Answers { ordinal, pod: Some(pod), of_claims }
}

fn count(context: &Context, set: &SetName, claim: &Claim, usage: &Usage) {
    let pod = pod_name(set, claim.ordinal);
    let volume = Volume { set, template: &claim.template, claim: &claim.name, pod: &pod };
    let inodes = usage.inodes.map(|inodes| (inodes.total, inodes.total.saturating_sub(inodes.free)));
    let fill = Fill { capacity: usage.total, used: usage.used, available: usage.available, inodes, at: usage.at };
    context.telemetry.metrics.volume(volume, &fill);
}
