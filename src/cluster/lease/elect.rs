//! The decision of the leader election, from the record in the Lease and from how long *we* have observed it unchanged.
//!
//! The times in a Lease are informational: they come from the clock of another machine. This is our own code because
//! the existing crates take over an expired Lease without a resourceVersion, so two candidates can both win.

use std::time::Duration;

use serde_json::{Value, json};

/// How long the Lease is valid after its last renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader tries to renew before it steps down.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// The interval between two renewals.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// The interval between two reads of a follower that has no watch of the Lease.
pub const FOLLOWER_POLL_INTERVAL: Duration = Duration::from_millis(700);
/// The largest drift between the clocks of two machines during one Lease, with a margin for a slow thread.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The Lease as it was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The holder; `None` if it was released.
    pub holder: Option<String>,
    /// The duration that the holder wrote.
    pub duration: Duration,
    /// The version of the record.
    pub resource_version: String,
}

/// A record, and how long (since which time since boot) we have observed it unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRecord {
    /// The record.
    pub record: Record,
    /// When we first observed this version of it.
    pub since: Duration,
}

/// The next step of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionStep {
    /// There is no Lease: create it.
    Create,
    /// It is free or has expired: replace exactly this version with our identity.
    Acquire,
    /// We hold it: renew exactly this version.
    Renew,
    /// Another candidate holds it.
    Follow,
}

/// Decides from what was observed; `now` is time since boot, and `me` must be unique to this process.
pub fn elect(observed: Option<&ObservedRecord>, me: &str, now: Duration) -> ElectionStep {
    let Some(ObservedRecord { record, since }) = observed else { return ElectionStep::Create };
    match &record.holder {
        None => ElectionStep::Acquire,
        Some(holder) if holder == me => ElectionStep::Renew,
        Some(_) if now >= since.saturating_add(record.duration) => ElectionStep::Acquire,
        Some(_) => ElectionStep::Follow,
    }
}

/// The longest deadline of a write issued `now` that cannot take effect after another candidate has acquired the Lease:
/// the write reaches the server within that time, and the server processes it for at most that time again. `None`: it
/// is too late.
pub fn time_to_write(expiry: Duration, now: Duration) -> Option<Duration> {
    let time = expiry.saturating_sub(MAX_CLOCK_SKEW).saturating_sub(now) / 2;
    (time >= Duration::from_secs(1)).then_some(time)
}

impl Record {
    /// Reads a Lease object. With missing fields, it expires after our own duration, not immediately.
    pub fn read(lease: &Value) -> Self {
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
        let duration = spec["leaseDurationSeconds"].as_u64().map_or(LEASE_DURATION, Duration::from_secs);
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        Self { holder: holder.map(Into::into), duration, resource_version: version.to_owned() }
    }
}

/// The Lease as `holder` writes it over `before`, whose resourceVersion is the precondition. `now` is a MicroTime.
pub(super) fn written(before: &Value, holder: &str, now: &str) -> Value {
    let mut lease = before.clone();
    let held_before = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let transitions = lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0);
    let spec = &mut lease["spec"];
    if held_before != holder {
        spec["acquireTime"] = json!(now);
        spec["leaseTransitions"] = json!(transitions.saturating_add(1));
    }
    spec["holderIdentity"] = json!(holder);
    spec["leaseDurationSeconds"] = json!(LEASE_DURATION.as_secs());
    spec["renewTime"] = json!(now);
    lease
}

/// The released Lease: it has no holder, and the next candidate may acquire it.
pub(super) fn released(before: &Value, now: &str) -> Value {
    let mut lease = before.clone();
    lease["spec"]["holderIdentity"] = json!("");
    lease["spec"]["leaseDurationSeconds"] = json!(1);
    lease["spec"]["renewTime"] = json!(now);
    lease
}

