//! What is remembered of the volumes of one StatefulSet: what was measured last, when to look again, and whether a new
//! reading is a reason for a pass. Pure: the time and the pods are arguments.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal};
use crate::cluster::pods::PodView;
use crate::policy::claim::Claim;
use crate::policy::decide::reaches_threshold;
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::{History, Reading, Unknown, Usage, judge, next_look};

/// The fastest that a volume is taken to be written, in bytes per second: more than the fastest network disk of any cloud.
const MAX_WRITE_RATE: u64 = 4 << 30;
/// Who could not be measured is asked again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// A silence that lasts is passed over this often, so that what must be told of it is.
const UNKNOWN_RECONCILE_INTERVAL: Duration = Duration::from_secs(30);
/// Every other set is passed over this often: what is told of a claim may depend on the time alone.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Waits from this on are shortened by up to a tenth, so that volumes first seen together are not asked together for ever.
const MIN_JITTERED_WAIT: Duration = Duration::from_secs(10);

/// A claim that grows by usage, with the settings of its template.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) claim: Claim,
    pub(super) settings: TemplateSettings,
}

/// The claims that are measured, by the ordinal of the pod that uses them.
pub(super) type ByPod = BTreeMap<Ordinal, Vec<Wanted>>;

/// What is remembered of the volumes of one StatefulSet.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    wanted: ByPod,
    known: HashMap<ClaimName, Gauge>,
}

#[derive(Debug)]
struct Gauge {
    history: History,
    /// The last reading that was measured.
    measured: Option<Reading>,
    /// Why the last look found nothing.
    unknown: Option<Unknown>,
    /// When a container other than the agent ran last, as far as was seen.
    ran: Timestamp,
    /// The claim's capacity then: when it is another one now, the reading is of the past.
    capacity: Option<Bytes>,
    /// What the pod was like then: when that is another one now, somebody else can be asked.
    pod: Option<PodKind>,
    due: Timestamp,
    /// What the last pass saw, and when.
    reconciled: Option<(Summary, Timestamp)>,
}

/// What of a pod decides who can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodKind {
    uid: String,
    answers: bool,
    placed: bool,
}

/// What of a reading matters to a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Summary {
    /// It is measured, and far from its thresholds.
    BelowThreshold,
    /// It is measured, and over one of them.
    AboveThreshold,
    /// Nobody knows.
    Unknown(Unknown),
}

impl PodKind {
    fn of(pod: &PodView) -> Self {
        Self { uid: pod.uid.clone(), answers: pod.agent.is_some(), placed: pod.node.is_some() }
    }
}

impl Gauges {
    /// Takes over what a pass wants measured, and forgets the rest. Answers whether somebody is to be asked now.
    pub(super) fn want(&mut self, wanted: ByPod, pods: impl Fn(Ordinal) -> Option<PodView>, now: Timestamp) -> bool {
        let names: std::collections::HashSet<&ClaimName> =
            wanted.values().flatten().map(|wanted| &wanted.claim.name).collect();
        self.known.retain(|name, _| names.contains(name));
        self.wanted = wanted;
        !self.due(pods, now).is_empty()
    }

    /// The pods to be asked now, each with the claims that are asked about.
    pub(super) fn due(&self, pods: impl Fn(Ordinal) -> Option<PodView>, now: Timestamp) -> Vec<(Ordinal, Vec<Claim>)> {
        let due = self.wanted.iter().filter(|(ordinal, wanted)| {
            let pod = pods(**ordinal).as_ref().map(PodKind::of);
            wanted.iter().any(|wanted| self.is_due(&wanted.claim, pod.as_ref(), now))
        });
        due.map(|(ordinal, wanted)| (*ordinal, wanted.iter().map(|wanted| wanted.claim.clone()).collect())).collect()
    }

    /// Whether its time has come: also when the volume has grown since, or nobody could tell and the pod is another now.
    fn is_due(&self, claim: &Claim, pod: Option<&PodKind>, now: Timestamp) -> bool {
        self.known.get(&claim.name).is_none_or(|gauge| {
            let can_tell_now = gauge.unknown.is_some() && pod.is_some() && gauge.pod.as_ref() != pod;
            gauge.due <= now || gauge.capacity != claim.capacity || can_tell_now
        })
    }

