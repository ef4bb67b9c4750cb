//! One call at a time for each volume; calls for other volumes never wait.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::id::VolumeId;
use crate::csi::error::Fault;

/// How long a call waits for another one on the same volume before it answers ABORTED. Calls take milliseconds; one that
/// takes longer is stuck in the kernel, and its callers must not pile up behind it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The volumes that a call is working on.
#[derive(Debug, Default)]
pub struct Locks {
    busy: Mutex<HashSet<VolumeId>>,
    freed: Condvar,
}

/// The right to work on one volume, until dropped.
#[derive(Debug)]
pub struct Held<'a> {
    locks: &'a Locks,
    id: VolumeId,
}

impl Locks {
    /// Takes the volume, waiting a little for another call to finish.
    ///
    /// # Errors
    /// [`Fault::Busy`] when the other call does not finish.
    pub fn hold(&self, id: &VolumeId) -> Result<Held<'_>, Fault> {
        self.hold_within(id, PATIENCE)
    }

    fn hold_within(&self, id: &VolumeId, patience: Duration) -> Result<Held<'_>, Fault> {
        let (mut busy, wait) = self
            .freed
            .wait_timeout_while(self.busy(), patience, |busy| busy.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return Err(Fault::Busy(id.to_string()));
        }
        busy.insert(id.clone());
        Ok(Held { locks: self, id: id.clone() })
    }

    // A set of ids is whole after any panic: poison means nothing here.
    fn busy(&self) -> MutexGuard<'_, HashSet<VolumeId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
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
        let locks = Locks::default();
        let (a, b) = (VolumeId::from_name("a"), VolumeId::from_name("b"));
        let first = locks.hold(&a).unwrap();
        assert!(locks.hold_within(&a, Duration::from_millis(1)).is_err());
        assert!(locks.hold_within(&b, Duration::from_millis(1)).is_ok());
        drop(first);
        assert!(locks.hold_within(&a, Duration::from_millis(1)).is_ok());
    }
}
