//! May this process write? Leader election on the Lease `rso` in the operator's namespace, and the answer to give it at once
//! before every write.
//!
//! A leader that hangs, is paused or is cut off must not write when it wakes. So a write needs a [`Permit`], which is given
//! only while the lease is fresh and carries the longest time the write may take; and the lease is given back only when all
//! permits have been.

mod elect;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};

use super::client::{Address, Client, Error, Outcome, Run, chain, resources};
use super::clock::{micro_time, now, since_boot};

pub use self::elect::{LEASE_DURATION, FOLLOWER_POLL_INTERVAL, RENEW_DEADLINE, RENEW_INTERVAL, Record, ObservedRecord, ElectionStep, elect, time_to_write};

/// The name of the Lease.
pub const NAME: &str = "rso";

/// A request for the lease that takes longer is given up and tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// What this replica is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another replica leads, or nobody yet.
    Follower,
    /// This one leads.
    Leader,
}

/// Tells whether we lead. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    term: Arc<Term>,
    role: watch::Receiver<Role>,
}

/// The right to issue one write, within its time. Give it back (drop it) when the write has been answered.
#[derive(Debug)]
pub struct Permit {
    deadline: Duration,
    _writing: OwnedRwLockReadGuard<()>,
}

/// The part of the election that asks the API server. [`Election::run`] it beside everything else.
pub struct Election {
    client: Client,
    lease: Address,
    namespace: String,
    me: String,
    term: Arc<Term>,
    role: watch::Sender<Role>,
    observed: Option<(ObservedRecord, Value)>,
}

/// What the election and the writers share.
struct Term {
    /// Milliseconds since boot at which our lease runs out; 0: not ours.
    expiry: AtomicU64,
    /// Read by writers, taken for good before the lease is given back.
    writing: Arc<RwLock<()>>,
}

impl Leadership {
    /// The right to issue one write now, if we have it.
    pub fn permit(&self) -> Option<Permit> {
        let writing = self.term.writing.clone().try_read_owned().ok()?;
        let expiry = Duration::from_millis(self.term.expiry.load(Ordering::Acquire));
        let deadline = time_to_write(expiry, since_boot())?;
        Some(Permit { deadline, _writing: writing })
    }

    /// What this replica is.
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Waits until this replica has the role. `false`: the election has ended, it never will.
    pub async fn becomes(&mut self, role: Role) -> bool {
        self.role.wait_for(|now| *now == role).await.is_ok()
    }
}

impl Permit {
    /// A client whose requests end in time.
    pub fn client(&self, client: &Client) -> Client {
        client.with_deadline(self.deadline)
    }
}

/// A name for this process that no other has, ever: two that share a name would both lead.
pub fn identity(host: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{host}_{random:016x}")
}

impl Election {
    /// Prepares to stand for election as `me` in `namespace`, on connections of its own.
    pub fn new(
        client: &Client,
        namespace: &str,
        me: String,
    ) -> Result<(Self, Leadership), super::client::ConnectError> {
        let client = client.with_own_connections()?.with_deadline(REQUEST_TIMEOUT);
        let term = Arc::new(Term { expiry: AtomicU64::new(0), writing: Arc::default() });
        let (sender, role) = watch::channel(Role::Follower);
        let leadership = Leadership { term: term.clone(), role };
        let lease = resources::LEASES.of(namespace, NAME);
        Ok((Self { client, lease, namespace: namespace.into(), me, term, role: sender, observed: None }, leadership))
    }

