//! The readings of the volumes of one StatefulSet: the last one, when the next one is due, and whether a new one
//! requires a reconciliation. Pure: the time and the Pods are arguments.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::bytes::{Bytes, Percent};
use crate::api::names::{ClaimName, Ordinal};
use crate::cluster::pods::PodView;
use crate::policy::claim::Claim;
use crate::policy::decide::reaches_threshold;
use crate::policy::drivers::Driver;
use crate::policy::rescue::LastReading;
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::{Burst, History, Rate, Reading, Unknown, Usage, judge, next_look};

mod held;

pub(super) use held::{Question, Recheck};

/// The assumed maximum write rate, in bytes per second: more than the fastest network disk of any cloud.
const MAX_WRITE_RATE: u64 = 4 << 30;
/// The delay after a failed measurement.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How often a volume of unknown usage is reconciled, to report it when it must be.
const UNKNOWN_RECONCILE_INTERVAL: Duration = Duration::from_secs(30);
/// How often every other volume is reconciled: its report may depend on the time alone.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Waits from this length on are shortened by up to a tenth: volumes that were first observed together are not always
/// queried together.
const MIN_JITTERED_WAIT: Duration = Duration::from_secs(10);

/// A PVC that rso measures, with the settings of its template.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) claim: Claim,
    /// One for all PVCs of the template.
    pub(super) settings: Arc<TemplateSettings>,
    pub(super) driver: Driver,
}

/// The PVCs that rso measures, by the ordinal of the Pod that uses them.
pub(super) type ByPod = BTreeMap<Ordinal, Vec<Wanted>>;

/// The readings of the volumes of one StatefulSet.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    wanted: ByPod,
    known: HashMap<ClaimName, Gauge>,
}

#[derive(Debug)]
struct Gauge {
    history: History,
    burst: Burst,
    /// The last successful reading.
    measured: Option<Reading>,
    /// Why the last query failed.
    unknown: Option<Unknown>,
    /// When a container other than the agent last ran, as far as it was observed.
    ran: Timestamp,
    /// The capacity of the PVC at that time: if it has changed, the reading is outdated.
    capacity: Option<Bytes>,
    /// The Pod at that time: if it has changed, another source may respond.
    pod: Option<PodKind>,
    due: Timestamp,
    /// What the last reconciliation saw, and when.
    reconciled: Option<(Summary, Timestamp)>,
}

/// The properties of a Pod that determine which sources can be queried.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodKind {
    uid: String,
    responds: bool,
    placed: bool,
    /// While a container runs, the kubelet knows the volumes.
    started: Option<Timestamp>,
}

/// The part of a reading that matters to a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Summary {
    /// It is measured, and below its thresholds.
    BelowThreshold,
    /// It was below its thresholds, nothing measures it now, and `rescue` may decide.
    Idle,
    /// It is measured, and above one of them.
    AboveThreshold,
    /// It is unknown.
    Unknown(Unknown),
}

impl PodKind {
    fn of(pod: &PodView) -> Self {
        Self { uid: pod.uid.clone(), responds: pod.agent.is_some(), placed: pod.node.is_some(), started: pod.started }
    }
}

impl Gauges {
    /// Replaces the PVCs to measure, and drops the readings of all others. Returns whether a query is due now.
    pub(super) fn want(&mut self, wanted: ByPod, pods: impl Fn(Ordinal) -> Option<PodView>, now: Timestamp) -> bool {
        let names: std::collections::HashSet<&ClaimName> =
            wanted.values().flatten().map(|wanted| &wanted.claim.name).collect();
        self.known.retain(|name, _| names.contains(name));
        self.wanted = wanted;
        !self.due(pods, now).is_empty()
    }

    /// The Pods to query now, each with its PVCs.
    pub(super) fn due(&self, pods: impl Fn(Ordinal) -> Option<PodView>, now: Timestamp) -> Vec<(Ordinal, Vec<Claim>)> {
        let due = self.wanted.iter().filter(|(ordinal, wanted)| {
            let pod = pods(**ordinal).as_ref().map(PodKind::of);
            wanted.iter().any(|wanted| self.is_due(&wanted.claim, pod.as_ref(), now))
        });
        due.map(|(ordinal, wanted)| (*ordinal, wanted.iter().map(|wanted| wanted.claim.clone()).collect())).collect()
    }

    /// Whether a query is due: also if the volume was expanded since, or if its usage is unknown and the Pod has
    /// changed.
    fn is_due(&self, claim: &Claim, pod: Option<&PodKind>, now: Timestamp) -> bool {
        self.known.get(&claim.name).is_none_or(|gauge| {
            let has_new_source = gauge.unknown.is_some() && pod.is_some() && gauge.pod.as_ref() != pod;
            gauge.due <= now || gauge.capacity != claim.capacity || has_new_source
        })
    }

