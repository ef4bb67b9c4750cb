//! The journal of a recreation that begins: the intent, and the state before the recreation changes anything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::dependent::Dependent;
use super::super::journal::{Journal, Snapshot, VERSION};
use super::super::observed::Observed;
use super::super::phase::Phase;
use super::super::set::LiveSet;
use super::super::{backup, manifest};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};

impl Journal {
    /// The journal of a transaction that begins now.
    pub(super) fn begin(
        seen: &Observed,
        live: &LiveSet,
        targets: BTreeMap<TemplateName, Bytes>,
        reason: String,
        allow_owner: Option<String>,
        now: Timestamp,
    ) -> Self {
        Self {
            version: VERSION,
            id: backup::transaction_id(&live.uid, now),
            set: seen.set.clone(),
            uid: live.uid.clone(),
            successor: None,
            phase: Phase::Prepared,
            started_at: now,
            phase_at: now,
            targets,
            reason,
            allow_owner,
            when_deleted: live.spec.when_deleted,
            snapshot: Snapshot::take(seen, live),
            image: manifest::image(&live.object),
            incidents: Vec::new(),
            ending: None,
            adopted: false,
            lost: BTreeSet::new(),
            owned: owned(seen, live),
        }
    }
}

/// The PVCs that refer to the StatefulSet.
pub(super) fn owned(seen: &Observed, live: &LiveSet) -> BTreeSet<ClaimName> {
    let owned = seen.claims.iter().filter(|claim| claim.object.refers_to(&live.uid));
    owned.map(|claim| ClaimName::new(claim.object.name.as_str())).collect()
}

impl Snapshot {
    pub(super) fn take(seen: &Observed, live: &LiveSet) -> Self {
        let owned = |dependents: &[Dependent]| {
            let ours = dependents.iter().filter(|dependent| dependent.controlled_by(&live.uid));
            ours.map(|dependent| (dependent.name.clone(), dependent.uid.clone())).collect()
        };
        Self {
            update_revision: live.status_text("updateRevision").to_owned(),
            template: manifest::template_checksum(&live.object),
            pods: owned(&seen.pods),
            revisions: owned(&seen.revisions),
        }
    }
}
