//! The state of the nudges: which wait to be sent, and which were sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, SetName, Uid};
use crate::workload::claims::ClaimView;
use crate::workload::nudge::{Expansion, Stage};

/// The nudges that wait, and those that were sent.
#[derive(Debug)]
pub struct Nudges {
    pub(super) send: UnboundedSender<Nudge>,
    pub(super) waiting: Mutex<Option<UnboundedReceiver<Nudge>>>,
    /// The size of the expansion for which the Pod of a PVC was nudged, while that expansion lasts.
    sent: Mutex<HashMap<Uid, Bytes>>,
    pub(super) enabled: bool,
}

/// A Pod to nudge, because of a PVC.
#[derive(Debug)]
pub(super) struct Nudge {
    pub(super) set: SetName,
    pub(super) claim: ClaimName,
    pub(super) ordinal: Ordinal,
}

impl Nudges {
    /// No nudge yet. `enabled`: whether there will be any.
    pub fn new(enabled: bool) -> Self {
        let (send, waiting) = mpsc::unbounded();
        Self { send, waiting: Mutex::new(Some(waiting)), sent: Mutex::default(), enabled }
    }

    fn sent(&self) -> MutexGuard<'_, HashMap<Uid, Bytes>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this state of a PVC is an expansion that waits for a kubelet and was not nudged. One that fails and is
    /// tried again is still the same expansion.
    pub(super) fn is_due(&self, object: &ClaimView) -> bool {
        let Some(Expansion { claim, size, stage }) = Expansion::of(object) else { return false };
        match stage {
            Stage::AwaitsKubelet => self.sent().insert(claim, size) != Some(size),
            Stage::Elsewhere => false,
            Stage::Done => {
                self.sent().remove(&claim);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expansion_is_due_once_and_the_next_one_again() {
        let nudges = Nudges::new(true);
        let claim = |size: &str, word: &str| {
            let claim = json!({
                "metadata": {"uid": "u-1"},
                "spec": {"resources": {"requests": {"storage": size}}},
                "status": {"allocatedResourceStatuses": {"storage": word}},
            });
            serde_json::from_value(claim).unwrap()
        };
        assert!(!nudges.is_due(&claim("2Gi", "ControllerResizeInProgress")));
        assert!(nudges.is_due(&claim("2Gi", "NodeResizePending")));
        assert!(!nudges.is_due(&claim("2Gi", "NodeResizePending")));
        // The kubelet tried, and failed.
        assert!(!nudges.is_due(&claim("2Gi", "NodeResizeInProgress")));
        assert!(!nudges.is_due(&claim("2Gi", "NodeResizePending")));
        assert!(nudges.is_due(&claim("3Gi", "NodeResizePending")), "requested before the last one was done");
        assert!(!nudges.is_due(&claim("3Gi", "")));
        assert!(nudges.sent().is_empty(), "nothing is kept of an expansion that is done");
        assert!(nudges.is_due(&claim("4Gi", "NodeResizePending")));
    }
}