    /// Stores the result for one PVC. Returns whether it requires a reconciliation; `None` if the PVC is no longer
    /// measured.
    pub(super) fn take(
        &mut self,
        ordinal: Ordinal,
        name: &ClaimName,
        pod: Option<&PodView>,
        result: Result<Usage, Unknown>,
        now: Timestamp,
    ) -> Option<bool> {
        let mut of_pod = self.wanted.get(&ordinal).into_iter().flatten();
        let wanted = of_pod.find(|wanted| wanted.claim.name == *name)?;
        let Wanted { claim, settings, .. } = wanted;
        let gauge = self.known.entry(name.clone()).or_insert_with(|| Gauge::new(now));
        let wait = match result {
            Ok(usage) => {
                gauge.history.add(&usage);
                gauge.burst.add(usage.at, usage.used.0, usage.write_rate);
                gauge.ran = now;
                let wait = next_look(&usage, settings.threshold, MAX_WRITE_RATE);
                match judge(usage, claim, Rate { trend: gauge.history.rate(), burst: gauge.burst.rate() }) {
                    Reading::Unknown(why) => gauge.unknown = Some(why),
                    reading @ (Reading::Measured { .. } | Reading::Idle { .. }) => {
                        (gauge.measured, gauge.unknown) = (Some(reading), None);
                    }
                }
                wait
            }
            Err(why) => {
                if let Some(ran) = pod.and_then(|pod| pod.ran) {
                    gauge.ran = gauge.ran.max(ran);
                }
                gauge.unknown = Some(why);
                RETRY_INTERVAL
            }
        };
        gauge.capacity = claim.capacity;
        gauge.pod = pod.map(PodKind::of);
        gauge.due = now.checked_add(spread(name, now, wait)).unwrap_or(Timestamp::MAX);
        Some(gauge.is_news(&gauge.summary(wanted, now), now))
    }

    /// The readings for a reconciliation.
    pub(super) fn readings(&mut self, now: Timestamp) -> BTreeMap<ClaimName, Reading> {
        let mut readings = BTreeMap::new();
        for wanted in self.wanted.values().flatten() {
            let claim = &wanted.claim;
            let reading = match self.known.get_mut(&claim.name) {
                Some(gauge) => {
                    gauge.reconciled = Some((gauge.summary(wanted, now), now));
                    gauge.reading(claim, now)
                }
                None => Reading::Unknown(Unknown::NotYet),
            };
            readings.insert(claim.name.clone(), reading);
        }
        readings
    }

    /// The last successful reading of a PVC, regardless of its age.
    pub(super) fn last(&self, claim: &ClaimName) -> Option<LastReading> {
        let wanted = self.wanted.values().flatten().find(|wanted| wanted.claim.name == *claim)?;
        let (usage, rate) = match self.known.get(claim)?.measured.as_ref()? {
            Reading::Measured { usage, rate, .. } | Reading::Idle { usage, rate, .. } => (usage, *rate),
            Reading::Unknown(_) => return None,
        };
        let share = usage.fullness().max(usage.inode_fullness()).unwrap_or(Percent::whole(100));
        // What was to come soon is no evidence.
        let is_over = reaches_threshold(&wanted.settings, &wanted.driver, usage, Rate { trend: rate.trend, burst: 0 });
        Some(LastReading { at: usage.at, share, is_over })
    }

    /// When the next query is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.known.values().map(|gauge| gauge.due).min()
    }
}

impl Gauge {
    fn new(now: Timestamp) -> Self {
        Self {
            history: History::default(),
            burst: Burst::default(),
            measured: None,
            unknown: None,
            ran: Timestamp::MIN,
            capacity: None,
            pod: None,
            due: now,
            reconciled: None,
        }
    }

    /// Whether a reconciliation would see something else than the last one, or is due anyway.
    fn is_news(&self, summary: &Summary, now: Timestamp) -> bool {
        let Some((seen, at)) = &self.reconciled else { return true };
        let since = Duration::try_from(now.duration_since(*at)).unwrap_or_default();
        let again = match summary {
            Summary::AboveThreshold => Duration::ZERO,
            Summary::BelowThreshold => RECONCILE_INTERVAL,
            Summary::Idle | Summary::Unknown(_) => UNKNOWN_RECONCILE_INTERVAL,
        };
        seen != summary || since >= again
    }

    /// The last reading, as long as the volume cannot have changed since; otherwise why there is none.
    fn reading(&self, claim: &Claim, now: Timestamp) -> Reading {
        let Some(why) = &self.unknown else {
            return self.measured.clone().unwrap_or(Reading::Unknown(Unknown::NotYet));
        };
        let kept = match why {
            // The failure may be temporary, or nothing runs that could answer: the last reading ages while a container
            // runs that could have changed the volume.
            Unknown::NoPod | Unknown::NotYet | Unknown::NotRunning(_) | Unknown::Silent(_) => {
                self.measured.clone().map(|reading| reading.idle_since(self.ran))
            }
            // The source responds, and its response is not plausible.
            Unknown::BlockMode
            | Unknown::Stale
            | Unknown::BeforeGrowth
            | Unknown::Behind { .. }
            | Unknown::Implausible(_)
            | Unknown::NotIsolated => None,
        };
        kept.filter(|reading| reading.current(claim, now).is_ok()).unwrap_or_else(|| Reading::Unknown(why.clone()))
    }

    fn summary(&self, Wanted { claim, settings, driver }: &Wanted, now: Timestamp) -> Summary {
        let reading = self.reading(claim, now);
        match reading.current(claim, now) {
            Ok((usage, rate)) if reaches_threshold(settings, driver, usage, rate) => Summary::AboveThreshold,
            Ok(_) if settings.rescue && matches!(reading, Reading::Idle { .. }) => Summary::Idle,
            Ok(_) => Summary::BelowThreshold,
            Err(why) => Summary::Unknown(why),
        }
    }
}

/// A long wait, shortened by a pseudo-random part of the name and the time, which differs each time.
fn spread(name: &ClaimName, now: Timestamp, wait: Duration) -> Duration {
    if wait < MIN_JITTERED_WAIT {
        return wait;
    }
    let mut hash = DefaultHasher::new();
    (name, now.as_millisecond()).hash(&mut hash);
    let permille = u32::try_from(hash.finish() % 100).unwrap_or(0);
    wait.saturating_sub(wait * permille / 1_000)
}

#[cfg(test)]
mod tests;
