//! The Events that are worth a line: warnings that still hold first, then what happened last.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::api::reasons::{Note, Reason};
use crate::cli::show::view::EventStatus;

/// An Event is news for this long.
const NEWS: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// At most so many Events of a StatefulSet are shown.
const EVENTS: usize = 3;

/// The newest Event of each reason in the last hour: warnings first, but for those that have ended, and for what is already
/// told from what holds now.
pub(super) fn news(events: &[EventStatus], told: &[Note], now: Timestamp) -> Vec<EventStatus> {
    let is_refused = !refusals(events, now).is_empty();
    let announces = |event: &EventStatus| reason(event).is_some_and(is_announcement);
    let mut shown: Vec<&EventStatus> =
        standing(events, now).filter(|event| !(is_refused && announces(event))).collect();
    shown.sort_by_key(|event| (!event.warning, Reverse(event.at)));
    let mut news: Vec<EventStatus> = Vec::new();
    for event in shown {
        let repeated = news.iter().any(|other| other.reason == event.reason);
        let known = told.iter().any(|note| note.reason.as_str() == event.reason);
        if !repeated && !known && news.len() < EVENTS {
            news.push(event.clone());
        }
    }
    news
}

/// The standing warnings that a volume does not get the size it should have.
pub(super) fn refusals(events: &[EventStatus], now: Timestamp) -> Vec<&EventStatus> {
    standing(events, now).filter(|event| reason(event).is_some_and(is_refusal)).collect()
}

/// Whether the reason announces a growth: as long as that is refused, it is no fact.
pub(super) fn is_announcement(reason: Reason) -> bool {
    matches!(reason, Reason::ResizeRequested | Reason::AutoResizeTriggered)
}

/// Whether an Event is about this claim: it regards it, or its note names it.
pub(super) fn is_about(event: &EventStatus, claim: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut words = event.note.split(|c| !is_part(c));
    event.claim.as_deref() == Some(claim) || words.any(|word| word == claim)
}

/// What was told in the last hour and has not ended since.
fn standing(events: &[EventStatus], now: Timestamp) -> impl Iterator<Item = &EventStatus> {
    let ended = |event: &EventStatus| events.iter().any(|later| later.at > event.at && ends(later, event));
    events.iter().filter(move |event| now.duration_since(event.at) < NEWS && !(event.warning && ended(event)))
}

/// Whether a later Event is the end of what this one warned of.
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
        | Reason::ExpansionStuck => true,
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
