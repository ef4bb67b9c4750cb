//! What if the leader stands still, another takes over, and the old one wakes?
//!
//! Two operators share a lease. At one write of the first, on this or that side of the API server, it is stopped with
//! SIGSTOP; after its lease has run out the second goes on. The first is continued in the middle of that, or when all is
//! at rest; what it had under way arrives then. Whatever it still writes has to be refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::{Mutex, mpsc};

use crate::asked::{Asked, Class};
use crate::page;
use crate::plane::Plane;
use crate::process::{Operator, Post};
use crate::proxy::{Door, Freeze, FreezeWhen, Order, Proxy};
use crate::report;
use crate::run::{self, Outcome, Stage, run};
use crate::scenario::{Deed, Deeds, SCENARIOS, Scenario};
use crate::sweep::{jobs, told};

/// When the old leader is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thaw {
    /// As soon as the new leader has written.
    Midway,
    /// When the new leader has brought everything to its end.
    AtRest,
}

/// One failover.
#[derive(Clone, Copy, Debug)]
struct Failover {
    freeze: Freeze,
    thaw: Thaw,
}

/// Scenarios of which every write is a place to stop at.
const SWEPT: usize = 3;
/// What an operator that wakes still does, it does at once.
const AWAKENING: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_leader_that_stood_still_and_wakes_changes_nothing() {
    let plane = Plane::connect().await;
    let full = std::env::var("FAULTS").is_ok_and(|which| which == "full");
    let mut plan = Vec::new();
    let mut references = Vec::new();
    for (at, scenario) in SCENARIOS[..if full { SWEPT } else { 1 }].iter().enumerate() {
        let reference = run(&plane, scenario, None, None).await;
        assert!(reference.violations.is_empty(), "{}", told(&reference));
        plan.extend(failovers(reference.count(Class::Write), full).into_iter().map(|one| (at, one)));
        references.push((scenario, reference));
    }
    println!("{} failovers, {} at a time", plan.len(), jobs());
    let began = Instant::now();
    let done: Vec<Outcome> = futures::stream::iter(&plan)
        .map(|(at, one)| fail_over(&plane, references[*at].0, *one, &references[*at].1))
        .buffer_unordered(jobs())
        .collect()
        .await;
    let bad: Vec<String> = done.iter().filter(|one| !one.fired || !one.violations.is_empty()).map(told).collect();
    let table = table(&done, bad.len());
    println!("{table}\nafter {} s", began.elapsed().as_secs());
    assert!(bad.is_empty(), "{} failovers went wrong:\n{}", bad.len(), bad.join("\n"));
    if full {
        page::write("leaders", &table);
    }
}

/// Every write, on both sides, and both moments to wake; of the sample every fifth.
fn failovers(writes: usize, full: bool) -> Vec<Failover> {
    let mut all = Vec::new();
    for at in 1..=writes {
        for when in [FreezeWhen::Before, FreezeWhen::After] {
            all.extend([Thaw::Midway, Thaw::AtRest].map(|thaw| Failover { freeze: Freeze { at, when }, thaw }));
        }
    }
    all.into_iter().enumerate().filter(|(nth, _)| full || nth % 5 == 0).map(|(_, one)| one).collect()
}

