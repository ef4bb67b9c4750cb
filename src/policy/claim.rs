//! The next step for one PVC that needs a certain size.
//!
//! *Committed* means that the API server accepted the size; *done* means that the filesystem has it. A recreation waits
//! only until its PVCs are committed: an offline driver never finishes while the Pod runs.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::drivers::{Driver, Growth};
use super::rescue::Evidence;
use super::{elapsed, spoken};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, TemplateName, Uid};
use crate::api::reasons::{Note, Reason};

/// After this time, rso reports an unfinished expansion to a person.
pub const STUCK_AFTER: Duration = Duration::from_secs(10 * 60);
/// How many times rso halves the step to an infeasible size before it asks a person to act.
pub const MAX_HALVINGS: u32 = 3;
/// For this time, rso does not request a size again that the CSI driver refused. A full storage pool may have been
/// enlarged meanwhile.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(3600);
/// The time of an expansion is invalid if it is later than `now` by more than this; clocks may differ by less.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5 * 60);

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No volume yet.
    Pending,
    /// Has a volume.
    Bound,
    /// Its volume is gone.
    Lost,
}

/// The state of an expansion: `status.allocatedResourceStatuses.storage`, or the older condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// No expansion is in progress.
    #[default]
    None,
    /// The controller of the CSI driver is expanding the volume.
    ControllerInProgress,
    /// The controller of the CSI driver reports that it cannot provide the size.
    ControllerInfeasible,
    /// The disk is larger; the node has not started to expand the filesystem.
    NodePending,
    /// The node is expanding the filesystem.
    NodeInProgress,
    /// The node reports that it cannot provide the size.
    NodeInfeasible,
    /// The older condition: the filesystem is expanded when a Pod mounts it.
    FileSystemResizePending,
}

impl Resize {
    /// Parses the status of Kubernetes. An unknown status counts as `ControllerInProgress`, so rso waits.
    pub fn from_word(word: &str) -> Self {
        match word {
            "" => Self::None,
            "ControllerResizeInfeasible" => Self::ControllerInfeasible,
            "NodeResizePending" => Self::NodePending,
            "NodeResizeInProgress" => Self::NodeInProgress,
            "NodeResizeInfeasible" => Self::NodeInfeasible,
            "FileSystemResizePending" => Self::FileSystemResizePending,
            _ => Self::ControllerInProgress,
        }
    }
}

/// The StorageClass of a PVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// `metadata.name`.
    pub name: String,
    /// `allowVolumeExpansion`.
    pub expandable: bool,
    /// `provisioner`.
    pub provisioner: String,
}

/// Who set the size that a PVC requests, by its `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizer {
    /// The field manager.
    pub manager: String,
    /// Whether the field manager is the operator.
    pub is_ours: bool,
    /// When.
    pub at: Option<Timestamp>,
}

/// The observed state of a PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: ClaimName,
    /// The template from which it was created.
    pub template: TemplateName,
    /// The ordinal of its Pod.
    pub ordinal: Ordinal,
    /// Its identity.
    pub uid: Uid,
    /// `metadata.resourceVersion`: the precondition of a write.
    pub resource_version: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Whether it has the finalizer that keeps a PVC as long as a Pod uses it.
    pub protected: bool,
    /// `volumeMode: Block`: its usage is unknown.
    pub block_mode: bool,
    /// `spec.resources.requests.storage`.
    pub requested: Bytes,
    /// `status.capacity.storage`.
    pub capacity: Option<Bytes>,
    /// The state of its expansion.
    pub resize: Resize,
    /// Its StorageClass, if it names one that exists.
    pub class: Option<Class>,
    /// The `resized-at` annotation.
    pub resized_at: Option<Timestamp>,
    /// Who set the size that it requests, if that is known.
    pub sizer: Option<Sizer>,
    /// What is known of it while nothing measures its usage.
    pub rescue: Blind,
}

/// What is known of a PVC while nothing measures its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blind {
    /// How often it was expanded without a measurement since the last one: the `rescued` annotation.
    pub steps: u32,
    /// What is known of its last reading and of its Pod.
    pub evidence: Evidence,
}

/// A size that the CSI driver reported as infeasible: the only state that [`next`] needs from earlier reconciliations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The size that was refused last.
    pub size: Bytes,
    /// How many sizes of this PVC were refused in a row.
    pub times: u32,
    /// When the last refusal was first observed.
    pub at: Timestamp,
}

