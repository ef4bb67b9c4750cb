//! VolumeLocks that allow one call at a time for each volume. Calls for other volumes never wait.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::id::VolumeId;
use crate::csi::error::CallError;

/// How long a call waits for another call on the same volume before it returns ABORTED. Calls take milliseconds; one that
/// takes longer is blocked in the kernel, and later calls must not accumulate behind it.
const VOLUME_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The volumes that a call is using.
#[derive(Debug, Default)]
pub struct VolumeLocks {
    busy: Mutex<HashSet<VolumeId>>,
    freed: Condvar,
}

/// Exclusive use of one volume, until dropped.
#[derive(Debug)]
pub struct VolumeLock<'a> {
    locks: &'a VolumeLocks,
    id: VolumeId,
}

impl VolumeLocks {
    /// VolumeLocks the volume, and waits a few seconds for another call to end.
    ///
    /// # Errors
    /// [`CallError::VolumeBusy`] when the other call does not end.
    pub fn lock(&self, id: &VolumeId) -> Result<VolumeLock<'_>, CallError> {
        self.lock_within(id, VOLUME_LOCK_TIMEOUT)
    }

    fn lock_within(&self, id: &VolumeId, timeout: Duration) -> Result<VolumeLock<'_>, CallError> {
        let (mut busy, wait) = self
            .freed
            .wait_timeout_while(self.busy(), timeout, |busy| busy.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return Err(CallError::VolumeBusy(id.to_string()));
        }
        busy.insert(id.clone());
        Ok(VolumeLock { locks: self, id: id.clone() })
    }

    // A HashSet of IDs is consistent after any panic, so a poisoned lock is no problem.
    fn busy(&self) -> MutexGuard<'_, HashSet<VolumeId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VolumeLock<'_> {
    fn drop(&mut self) {
        self.locks.busy().remove(&self.id);
        self.locks.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_call_waits_for_the_first_and_others_do_not() {
        let locks = VolumeLocks::default();
        let (a, b) = (VolumeId::from_name("a"), VolumeId::from_name("b"));
        let first = locks.lock(&a).unwrap();
        assert!(locks.lock_within(&a, Duration::from_millis(1)).is_err());
        assert!(locks.lock_within(&b, Duration::from_millis(1)).is_ok());
        drop(first);
        assert!(locks.lock_within(&a, Duration::from_millis(1)).is_ok());
    }
}
