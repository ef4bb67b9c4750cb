//! Which set is looked at next?
//!
//! One queue for every trigger, keyed by the *name* of a set, so that a set which is absent in the middle of a recreate
//! is worked on like any other. (kube's `Controller` looks its object up first and skips what is not there.) A key is
//! worked on by one pass at a time; a trigger that arrives meanwhile makes one more pass afterwards.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::{FuturesUnordered, StreamExt, select};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;

use crate::api::names::SetName;

/// Where triggers are put in: cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Triggers(mpsc::UnboundedSender<ScheduleRequest<SetName>>);

/// The other end of [`Triggers`].
#[derive(Debug)]
pub struct Requests(mpsc::UnboundedReceiver<ScheduleRequest<SetName>>);

/// Makes the two ends. Memory is bounded by the number of sets: the scheduler keeps one entry a key.
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
        let request = ScheduleRequest { message: set, run_at: Instant::now() + delay };
        // Fails only when the queue has stopped: then nothing is to be worked on any more.
        let _ = self.0.unbounded_send(request);
    }
}

/// Works until `stop` resolves, then lets the passes that have begun come to their end.
///
/// `work` answers how soon it wants to see the set again; `None`: when something changes. At most `at_most` passes run
/// at once. `depth` is told how many are waiting or running.
pub async fn run<Work, Pass>(requests: Requests, at_most: usize, stop: impl Future<Output = ()>, mut work: Work)
where
    Work: FnMut(SetName) -> Pass,
    Pass: Future<Output = Option<Duration>>,
{
    let (again, rescheduled) = triggers();
    let mut scheduler = pin!(scheduler(select(requests.0, rescheduled.0)));
    let mut stop = pin!(stop);
    let mut busy = HashSet::new();
    let mut passes = FuturesUnordered::new();
    loop {
        let free = busy.len() < at_most;
        let mut due = scheduler.as_mut().hold_unless(|set| free && !busy.contains(set));
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some((set, soon)) = passes.next() => {
                busy.remove(&set);
                if let Some(delay) = soon {
                    again.after(set, delay);
                }
            }
            Some(set) = due.next() => {
                busy.insert(set.clone());
                let pass = work(set.clone());
                passes.push(async move { (set, pass.await) });
            }
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
        run(requests, 8, stop, |_| {
            let (running, most, passes) = (running.clone(), most.clone(), passes.clone());
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                soon().await;
                running.set(running.get() - 1);
                passes.set(passes.get() + 1);
                None
            }
        })
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
        run(requests, 1, stop, |set| {
            let seen = seen.clone();
            async move {
                seen.borrow_mut().push(set.name.clone());
                (set.name == "a").then_some(Duration::from_millis(100))
            }
        })
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
        run(requests, 1, tokio::time::sleep(Duration::from_millis(20)), |_| {
            let ended = ended.clone();
            async move {
                soon().await;
                ended.set(true);
                None
            }
        })
        .await;
        assert!(ended.get());
    }
}
