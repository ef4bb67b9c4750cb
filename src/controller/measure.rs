//! The measurement of volume usage, in tasks of its own beside the reconciliations: a silent Pod delays no
//! reconciliation and no other StatefulSet. It queries only what is due; a reconciliation reads the latest values and
//! is triggered when they change.
//!
//! An agent is polled once, and then holds a request until there is something to report (`watch_agents`). An agent that does
//! not hold requests, and a kubelet, are polled: a volume far from its threshold cannot reach it in less time than the disk
//! needs at full write speed, so it is measured once a minute; one close to it, every second.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

use super::context::Context;
use super::gauges::{ByPod, Recheck, Wanted};
use super::held_requests::Placed;
use super::measurements::POLL_GUARD;
use super::queue::{self, Triggers};
use crate::api::names::{ClaimName, Ordinal, SetName, Uid, pod_name};
use crate::cluster::clock;
use crate::cluster::pods::PodView;
use crate::cluster::usage;
use crate::policy::claim::{Blind, Claim, Phase};
use crate::policy::drivers::Driver;
use crate::policy::reaction::Reaction;
use crate::policy::rescue::Evidence;
use crate::policy::settings::Auto;
use crate::policy::usage::{Reading, Unknown, Usage};
use crate::telemetry::registry::{Volume, VolumeUsage};
use crate::workload::group::VolumeGroup;
use crate::workload::snapshot::Workload;

/// StatefulSets that are measured at the same time. Each only waits; `cluster::usage` limits the open requests.
const MAX_CONCURRENT_STATEFULSETS: usize = 1_024;
/// How often an agent is polled if too many other requests are held, at most: each second would be too much work.
const OVER_LIMIT_INTERVAL: Duration = Duration::from_secs(30);
/// The minimum time between two reconciliations that depend on the time alone.
const MIN_RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum time between two measurements of a StatefulSet.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The latest reading of every volume that rso measures, without a request. Volumes that are due are queried in the
/// background.
pub(super) fn readings(context: &Context, workload: &Workload, now: Timestamp) -> BTreeMap<ClaimName, Reading> {
    let set = &workload.set.name;
    let wanted = wanted(context, workload);
    if wanted.is_empty() {
        context.measuring.forget(set);
        return BTreeMap::new();
    }
    let mut sets = context.measuring.lock();
    let gauges = sets.entry(set.clone()).or_default();
    let pod = |ordinal| view(context, set, ordinal, now);
    let is_due = gauges.want(wanted, pod, now);
    // A threshold may have changed, or a Pod.
    let ended = context.measuring.held.review(set, pod, |ordinal| gauges.question(ordinal));
    ended.iter().for_each(|ordinal| gauges.advance(*ordinal, now));
    if is_due || !ended.is_empty() {
        context.measuring.due.now(set.clone());
    }
    gauges.readings(now)
}

/// The limits of the CSI driver of a template, with the time that its expansions take.
pub(super) fn driver(context: &Context, group: &VolumeGroup) -> Driver {
    let class = group.claims.iter().find_map(|claim| claim.class.as_ref());
    let measured = class.and_then(|class| context.memories.reaction(&class.name));
    let assumed = if context.nudges.enabled { Reaction::NUDGED } else { Reaction::NOT_NUDGED };
    let reaction = measured.map_or(assumed, |longest| Reaction::Measured(longest.time));
    Driver { reaction, ..group.driver(&context.drivers) }
}

/// Adds what is known of the PVCs of templates with `rescue`, in case that nothing measures them.
pub(super) fn evidence(context: &Context, workload: &mut Workload, now: Timestamp) {
    let Workload { set, settings, groups, .. } = workload;
    let has_rescue = |group: &VolumeGroup| settings.templates.get(&group.template.name).is_some_and(|own| own.rescue);
    let sets = context.measuring.lock();
    let gauges = sets.get(&set.name);
    for claim in groups.iter_mut().filter(|group| has_rescue(group)).flat_map(|group| &mut group.claims) {
        let pod = view(context, &set.name, claim.ordinal, now).filter(|pod| pod.claims.contains(&claim.name));
        let failures = pod.map(|pod| pod.failures).unwrap_or_default();
        claim.rescue.evidence = Evidence { last: gauges.and_then(|gauges| gauges.last(&claim.name)), failures };
    }
}

/// Measures until it is dropped. `reconciles`: triggers reconciliations.
pub(super) async fn run(context: &Arc<Context>, reconciles: &Triggers) {
    let requests = context.measuring.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(requests) = requests else { return std::future::pending().await };
    let work = |set| {
        let (context, reconciles) = (context.clone(), reconciles.clone());
        async move { measure_due(&context, &reconciles, &set).await }
    };
    queue::run(requests, MAX_CONCURRENT_STATEFULSETS, |_| (), std::future::pending(), work).await;
}

/// Queries the Pods of one StatefulSet that are due. Returns the delay until the next one is.
async fn measure_due(context: &Context, reconciles: &Triggers, set: &SetName) -> Option<Duration> {
    let now = clock::now();
    let due = context.measuring.lock().get(set)?.due(|ordinal| view(context, set, ordinal, now), now);
    let mut queried: FuturesUnordered<_> =
        due.into_iter().map(|(ordinal, claims)| query(context, set, ordinal, claims)).collect();
    while let Some(results) = queried.next().await {
        let (ordinal, pod) = (results.ordinal, results.pod.clone());
        if context.take(set, results)? {
            reconciles.now(set.clone());
        }
        hold(context, set, ordinal, pod.as_ref());
    }
    let (next, recheck) =
        context.measuring.lock().get(set).map(|gauges| (gauges.next(), gauges.recheck(clock::now())))?;
    let until = |at: Timestamp| Duration::try_from(at.duration_since(clock::now())).unwrap_or_default();
    let recheck = match recheck {
        Recheck::Now => {
            reconciles.now(set.clone());
            Some(MIN_RECHECK_INTERVAL)
        }
        Recheck::At(at) => Some(until(at).max(MIN_RECHECK_INTERVAL)),
        Recheck::Never => None,
    };
    Some(until(next?).max(MIN_INTERVAL).min(recheck.unwrap_or(Duration::MAX)))
}

