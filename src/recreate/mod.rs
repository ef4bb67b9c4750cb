//! The recreation of a StatefulSet: its templates catch up with its PVCs without a Pod restart or a lost edit.
//!
//! The API server rejects an edit of `volumeClaimTemplates`, so rso replaces the StatefulSet: **hold, verify, release,
//! recreate, restore**. [`next`] is the whole protocol: a pure function from what is observed to at most one write,
//! which carries its precondition as data. A crash, a lost response, and an error of unknown outcome are then the same
//! case: observe again.
//!
//! | State | Journal phase | What happens |
//! |---|---|---|
//! | `Preflight` | none | the preflight checks of [`preflight`], all of them read-only or dry runs |
//! | `Prepared` | Prepared | the journal and the backup are written |
//! | `Retained` | Prepared | only with `whenDeleted: Delete`: PVCs are protected from the deletion |
//! | `Held` | Prepared | the StatefulSet has the finalizer |
//! | `Deleting` | Deleting | DELETE, orphaning, of exactly the object with the finalizer. The point of no return |
//! | `Orphaning` | Deleting | the garbage collector removes the references; after 30 s, rso does |
//! | `Verified` | Deleting | no Pod, ControllerRevision, or PVC refers to the old object |
//! | `Releasing` | Releasing | the final object is journaled, its finalizers are removed |
//! | `Creating` | Releasing | CREATE with new sizes, `OnDelete`, `Retain`, ID; with finalizer if it may be the second |
//! | `Adopting` | Adopting | Pods and revisions belong to the new object, its revision is the old one |
//! | `Landing` | Adopting | strategy, `whenDeleted`, PVC owners, `managedFields` restored; finalizer and ID removed |
//! | `Done` | Guarded or none | compare, report, remove the protective owner references later |
//!
//! In `Retained`, each PVC gets a protective owner reference, the StatefulSet gets `Retain`, and in the end no PVC
//! refers to the StatefulSet. The PVC owners that `Landing` restores are those of the retained PVCs of scaled-down
//! replicas. `docs/recreate.md` explains why each state exists.

use jiff::Timestamp;

pub mod archive;
pub mod assemble;
pub mod backup;
pub mod compare;
pub mod concurrency;
pub mod confirm;
pub mod dependent;
pub mod journal;
pub mod managed_fields;
pub mod manifest;
pub mod observed;
pub mod outcome;
pub mod phase;
pub mod preflight;
pub mod probes;
#[cfg(feature = "testing")]
pub mod raw;
pub mod restore;
pub mod rights;
pub mod rivals;
pub mod set;
mod stages;
pub mod step;
#[cfg(test)]
mod tests;
pub mod write;

use observed::Observed;
use step::Step;

/// Returns the next step of the recreation of one StatefulSet.
///
/// The function is pure: the same observation results in the same step. Every write that it returns is either permitted
/// by the phase of the journal or can be rolled back.
pub fn next(seen: &Observed, now: Timestamp) -> Step {
    stages::next(seen, now)
}
