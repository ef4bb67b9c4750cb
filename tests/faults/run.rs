//! How does one run go, from empty namespaces to rest?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rso::api::annotations::{HOLD, REQUESTED};
use rso::api::bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::asked::{Asked, Class};
use crate::checker;
use crate::fault::Fault;
use crate::harness::api::Kind as Stored;
use crate::harness::facts::{requested, size_in_template};
use crate::history::{History, Summary, is_journal, transaction};
use crate::plane::{Place, Plane, folder};
use crate::process::{Operator, Post};
use crate::proxy::{Order, Proxy};
use crate::recorder::Kind;
use crate::scenario::{Deed, Deeds, End, NAME, Scenario};
use crate::stub;

/// The preflight checks of a recreation want owners that have been unchanged for three seconds (`Rules::settle`).
pub const SETTLE: Duration = Duration::from_millis(3_200);
/// Nothing is written for so long, then it is rest.
const QUIET: Duration = Duration::from_millis(900);
/// A run that takes longer than this from the wish to rest is stuck. A kill costs a lease, 15 s; the longest pause between
/// two tries of the operator is 30 s after an error.
const PATIENCE: Duration = Duration::from_secs(150);
/// Guards of claims are dropped after this; ten minutes outside of tests.
pub const GUARD: &str = "2s";
const LOOK: Duration = Duration::from_millis(25);

/// What came of a run.
pub struct Outcome {
    pub name: String,
    /// How long it took from the fault to rest.
    pub recovery: Option<Duration>,
    /// Whether the fault happened.
    pub fired: bool,
    pub asked: Vec<Asked>,
    pub summary: Summary,
    /// What should never have happened.
    pub violations: Vec<String>,
    /// Where the logs are.
    pub folder: PathBuf,
}

impl Outcome {
    /// How many requests of the class there were.
    pub fn count(&self, class: Class) -> usize {
        self.asked.iter().filter(|asked| asked.class == class).count()
    }
}

/// Runs the scenario with the fault. `reference`: how it ends without one.
pub async fn run(
    plane: &Plane,
    scenario: &'static Scenario,
    fault: Option<Fault>,
    reference: Option<&Summary>,
) -> Outcome {
    let name = format!("{}, {}", scenario.name, fault.map_or("no fault".to_owned(), |fault| fault.to_string()));
    let place = plane.place().await;
    let stage = Stage { plane, scenario, place: &place };
    stage.set_up().await;
    let settled = Instant::now();
    let deeds = Deeds::default();
    let (proxy, orders) =
        Proxy::new(plane.api.client().clone(), fault, None, scenario.beside(&plane.api, &place.sets, &deeds));
    let door = proxy.open(0).await;
    let folder = folder().join(&place.sets);
    let post = Post::new(&place, &folder, GUARD);
    let operator = Arc::new(Mutex::new(post.start(&door)));
    let obedient = tokio::spawn(obey(orders, operator.clone(), post, door));
    stage.until("the operator to lead", || proxy.leads(0) && proxy.watches() >= 4).await.unwrap_or_default();
    tokio::time::sleep(SETTLE.saturating_sub(settled.elapsed())).await;
    let from = stage.version();
    deeds.does(&plane.api, &place.sets, Deed::Patch((scenario.asks)())).await;
    let mut violations = Vec::new();
    let rested = stage.rest(&proxy, &deeds, fault).await;
    violations.extend(rested.as_ref().err().cloned());
    obedient.abort();
    operator.lock().await.end().await;
    violations.extend(panics(&folder));
    let over = Over { name, stage: &stage, proxy: &proxy, deeds: &deeds, from, fault, folder };
    let mut outcome = over.judge(violations, reference).await;
    outcome.recovery = proxy.fired().zip(rested.ok()).map(|(at, rested)| rested.saturating_duration_since(at));
    outcome
}

/// A run that is over.
pub struct Over<'a> {
    pub name: String,
    pub stage: &'a Stage<'a>,
    pub proxy: &'a Proxy,
    pub deeds: &'a Deeds,
    /// The version from which on the operator was at work.
    pub from: u64,
    pub fault: Option<Fault>,
    pub folder: PathBuf,
}

impl Over<'_> {
    /// Looks at all that was recorded, and cleans up.
    pub async fn judge(self, mut violations: Vec<String>, reference: Option<&Summary>) -> Outcome {
        let (scenario, plane, place) = (self.stage.scenario, self.stage.plane, self.stage.place);
        if scenario.end == End::NamespaceGone {
            violations.extend(plane.until_gone(&place.sets).await.err());
        }
        let history = History {
            events: plane.recorder.take([&place.sets, &place.home]).await,
            asked: self.proxy.asked(),
            deeds: self.deeds.all(),
            settled: self.from,
            end: scenario.end,
            pods: scenario.pods,
            fault: self.fault,
            targets: scenario.targets.iter().map(|(name, size)| ((*name).to_owned(), (*size).to_owned())).collect(),
        };
        violations.extend(checker::violations(&history));
        let summary = history.summary();
        // Without a fault the policy came too late to be seen. Where a fault made the operator look once more, it has seen it,
        // and the StatefulSet is as it was: that is no violation.
        let is_spared = |reference: &&Summary| summary.is_untouched() && !reference.is_untouched();
        let reference = reference.filter(|reference| scenario.end != End::ClaimsOnly || !is_spared(reference));
        violations.extend(reference.map(|reference| summary.differences(reference)).unwrap_or_default());
        plane.clean(place).await;
        keep_or_forget(&self.folder, &self.name, &history, &violations);
        let (fired, asked) = (self.proxy.fired().is_some(), history.asked);
        Outcome { name: self.name, recovery: None, fired, asked, summary, violations, folder: self.folder }
    }
}

