//! The queue of StatefulSets that wait to be reconciled.
//!
//! There is one queue for every trigger, keyed by the *name* of a StatefulSet, so a StatefulSet that is absent during a
//! recreation is reconciled like any other. (kube's `Controller` gets the object first and skips it if it does not
//! exist.) One key is reconciled once at a time; a trigger that arrives in the meantime causes one more reconciliation
//! afterwards. The key that has been due the longest comes first. (kube's scheduler takes due keys in the order of a
//! hash: under load, some keys always come last.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::api::names::SetName;

/// The input of the queue: cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Triggers(mpsc::UnboundedSender<(SetName, Instant)>);

/// The receiving end of [`Triggers`].
#[derive(Debug)]
pub struct Requests(mpsc::UnboundedReceiver<(SetName, Instant)>);

/// Creates both ends. Memory is bounded by the number of StatefulSets: one entry a key.
pub fn triggers() -> (Triggers, Requests) {
    let (send, receive) = mpsc::unbounded();
    (Triggers(send), Requests(receive))
}

impl Triggers {
    /// Requests a reconciliation of this StatefulSet as soon as possible.
    pub fn now(&self, set: SetName) {
        self.after(set, Duration::ZERO);
    }

    /// Requests a reconciliation of this StatefulSet after a delay; an earlier request stands.
    pub fn after(&self, set: SetName, delay: Duration) {
        // Fails only after the queue has stopped, when nothing is reconciled anymore.
        let _ = self.0.unbounded_send((set, Instant::now() + delay));
    }
}

/// When a StatefulSet is due, and the order of entry for those that are due at the same time.
type Place = (Instant, u64);

/// The waiting StatefulSets, each once.
#[derive(Debug, Default)]
struct Waiting {
    /// Due in the future.
    later: BTreeMap<Place, SetName>,
    /// Due now, in the order of the time since when.
    due: BTreeMap<Place, SetName>,
    places: HashMap<SetName, Place>,
    entered: u64,
}

impl Waiting {
    /// Adds a StatefulSet; of two requests, the earlier one stands.
    fn enter(&mut self, set: SetName, at: Instant) {
        if let Some(place) = self.places.get(&set).copied() {
            if place.0 <= at {
                return;
            }
            self.later.remove(&place);
            self.due.remove(&place);
        }
        self.entered += 1;
        let place = (at, self.entered);
        self.places.insert(set.clone(), place);
        self.later.insert(place, set);
    }

    /// Removes the StatefulSet that has been due the longest and is not busy.
    fn take(&mut self, now: Instant, busy: &HashSet<SetName>) -> Option<SetName> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let (place, set) = first.remove_entry();
            self.due.insert(place, set);
        }
        // This skips no more entries than are busy.
        let (place, set) = self.due.iter().find(|(_, set)| !busy.contains(*set))?;
        let (place, set) = (*place, set.clone());
        self.due.remove(&place);
        self.places.remove(&set);
        Some(set)
    }

    /// When the next entry becomes due.
    fn next(&self) -> Option<Instant> {
        self.later.first_key_value().map(|(place, _)| place.0)
    }
}

