//! Who leads? A pure answer from the record in the cluster and from how long *we* have seen it unchanged.
//!
//! The times written in a lease are for people: they come from another machine's clock. Own code, because the crates that
//! exist take an expired lease without a resourceVersion, so that two candidates can both win.

use std::time::Duration;

use serde_json::{Value, json};

/// How long a lease holds after its last renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for so long steps down.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two renewals.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks of a follower: a released lease is taken within a second.
pub const FOLLOWER_POLL_INTERVAL: Duration = Duration::from_millis(700);
/// What two machines' clocks may drift apart within one lease, with room for a slow thread.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The lease as somebody last wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` if it was released.
    pub holder: Option<String>,
    /// How long the holder wants it to hold.
    pub duration: Duration,
    /// Which write this was.
    pub resource_version: String,
}

/// A record, and since when (time since boot) we have been seeing it unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRecord {
    /// The record.
    pub record: Record,
    /// When we first saw this version of it.
    pub since: Duration,
}

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionStep {
    /// There is no lease: make it.
    Create,
    /// It is free or has run out: write our name over exactly this version.
    Acquire,
    /// It is ours: renew exactly this version.
    Renew,
    /// Somebody else holds it.
    Follow,
}

/// Decides from what was seen; `now` is time since boot, `me` must be unique to this process.
pub fn elect(observed: Option<&ObservedRecord>, me: &str, now: Duration) -> ElectionStep {
    let Some(ObservedRecord { record, since }) = observed else { return ElectionStep::Create };
    match &record.holder {
        None => ElectionStep::Acquire,
        Some(holder) if holder == me => ElectionStep::Renew,
        Some(_) if now >= since.saturating_add(record.duration) => ElectionStep::Acquire,
        Some(_) => ElectionStep::Follow,
    }
}

/// The longest that a write issued `now` may be given, so that it cannot land after another has taken the lease: it reaches
/// the server within that time, and the server works on it for at most that time again. `None`: it is too late.
pub fn time_to_write(expiry: Duration, now: Duration) -> Option<Duration> {
    let time = expiry.saturating_sub(MAX_CLOCK_SKEW).saturating_sub(now) / 2;
    (time >= Duration::from_secs(1)).then_some(time)
}

impl Record {
    /// Reads a Lease object. What is missing makes it expire by our own measure, not at once.
    pub fn read(lease: &Value) -> Self {
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
        let duration = spec["leaseDurationSeconds"].as_u64().map_or(LEASE_DURATION, Duration::from_secs);
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        Self { holder: holder.map(Into::into), duration, resource_version: version.to_owned() }
    }
}

/// The lease as `holder` writes it over `before`, whose resourceVersion stays as the precondition. `now` is a MicroTime.
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

/// The lease given back: nobody holds it, and whoever looks next may take it.
pub(super) fn released(before: &Value, now: &str) -> Value {
    let mut lease = before.clone();
    lease["spec"]["holderIdentity"] = json!("");
    lease["spec"]["leaseDurationSeconds"] = json!(1);
    lease["spec"]["renewTime"] = json!(now);
    lease
}

/// A lease that was never there.
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
    fn a_candidate_waits_until_it_has_seen_the_same_record_for_a_whole_lease() {
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
    fn a_write_gets_less_time_the_older_the_renewal() {
        let check = |now, expected| assert_eq!(time_to_write(s(115), s(now)), expected);
        check(100, Some(s(7)));
        check(104, Some(s(5)));
        check(112, Some(s(1)));
        check(113, None);
        check(115, None);
        check(999, None);
    }

    #[test]
    fn a_lease_is_written_over_what_was_there_and_nothing_else_is_lost() {
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
    fn a_lease_without_a_spec_is_free() {
        let record = Record::read(&json!({"metadata": {"resourceVersion": "1"}}));
        assert_eq!(record, Record { holder: None, duration: LEASE_DURATION, resource_version: "1".into() });
    }

    proptest! {
        /// The point of it all: nobody takes the lease while a write of the old leader can still land.
        #[test]
        fn no_write_can_land_after_another_has_taken_over(
            renewed in 0_u64..1_000_000, looked in 0_u64..20_000, wrote in 0_u64..40_000, took in 0_u64..60_000,
        ) {
            let ms = Duration::from_millis;
            // The leader sent its renewal at `renewed`; the follower saw it some time after, and takes it some time later.
            let (sent, since) = (ms(renewed), ms(renewed + looked));
            let (write, take) = (sent + ms(wrote), since + ms(took));
            let Some(limit) = time_to_write(sent + LEASE_DURATION, write) else { return Ok(()) };
            if elect(Some(&observed(Some("leader"), since)), "follower", take) == ElectionStep::Acquire {
                prop_assert!(write + limit + limit + MAX_CLOCK_SKEW <= take);
            }
        }
    }
}
