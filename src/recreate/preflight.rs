//! Preflight checks: may a recreation begin, and may it still continue before the point of no return?
//!
//! Each check is a function with a refusal of its own; the first refusal is reported. A check fails closed: what is not known
//! is a refusal. `TemplateSyncDeferred` resolves by itself, `TemplateSyncBlocked` requires a person.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::journal::Journal;
use super::observed::Observed;
use super::set::LiveSet;
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::reasons::Note;

pub mod answers;
mod concurrency;
mod dependents;
mod statefulset;

use concurrency::concurrency;
use dependents::{claims, pods, quiet, rolled_out};
use statefulset::{alive, available, finalizers, kept, not_paused, observed, owner, size, templates};

/// The input of the checks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was observed.
    pub seen: &'a Observed,
    /// The StatefulSet.
    pub live: &'a LiveSet,
    /// The requested sizes.
    pub targets: &'a BTreeMap<TemplateName, Bytes>,
    /// The kind of a controller that may own the StatefulSet.
    pub allow_owner: Option<&'a str>,
    /// The transaction, once it has begun.
    pub journal: Option<&'a Journal>,
    /// The time.
    pub now: Timestamp,
}

/// One preflight check.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "tests and pages name the checks"))]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it ensures.
    pub ensures: &'static str,
    /// Evaluates it.
    pub evaluate: fn(&Subject<'_>) -> Result<(), Note>,
}

/// Every check that needs no dry run, in the order of evaluation.
pub const CHECKS: [Check; 14] = [
    Check { name: "alive", ensures: "The StatefulSet and its namespace are not being deleted", evaluate: alive },
    Check { name: "not-paused", ensures: "The StatefulSet is not paused", evaluate: not_paused },
    Check { name: "kept", ensures: "The annotation allow-delete is not set", evaluate: kept },
    Check {
        name: "finalizers",
        ensures: "The StatefulSet has no finalizer of another controller",
        evaluate: finalizers,
    },
    Check {
        name: "concurrency",
        ensures: "No other recreation in the namespace, few in the cluster",
        evaluate: concurrency,
    },
    Check {
        name: "owner",
        ensures: "No controller owns the StatefulSet, or the annotation allow-owner allows it",
        evaluate: owner,
    },
    Check { name: "templates", ensures: "The templates exist and do not shrink", evaluate: templates },
    Check { name: "size", ensures: "Journal, backup and new object fit", evaluate: size },
    Check { name: "observed", ensures: "The StatefulSet controller has observed the latest spec", evaluate: observed },
    Check { name: "available", ensures: "Every replica is ready and available", evaluate: available },
    Check {
        name: "rolled-out",
        ensures: "No rollout is in progress, and all Pods have one revision",
        evaluate: rolled_out,
    },
    Check {
        name: "pods",
        ensures: "Every Pod exists, belongs to this StatefulSet, and is not terminating",
        evaluate: pods,
    },
    Check {
        name: "claims",
        ensures: "Every PVC of a replica exists, is not being deleted, and requests the new size",
        evaluate: claims,
    },
    Check { name: "quiet", ensures: "No ownerReference has changed recently", evaluate: quiet },
];

/// Evaluates every check that needs no dry run.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn evaluate(subject: &Subject<'_>) -> Result<(), Note> {
    CHECKS.iter().try_for_each(|check| (check.evaluate)(subject))
}
