//! What does a resize cost, and how long does it take? Times are of the moments in which the watches told.

use std::time::{Duration, Instant};

use rso::api::bytes::Bytes;
use serde_json::Value;

use crate::harness::facts::{requested, size_in_template};
use crate::operator::{Counts, Recreate};
use crate::recorder::{Change, Event, Kind};
use crate::report::{Row, load};
use crate::stage::{Stage, is_ready};

/// When every PVC has to be patched. 10 s are aimed at; machines are shared.
const PATCHED: Duration = Duration::from_secs(60);
/// When every template has to follow: one at a time in a namespace.
const FOLLOWED: Duration = Duration::from_secs(600);

/// StatefulSets of one namespace that are resized at once.
pub struct Resize<'a> {
    pub namespace: &'a str,
    pub sets: Vec<String>,
    pub replicas: usize,
    /// Their size before.
    pub from: Bytes,
}

impl Resize<'_> {
    /// Lets them grow by what `act` does, waits until all templates have followed, and tells what it took. `what` and
    /// `beside` name it in the table.
    pub async fn measure(&self, stage: &mut Stage, what: String, beside: String, act: impl AsyncFnOnce(&Stage)) -> Row {
        let meter = Meter::start(stage).await;
        act(stage).await;
        stage
            .until(PATCHED, "every PVC to be patched", |stage| self.patched(stage, meter.began).len() == self.claims())
            .await;
        stage.until(FOLLOWED, "every template to follow", |stage| self.has_followed(stage)).await;
        let mut row = meter.stop(stage, what, beside).await;
        let events = stage.recorder.heard(self.namespace);
        let lost: Vec<&str> = since(&events, meter.began).filter(|event| is_lost(event)).map(Event::name).collect();
        assert!(lost.is_empty(), "Pods or PVCs are gone: {lost:?}");
        row.patched = self.patched(stage, meter.began);
        row.followed = self.followed(&events, meter.began);
        let recreates = self.recreates(stage);
        row.absent = recreates.iter().map(|recreate| recreate.absent).collect();
        row.unmanaged = recreates.iter().map(|recreate| recreate.unmanaged).collect();
        println!("{}", row.line());
        row
    }

    fn claims(&self) -> usize {
        self.sets.len() * self.replicas
    }

    /// The names of the claims.
    fn names(&self) -> Vec<String> {
        let of = |set: &String| (0..self.replicas).map(|ordinal| claim(set, ordinal)).collect::<Vec<_>>();
        self.sets.iter().flat_map(of).collect()
    }

    /// After how many seconds each claim asked for more.
    fn patched(&self, stage: &Stage, began: Instant) -> Vec<f64> {
        let names = self.names();
        let claims = names.iter().filter_map(|name| stage.recorder.get(self.namespace, Kind::Claim, name));
        if claims.filter(|claim| requested(claim) > self.from).count() < names.len() {
            return Vec::new();
        }
        let events = stage.recorder.heard(self.namespace);
        let is_large = |event: &&Event| event.kind == Kind::Claim && requested(&event.object) > self.from;
        first(&names, &events, began, is_large)
    }

    /// After how many seconds each StatefulSet was there again with a larger template.
    fn followed(&self, events: &[Event], began: Instant) -> Vec<f64> {
        let is_there = |event: &&Event| event.change == Change::Added && self.is_large(&event.object);
        first(&self.sets, events, began, |event| event.kind == Kind::StatefulSet && is_there(event))
    }

    /// What the operator says of the recreates that have ended.
    fn recreates(&self, stage: &Stage) -> Vec<Recreate> {
        let is_ours = |recreate: &Recreate| recreate.namespace == self.namespace && self.sets.contains(&recreate.set);
        stage.operator.recreates().into_iter().filter(is_ours).collect()
    }

    fn has_followed(&self, stage: &Stage) -> bool {
        let is_done =
            |set: &String| stage.get(self.namespace, set).is_some_and(|set| self.is_large(&set) && is_ready(&set));
        self.sets.iter().all(is_done) && self.recreates(stage).len() == self.sets.len()
    }

    fn is_large(&self, set: &Value) -> bool {
        size_in_template(set, "data").is_some_and(|size| size > self.from)
    }
}

/// The claim of that ordinal.
pub fn claim(set: &str, ordinal: usize) -> String {
    format!("data-{set}-{ordinal}")
}

/// What the operator takes from one moment to another.
pub struct Meter {
    began: Instant,
    before: Counts,
}

impl Meter {
    /// From now on.
    pub async fn start(stage: &Stage) -> Self {
        let before = stage.operator.counts().await;
        stage.operator.forget_peak();
        Self { began: Instant::now(), before }
    }

    /// From the start of the operator on.
    pub fn of_a_start(began: Instant) -> Self {
        Self { began, before: Counts::default() }
    }

    /// Until now. Nothing may have been rolled back, nor a Pod restarted.
    pub async fn stop(&self, stage: &mut Stage, what: String, beside: String) -> Row {
        let (peak, now) = (stage.operator.peak(), stage.operator.counts().await);
        stage.operator.lives();
        assert!(peak <= stage.limit(), "the peak of {peak} is above the limit");
        assert!(now.rolled_back == 0.0, "{} recreates were rolled back", now.rolled_back);
        assert!(now.restarts == 0.0, "{} Pods were restarted", now.restarts);
        let (took, cpu, requests) =
            (self.began.elapsed(), now.cpu - self.before.cpu, now.requests - self.before.requests);
        Row { what, beside, took, peak, cpu, requests, load: load(), ..Row::default() }
    }
}

fn since(events: &[Event], began: Instant) -> impl DoubleEndedIterator<Item = &Event> {
    events.iter().filter(move |event| event.heard >= began)
}

fn is_lost(event: &Event) -> bool {
    event.change == Change::Deleted && matches!(event.kind, Kind::Pod | Kind::Claim)
}

/// After how many seconds the first such event of each name was heard.
fn first(names: &[String], events: &[Event], began: Instant, wanted: impl Fn(&&Event) -> bool) -> Vec<f64> {
    let wanted: Vec<&Event> = since(events, began).filter(wanted).collect();
    let of = |name: &String| wanted.iter().find(|event| event.name() == name);
    names.iter().filter_map(of).map(|event| event.heard.duration_since(began).as_secs_f64()).collect()
}