/// The next step for a PVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// The PVC has the size, or a larger one.
    Settled,
    /// Request this size, with the PVC's resourceVersion as the precondition. The size is below the current request
    /// only after a refusal, and always above the capacity.
    Patch {
        /// The size to request.
        to: Bytes,
        /// The Event message to report.
        note: Note,
    },
    /// Evaluate the PVC again later; a change of it is pending.
    Wait(Note),
    /// Nothing changes until a person acts.
    Blocked(Note),
}

impl Claim {
    /// The name of its Pod: the name of a PVC consists of its template and its Pod.
    pub fn pod(&self) -> &str {
        let name = self.name.as_str();
        name.strip_prefix(self.template.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name)
    }

    /// Whether the API server has accepted this size.
    ///
    /// If the CSI driver created a larger volume than requested, the size needs no request.
    pub fn is_committed(&self, size: Bytes) -> bool {
        self.requested >= size || self.capacity.is_some_and(|capacity| capacity >= size)
    }

    /// Whether it is being deleted and no Pod uses it: it is about to disappear. A PVC that a Pod uses is live data
    /// until the Pod ends.
    pub fn is_leaving(&self) -> bool {
        self.deleting && !self.protected
    }

    /// Whether a larger size can be requested now: no expansion is in progress, or the one in progress waits for a Pod,
    /// perhaps forever.
    pub fn takes_more(&self, driver: &Driver) -> bool {
        !self.is_infeasible() && (self.is_done() || self.waits_for_its_pod(driver))
    }

    /// When the operator last requested its expansion.
    ///
    /// The tenant can change the annotation. Therefore, `managedFields` counts too, and a time in the future does not
    /// count.
    pub fn grown_at(&self, now: Timestamp) -> Option<Timestamp> {
        let witnessed = self.sizer.as_ref().filter(|sizer| sizer.is_ours).and_then(|sizer| sizer.at);
        latest([self.resized_at, witnessed], now)
    }

    /// When its current request was set, regardless of who set it.
    fn requested_since(&self, now: Timestamp) -> Option<Timestamp> {
        latest([self.resized_at, self.sizer.as_ref().and_then(|sizer| sizer.at)], now)
    }

    /// Adds an expansion that the leader keeps in memory, with its steps without a measurement: no change of an annotation
    /// removes it.
    pub fn remember_growth(&mut self, at: Timestamp, steps: u32, now: Timestamp) {
        self.rescue.steps = self.rescue.steps.max(steps);
        self.resized_at = latest([self.resized_at, Some(at)], now);
        // `managedFields` has the same time, or that of a later write of another field.
        if let Some(sizer) = self.sizer.as_mut().filter(|sizer| sizer.is_ours) {
            sizer.at = None;
        }
    }

    /// Whether the filesystem has the requested size and no expansion is in progress.
    pub fn is_done(&self) -> bool {
        self.resize == Resize::None && self.capacity.is_some_and(|capacity| capacity >= self.requested)
    }

    /// Whether the rest of its expansion happens when a Pod mounts it, or when no Pod does.
    fn waits_for_its_pod(&self, driver: &Driver) -> bool {
        driver.growth == Growth::Offline || self.is_left_to_the_node()
    }

    /// Whether the disk is larger and the filesystem is not expanded yet.
    fn is_left_to_the_node(&self) -> bool {
        match self.resize {
            Resize::NodePending | Resize::FileSystemResizePending => true,
            Resize::None
            | Resize::ControllerInProgress
            | Resize::ControllerInfeasible
            | Resize::NodeInProgress
            | Resize::NodeInfeasible => false,
        }
    }

    /// Whether the CSI driver, in its controller or on the node, has reported the requested size as infeasible.
    pub fn is_infeasible(&self) -> bool {
        match self.resize {
            Resize::ControllerInfeasible | Resize::NodeInfeasible => true,
            Resize::None
            | Resize::ControllerInProgress
            | Resize::NodePending
            | Resize::NodeInProgress
            | Resize::FileSystemResizePending => false,
        }
    }
}