/// Kills when it is told, and starts the next operator whenever one has ended, as a kubelet does.
async fn obey(
    mut orders: mpsc::UnboundedReceiver<Order>,
    operator: Arc<Mutex<Operator>>,
    post: Post,
    door: crate::proxy::Door,
) {
    loop {
        let order = tokio::time::timeout(Duration::from_millis(200), orders.recv()).await;
        let mut operator = operator.lock().await;
        match order {
            Ok(None) => return,
            Ok(Some(Order::Kill { done })) => {
                operator.end().await;
                let _ = done.send(());
                *operator = post.start(&door);
            }
            Ok(Some(Order::Stop { done })) => drop(done),
            // A lease is lost when this machine has no time for it; then a fresh process stands for election.
            Err(_) if operator.has_ended() => *operator = post.start(&door),
            Err(_) => {}
        }
    }
}

/// What the operators said when they panicked.
pub fn panics(folder: &std::path::Path) -> Vec<String> {
    let log = std::fs::read_to_string(folder.join("operator.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
}

/// A place and what is played there.
pub struct Stage<'a> {
    pub plane: &'a Plane,
    pub scenario: &'static Scenario,
    pub place: &'a Place,
}

impl Stage<'_> {
    /// Makes the set, and waits until it is as a set is that has run for long.
    pub async fn set_up(&self) {
        let api = &self.plane.api;
        let (quotas, others): (Vec<_>, Vec<_>) =
            (self.scenario.others)().into_iter().partition(|(kind, _)| *kind == Stored::Quota);
        for (kind, object) in others {
            api.create(kind, &self.place.sets, &object).await.unwrap();
        }
        api.create(Stored::StatefulSet, &self.place.sets, &(self.scenario.set)().manifest()).await.unwrap();
        self.until("the set to be ready", || self.is_ready()).await.unwrap();
        // What is there when a quota is created is counted at once; what comes in the same moment, minutes later.
        for (kind, quota) in quotas {
            api.create(kind, &self.place.sets, &quota).await.unwrap();
            self.until_counted(&quota).await;
        }
        if let Some(deed) = self.scenario.before {
            Deeds::default().does(api, &self.place.sets, deed()).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.until("the set to be ready again", || self.is_ready()).await.unwrap();
        }
    }

    /// A quota holds from the moment on in which it has counted what is there.
    async fn until_counted(&self, quota: &Value) {
        let name = quota["metadata"]["name"].as_str().unwrap();
        let started = Instant::now();
        loop {
            let quota = self.plane.api.get(Stored::Quota, &self.place.sets, name).await.unwrap();
            let used = quota["status"]["used"].as_object().into_iter().flatten().any(|(_, count)| count == "1");
            if used {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the quota counts nothing: {quota}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The latest state that is known.
    pub fn version(&self) -> u64 {
        self.plane.recorder.latest(&self.place.sets)
    }

    fn set(&self) -> Option<Arc<Value>> {
        self.plane.recorder.get(&self.place.sets, Kind::StatefulSet, NAME)
    }

    fn is_ready(&self) -> bool {
        let Some(set) = self.set() else { return false };
        let (status, replicas) = (&set["status"], set["spec"]["replicas"].as_u64().unwrap_or(1));
        let bound = |claim: &Arc<Value>| claim["status"]["phase"] == "Bound";
        let pods = self.plane.recorder.live(&self.place.sets, Kind::Pod);
        let broken = pods.iter().filter(|pod| is_broken(pod)).count() as u64;
        status["observedGeneration"].as_i64() >= set["metadata"]["generation"].as_i64()
            && status["availableReplicas"].as_u64().unwrap_or(0) + broken == replicas
            && status["updateRevision"] == status["currentRevision"]
            && self.plane.recorder.live(&self.place.sets, Kind::Claim).iter().all(bound)
    }

    /// Waits for the goal, and then for silence. Answers when it was reached.
    pub async fn rest(&self, proxy: &Proxy, deeds: &Deeds, fault: Option<Fault>) -> Result<Instant, String> {
        let expected = 1 + usize::from(self.scenario.midway.is_some());
        let started = Instant::now();
        let mut since = None;
        loop {
            let has_fired = fault.is_none() || proxy.fired().is_some();
            // Where nothing more is to be had, rest is when nothing is tried any more; and how many requests a run needs
            // depends on what changes meanwhile, so that the last ones of the run without a fault may be missing here.
            let is_late = self.scenario.end == End::ClaimsOnly || !has_fired;
            let quiet = if is_late { Duration::from_secs(3) } else { QUIET };
            let has_happened = deeds.all().len() >= expected;
            // What is on its way may undo the goal when it arrives, however long it was quiet before.
            let is_at_goal = has_happened && !proxy.stalls() && self.is_at_goal();
            since = is_at_goal.then(|| since.unwrap_or_else(Instant::now));
            let last = since.map(|since| since.max(proxy.last_write().unwrap_or(started)));
            if let Some(last) = last.filter(|last| last.elapsed() >= quiet) {
                return Ok(last);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("no rest after {} s: {}", PATIENCE.as_secs(), self.what_lacks()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether everything is as it should be in the end.
    pub fn is_at_goal(&self) -> bool {
        self.what_lacks().is_empty()
    }

    fn what_lacks(&self) -> String {
        let recorder = &self.plane.recorder;
        let claims = recorder.live(&self.place.sets, Kind::Claim);
        if recorder.live(&self.place.home, Kind::ConfigMap).iter().any(|map| is_journal(map)) {
            return "a journal is left".to_owned();
        }
        if claims.iter().any(|claim| claim["metadata"]["ownerReferences"].to_string().contains("Namespace")) {
            return "a claim is guarded".to_owned();
        }
        match (self.scenario.end, self.set()) {
            (End::NamespaceGone, _) => {
                let left = Kind::ALL.into_iter().flat_map(|kind| recorder.live(&self.place.sets, kind)).count();
                if left == 0 { String::new() } else { format!("{left} objects are left in the namespace") }
            }
            (End::Deleted, None) => String::new(),
            (End::Deleted, Some(_)) => "the set is there".to_owned(),
            (_, None) => "the set is absent".to_owned(),
            (_, Some(set)) => self.what_lacks_in(&set, &claims),
        }
    }

    fn what_lacks_in(&self, set: &Value, claims: &[Arc<Value>]) -> String {
        if set["metadata"]["finalizers"].to_string().contains(HOLD) || transaction(set).is_some() {
            return "the set is held or has not landed".to_owned();
        }
        let wants: Vec<(&str, Bytes)> =
            self.scenario.targets.iter().map(|(name, size)| (*name, size.parse().unwrap())).collect();
        for (name, size) in &wants {
            let of = |claim: &&Arc<Value>| {
                claim["metadata"]["name"].as_str().unwrap().starts_with(&format!("{name}-{NAME}-"))
            };
            let large = |claim: &Arc<Value>| requested(claim) >= *size || refuses(claim);
            if !claims.iter().filter(of).all(large) {
                return "a claim is small".to_owned();
            }
            if self.scenario.end == End::Grown && size_in_template(set, name) != Some(*size) {
                return "a template is small".to_owned();
            }
        }
        if self.scenario.end == End::Grown && !set["metadata"]["annotations"][REQUESTED].is_null() {
            return "the record of the apply is left".to_owned();
        }
        if self.is_ready() { String::new() } else { "the set is not ready".to_owned() }
    }

    /// Looks until it is true.
    pub async fn until(&self, what: &str, there: impl Fn() -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !there() {
            if started.elapsed() > PATIENCE {
                return Err(format!("waited {} s for {what}", PATIENCE.as_secs()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn is_broken(object: &Value) -> bool {
    !object["metadata"]["annotations"][stub::BROKEN].is_null()
}

/// Whether the driver makes no larger volume of this claim: how often it was asked, and for what, is then a matter of chance.
pub fn refuses(claim: &Value) -> bool {
    !claim["metadata"]["annotations"][stub::MOST].is_null()
}

/// Of a run that went well nothing is kept, of another everything.
fn keep_or_forget(folder: &std::path::Path, name: &str, history: &History, violations: &[String]) {
    if violations.is_empty() && std::env::var_os("KEEP").is_none() {
        let _ = std::fs::remove_dir_all(folder);
        return;
    }
    let mut text = format!("{name}\n");
    violations.iter().for_each(|violation| text.push_str(&format!("violation: {violation}\n")));
    let began = history.asked.first().map_or_else(Instant::now, |asked| asked.at);
    for asked in &history.asked {
        let delivered: Vec<u16> = asked.delivered.iter().map(|(_, code, _)| *code).collect();
        text.push_str(&format!(
            "{:7.3} {} {:?} {} {} {}?{} delivered {delivered:?} told {:?} {}\n",
            asked.at.duration_since(began).as_secs_f64(),
            asked.who,
            asked.class,
            asked.number,
            asked.method,
            asked.path,
            asked.query,
            asked.told,
            if asked.class == Class::Write { asked.body.to_string() } else { String::new() },
        ));
    }
    let _ = std::fs::write(folder.join("requests.txt"), text);
    let mut lines = String::new();
    for event in &history.events {
        let at = event.heard.checked_duration_since(began).unwrap_or_default().as_secs_f64();
        let line = json!({"at": at, "kind": format!("{:?}", event.kind), "change": format!("{:?}", event.change), "object": *event.object});
        lines.push_str(&format!("{line}\n"));
    }
    let _ = std::fs::write(folder.join("events.jsonl"), lines);
}