/// A new Lease.
pub(super) fn first(name: &str, namespace: &str, holder: &str, now: &str) -> Value {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"acquireTime": now, "leaseTransitions": 0, "holderIdentity": holder},
    });
    written(&lease, holder, now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn observed(holder: Option<&str>, since: Duration) -> ObservedRecord {
        let holder = holder.map(Into::into);
        ObservedRecord { record: Record { holder, duration: LEASE_DURATION, resource_version: "7".into() }, since }
    }

    #[test]
    fn a_candidate_waits_until_it_has_observed_the_same_record_for_a_whole_lease() {
        let check = |holder: Option<&str>, since, now, expected| {
            assert_eq!(elect(Some(&observed(holder, since)), "me", now), expected, "{holder:?} {since:?} {now:?}");
        };
        check(None, s(100), s(100), ElectionStep::Acquire);
        check(Some("other"), s(100), s(100), ElectionStep::Follow);
        check(Some("other"), s(100), s(115) - Duration::from_nanos(1), ElectionStep::Follow);
        check(Some("other"), s(100), s(115), ElectionStep::Acquire);
        check(Some("me"), s(100), s(100), ElectionStep::Renew);
        check(Some("me"), s(100), s(500), ElectionStep::Renew);
        assert_eq!(elect(None, "me", s(5)), ElectionStep::Create);
    }

    #[test]
    fn a_write_gets_less_time_with_an_older_renewal() {
        let check = |now, expected| assert_eq!(time_to_write(s(115), s(now)), expected);
        check(100, Some(s(7)));
        check(104, Some(s(5)));
        check(112, Some(s(1)));
        check(113, None);
        check(115, None);
        check(999, None);
    }

    #[test]
    fn a_written_lease_keeps_all_other_fields() {
        let before = json!({
            "metadata": {"name": "rso", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"holderIdentity": "other", "leaseTransitions": 3, "leaseDurationSeconds": 15, "strategy": "x"},
        });
        let taken = written(&before, "me", "T");
        assert_eq!(taken["metadata"], before["metadata"]);
        assert_eq!(
            taken["spec"],
            json!({"holderIdentity": "me", "leaseTransitions": 4, "leaseDurationSeconds": 15, "strategy": "x",
                "acquireTime": "T", "renewTime": "T"})
        );
        let renewed = written(&taken, "me", "U");
        assert_eq!(renewed["spec"]["leaseTransitions"], 4);
        assert_eq!((&renewed["spec"]["acquireTime"], &renewed["spec"]["renewTime"]), (&json!("T"), &json!("U")));
        assert_eq!(
            elect(Some(&ObservedRecord { record: Record::read(&released(&renewed, "V")), since: s(0) }), "x", s(0)),
            ElectionStep::Acquire
        );
    }

    #[test]
    fn a_lease_without_a_spec_has_no_holder() {
        let record = Record::read(&json!({"metadata": {"resourceVersion": "1"}}));
        assert_eq!(record, Record { holder: None, duration: LEASE_DURATION, resource_version: "1".into() });
    }

    proptest! {
        /// The purpose of it all: no candidate acquires the Lease while a write of the old leader can still take
        /// effect.
        #[test]
        fn no_write_can_take_effect_after_another_candidate_leads(
            renewed in 0_u64..1_000_000, polled in 0_u64..20_000, wrote in 0_u64..40_000, took in 0_u64..60_000,
        ) {
            let ms = Duration::from_millis;
            // The leader sent its renewal at `renewed`; the follower observed it some time after, and acquires it some
            // time later.
            let (sent, since) = (ms(renewed), ms(renewed + polled));
            let (write, take) = (sent + ms(wrote), since + ms(took));
            let Some(limit) = time_to_write(sent + LEASE_DURATION, write) else { return Ok(()) };
            if elect(Some(&observed(Some("leader"), since)), "follower", take) == ElectionStep::Acquire {
                prop_assert!(write + limit + limit + MAX_CLOCK_SKEW <= take);
            }
        }
    }
}
