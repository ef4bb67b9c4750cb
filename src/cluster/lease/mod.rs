//! Leader election on the Lease `rso` in the operator's namespace, and the permission for each write.
//!
//! A leader that hangs, is paused, or is cut off must not write when it resumes. Therefore, every write needs a
//! `Permit`, which is granted only while the Lease is valid and limits the time of the write; and the Lease is
//! released only after all permits are.

mod elect;
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};

use super::client::{Client, Error, Outcome, chain};
use super::clock::{micro_time, now, since_boot};
use crate::api::objects::{Address, LEASES};
use crate::api::write::Write;

pub use self::elect::{
    ElectionStep, FOLLOWER_POLL_INTERVAL, LEASE_DURATION, ObservedRecord, RENEW_DEADLINE, RENEW_INTERVAL, Record,
    elect, time_to_write,
};
use self::follow::Waited;

/// The name of the Lease.
pub const NAME: &str = "rso";

/// The deadline of a request for the Lease; after it, the request is tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// The role of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another replica leads, or none yet.
    Follower,
    /// This replica leads.
    Leader,
}

/// Reports whether this replica leads. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    term: Arc<Term>,
    role: watch::Receiver<Role>,
}

/// The permission for one write, within a deadline. Drop it when the response to the write has arrived.
#[derive(Debug)]
pub(super) struct Permit {
    deadline: Duration,
    _writing: OwnedRwLockReadGuard<()>,
}

/// The part of the election that sends requests. Run [`Election::run`] concurrently with everything else.
pub struct Election {
    client: Client,
    lease: Address,
    namespace: String,
    me: String,
    term: Arc<Term>,
    role: watch::Sender<Role>,
    observed: Option<(ObservedRecord, Value)>,
    /// The watch failed: until this time since boot, a follower polls.
    polls_until: Duration,
}

/// The state that the election and the writers share.
struct Term {
    /// Milliseconds since boot at which our Lease expires; 0: we do not hold it.
    expiry: AtomicU64,
    /// Read-locked by writers, write-locked for good before the Lease is released.
    writing: Arc<RwLock<()>>,
}

impl Leadership {
    /// The permission for one write now, if this replica leads.
    pub(super) fn permit(&self) -> Option<Permit> {
        let writing = self.term.writing.clone().try_read_owned().ok()?;
        let expiry = Duration::from_millis(self.term.expiry.load(Ordering::Acquire));
        let deadline = time_to_write(expiry, since_boot())?;
        Some(Permit { deadline, _writing: writing })
    }

    /// The role of this replica.
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Waits until this replica has the role. `false`: the election has ended, so it never will.
    pub async fn becomes(&mut self, role: Role) -> bool {
        self.role.wait_for(|now| *now == role).await.is_ok()
    }
}

impl Permit {
    /// A client whose requests end before the permit expires.
    pub(super) fn client(&self, client: &Client) -> Client {
        client.with_deadline(self.deadline)
    }
}

/// A unique identity of this process: two processes with the same identity would both lead.
pub fn identity(host: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{host}_{random:016x}")
}

impl Election {
    /// Prepares the election of `me` in `namespace`, on connections of its own.
    pub fn new(
        client: &Client,
        namespace: &str,
        me: String,
    ) -> Result<(Self, Leadership), super::client::ConnectError> {
        let client = client.with_own_connections()?.with_deadline(REQUEST_TIMEOUT);
        let term = Arc::new(Term { expiry: AtomicU64::new(0), writing: Arc::default() });
        let (sender, role) = watch::channel(Role::Follower);
        let leadership = Leadership { term: term.clone(), role };
        let lease = LEASES.of(namespace, NAME);
        let namespace = namespace.into();
        let (observed, polls_until) = (None, Duration::ZERO);
        Ok((Self { client, lease, namespace, me, term, role: sender, observed, polls_until }, leadership))
    }

