//! What is the next thing to do for one claim that should have a certain size?
//!
//! *Committed* means that the API server accepted the size; *done*, that the filesystem has it. A recreate waits for
//! committed only: an offline driver never finishes while the pod runs.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::drivers::{Driver, Growth};
use super::{elapsed, spoken};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, TemplateName, Uid};
use crate::api::reasons::{Note, Reason};

/// After this long, an expansion that has not ended is told to a person.
pub const STUCK_AFTER: Duration = Duration::from_secs(10 * 60);
/// How many times an infeasible size is halved before a person is asked.
pub const MAX_HALVINGS: u32 = 3;
/// For this long a size that a driver refused is not asked for again. A full pool may have been enlarged meanwhile.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(3600);
/// A growth that is stamped later than this after `now` is nonsense, not a clock that is a little off.
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

/// Where an expansion is: `status.allocatedResourceStatuses.storage`, or the older condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// None runs.
    #[default]
    None,
    /// The driver's controller is at it.
    ControllerInProgress,
    /// The driver's controller says it cannot be had.
    ControllerInfeasible,
    /// The disk is larger; the node has not begun with the filesystem.
    NodePending,
    /// The node is at it.
    NodeInProgress,
    /// The node says it cannot be had.
    NodeInfeasible,
    /// The older condition: the filesystem grows when a pod mounts it.
    FileSystemResizePending,
}

impl Resize {
    /// Reads the word of Kubernetes; one that is not known counts as the controller at work, so that we wait.
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

/// The StorageClass of a claim.
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
    /// It is the operator.
    pub is_ours: bool,
    /// When.
    pub at: Option<Timestamp>,
}

/// What must be known of a PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: ClaimName,
    /// The template it was made from.
    pub template: TemplateName,
    /// The ordinal of its pod.
    pub ordinal: Ordinal,
    /// Its identity.
    pub uid: Uid,
    /// `metadata.resourceVersion`: the precondition of a write.
    pub resource_version: String,
    /// `status.phase`.
    pub phase: Phase,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// It has the finalizer that keeps a PVC as long as a Pod uses it.
    pub protected: bool,
    /// `volumeMode: Block`: nobody can tell how full it is.
    pub block_mode: bool,
    /// `spec.resources.requests.storage`.
    pub requested: Bytes,
    /// `status.capacity.storage`.
    pub capacity: Option<Bytes>,
    /// Where an expansion is.
    pub resize: Resize,
    /// Its class, when it has one that exists.
    pub class: Option<Class>,
    /// The `resized-at` annotation.
    pub resized_at: Option<Timestamp>,
    /// Who set the size that it requests, where that is known.
    pub sizer: Option<Sizer>,
}

/// A size that the driver said cannot be had: the only thing that is remembered between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The size that was refused last.
    pub size: Bytes,
    /// How many sizes of this claim were refused in a row.
    pub times: u32,
    /// When the last refusal was seen first.
    pub at: Timestamp,
}

/// What to do for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// It has the size, or more.
    Settled,
    /// Ask for this size, with the claim's resourceVersion. Below the present request only after a refusal, and always
    /// above the capacity.
    Patch {
        /// The size to ask for.
        to: Bytes,
        /// What to tell.
        note: Note,
    },
    /// Look again later; something is on its way.
    Wait(Note),
    /// Nothing helps until somebody acts.
    Blocked(Note),
}

impl Claim {
    /// The name of its Pod: a claim is named for its template, then for its Pod.
    fn pod(&self) -> &str {
        let name = self.name.as_str();
        name.strip_prefix(self.template.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name)
    }

    /// The API server has accepted this size.
    ///
    /// Where the driver made a larger volume than was requested, the size is there without asking.
    pub fn is_committed(&self, size: Bytes) -> bool {
        self.requested >= size || self.capacity.is_some_and(|capacity| capacity >= size)
    }

    /// It is being deleted and no Pod uses it: it is about to be gone. One that a Pod uses is live data until the Pod ends.
    pub fn is_leaving(&self) -> bool {
        self.deleting && !self.protected
    }

    /// A larger size can be asked for now: nothing is on its way, or what is waits for a Pod, perhaps for ever.
    pub fn takes_more(&self, driver: &Driver) -> bool {
        !self.is_infeasible() && (self.is_done() || self.waits_for_its_pod(driver))
    }

    /// When the operator last asked it to grow.
    ///
    /// The annotation is the tenant's to change, so that `managedFields` counts too, and a date in the future does not.
    pub fn grown_at(&self, now: Timestamp) -> Option<Timestamp> {
        let witnessed = self.sizer.as_ref().filter(|sizer| sizer.is_ours).and_then(|sizer| sizer.at);
        latest([self.resized_at, witnessed], now)
    }

    /// Since when its present request stands, whoever set it.
    fn requested_since(&self, now: Timestamp) -> Option<Timestamp> {
        latest([self.resized_at, self.sizer.as_ref().and_then(|sizer| sizer.at)], now)
    }

    /// The leader remembers that it grew then: no annotation takes that back.
    pub fn remember_growth(&mut self, at: Timestamp, now: Timestamp) {
        self.resized_at = latest([self.resized_at, Some(at)], now);
        // `managedFields` has the same time, or that of a later write of another field.
        if let Some(sizer) = self.sizer.as_mut().filter(|sizer| sizer.is_ours) {
            sizer.at = None;
        }
    }

    /// The filesystem has what was requested, and nothing is on its way.
    pub fn is_done(&self) -> bool {
        self.resize == Resize::None && self.capacity.is_some_and(|capacity| capacity >= self.requested)
    }

    /// What is left of its expansion is done when a pod mounts it, or when none does.
    fn waits_for_its_pod(&self, driver: &Driver) -> bool {
        driver.growth == Growth::Offline || self.is_left_to_the_node()
    }

    /// The disk is larger; the filesystem is not yet.
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

    /// The driver has said that the requested size cannot be had.
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

/// What is known about refusals after this look at the claim; keep it in memory and give it to [`next`].
///
/// Losing it is harmless: the halving goes on from the size that the claim then asks for.
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
        // What waits for a pod may wait for ever, as for an ordinal that was scaled away; more can be asked for meanwhile.
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
        // Its volume will be made with the right size.
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

/// The note of a reason about a PVC.
fn about(claim: &Claim, reason: Reason, case: impl fmt::Display, text: String) -> Note {
    Note::new(reason, case, text).about(&claim.name)
}

/// The driver refused: requests half of the step, or leaves it to a person.
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

fn not_expandable(claim: &Claim, driver: &Driver) -> Option<Note> {
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