async fn fail_over(plane: &Plane, scenario: &'static Scenario, failover: Failover, reference: &Outcome) -> Outcome {
    let Failover { freeze, thaw } = failover;
    let name = format!("{}, stopped at write {} ({:?}), continued {thaw:?}", scenario.name, freeze.at, freeze.when);
    let place = plane.place().await;
    let stage = Stage { plane, scenario, place: &place };
    stage.set_up().await;
    let settled = Instant::now();
    let deeds = Deeds::default();
    let beside = scenario.beside(&plane.api, &place.sets, &deeds);
    let (proxy, orders) = Proxy::new(plane.api.client().clone(), None, Some(freeze), beside);
    let folder = crate::plane::folder().join(&place.sets);
    let post = Arc::new(Post::new(&place, &folder, run::GUARD));
    let doors = [proxy.open(0).await, proxy.open(1).await];
    let first = Arc::new(Mutex::new(post.start(&doors[0])));
    let obedient = tokio::spawn(obey(orders, first.clone()));
    let mut violations: Vec<String> = Vec::new();
    violations.extend(stage.until("the first to lead", || proxy.leads(0) && proxy.watches() >= 4).await.err());
    let second = Arc::new(Mutex::new(post.start(&doors[1])));
    let kept = tokio::spawn(keep_running(post.clone(), doors, [first.clone(), second.clone()]));
    tokio::time::sleep(run::SETTLE.saturating_sub(settled.elapsed())).await;
    let from = stage.version();
    deeds.does(&plane.api, &place.sets, Deed::Patch((scenario.asks)())).await;
    let stopped = || proxy.fired().is_some();
    violations.extend(stage.until("the first to be stopped", stopped).await.err());
    let at_rest = match thaw {
        // After the last write of the first, nothing is left to be written.
        Thaw::Midway => {
            let goes_on = || proxy.leads(1) && (first_write(&proxy.asked()).is_some() || stage.is_at_goal());
            stage.until("the second to go on", goes_on).await.err()
        }
        Thaw::AtRest => stage.rest(&proxy, &deeds, None).await.err(),
    };
    violations.extend(at_rest);
    // What was under way arrives while its sender wakes.
    proxy.thaw();
    first.lock().await.go_on();
    tokio::time::sleep(AWAKENING).await;
    let rested = stage.rest(&proxy, &deeds, None).await;
    violations.extend(rested.as_ref().err().cloned());
    violations.extend(late_writes(&proxy.asked()));
    obedient.abort();
    kept.abort();
    first.lock().await.end().await;
    second.lock().await.end().await;
    violations.extend(run::panics(&folder));
    let over = run::Over { name, stage: &stage, proxy: &proxy, deeds: &deeds, from, fault: None, folder };
    let mut outcome = over.judge(violations, Some(&reference.summary)).await;
    outcome.recovery = proxy.fired().zip(rested.ok()).map(|(at, rested)| rested.saturating_duration_since(at));
    outcome
}

/// Starts an operator again that has lost its lease and ended, as a kubelet does.
async fn keep_running(post: Arc<Post>, doors: [Door; 2], operators: [Arc<Mutex<Operator>>; 2]) {
    loop {
        for (door, operator) in doors.iter().zip(&operators) {
            let mut operator = operator.lock().await;
            if operator.has_ended() {
                *operator = post.start(door);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn obey(mut orders: mpsc::UnboundedReceiver<Order>, first: Arc<Mutex<Operator>>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Stop { done } => {
                first.lock().await.stop();
                let _ = done.send(());
            }
            Order::Kill { done } => drop(done),
        }
    }
}

/// When the second leader's first write was carried out.
fn first_write(asked: &[Asked]) -> Option<Instant> {
    let mut writes = asked.iter().filter(|asked| asked.class == Class::Write && asked.who == 1);
    writes.find(|asked| asked.is_done()).and_then(|asked| asked.delivered.first()).map(|(at, ..)| *at)
}

/// Writes of the old leader that the API server has carried out after the new one's first. The creation of a journal is
/// none: nothing can refuse it but its name, and [`crate::history::Summary`] sees that it is taken away again.
fn late_writes(asked: &[Asked]) -> Vec<String> {
    let Some(since) = first_write(asked) else { return Vec::new() };
    let is_late = |asked: &&Asked| {
        let carried_out = |(at, code, _): &(Instant, u16, serde_json::Value)| *at > since && (200..300).contains(code);
        asked.who == 0
            && asked.class == Class::Write
            && asked.delivered.iter().any(carried_out)
            && !asked.makes_a_journal()
    };
    let told = |asked: &Asked| format!("{} {} of the old leader was carried out late", asked.method, asked.object());
    asked.iter().filter(is_late).map(told).collect()
}

fn table(done: &[Outcome], bad: usize) -> String {
    let writes = |of: fn(&Asked) -> bool| {
        done.iter().flat_map(|one| &one.asked).filter(|asked| asked.class == Class::Write && of(asked)).count()
    };
    let times: Vec<u64> =
        done.iter().filter_map(|one| one.recovery).map(|time| u64::try_from(time.as_millis()).unwrap_or(0)).collect();
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "| Failovers | Writes of the first leaders | Writes of the second | Failovers with a violation | From the stop to rest, the lease of 15 s included: p50, p99, max |\n|---|---|---|---|---|\n| {} | {} | {} | {bad} | {} |\n\n{date}, {cores} cores.",
        done.len(),
        writes(|asked| asked.who == 0),
        writes(|asked| asked.who == 1),
        report::recovery(&times),
    )
}