    /// Takes part in the election until `stop`; then ends our writes, and releases the Lease immediately.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.iterate().await;
            tokio::select! {
                () = &mut stop => break,
                () = self.wait() => {}
            }
        }
        self.release().await;
    }

    /// At most one read and one write.
    async fn iterate(&mut self) {
        let was_leader = *self.role.borrow() == Role::Leader;
        if let Err(error) = self.acquire_or_renew().await {
            tracing::warn!(lease = %self.lease, error = chain(&error), "failed to acquire or renew the Lease");
            // It is unknown whether our own write happened: read before the next write.
            self.observed =
                self.observed.take().filter(|(observed, _)| observed.record.holder.as_ref() != Some(&self.me));
        }
        self.step_down_when_late();
        let is_leader = *self.role.borrow() == Role::Leader;
        if was_leader != is_leader {
            tracing::info!(lease = %self.lease, identity = self.me, leads = is_leader, "leadership changed");
        }
    }

    /// Waits until the next iteration is due.
    async fn wait(&mut self) {
        if *self.role.borrow() == Role::Leader {
            return tokio::time::sleep(RENEW_INTERVAL).await;
        }
        let watched = self.observed.as_mut().filter(|_| since_boot() >= self.polls_until);
        let waited = match watched {
            Some((observed, _)) => follow::wait(&self.client, &self.lease, observed, &self.me).await,
            None => Waited::Ended,
        };
        if waited == Waited::Failed {
            self.polls_until = since_boot().saturating_add(follow::WATCH_RETRY_INTERVAL);
        }
        if waited != Waited::Act {
            tokio::time::sleep(FOLLOWER_POLL_INTERVAL).await;
        }
    }

    async fn acquire_or_renew(&mut self) -> Result<(), Error> {
        // A leader knows the last version, because it wrote it. All others read it.
        let ours =
            self.observed.as_ref().is_some_and(|(observed, _)| observed.record.holder.as_ref() == Some(&self.me));
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
                self.write(Write::update(self.lease.clone(), elect::written(lease, &self.me, &time))).await?
            }
            (ElectionStep::Create | ElectionStep::Acquire | ElectionStep::Renew, _) => {
                let lease = elect::first(NAME, &self.namespace, &self.me, &time);
                self.write(Write::create(&LEASES, Some(&self.namespace), lease)).await?
            }
        };
        match outcome {
            Outcome::Done(lease) => self.record_acquired(lease, sent),
            // Another candidate was faster, or the Lease was deleted: read it in the next iteration.
            Outcome::Conflict(_) | Outcome::AlreadyExists | Outcome::NotFound => self.observed = None,
        }
        Ok(())
    }

    async fn write(&self, write: Write) -> Result<Outcome<Value>, Error> {
        self.client.write(&write).await
    }

    /// Reads the Lease. The age of an unchanged record counts from after the response: later than any renewal in it.
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

    /// The Lease has named us since a request sent at `sent`, the earliest time from which another candidate may count.
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

    /// Waits for the writes in flight, which their deadlines keep short, and then removes the holder from the Lease.
    async fn release(mut self) {
        let expiry = Duration::from_millis(self.term.expiry.load(Ordering::Acquire));
        let _last = self.term.writing.clone().write_owned().await;
        self.step_down();
        let Some((observed, lease)) = self.observed.take() else { return };
        if observed.record.holder.as_ref() != Some(&self.me) || since_boot() >= expiry {
            return;
        }
        let released = elect::released(&lease, &micro_time(now()));
        match self.write(Write::update(self.lease.clone(), released)).await {
            Ok(Outcome::Done(_)) => tracing::info!(lease = %self.lease, identity = self.me, "released the Lease"),
            Ok(outcome) => tracing::info!(lease = %self.lease, ?outcome, "Lease was already lost"),
            Err(error) => tracing::warn!(
                lease = %self.lease, error = chain(&error), "failed to release the Lease; it expires in 15 s"
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
    fn a_permit_is_granted_only_while_the_lease_is_valid() {
        let fresh = leadership(since_boot() + LEASE_DURATION).permit().unwrap();
        assert!(fresh.deadline <= Duration::from_secs(7) && fresh.deadline > Duration::from_secs(6));
        assert!(leadership(since_boot() + Duration::from_millis(2_900)).permit().is_none());
        assert!(leadership(Duration::ZERO).permit().is_none());
    }

    #[tokio::test]
    async fn the_lease_is_not_released_while_a_write_is_in_flight() {
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
