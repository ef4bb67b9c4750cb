//! The metrics, their labels, and how they are counted; `docs/reference/metrics.md` is generated from `register.rs`.
//!
//! Labels are bounded: by the existing StatefulSets and PVCs (series are removed with them), or by a list.

mod label_sets;
mod reference;
mod register;
mod series;
mod volumes;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::label_sets::{
    OfBuild, OfClass, OfController, OfPhase, OfQueue, OfReconcile, OfRequest, OfResize, OfSet, OfUsageRequest,
    OfWebhook,
};
use self::series::Series;
use self::volumes::Volumes;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};
use crate::api::reasons::Reason;
use crate::cluster::clock;

#[cfg(feature = "testing")]
pub use self::reference::reference;
pub use self::volumes::{Volume, VolumeUsage};

/// The `controller` and `name` labels that every dashboard for operators knows.
const CONTROLLER: &str = "statefulset";

/// Buckets of the time for which a name is absent, in seconds: milliseconds are normal, minutes are not.
const ABSENCE_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Buckets of the duration of a reconciliation.
const RECONCILE_BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Buckets of a resize: milliseconds for a PATCH, minutes for a slow driver.
const RESIZE_BUCKETS: [f64; 13] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

type DurationSeries<L> = Series<L, Histogram, fn() -> Histogram>;

/// The result of a reconciliation, in the words of controller-runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing to do until something changes.
    Success,
    /// To be reconciled again after a delay.
    RequeueAfter,
    /// The reconciliation failed.
    Error,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    described: Vec<reference::Described>,
    volumes: Volumes,
    oldest_reading: Gauge,
    resizes: Series<OfResize, Counter>,
    resize_time: DurationSeries<OfPhase>,
    reaction: Series<OfClass, Gauge<f64, AtomicU64>>,
    reaction_samples: Series<OfClass, Gauge>,
    recreates: Series<OfSet, Counter>,
    absent: Histogram,
    restarts: Counter,
    stuck: Gauge,
    webhook: Series<OfWebhook, Counter>,
    reconciles: Series<OfReconcile, Counter>,
    reconcile_errors: Series<OfController, Counter>,
    reconcile_time: DurationSeries<OfController>,
    depth: Series<OfQueue, Gauge>,
    requests: Series<OfRequest, Counter>,
    leads: Series<OfQueue, Gauge>,
    usage_requests: Series<OfUsageRequest, Counter>,
    held_requests: Gauge,
    events_dropped: Counter,
    build: Series<OfBuild, Gauge>,
    /// Bounds the work of [`Metrics::remove_statefulset`]: one caller at a time searches all series.
    removing: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            described: Vec::new(),
            volumes: Volumes::default(),
            oldest_reading: Gauge::default(),
            resizes: Series::default(),
            resize_time: Series::with(|| Histogram::new(RESIZE_BUCKETS)),
            reaction: Series::default(),
            reaction_samples: Series::default(),
            recreates: Series::default(),
            absent: Histogram::new(ABSENCE_BUCKETS),
            restarts: Counter::default(),
            stuck: Gauge::default(),
            webhook: Series::default(),
            reconciles: Series::default(),
            reconcile_errors: Series::default(),
            reconcile_time: Series::with(|| Histogram::new(RECONCILE_BUCKETS)),
            depth: Series::default(),
            requests: Series::default(),
            leads: Series::default(),
            usage_requests: Series::default(),
            held_requests: Gauge::default(),
            events_dropped: Counter::default(),
            build: Series::default(),
            removing: Mutex::default(),
        };
        metrics.register();
        metrics.build.of(&OfBuild { version: env!("CARGO_PKG_VERSION") }).set(1);
        metrics.leads.of(&OfQueue { name: crate::cluster::lease::NAME }).set(0);
        metrics.depth.of(&OfQueue { name: CONTROLLER }).set(0);
        metrics
    }
}