/// Lets the agent of a Pod that was polled hold a request, instead of the next polls.
fn hold(context: &Context, set: &SetName, ordinal: Ordinal, pod: Option<&PodView>) {
    let measuring = &context.measuring;
    let may_hold = |pod: &&PodView| pod.agent.is_some_and(|agent| context.sources.may_hold(agent));
    let question = measuring.lock().get(set).and_then(|gauges| gauges.question(ordinal));
    let (Some(pod), Some(question)) = (pod.filter(may_hold), question) else {
        return measuring.held.end(set, ordinal);
    };
    match measuring.held.open(set, ordinal, pod, question) {
        Placed::Open => measuring.postpone(set, ordinal, POLL_GUARD),
        Placed::Instead((far_set, far)) => {
            measuring.postpone(set, ordinal, POLL_GUARD);
            measuring.query_after(&far_set, far, OVER_LIMIT_INTERVAL);
        }
        Placed::Full => measuring.postpone(set, ordinal, OVER_LIMIT_INTERVAL),
    }
}

/// The results for the volumes of one Pod.
pub(super) struct PodUsage {
    pub(super) ordinal: Ordinal,
    pub(super) pod: Option<PodView>,
    pub(super) of_claims: Vec<(Claim, Result<Usage, Unknown>)>,
}

impl Context {
    /// Stores the results. Returns whether they require a reconciliation; `None` if the StatefulSet is no longer
    /// measured.
    pub(super) fn take(&self, set: &SetName, results: PodUsage) -> Option<bool> {
        let now = clock::now();
        let mut sets = self.measuring.lock();
        let gauges = sets.get_mut(set)?;
        let mut news = false;
        for (claim, result) in results.of_claims {
            let usage = result.as_ref().ok().cloned();
            let Some(is_news) = gauges.take(results.ordinal, &claim.name, results.pod.as_ref(), result, now) else {
                continue;
            };
            news |= is_news;
            if let Some(usage) = usage {
                export(self, set, &claim, &usage);
            }
        }
        Some(news)
    }
}

/// The PVCs that rso measures, by the ordinal of the Pod that uses them.
fn wanted(context: &Context, workload: &Workload) -> ByPod {
    let mut wanted = ByPod::new();
    for (group, settings) in workload.configured().filter(|(_, settings)| settings.auto != Auto::Off) {
        let (driver, settings) = (driver(context, group), Arc::new(settings.clone()));
        for claim in group.claims.iter().filter(|claim| claim.phase == Phase::Bound && !claim.is_leaving()) {
            // Most Pods have one PVC, and a list begins with room for four.
            let of_pod = wanted.entry(claim.ordinal).or_insert_with(|| Vec::with_capacity(1));
            of_pod.push(Wanted { claim: measured(claim), settings: Arc::clone(&settings), driver });
        }
    }
    wanted
}

/// A PVC without what only its expansion depends on: as long as it is measured, it is in memory.
fn measured(claim: &Claim) -> Claim {
    Claim {
        name: claim.name.clone(),
        template: claim.template.clone(),
        uid: Uid::new(""),
        resource_version: String::new(),
        class: None,
        sizer: None,
        rescue: Blind::default(),
        ..*claim
    }
}

pub(super) fn view(context: &Context, set: &SetName, ordinal: Ordinal, now: Timestamp) -> Option<PodView> {
    context.cache.pod(set, ordinal).map(|pod| PodView::of(&pod, now))
}

/// Queries the usage of the volumes of one Pod.
async fn query(context: &Context, set: &SetName, ordinal: Ordinal, claims: Vec<Claim>) -> PodUsage {
    let Some(pod) = view(context, set, ordinal, clock::now()) else {
        let of_claims = claims.into_iter().map(|claim| (claim, Err(Unknown::NoPod))).collect();
        return PodUsage { ordinal, pod: None, of_claims };
    };
    // An agent is trusted only about the volumes of its own Pod.
    let names: Vec<ClaimName> =
        claims.iter().map(|claim| claim.name.clone()).filter(|name| pod.claims.contains(name)).collect();
    let queried = usage::Pod {
        namespace: &set.namespace,
        name: &pod_name(set, ordinal),
        agent: pod.agent,
        node: pod.node.as_deref(),
        started: pod.started,
        claims: &names,
    };
    let mut results = context.sources.query(&queried).await;
    let of_claims = claims.into_iter().map(|claim| {
        let result = results.remove(&claim.name);
        let result = result.map_or(Err(Unknown::NoPod), |result| result.map_err(|why| pod.unknown(why)));
        (claim, result)
    });
    let of_claims = of_claims.collect();
    PodUsage { ordinal, pod: Some(pod), of_claims }
}

fn export(context: &Context, set: &SetName, claim: &Claim, usage: &Usage) {
    let volume = Volume { set, template: &claim.template, ordinal: claim.ordinal };
    let inodes = usage.inodes.map(|inodes| (inodes.total, inodes.total.saturating_sub(inodes.free)));
    let measured =
        VolumeUsage { capacity: usage.total, used: usage.used, available: usage.available, inodes, at: usage.at };
    context.telemetry.metrics.volume(volume, measured);
}
