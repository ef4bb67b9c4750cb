//! Held requests: the agent measures a few times a second, and answers when a volume has reached the share, has changed
//! its size, or after the wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{self, Held, Measurement, Probe};
use super::news::Level;
use super::samples::{MIN_RATE_PERIOD, Samples};
use crate::api::held::HeldQuery;

/// Requests that are held at the same time. The operator's leader needs one; the other is for a user, or for a new leader
/// while the connection of the former one is not closed yet.
pub(super) const MAX_HELD: usize = 2;
/// The shortest time between two measurements.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time between two measurements, far from the share. It bounds how late a new size is noticed.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// The state that held requests share.
#[derive(Default)]
pub(super) struct Holds {
    open: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    samples: Samples,
    latest: Option<(Instant, Arc<Vec<Measurement>>)>,
    /// Each volume in the last held answer. A volume that was full already is no news for the next request.
    answered: Vec<Option<Level>>,
}

/// The permission to hold a request, until it is dropped.
pub(super) struct Slot<'a>(&'a AtomicUsize);

/// What a client does while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// It waits.
    Waits,
    /// It sends more, so it does not wait for the answer.
    Sends,
    /// It has closed the connection.
    Gone,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Holds {
    /// The permission to hold one more request, if there is one.
    pub(super) fn slot(&self) -> Option<Slot<'_>> {
        let one_more = |open: usize| (open < MAX_HELD).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_| Slot(&self.open))
    }

    /// Holds a request. `pause` waits for a time, or until the client does something. `None`: the client has gone.
    ///
    /// Returns whether every volume was measured, and the body.
    pub(super) fn hold(
        &self,
        _slot: &Slot<'_>,
        probes: &[Probe],
        query: HeldQuery,
        mut pause: impl FnMut(Duration) -> Client,
    ) -> Option<(bool, String)> {
        let began = Instant::now();
        let deadline = began + Duration::from_secs(u64::from(query.wait));
        let mut before = self.state().answered.clone();
        before.resize(probes.len(), None);
        loop {
            let (at, measured) = self.sample(probes, began);
            let levels: Vec<Level> = measured.iter().map(disk::level).collect();
            let is_news = levels.iter().zip(&before).any(|(now, before)| now.is_news(*before, query.full));
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (is_news && self.state().samples.has_rate()) {
                return Some(self.answer(probes, &measured, at.saturating_duration_since(began)));
            }
            let interval = if is_news { MIN_RATE_PERIOD } else { interval(&levels, query) };
            if !is_news {
                let compared = levels.iter().zip(&before).map(|(now, before)| Some(now.compared(*before, query.full)));
                before = compared.collect();
            }
            // A socket accepts no timeout of zero.
            match pause(interval.min(left).max(Duration::from_millis(1))) {
                Client::Waits => {}
                Client::Sends => return Some(self.answer(probes, &measured, at.saturating_duration_since(began))),
                Client::Gone => return None,
            }
        }
    }

    /// The latest measurement: at least as new as `since`, and no more often than all [`MIN_INTERVAL`], regardless of how
    /// many requests are held.
    fn sample(&self, probes: &[Probe], since: Instant) -> (Instant, Arc<Vec<Measurement>>) {
        let mut state = self.state();
        let at = Instant::now();
        if let Some((last, measured)) = &state.latest
            && *last >= since
            && at.saturating_duration_since(*last) < MIN_INTERVAL
        {
            return (*last, Arc::clone(measured));
        }
        let measured = Arc::new(disk::measure(probes));
        state.samples.add(at, measured.iter().map(disk::used).collect());
        state.latest = Some((at, Arc::clone(&measured)));
        (at, measured)
    }

    fn answer(&self, probes: &[Probe], measured: &[Measurement], waited: Duration) -> (bool, String) {
        let mut state = self.state();
        state.answered = measured.iter().map(|measurement| Some(disk::level(measurement))).collect();
        let rates = (0..measured.len()).map(|volume| state.samples.rate(volume)).collect();
        disk::render(probes, measured, Some(&Held { rates, waited }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is consistent between any two lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time until a volume can be news: far from the share, fewer measurements are enough.
fn interval(levels: &[Level], query: HeldQuery) -> Duration {
    let soonest = levels.iter().map(|level| level.soonest(query.full)).min().unwrap_or(MAX_INTERVAL);
    soonest.clamp(MIN_INTERVAL, MAX_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::args::AgentVolume;
    use crate::api::percent::Percent;

    fn probes() -> Vec<Probe> {
        vec![Probe::start(AgentVolume { pvc_name: "data-db-0".to_owned(), path: "/".into() }).expect("a thread")]
    }

    fn query(wait: u32, full: u32) -> HeldQuery {
        HeldQuery { wait, full: Percent(full) }
    }

    fn sleep(pause: Duration) -> Client {
        std::thread::sleep(pause);
        Client::Waits
    }

    /// The root of this machine is neither empty nor full.
    #[test]
    fn a_share_that_is_reached_already_is_answered_once_and_then_at_the_end_of_the_wait() {
        let (holds, probes) = (Holds::default(), probes());
        let slot = holds.slot().expect("free");
        let held = |wait: u32| {
            let start = Instant::now();
            let answer = holds.hold(&slot, &probes, query(wait, 1), sleep).expect("an answer");
            (answer, start.elapsed())
        };
        let ((complete, body), took) = held(30);
        assert!(complete && took < Duration::from_secs(5), "{took:?} {body}");
        assert!(body.contains(",\"rate_bytes\":") && body.contains(",\"waited_ms\":"), "{body}");
        let ((_, body), took) = held(1);
        assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?} {body}");
        let waited = body.split("\"waited_ms\":").nth(1).and_then(|rest| rest.split(['}', ',']).next()?.parse().ok());
        assert!(waited.is_some_and(|waited: u64| (500..=5_000).contains(&waited)), "{body}");
    }

    #[test]
    fn a_client_that_leaves_or_sends_more_is_not_waited_for() {
        let (holds, probes) = (Holds::default(), probes());
        let slot = holds.slot().expect("free");
        let start = Instant::now();
        assert_eq!(holds.hold(&slot, &probes, query(60, 100_000), |_| Client::Gone), None);
        assert!(holds.hold(&slot, &probes, query(60, 100_000), |_| Client::Sends).is_some());
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_few_requests_are_held_at_the_same_time() {
        let holds = Holds::default();
        let mut held: Vec<Slot<'_>> = (0..MAX_HELD).map_while(|_| holds.slot()).collect();
        assert_eq!(held.len(), MAX_HELD);
        assert!(holds.slot().is_none());
        held.pop();
        assert!(holds.slot().is_some());
    }

    #[test]
    fn far_from_the_share_fewer_measurements_are_enough() {
        let check = |free_gib: u64, expected: u64| {
            let (whole, used) = (100 << 30, (80 - free_gib) << 30);
            let level = Level::Measured { size: whole, bytes: super::super::news::Part { used, whole }, inodes: None };
            assert_eq!(interval(&[Level::Failed, level], query(55, 80_000)), Duration::from_millis(expected));
        };
        check(0, 250);
        check(1, 250);
        check(2, 500);
        check(70, 1_000);
        assert_eq!(interval(&[Level::Failed], query(55, 80_000)), MAX_INTERVAL);
    }
}