/// Runs until `stop` resolves, and then waits for the reconciliations that have begun.
///
/// `work` returns the requeue delay; `None`: only a trigger requeues. At most `at_most` reconciliations run at the same
/// time. `depth` receives the number of StatefulSets that are due and wait.
pub async fn run<Work, Reconciliation>(
    requests: Requests,
    at_most: usize,
    depth: impl Fn(usize),
    stop: impl Future<Output = ()>,
    mut work: Work,
) where
    Work: FnMut(SetName) -> Reconciliation,
    Reconciliation: Future<Output = Option<Duration>>,
{
    let mut requests = requests.0;
    let mut stop = pin!(stop);
    let (mut waiting, mut busy, mut reconciliations) = (Waiting::default(), HashSet::new(), FuturesUnordered::new());
    loop {
        while busy.len() < at_most
            && let Some(set) = waiting.take(Instant::now(), &busy)
        {
            busy.insert(set.clone());
            let reconciliation = work(set.clone());
            reconciliations.push(async move { (set, reconciliation.await) });
        }
        depth(waiting.due.len());
        let next = waiting.next();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some((set, soon)) = reconciliations.next() => {
                busy.remove(&set);
                if let Some(delay) = soon {
                    waiting.enter(set, Instant::now() + delay);
                }
            }
            Some((set, at)) = requests.next() => waiting.enter(set, at),
            () = due, if busy.len() < at_most => {}
        }
    }
    while reconciliations.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;

    fn set(name: &str) -> SetName {
        SetName::new("ns", name)
    }

    async fn soon() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Long enough for the queue to take all triggers that were sent.
    async fn all_are_taken() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_key_is_never_reconciled_twice_at_once_and_a_late_trigger_is_not_lost() {
        let (triggers, requests) = triggers();
        let (running, most, reconciliations) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let (ended, late) = (tokio::sync::Notify::new(), triggers.clone());
        for _ in 0..10 {
            triggers.now(set("db"));
        }
        run(
            requests,
            8,
            |_| (),
            async {
                ended.notified().await;
                all_are_taken().await;
            },
            |_| async {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                reconciliations.set(reconciliations.get() + 1);
                all_are_taken().await;
                match reconciliations.get() {
                    1 => late.now(set("db")),
                    _ => ended.notify_one(),
                }
                all_are_taken().await;
                running.set(running.get() - 1);
                None
            },
        )
        .await;
        assert_eq!(most.get(), 1, "two reconciliations of one key at once");
        assert_eq!(reconciliations.get(), 2, "ten triggers at once are one reconciliation, the late one is another");
    }

    #[tokio::test]
    async fn a_reconciliation_that_returns_a_delay_is_requeued() {
        let (triggers, requests) = triggers();
        let seen = Rc::new(RefCell::new(Vec::new()));
        triggers.now(set("a"));
        triggers.now(set("b"));
        let stop = tokio::time::sleep(Duration::from_millis(300));
        run(
            requests,
            1,
            |_| (),
            stop,
            |set| {
                let seen = seen.clone();
                async move {
                    seen.borrow_mut().push(set.name.clone());
                    (set.name == "a").then_some(Duration::from_millis(100))
                }
            },
        )
        .await;
        let seen = seen.borrow();
        assert!(seen.iter().filter(|name| *name == "a").count() >= 2, "{seen:?}");
        assert_eq!(seen.iter().filter(|name| *name == "b").count(), 1, "{seen:?}");
    }

    #[tokio::test]
    async fn running_reconciliations_end_before_the_queue_stops() {
        let (triggers, requests) = triggers();
        let ended = Rc::new(Cell::new(false));
        triggers.now(set("db"));
        run(
            requests,
            1,
            |_| (),
            tokio::time::sleep(Duration::from_millis(20)),
            |_| {
                let ended = ended.clone();
                async move {
                    soon().await;
                    ended.set(true);
                    None
                }
            },
        )
        .await;
        assert!(ended.get());
    }

    #[test]
    fn the_statefulset_that_is_due_longest_comes_first_and_each_one_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        for (name, second) in [("late", 9), ("c", 3), ("a", 1), ("b", 2), ("c", 5), ("b", 0)] {
            waiting.enter(set(name), at(second));
        }
        let busy = HashSet::from([set("a")]);
        let mut taken = Vec::new();
        while let Some(next) = waiting.take(at(4), &busy) {
            taken.push(next.name);
        }
        assert_eq!(taken, ["b", "c"], "a is busy, late is not due");
        assert_eq!(waiting.due.len(), 1);
        assert_eq!(waiting.next(), Some(at(9)));
        assert_eq!(waiting.take(at(9), &HashSet::new()), Some(set("a")));
        assert_eq!(waiting.take(at(9), &HashSet::new()), Some(set("late")));
        assert_eq!(waiting.take(at(9), &HashSet::new()), None);
        assert!(waiting.places.is_empty());
    }

    #[tokio::test]
    async fn under_load_all_statefulsets_are_reconciled_equally_often() {
        let (triggers, requests) = triggers();
        let counts = Rc::new(RefCell::new(HashMap::<String, usize>::new()));
        for n in 0..50 {
            triggers.now(set(&format!("set-{n}")));
        }
        let depth = Rc::new(Cell::new(0));
        let deepest = depth.clone();
        let stop = tokio::time::sleep(Duration::from_millis(400));
        run(
            requests,
            2,
            move |waiting| deepest.set(deepest.get().max(waiting)),
            stop,
            |set| {
                let counts = counts.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    *counts.borrow_mut().entry(set.name).or_default() += 1;
                    Some(Duration::ZERO)
                }
            },
        )
        .await;
        let counts = counts.borrow();
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        assert_eq!(counts.len(), 50);
        assert!(most - least <= 1, "{counts:?}");
        assert_eq!(depth.get(), 48, "two of fifty run, the others wait");
    }
}
