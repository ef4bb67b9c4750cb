//! Preflight checks: may a recreation begin, and may it still continue before the point of no return?
//!
//! Each gate is a function with a refusal of its own; the first refusal is reported. The gates fail closed: what is not known
//! is a refusal. `TemplateSyncDeferred` passes without a person, `TemplateSyncBlocked` waits for one.

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

use concurrency::turn;
use dependents::{claims, pods, quiet, rolled_out};
use statefulset::{alive, available, finalizers, kept, not_paused, observed, owner, size, templates};

/// The input of the gates.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was observed.
    pub seen: &'a Observed,
    /// The StatefulSet.
    pub live: &'a LiveSet,
    /// The wanted sizes.
    pub targets: &'a BTreeMap<TemplateName, Bytes>,
    /// The kind of a controller that may own the StatefulSet.
    pub allow_owner: Option<&'a str>,
    /// The transaction, once it has begun.
    pub journal: Option<&'a Journal>,
    /// The time.
    pub now: Timestamp,
}

/// One gate.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "tests and pages name the gates"))]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What it ensures.
    pub holds: &'static str,
    /// Asks it.
    pub ask: fn(&Subject<'_>) -> Result<(), Note>,
}

/// Every gate that needs no dry run, in the order they are asked.
pub const GATES: [Gate; 14] = [
    Gate { name: "alive", holds: "The StatefulSet and its namespace are not being deleted", ask: alive },
    Gate { name: "not-paused", holds: "The StatefulSet is not paused", ask: not_paused },
    Gate { name: "kept", holds: "The annotation allow-delete is not set", ask: kept },
    Gate { name: "finalizers", holds: "The StatefulSet has no finalizer of another controller", ask: finalizers },
    Gate { name: "turn", holds: "No other recreation in the namespace, few in the cluster", ask: turn },
    Gate {
        name: "owner",
        holds: "No controller owns the StatefulSet, or the annotation allow-owner allows it",
        ask: owner,
    },
    Gate { name: "templates", holds: "The templates exist and do not shrink", ask: templates },
    Gate { name: "size", holds: "Journal, backup and new object fit", ask: size },
    Gate { name: "observed", holds: "The StatefulSet controller has observed the latest spec", ask: observed },
    Gate { name: "available", holds: "Every replica is ready and available", ask: available },
    Gate { name: "rolled-out", holds: "No rollout is in progress, and all Pods have one revision", ask: rolled_out },
    Gate { name: "pods", holds: "Every Pod exists, belongs to this StatefulSet, and is not terminating", ask: pods },
    Gate {
        name: "claims",
        holds: "Every PVC of a replica exists, is not being deleted, and requests the new size",
        ask: claims,
    },
    Gate { name: "quiet", holds: "No ownerReference has changed recently", ask: quiet },
];

/// Asks every gate that needs no dry run.
///
/// # Errors
/// The refusal of the first that is closed.
pub fn ask(subject: &Subject<'_>) -> Result<(), Note> {
    GATES.iter().try_for_each(|gate| (gate.ask)(subject))
}
