//! Recent Events of a StatefulSet: Warnings that still apply first, then the newest.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::api::reasons::{Note, Reason};
use crate::cli::show::view::EventStatus;

/// An older Event is not shown.
const MAX_AGE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// The largest number of Events shown for a StatefulSet.
const MAX_EVENTS: usize = 3;

/// The newest Event of each reason in the last hour, Warnings first. It leaves out the Warnings that no longer apply and the
/// reasons of these messages, which are shown already.
pub(super) fn select(events: &[EventStatus], notes: &[Note], now: Timestamp) -> Vec<EventStatus> {
    let is_refused = !refusals(events, now).is_empty();
    let announces = |event: &EventStatus| reason(event).is_some_and(is_announcement);
    let mut shown: Vec<&EventStatus> = current(events, now).filter(|event| !(is_refused && announces(event))).collect();
    shown.sort_by_key(|event| (!event.warning, Reverse(event.at)));
    let mut selected: Vec<EventStatus> = Vec::new();
    for event in shown {
        let repeated = selected.iter().any(|other| other.reason == event.reason);
        let known = notes.iter().any(|note| note.reason.as_str() == event.reason);
        if !repeated && !known && selected.len() < MAX_EVENTS {
            selected.push(event.clone());
        }
    }
    selected
}

/// The current Warnings about a volume that does not get the size it should have.
pub(super) fn refusals(events: &[EventStatus], now: Timestamp) -> Vec<&EventStatus> {
    current(events, now).filter(|event| reason(event).is_some_and(is_refusal)).collect()
}

/// Whether the reason announces an expansion. It is not shown while the expansion is refused.
pub(super) fn is_announcement(reason: Reason) -> bool {
    matches!(reason, Reason::ResizeRequested | Reason::AutoResizeTriggered)
}

/// Whether an Event is about this PVC: it regards the PVC, or its message contains the PVC's name.
pub(super) fn is_about(event: &EventStatus, claim: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut words = event.note.split(|c| !is_part(c));
    event.claim.as_deref() == Some(claim) || words.any(|word| word == claim)
}

/// The Events of the last hour, without the Warnings that no longer apply.
fn current(events: &[EventStatus], now: Timestamp) -> impl Iterator<Item = &EventStatus> {
    let ended = |event: &EventStatus| events.iter().any(|later| later.at > event.at && ends(later, event));
    events.iter().filter(move |event| now.duration_since(event.at) < MAX_AGE && !(event.warning && ended(event)))
}

/// Whether a later Event ends the condition of this Warning.
fn ends(later: &EventStatus, warning: &EventStatus) -> bool {
    match (reason(later), reason(warning)) {
        (Some(Reason::TemplateSynced), Some(Reason::TemplateSyncDeferred | Reason::TemplateSyncBlocked)) => true,
        (Some(Reason::ClaimExpanded), Some(warned)) => {
            (is_refusal(warned) || warned == Reason::CooldownActive)
                && later.claim.as_deref().is_some_and(|claim| is_about(warning, claim))
        }
        (_, _) => false,
    }
}

fn is_refusal(reason: Reason) -> bool {
    match reason {
        Reason::StorageClassNotExpandable
        | Reason::QuotaExceeded
        | Reason::OfflineExpansionNeeded
        | Reason::ExpansionInfeasible
        | Reason::ExpansionStuck
        | Reason::RescueRefused => true,
        Reason::ResizeRequested
        | Reason::AutoResizeTriggered
        | Reason::ClaimExpanding
        | Reason::ClaimExpanded
        | Reason::TemplateSyncing
        | Reason::TemplateSynced
        | Reason::RequestAbsorbed
        | Reason::BackupCreated
        | Reason::RestoredFromBackup
        | Reason::MaxSizeReached
        | Reason::CooldownActive
        | Reason::UsageUnknown
        | Reason::RescueTriggered
        | Reason::TemplateSyncDeferred
        | Reason::TemplateSyncBlocked
        | Reason::ClaimKept
        | Reason::InvalidAnnotation
        | Reason::UnknownAnnotation => false,
    }
}

fn reason(event: &EventStatus) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|known| known.as_str() == event.reason)
}