impl Metrics {
    /// The text of a scrape.
    pub fn render(&self) -> String {
        self.oldest_reading.set(self.oldest_reading_age(clock::now()));
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The seconds since the last measurement of the volume that was measured the longest ago.
    fn oldest_reading_age(&self, now: Timestamp) -> i64 {
        let oldest = self.volumes.oldest_reading();
        oldest.map_or(0, |at| now.as_second().saturating_sub(at.as_second()).max(0))
    }

    /// Sets the usage of a volume.
    pub fn volume(&self, volume: Volume<'_>, usage: VolumeUsage) {
        self.volumes.volume(volume, |known| {
            let inodes = usage.inodes.or(known.usage.and_then(|usage| usage.inodes));
            known.usage = Some(VolumeUsage { inodes, ..usage });
        });
    }

    /// Sets the storage request of a PVC.
    pub fn claim_requested(&self, volume: Volume<'_>, size: Bytes) {
        self.volumes.volume(volume, |known| known.claim_requested = Some(size));
    }

    /// Sets the storage request of a template.
    pub fn template_requested(&self, set: &SetName, template: &TemplateName, size: Bytes) {
        self.volumes.template(set, template, |known| known.template_requested = Some(size));
    }

    /// Sets the last decision for a template and its reason; replaces the previous one.
    pub fn decided(&self, set: &SetName, template: &TemplateName, decision: &'static str, reason: Option<Reason>) {
        let reason = reason.map_or("", Reason::as_str);
        self.volumes.template(set, template, |known| known.decision = Some((decision, reason)));
    }

    /// Counts an expansion of a template, or a failed one.
    pub fn resized(&self, set: &SetName, template: &TemplateName, trigger: &'static str, result: &'static str) {
        let (namespace, statefulset) = (set.namespace.clone(), set.name.clone());
        let volume_claim_template = template.to_string();
        self.resizes.of(&OfResize { namespace, statefulset, volume_claim_template, trigger, result }).inc();
    }

    /// Observes the duration of a phase of an expansion: `patch`, `expand`, `recreate`.
    pub fn resize_took(&self, phase: &'static str, time: Duration) {
        self.resize_time.of(&OfPhase { phase }).observe(time.as_secs_f64());
    }

    /// Sets the longest of the last expansions in a StorageClass, and their number.
    pub fn reaction(&self, class: &str, longest: Duration, samples: usize) {
        let labels = OfClass { storageclass: class.to_owned() };
        self.reaction.of(&labels).set(longest.as_secs_f64());
        self.reaction_samples.of(&labels).set(i64::try_from(samples).unwrap_or(i64::MAX));
    }

    /// Counts a recreation of a StatefulSet, or a failed one.
    pub fn recreated(&self, set: &SetName, result: &'static str) {
        let (namespace, statefulset) = (set.namespace.clone(), set.name.clone());
        self.recreates.of(&OfSet { namespace, statefulset, result }).inc();
    }

    /// Observes for how long a name had no StatefulSet during one recreation.
    pub fn absent(&self, time: Duration) {
        self.absent.observe(time.as_secs_f64());
    }

    /// Counts Pods that the operator caused to restart.
    pub fn restarts_caused(&self, pods: u64) {
        self.restarts.inc_by(pods);
    }

    /// Counts an admission request.
    pub fn webhook(&self, webhook: &'static str, code: u16) {
        self.webhook.of(&OfWebhook { webhook, code }).inc();
    }

    /// Counts and observes a reconciliation.
    pub fn reconciled(&self, outcome: ReconcileResult, time: Duration) {
        let controller = CONTROLLER;
        let result = match outcome {
            ReconcileResult::Success => "success",
            ReconcileResult::RequeueAfter => "requeue_after",
            ReconcileResult::Error => "error",
        };
        self.reconciles.of(&OfReconcile { controller, result }).inc();
        self.reconcile_time.of(&OfController { controller }).observe(time.as_secs_f64());
        if outcome == ReconcileResult::Error {
            self.reconcile_errors.of(&OfController { controller }).inc();
        }
    }

    /// Sets the number of StatefulSets that wait to be reconciled.
    pub fn queued(&self, depth: usize) {
        self.depth.of(&OfQueue { name: CONTROLLER }).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Sets the number of recreations that are stuck.
    pub fn stuck(&self, recreates: usize) {
        self.stuck.set(i64::try_from(recreates).unwrap_or(i64::MAX));
    }

    /// Counts a request to the API server.
    pub fn api_request(&self, method: &Method, code: &str) {
        self.requests.of(&OfRequest { code: code.to_owned(), method: method.to_string() }).inc();
    }

    /// Sets whether this replica is the leader.
    pub fn leads(&self, leads: bool) {
        self.leads.of(&OfQueue { name: crate::cluster::lease::NAME }).set(i64::from(leads));
    }

    /// Counts a request to an agent or kubelet (`source`): `ok`, `silent`, `refused`, or `resting` if it was skipped
    /// after a failure; a request that an agent holds: `held`, or why it does not (`older`, `at-once`, `silent`, `closed`,
    /// `busy`, `refused`).
    pub fn usage_requested(&self, source: &'static str, result: &'static str) {
        self.usage_requests.of(&OfUsageRequest { source, result }).inc();
    }

    /// Sets the number of requests that agents hold.
    pub fn held_requests(&self, open: usize) {
        self.held_requests.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Counts an Event that could not be written.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Removes all series of a StatefulSet that no longer exists or is no longer managed.
    pub fn remove_statefulset(&self, set: &SetName) {
        self.volumes.remove(set);
        let _one = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let other = |namespace: &str, name: &str| namespace != set.namespace || name != set.name;
        self.resizes.retain(|labels| other(&labels.namespace, &labels.statefulset));
        self.recreates.retain(|labels| other(&labels.namespace, &labels.statefulset));
    }

    /// Removes the series of a PVC that no longer belongs to the StatefulSet, which was scaled down.
    pub fn remove_pvc(&self, set: &SetName, claim: &ClaimName) {
        self.volumes.remove_claim(set, claim);
    }
}

#[cfg(test)]
mod tests;