    /// Takes the answer about one claim. Answers whether it is a reason for a pass; none when nobody wants it any more.
    pub(super) fn take(
        &mut self,
        ordinal: Ordinal,
        name: &ClaimName,
        pod: Option<&PodView>,
        answer: Result<Usage, Unknown>,
        now: Timestamp,
    ) -> Option<bool> {
        let mut of_pod = self.wanted.get(&ordinal).into_iter().flatten();
        let Wanted { claim, settings } = of_pod.find(|wanted| wanted.claim.name == *name)?;
        let gauge = self.known.entry(name.clone()).or_insert_with(|| Gauge::new(now));
        let wait = match answer {
            Ok(usage) => {
                gauge.history.add(&usage);
                gauge.ran = now;
                let wait = next_look(&usage, settings.threshold, MAX_WRITE_RATE);
                match judge(usage, claim, gauge.history.rate()) {
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
        Some(gauge.is_news(&gauge.summary(claim, settings, now), now))
    }

    /// What is known, for a pass.
    pub(super) fn readings(&mut self, now: Timestamp) -> BTreeMap<ClaimName, Reading> {
        let mut readings = BTreeMap::new();
        for Wanted { claim, settings } in self.wanted.values().flatten() {
            let reading = match self.known.get_mut(&claim.name) {
                Some(gauge) => {
                    gauge.reconciled = Some((gauge.summary(claim, settings, now), now));
                    gauge.reading(claim, now)
                }
                None => Reading::Unknown(Unknown::NotYet),
            };
            readings.insert(claim.name.clone(), reading);
        }
        readings
    }

    /// When somebody is to be asked next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.known.values().map(|gauge| gauge.due).min()
    }
}

impl Gauge {
    fn new(now: Timestamp) -> Self {
        Self {
            history: History::default(),
            measured: None,
            unknown: None,
            ran: Timestamp::MIN,
            capacity: None,
            pod: None,
            due: now,
            reconciled: None,
        }
    }

    /// Whether a pass would see something else than the last one, or it is time for one.
    fn is_news(&self, summary: &Summary, now: Timestamp) -> bool {
        let Some((seen, at)) = &self.reconciled else { return true };
        let since = Duration::try_from(now.duration_since(*at)).unwrap_or_default();
        let again = match summary {
            Summary::AboveThreshold => Duration::ZERO,
            Summary::BelowThreshold => RECONCILE_INTERVAL,
            Summary::Unknown(_) => UNKNOWN_RECONCILE_INTERVAL,
        };
        seen != summary || since >= again
    }

    /// The last reading as long as nobody can have changed the volume since; else why there is none.
    fn reading(&self, claim: &Claim, now: Timestamp) -> Reading {
        let Some(why) = &self.unknown else {
            return self.measured.clone().unwrap_or(Reading::Unknown(Unknown::NotYet));
        };
        let measured = self.measured.clone();
        let kept = match why {
            // Nothing runs that could have changed it, or not since long.
            Unknown::NoPod | Unknown::NotYet | Unknown::NotRunning(_) => {
                measured.map(|reading| reading.idle_since(self.ran))
            }
            // A silence may pass: the last answer counts for as long as its source keeps.
            Unknown::Silent(_) => measured,
            // It answers, and what it says now cannot be believed.
            Unknown::BlockMode
            | Unknown::Stale
            | Unknown::BeforeGrowth
            | Unknown::Behind { .. }
            | Unknown::Implausible(_)
            | Unknown::NotIsolated => None,
        };
        kept.filter(|reading| reading.current(claim, now).is_ok()).unwrap_or_else(|| Reading::Unknown(why.clone()))
    }

    fn summary(&self, claim: &Claim, settings: &TemplateSettings, now: Timestamp) -> Summary {
        match self.reading(claim, now).current(claim, now) {
            Ok((usage, rate)) if reaches_threshold(settings, usage, rate) => Summary::AboveThreshold,
            Ok(_) => Summary::BelowThreshold,
            Err(why) => Summary::Unknown(why),
        }
    }
}

/// A long wait, a little shorter by chance: by the name and the moment, so that it is another one each time.
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
