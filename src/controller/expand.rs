//! The expansion of one PVC: the request, and what is remembered of its result.

use std::time::Duration;

use super::deferral::HeldBack;
use super::memory::{Growing, Grown};
use super::pass::Pass;
use super::report::{self, Attempt};
use super::requeue::Next;
use crate::cluster::claims::{self, Growth, Wanted};
use crate::cluster::observe::ObserveError;
use crate::policy::claim::Claim;
use crate::policy::decide::Trigger;
use crate::workload::claims::Rescued;
use crate::workload::snapshot::Workload;

/// The watch reports the write. If it is slow, the next reconciliation meets a Conflict and changes nothing.
const AFTER_WRITE: Duration = Duration::from_secs(2);
/// The cache has the newer version of the PVC by then.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Requests a larger size for a PVC.
pub(super) async fn expand(
    pass: &mut Pass<'_>,
    workload: &Workload,
    claim: &Claim,
    wanted: Wanted,
    trigger: Trigger,
) -> Result<Next, ObserveError> {
    let (context, now) = (pass.context, pass.now);
    let namespace = &pass.name.namespace;
    let growth = claims::grow(&context.client, &context.leadership, namespace, claim, wanted, now).await?;
    report::grown(context, workload, &Attempt { claim, wanted: wanted.size, trigger, growth: &growth }, now);
    Ok(match growth {
        Growth::Committed { .. } => {
            let steps = match wanted.rescued {
                Rescued::Steps(steps) => steps,
                Rescued::Unchanged => claim.rescue.steps,
                Rescued::Over => 0,
            };
            context.memories.grew(claim.uid.clone(), Grown { at: now, steps });
            pass.memory.held_back.remove(&claim.name);
            let from = claim.capacity.unwrap_or(claim.requested);
            let growing = Growing { from, since: now, trigger, is_ours: true };
            pass.memory.growing.insert(claim.name.clone(), growing);
            Next::After(AFTER_WRITE)
        }
        Growth::Conflict | Growth::Gone => Next::After(AFTER_CONFLICT),
        Growth::NotLeading => Next::Change,
        Growth::Refused(_) => {
            let held = HeldBack::again(pass.memory.held_back.get(&claim.name), now);
            pass.memory.held_back.insert(claim.name.clone(), held);
            // The next PVC follows at once.
            Next::After(Duration::ZERO)
        }
    })
}

/// When a PVC whose expansion was refused can be tried again.
pub(super) fn held_back(pass: &Pass<'_>) -> Next {
    let first = pass.memory.held_back.values().map(|held| held.until).filter(|until| *until > pass.now).min();
    let delay = |until: jiff::Timestamp| Duration::try_from(until.duration_since(pass.now)).unwrap_or_default();
    first.map_or(Next::Change, |until| Next::After(delay(until)))
}
