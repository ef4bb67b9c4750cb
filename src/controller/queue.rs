//! The queue of sets that wait for a pass.
//!
//! One queue for every trigger, keyed by the *name* of a set, so that a set which is absent in the middle of a recreate
//! is worked on like any other. (kube's `Controller` looks its object up first and skips what is not there.) A key is
//! worked on by one pass at a time; a trigger that arrives meanwhile makes one more pass afterwards. What is due longest
//! comes first. (kube's scheduler takes what is due in the order of a hash: under load, some keys always come last.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::api::names::SetName;

/// Where triggers are put in: cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Triggers(mpsc::UnboundedSender<(SetName, Instant)>);

/// The other end of [`Triggers`].
#[derive(Debug)]
pub struct Requests(mpsc::UnboundedReceiver<(SetName, Instant)>);

/// Makes the two ends. Memory is bounded by the number of sets: one entry a key.
pub fn triggers() -> (Triggers, Requests) {
    let (send, receive) = mpsc::unbounded();
    (Triggers(send), Requests(receive))
}

impl Triggers {
    /// Asks for a pass over this set as soon as possible.
    pub fn now(&self, set: SetName) {
        self.after(set, Duration::ZERO);
    }

    /// Asks for a pass over this set in a while; an earlier request stands.
    pub fn after(&self, set: SetName, delay: Duration) {
        // Fails only when the queue has stopped: then nothing is to be worked on any more.
        let _ = self.0.unbounded_send((set, Instant::now() + delay));
    }
}

/// When a set is due, and which of two that are due at the same moment came first.
type Place = (Instant, u64);

/// The sets that wait, each once.
#[derive(Debug, Default)]
struct Waiting {
    /// Due in the future.
    later: BTreeMap<Place, SetName>,
    /// Due, the one that is so longest first.
    due: BTreeMap<Place, SetName>,
    places: HashMap<SetName, Place>,
    entered: u64,
}

impl Waiting {
    /// Enters a set; of two requests the earlier one stands.
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

    /// Takes out the set that is due longest, of those that are not busy.
    fn take(&mut self, now: Instant, busy: &HashSet<SetName>) -> Option<SetName> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let (place, set) = first.remove_entry();
            self.due.insert(place, set);
        }
        // No more are skipped than are busy.
        let (place, set) = self.due.iter().find(|(_, set)| !busy.contains(*set))?;
        let (place, set) = (*place, set.clone());
        self.due.remove(&place);
        self.places.remove(&set);
        Some(set)
    }

    /// When something else becomes due.
    fn next(&self) -> Option<Instant> {
        self.later.first_key_value().map(|(place, _)| place.0)
    }
}

/// Works until `stop` resolves, then lets the passes that have begun come to their end.
///
/// `work` answers how soon it wants to see the set again; `None`: when something changes. At most `at_most` passes run
/// at once. `depth` hears how many sets are due and wait.
pub async fn run<Work, Pass>(
    requests: Requests,
    at_most: usize,
    depth: impl Fn(usize),
    stop: impl Future<Output = ()>,
    mut work: Work,
) where
    Work: FnMut(SetName) -> Pass,
    Pass: Future<Output = Option<Duration>>,
{
    let mut requests = requests.0;
    let mut stop = pin!(stop);
    let (mut waiting, mut busy, mut passes) = (Waiting::default(), HashSet::new(), FuturesUnordered::new());
    loop {
        while busy.len() < at_most
            && let Some(set) = waiting.take(Instant::now(), &busy)
        {
            busy.insert(set.clone());
            let pass = work(set.clone());
            passes.push(async move { (set, pass.await) });
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
            Some((set, soon)) = passes.next() => {
                busy.remove(&set);
                if let Some(delay) = soon {
                    waiting.enter(set, Instant::now() + delay);
                }
            }
            Some((set, at)) = requests.next() => waiting.enter(set, at),
            () = due, if busy.len() < at_most => {}
        }
    }
    while passes.next().await.is_some() {}
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

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once_and_a_late_trigger_is_not_lost() {
        let (triggers, requests) = triggers();
        let (running, most, passes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for _ in 0..10 {
            triggers.now(set("db"));
        }
        let late = triggers.clone();
        let stop = async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            late.now(set("db"));
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        run(
            requests,
            8,
            |_| (),
            stop,
            |_| {
                let (running, most, passes) = (running.clone(), most.clone(), passes.clone());
                async move {
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    soon().await;
                    running.set(running.get() - 1);
                    passes.set(passes.get() + 1);
                    None
                }
            },
        )
        .await;
        assert_eq!(most.get(), 1, "two passes over one key at once");
        assert_eq!(passes.get(), 2, "ten triggers at once are one pass, the late one is another");
    }

    #[tokio::test]
    async fn a_pass_that_asks_to_be_seen_again_is() {
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
    async fn what_has_begun_ends_before_the_queue_stops() {
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
    fn what_is_due_longest_comes_first_and_each_set_once() {
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
    async fn under_load_every_set_is_passed_over_as_often_as_the_others() {
        let (triggers, requests) = triggers();
        let counts = Rc::new(RefCell::new(HashMap::<String, usize>::new()));
        for n in 0..50 {
            triggers.now(set(&format!("set-{n}")));
        }
        let depth = Rc::new(Cell::new(0));
        let told = depth.clone();
        let stop = tokio::time::sleep(Duration::from_millis(400));
        run(
            requests,
            2,
            move |waiting| told.set(told.get().max(waiting)),
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