/// Returns what is known about refusals after this observation of the PVC; keep it in memory and pass it to [`next`].
///
/// Losing it is harmless: the halving continues from the size that the PVC then requests.
pub fn refusal(claim: &Claim, before: Option<&Refusal>, now: Timestamp) -> Option<Refusal> {
    if !claim.is_infeasible() {
        return before.copied().filter(|refusal| elapsed(refusal.at, now) < REFUSAL_HOLDS);
    }
    match before {
        Some(known) if known.size == claim.requested => Some(*known),
        Some(known) => Some(Refusal { size: claim.requested, times: known.times.saturating_add(1), at: now }),
        None => Some(Refusal { size: claim.requested, times: 1, at: now }),
    }
}

fn latest(times: [Option<Timestamp>; 2], now: Timestamp) -> Option<Timestamp> {
    times.into_iter().flatten().filter(|at| elapsed(now, *at) <= CLOCKS_DIFFER_BY).max()
}

/// The warning about a PVC that is being deleted while its Pod runs on.
pub fn goes_with_its_pod(claim: &Claim) -> Option<Note> {
    (claim.deleting && claim.phase == Phase::Bound).then(|| {
        let text = format!(
            "PVC {} is being deleted: Kubernetes removes it, with its data, when Pod {pod} ends. Copy the data out of the Pod; \
             then delete Pod {pod} to get a new PVC",
            claim.name,
            pod = claim.pod()
        );
        Note::blocked("pvc-terminating", text).about(&claim.name)
    })
}

/// The next step of a PVC that needs `target`.
pub fn next(claim: &Claim, target: Bytes, refused: Option<&Refusal>, driver: &Driver, now: Timestamp) -> ClaimStep {
    if let Some(step) = unfit(claim, target) {
        return step;
    }
    let Some(capacity) = claim.capacity else {
        return ClaimStep::Wait(deferred(
            claim,
            "no-capacity",
            "has no capacity in its status yet; rso expands it once it has",
        ));
    };
    if claim.is_infeasible() {
        return halve(claim, capacity, refused);
    }
    match (claim.is_done(), claim.is_committed(target)) {
        (true, true) => ClaimStep::Settled,
        // An expansion that waits for a Pod may wait forever, as for an ordinal that was scaled down; rso can request a
        // larger size meanwhile.
        (true, false) => grow(claim, target, refused, driver, now),
        (false, false) if claim.waits_for_its_pod(driver) => grow(claim, target, refused, driver, now),
        (false, _) => unfinished(claim, capacity, driver, now),
    }
}

/// The step of a PVC that cannot be expanded, regardless of its size.
fn unfit(claim: &Claim, target: Bytes) -> Option<ClaimStep> {
    if claim.is_leaving() {
        return Some(ClaimStep::Wait(deferred(
            claim,
            "terminating",
            "is being deleted; rso expands the PVC that the next Pod gets",
        )));
    }
    match claim.phase {
        Phase::Bound => None,
        // Its volume is provisioned with the right size.
        Phase::Pending if claim.is_committed(target) => Some(ClaimStep::Settled),
        Phase::Pending => {
            Some(ClaimStep::Wait(deferred(claim, "pending", "is not bound yet; rso expands it once it is")))
        }
        Phase::Lost => {
            let text = format!("PVC {} has lost its volume; restore the volume, or delete the PVC", claim.name);
            Some(ClaimStep::Blocked(Note::blocked("lost", text).about(&claim.name)))
        }
    }
}

fn deferred(claim: &Claim, case: &str, why: &str) -> Note {
    Note::deferred(case, format!("PVC {} {why}", claim.name)).about(&claim.name)
}

/// The Event message with this reason about a PVC.
fn about(claim: &Claim, reason: Reason, case: impl fmt::Display, text: String) -> Note {
    Note::new(reason, case, text).about(&claim.name)
}

/// The step after a refusal by the CSI driver: requests half of the increase, or leaves the PVC to a person.
fn halve(claim: &Claim, capacity: Bytes, refused: Option<&Refusal>) -> ClaimStep {
    let (name, requested) = (&claim.name, claim.requested);
    let times = refused.map_or(1, |refusal| refusal.times);
    let step = Bytes(requested.saturating_sub(capacity).0 / 2).round_up_to(Bytes::mib(1));
    let to = capacity.saturating_add(step);
    if times > MAX_HALVINGS || to >= requested || to <= capacity {
        let text = format!(
            "PVC {name}: the CSI driver cannot provide {requested}, and no smaller step is left to try; the PVC stays at \
             {capacity}. Free space in the storage pool or on the node, or lower spec.resources.requests.storage of the PVC \
             to a size above {capacity}"
        );
        return ClaimStep::Blocked(about(claim, Reason::ExpansionInfeasible, "no-step-left", text));
    }
    let text = format!(
        "PVC {name}: the CSI driver cannot provide {requested}; rso requests {to} instead (try {times} of {MAX_HALVINGS}). \
         Check the free space of the storage pool or the node"
    );
    ClaimStep::Patch { to, note: about(claim, Reason::ExpansionInfeasible, "smaller-step", text) }
}