    /// Stands for election until `stop`; then ends our writing, and gives the lease back at once.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let wait = self.iterate().await;
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.release().await;
    }

    /// One look and at most one write; how long to wait for the next.
    async fn iterate(&mut self) -> Duration {
        let was_leader = *self.role.borrow() == Role::Leader;
        if let Err(error) = self.acquire_or_renew().await {
            tracing::warn!(lease = %self.lease, error = chain(&error), "leader election could not ask the API server");
            // Whether our own write happened is unknown: look before the next.
            self.observed = self.observed.take().filter(|(observed, _)| observed.record.holder.as_ref() != Some(&self.me));
        }
        self.step_down_when_late();
        let is_leader = *self.role.borrow() == Role::Leader;
        if was_leader != is_leader {
            tracing::info!(lease = %self.lease, identity = self.me, leads = is_leader, "leadership changed");
        }
        if is_leader { RENEW_INTERVAL } else { FOLLOWER_POLL_INTERVAL }
    }

    async fn acquire_or_renew(&mut self) -> Result<(), Error> {
        // A leader knows the last version: it wrote it. Everybody else looks.
        let ours = self.observed.as_ref().is_some_and(|(observed, _)| observed.record.holder.as_ref() == Some(&self.me));
        if !ours {
            self.observe().await?;
        }
        let sent = since_boot();
        let step = elect(self.observed.as_ref().map(|(observed, _)| observed), &self.me, sent);
        let time = micro_time(now());
        let outcome = match (step, &self.observed) {
            (ElectionStep::Follow, _) => {
                self.step_down();
                return Ok(());
            }
            (ElectionStep::Acquire | ElectionStep::Renew, Some((_, lease))) => {
                self.client.replace(&self.lease, &elect::written(lease, &self.me, &time), Run::Real).await?
            }
            (ElectionStep::Create | ElectionStep::Acquire | ElectionStep::Renew, _) => {
                let lease = elect::first(NAME, &self.namespace, &self.me, &time);
                self.client.create(&resources::LEASES, Some(&self.namespace), &lease, Run::Real).await?
            }
        };
        match outcome {
            Outcome::Done(lease) => self.record_acquired(lease, sent),
            // Somebody was faster, or it was deleted: look again next round.
            Outcome::Conflict(_) | Outcome::AlreadyExists | Outcome::NotFound => self.observed = None,
        }
        Ok(())
    }

    /// Reads the lease. The measure of an unchanged record begins after the answer: later than any renewal it can hold.
    async fn observe(&mut self) -> Result<(), Error> {
        let lease = self.client.get(&self.lease).await?;
        let at = since_boot();
        self.observed = lease.map(|lease| {
            let record = Record::read(&lease);
            let known = self.observed.as_ref().filter(|(observed, _)| observed.record == record);
            (ObservedRecord { since: known.map_or(at, |(observed, _)| observed.since), record }, lease)
        });
        Ok(())
    }

    /// Our name stands in the lease since a request sent at `sent`, the earliest that another may count from.
    fn record_acquired(&mut self, lease: Value, sent: Duration) {
        self.observed = Some((ObservedRecord { record: Record::read(&lease), since: sent }, lease));
        let expiry = sent.saturating_add(LEASE_DURATION).as_millis();
        self.term.expiry.store(u64::try_from(expiry).unwrap_or(0), Ordering::Release);
        self.role.send_if_modified(|role| std::mem::replace(role, Role::Leader) == Role::Follower);
    }

    fn step_down_when_late(&self) {
        let expiry = Duration::from_millis(self.term.expiry.load(Ordering::Acquire));
        if since_boot() >= expiry.saturating_sub(LEASE_DURATION).saturating_add(RENEW_DEADLINE) {
            self.step_down();
        }
    }

    fn step_down(&self) {
        self.term.expiry.store(0, Ordering::Release);
        self.role.send_if_modified(|role| std::mem::replace(role, Role::Follower) == Role::Leader);
    }

    /// Waits for the writes in flight, which is short by their deadlines, and then writes the lease without a holder.
    async fn release(mut self) {
        let expiry = Duration::from_millis(self.term.expiry.load(Ordering::Acquire));
        let _last = self.term.writing.clone().write_owned().await;
        self.step_down();
        let Some((observed, lease)) = self.observed.take() else { return };
        if observed.record.holder.as_ref() != Some(&self.me) || since_boot() >= expiry {
            return;
        }
        match self.client.replace(&self.lease, &elect::released(&lease, &micro_time(now())), Run::Real).await {
            Ok(Outcome::Done(_)) => tracing::info!(lease = %self.lease, identity = self.me, "leadership given back"),
            Ok(outcome) => tracing::info!(lease = %self.lease, ?outcome, "leadership was already gone"),
            Err(error) => tracing::warn!(
                lease = %self.lease, error = chain(&error), "leadership could not be given back; it runs out in 15 s"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leadership(expiry: Duration) -> Leadership {
        let expiry = AtomicU64::new(u64::try_from(expiry.as_millis()).unwrap());
        let term = Arc::new(Term { expiry, writing: Arc::default() });
        Leadership { term, role: watch::channel(Role::Leader).1 }
    }

    #[test]
    fn a_permit_is_given_only_while_the_lease_is_fresh() {
        let fresh = leadership(since_boot() + LEASE_DURATION).permit().unwrap();
        assert!(fresh.deadline <= Duration::from_secs(7) && fresh.deadline > Duration::from_secs(6));
        assert!(leadership(since_boot() + Duration::from_millis(2_900)).permit().is_none());
        assert!(leadership(Duration::ZERO).permit().is_none());
    }

    #[tokio::test]
    async fn the_lease_is_not_given_back_while_a_write_is_in_flight() {
        let leadership = leadership(since_boot() + LEASE_DURATION);
        let permit = leadership.permit().unwrap();
        let writing = leadership.term.writing.clone();
        let mut end = std::pin::pin!(writing.write_owned());
        assert!(futures::poll!(&mut end).is_pending());
        assert!(leadership.permit().is_none(), "no new write begins while the last one ends");
        drop(permit);
        let _end = end.await;
        assert!(leadership.permit().is_none());
    }

    #[test]
    fn no_two_processes_share_an_identity() {
        assert_ne!(identity("host"), identity("host"));
        assert!(identity("host").starts_with("host_"));
    }
}
