//! Event messages about what often resolves by itself within seconds: they are reported only if it persists. Pure.
//!
//! A Pod that has just started is not measured yet, and the StatefulSet controller has not seen a StatefulSet that is a second
//! old. A Warning about that alerts people for nothing, and stays in `rso status` for an hour.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::names::ClaimName;
use crate::api::reasons::{Note, Reason};

/// Agents and Pods start, watches begin; the kubelet measures once a minute.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// Controllers react within a second or two.
const DEFERRED_FOR: Duration = Duration::from_secs(10);
/// What was not observed for this long has ended meanwhile: longer than the longest delay between two attempts.
const ENDED_AFTER: Duration = Duration::from_secs(3 * 60);

/// What persists, and since when.
#[derive(Debug, Default)]
pub struct Standing(HashMap<(Option<ClaimName>, Reason), Stand>);

#[derive(Clone, Copy, Debug)]
struct Stand {
    since: Timestamp,
    heard: Timestamp,
}

impl Standing {
    /// Whether this message, about a PVC or about the StatefulSet, is reported now. Its text can change meanwhile.
    pub fn is_told(&mut self, claim: Option<&ClaimName>, note: &Note, now: Timestamp) -> bool {
        let Some(patience) = patience(note.reason) else { return true };
        let stand = self.0.entry((claim.cloned(), note.reason)).or_insert(Stand { since: now, heard: now });
        if past(stand.heard, now) > ENDED_AFTER {
            stand.since = now;
        }
        stand.heard = stand.heard.max(now);
        past(stand.since, now) >= patience
    }
}

fn past(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// How long it must persist before it is reported; `None`: it is reported at once.
const fn patience(reason: Reason) -> Option<Duration> {
    match reason {
        Reason::UsageUnknown => Some(UNKNOWN_FOR),
        Reason::TemplateSyncDeferred => Some(DEFERRED_FOR),
        Reason::ResizeRequested
        | Reason::AutoResizeTriggered
        | Reason::ClaimExpanding
        | Reason::ClaimExpanded
        | Reason::TemplateSyncing
        | Reason::TemplateSynced
        | Reason::RequestAbsorbed
        | Reason::BackupCreated
        | Reason::RestoredFromBackup
        | Reason::StorageClassNotExpandable
        | Reason::QuotaExceeded
        | Reason::MaxSizeReached
        | Reason::CooldownActive
        | Reason::OfflineExpansionNeeded
        | Reason::RescueTriggered
        | Reason::RescueRefused
        | Reason::ExpansionInfeasible
        | Reason::ExpansionStuck
        | Reason::TemplateSyncBlocked
        | Reason::ClaimKept
        | Reason::InvalidAnnotation
        | Reason::UnknownAnnotation => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::at;

    #[test]
    fn what_may_pass_by_itself_is_told_when_it_still_stands() {
        let check = |reason: Reason, moments: &[(i64, bool)]| {
            let mut standing = Standing::default();
            for (second, expected) in moments {
                let note = Note::new(reason, "", format!("at {second}"));
                assert_eq!(standing.is_told(None, &note, at(*second)), *expected, "{reason} {second}");
            }
        };
        check(Reason::UsageUnknown, &[(0, false), (10, false), (59, false), (60, true), (90, true)]);
        check(Reason::TemplateSyncDeferred, &[(0, false), (1, false), (9, false), (10, true), (100, true)]);
        check(Reason::TemplateSyncBlocked, &[(0, true)]);
        check(Reason::MaxSizeReached, &[(0, true)]);
        // It ended and begins again.
        check(Reason::UsageUnknown, &[(0, false), (60, true), (241, false), (301, true)]);
        // A clock that ran back.
        check(Reason::UsageUnknown, &[(0, false), (-3_600, false), (60, true)]);
    }

    #[test]
    fn each_claim_and_each_reason_stands_for_itself() {
        let mut standing = Standing::default();
        let (a, b) = (ClaimName::from("data-db-0"), ClaimName::from("data-db-1"));
        let note = |reason| Note::new(reason, "", "x");
        assert!(!standing.is_told(Some(&a), &note(Reason::UsageUnknown), at(0)));
        assert!(standing.is_told(Some(&a), &note(Reason::UsageUnknown), at(60)));
        assert!(!standing.is_told(Some(&b), &note(Reason::UsageUnknown), at(60)));
        assert!(!standing.is_told(Some(&a), &note(Reason::TemplateSyncDeferred), at(60)));
    }
}