/// The step of a PVC whose expansion is in progress.
fn unfinished(claim: &Claim, capacity: Bytes, driver: &Driver, now: Timestamp) -> ClaimStep {
    let (name, requested) = (&claim.name, claim.requested);
    let running = claim.requested_since(now).map(|since| elapsed(since, now)).unwrap_or_default();
    if driver.growth == Growth::Offline || (claim.is_left_to_the_node() && running >= STUCK_AFTER) {
        let text = format!(
            "PVC {name} can be expanded from {capacity} to {requested} only while no Pod uses it, or when its Pod restarts; \
             restart Pod {} when convenient",
            claim.pod()
        );
        return ClaimStep::Wait(about(claim, Reason::OfflineExpansionNeeded, "", text));
    }
    if running >= STUCK_AFTER {
        let text = format!(
            "the expansion of PVC {name} from {capacity} to {requested} has been in progress for more than {}; check the \
             Events of the PVC and the log of the CSI driver's resizer",
            spoken(STUCK_AFTER)
        );
        return ClaimStep::Wait(about(claim, Reason::ExpansionStuck, "", text));
    }
    let text = format!("the CSI driver is expanding PVC {name} from {capacity} to {requested}");
    ClaimStep::Wait(about(claim, Reason::ClaimExpanding, requested, text))
}

fn grow(claim: &Claim, target: Bytes, refused: Option<&Refusal>, driver: &Driver, now: Timestamp) -> ClaimStep {
    let (name, requested) = (&claim.name, claim.requested);
    if let Some(note) = not_expandable(claim, driver) {
        return ClaimStep::Blocked(note);
    }
    let to = driver.max_size.map_or(target, |max| max.min(target));
    if to <= requested {
        let text = format!(
            "PVC {name} requests {requested}, the largest size that its CSI driver supports; {target} is needed. Shard the \
             data, or move it to another StorageClass"
        );
        return ClaimStep::Blocked(about(claim, Reason::MaxSizeReached, "driver", text));
    }
    if let Some(refusal) = refused.filter(|refusal| to >= refusal.size && elapsed(refusal.at, now) < REFUSAL_HOLDS) {
        let text = format!(
            "PVC {name} requests {requested} and needs {to}, but the CSI driver could not provide {}; rso requests it again \
             within {}. Free space in the storage pool or on the node",
            refusal.size,
            spoken(REFUSAL_HOLDS)
        );
        return ClaimStep::Blocked(about(claim, Reason::ExpansionInfeasible, "refused-lately", text));
    }
    let text = format!("requesting the expansion of PVC {name} from {requested} to {to}");
    ClaimStep::Patch { to, note: about(claim, Reason::ClaimExpanding, to, text) }
}

/// Why a PVC cannot be expanded at all: its StorageClass does not allow it, or its driver cannot do it.
pub(super) fn not_expandable(claim: &Claim, driver: &Driver) -> Option<Note> {
    let name = &claim.name;
    let (case, text) = match &claim.class {
        None => (
            "no-class",
            format!(
                "the StorageClass of PVC {name} does not exist, so the PVC cannot be expanded; move its data to a PVC of a \
                 StorageClass that allows expansion"
            ),
        ),
        Some(class) if driver.growth == Growth::Never => (
            "driver",
            format!(
                "PVC {name}: the CSI driver {} of StorageClass {} cannot expand volumes; move the data to a PVC of another \
                 StorageClass",
                class.provisioner, class.name
            ),
        ),
        Some(class) if !class.expandable => (
            "class",
            format!(
                "PVC {name}: StorageClass {} does not allow expansion; set allowVolumeExpansion: true in it if its driver {} \
                 can expand volumes",
                class.name, class.provisioner
            ),
        ),
        Some(_) => return None,
    };
    Some(about(claim, Reason::StorageClassNotExpandable, case, text))
}

#[cfg(test)]
mod tests;
