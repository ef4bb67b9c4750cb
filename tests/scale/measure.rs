//! What does a resize cost, and how long does it take? Times are of the moments in which the watches told.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rso::api::bytes::Bytes;
use serde_json::Value;

use crate::harness::facts::{requested, size_in_template};
use crate::operator::{Counts, Recreate};
use crate::recorder::{Change, Event, Kind};
use crate::report::{Row, load};
use crate::stage::{Stage, is_ready};

/// When every template has to follow: one at a time in a namespace.
const FOLLOWED: Duration = Duration::from_secs(600);

/// A namespace, and the name of an object in it.
pub type Place = (String, String);

/// StatefulSets that are resized at once.
pub struct Resize {
    pub sets: Vec<Place>,
    /// How many PVCs of each are waited for, from that of ordinal 0 on.
    pub claims: usize,
    /// Their size before.
    pub from: Bytes,
}

/// When every PVC has to be patched: 3 s are aimed at, and machines are shared.
const PATCHED: Duration = Duration::from_secs(60);

impl Resize {
    /// Lets them grow by what `act` does, waits until all templates have followed, and tells what it took. `what` and
    /// `beside` name it in the table.
    pub async fn measure(&self, stage: &mut Stage, what: String, beside: String, act: impl AsyncFnOnce(&Stage)) -> Row {
        let meter = Meter::start(stage).await;
        act(stage).await;
        stage.until(PATCHED, "every PVC to be patched", |stage| self.are_patched(stage)).await;
        stage.until(FOLLOWED, "every template to follow", |stage| self.has_followed(stage)).await;
        let mut row = meter.stop(stage, what, beside).await;
        let spaces: BTreeSet<&String> = self.sets.iter().map(|(namespace, _)| namespace).collect();
        let heard: Vec<(&String, Vec<Event>)> =
            spaces.into_iter().map(|namespace| (namespace, stage.recorder.heard(namespace))).collect();
        let events = Events { of: heard.into_iter().collect(), began: meter.began };
        events.are_without_a_loss();
        row.patched = events.first(&self.all_claims(), |event| self.is_patch(event));
        row.followed = events.first(&self.sets, |event| {
            event.kind == Kind::StatefulSet && event.change == Change::Added && self.is_large(&event.object)
        });
        let recreates = self.recreates(stage);
        row.absent = recreates.iter().map(|recreate| recreate.absent).collect();
        row.unmanaged = recreates.iter().map(|recreate| recreate.unmanaged).collect();
        println!("{}", row.line());
        row
    }

    fn all_claims(&self) -> Vec<Place> {
        let of = |(namespace, set): &Place| {
            let claim = |ordinal| (namespace.clone(), claim(set, ordinal));
            (0..self.claims).map(claim).collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(of).collect()
    }

    fn are_patched(&self, stage: &Stage) -> bool {
        let is_large = |(namespace, claim): &Place| {
            let claim = stage.recorder.get(namespace, Kind::Claim, claim);
            claim.is_some_and(|claim| requested(&claim) > self.from)
        };
        self.all_claims().iter().all(is_large)
    }

    fn is_patch(&self, event: &Event) -> bool {
        event.kind == Kind::Claim && requested(&event.object) > self.from
    }

    /// What the operator says of the recreates that have ended.
    fn recreates(&self, stage: &Stage) -> Vec<Recreate> {
        let is_ours = |recreate: &Recreate| self.sets.contains(&(recreate.namespace.clone(), recreate.set.clone()));
        stage.operator.recreates().into_iter().filter(is_ours).collect()
    }

    fn has_followed(&self, stage: &Stage) -> bool {
        let is_done = |(namespace, set): &Place| {
            stage.get(namespace, set).is_some_and(|set| self.is_large(&set) && is_ready(&set))
        };
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
        stage.operator.process().forget_peak();
        Self { began: Instant::now(), before }
    }

    /// From the start of the operator on.
    pub fn of_a_start(began: Instant) -> Self {
        Self { began, before: Counts::default() }
    }

    /// Until now. No Pod may have been restarted, and no more recreates rolled back than that.
    pub async fn stop(&self, stage: &mut Stage, what: String, beside: String) -> Row {
        let (peak, now) = (stage.operator.process().peak(), stage.operator.counts().await);
        stage.operator.lives();
        let undone = now.rolled_back - self.before.rolled_back;
        assert!(peak <= stage.limit(), "the peak of {peak} is above the limit");
        assert!(undone == 0.0, "{undone} recreates were rolled back");
        assert!(now.restarts == 0.0, "{} Pods were restarted", now.restarts);
        let (took, cpu, requests) =
            (self.began.elapsed(), now.cpu - self.before.cpu, now.requests - self.before.requests);
        Row { what, beside, took, peak, cpu, requests, undone, load: load(), ..Row::default() }
    }
}

/// What was heard of some namespaces since then.
struct Events<'a> {
    of: HashMap<&'a String, Vec<Event>>,
    began: Instant,
}

impl Events<'_> {
    fn of(&self, namespace: &String) -> impl Iterator<Item = &Event> {
        self.of[namespace].iter().filter(|event| event.heard >= self.began)
    }

    /// No Pod or PVC may be gone.
    fn are_without_a_loss(&self) {
        let is_lost = |event: &&Event| event.change == Change::Deleted && matches!(event.kind, Kind::Pod | Kind::Claim);
        let lost: Vec<&str> =
            self.of.keys().flat_map(|namespace| self.of(namespace).filter(is_lost).map(Event::name)).collect();
        assert!(lost.is_empty(), "Pods or PVCs are gone: {lost:?}");
    }

    /// After how many seconds the first such event of each object was heard.
    fn first(&self, places: &[Place], wanted: impl Fn(&Event) -> bool) -> Vec<f64> {
        let of = |(namespace, name): &Place| self.of(namespace).find(|event| event.name() == name && wanted(event));
        places.iter().filter_map(of).map(|event| event.heard.duration_since(self.began).as_secs_f64()).collect()
    }
}
