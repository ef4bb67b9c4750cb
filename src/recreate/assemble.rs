//! The assembly: from the raw objects of a namespace to what the recreation of one StatefulSet depends on. It is pure.
//!
//! The operator passes the responses of the API server to it, object by object. A large namespace is therefore never in
//! memory as a whole. The model, the fuzzer, and the simulation pass raw objects that they generate: this code decides
//! for all of them which objects count.

use serde_json::Value;

use super::dependent::{Claim, Dependent, Kind, labels, owners_changed};
use super::journal::{self, Journal, JournalError, JournalHead};
use super::observed::{Backups, Departure, Intent, LastObject, Live, Namespace, Observed, Rules, Stored};
use super::phase::Phase;
use super::set::{LiveSet, Malformed, Spec};
use crate::api::names::{ClaimName, Ordinal, SetName, Uid, pod_name};
use crate::api::storage;
use crate::api::write::Precondition;

/// The StatefulSet and the journals. They decide which other objects concern the StatefulSet.
#[derive(Debug)]
pub struct Outline {
    set: SetName,
    live: Live,
    namespace: Namespace,
    journal: Stored,
    others: Vec<JournalHead>,
    uids: Vec<Uid>,
    specs: Vec<Spec>,
    revisions: Vec<String>,
}

/// The objects that concern the StatefulSet.
#[derive(Debug)]
pub struct Related {
    /// Pods, from [`Outline::dependent`].
    pub pods: Vec<Dependent>,
    /// ControllerRevisions, from [`Outline::dependent`].
    pub revisions: Vec<Dependent>,
    /// PVCs, from [`Outline::claim`].
    pub claims: Vec<Claim>,
}

/// The rest of the input.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// The backups.
    pub backups: Backups,
    /// How the StatefulSet was deleted, if it is gone.
    pub departure: Departure,
    /// What is requested.
    pub intent: Option<Intent>,
    /// The tunable limits.
    pub rules: Rules,
}

impl Outline {
    /// Reads the StatefulSet, its Namespace, and all journals, each as the API server returns it; `None` for an object
    /// that does not exist.
    ///
    /// # Errors
    /// When the StatefulSet is malformed.
    pub fn read(
        set: &SetName,
        live: Option<Value>,
        namespace: Option<&Value>,
        journals: &[Value],
    ) -> Result<Self, Malformed> {
        let live = match live {
            None => Live::Absent,
            Some(object) => Live::Present(Box::new(LiveSet::read(object)?)),
        };
        let (journal, others, protecting) = sort_journals(set, &live, journals);
        let (mut uids, mut specs, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
        if let Live::Present(live) = &live {
            uids.push(live.uid.clone());
            specs.push(live.spec.clone());
        }
        if let Stored::Some { journal, .. } = &journal {
            uids.push(journal.uid.clone());
            uids.extend(journal.successor.clone());
            specs.extend(Spec::read(&journal.image));
            revisions.extend(journal.snapshot.revisions.keys().cloned());
        }
        specs.extend(protecting.iter().filter_map(|image| Spec::read(image).ok()));
        let namespace = read_namespace(namespace);
        Ok(Self { set: set.clone(), live, namespace, journal, others, uids, specs, revisions })
    }

    /// The Pod or the ControllerRevision, if it concerns the StatefulSet: by its name, or because it refers to the old
    /// or the new StatefulSet.
    pub fn dependent(&self, kind: Kind, object: &Value) -> Option<Dependent> {
        dependent(kind, object).filter(|dependent| self.concerns(dependent))
    }

    /// The PVC, if it concerns the StatefulSet.
    pub fn claim(&self, object: &Value) -> Option<Claim> {
        claim(object).filter(|claim| self.concerns(&claim.object))
    }

    /// Whether the StatefulSet exists.
    pub fn is_absent(&self) -> bool {
        matches!(self.live, Live::Absent)
    }

    /// Whether a transaction has begun that may still take a backup.
    pub fn is_prepared(&self) -> bool {
        matches!(&self.journal, Stored::Some { journal, .. } if journal.phase <= Phase::Deleting)
    }

    /// Combines all parts.
    pub fn complete(self, related: Related, rest: Rest) -> Observed {
        let Related { pods, revisions, claims } = related;
        let Rest { backups, departure, intent, rules } = rest;
        Observed {
            set: self.set,
            live: self.live,
            last: LastObject::NotAsked,
            departure,
            pods,
            revisions,
            claims,
            namespace: self.namespace,
            journal: self.journal,
            others: self.others,
            backups,
            intent,
            probes: None,
            rivals: None,
            rules,
        }
    }

    fn concerns(&self, dependent: &Dependent) -> bool {
        self.is_named(dependent) || self.uids.iter().any(|uid| dependent.refers_to(uid))
    }

    fn is_named(&self, dependent: &Dependent) -> bool {
        match dependent.kind {
            Kind::Pod => dependent
                .name
                .rsplit_once('-')
                .and_then(|(_, ordinal)| ordinal.parse().ok())
                .is_some_and(|ordinal| pod_name(&self.set, Ordinal(ordinal)) == dependent.name),
            Kind::Revision => self.revisions.contains(&dependent.name),
            Kind::Claim => {
                let name = ClaimName::new(dependent.name.as_str());
                self.specs.iter().any(|spec| spec.place_of(&name, &self.set).is_some())
            }
        }
    }
}

/// The journal without its body, if it is certain that it is about another StatefulSet: of those only the head counts.
pub fn without_foreign_body(mut config_map: Value, set: &SetName) -> Value {
    let is_of_another = journal::head_of(&config_map).is_some_and(|head| head.set != *set);
    if let Some(object) = config_map.as_object_mut().filter(|_| is_of_another) {
        object.remove("binaryData");
    }
    config_map
}

/// The journal in a ConfigMap: one of a list, or the answer to a write.
pub fn read_journal(config_map: &Value) -> Stored {
    let Some(guard) = Precondition::of(&config_map["metadata"]) else { return Stored::None };
    match Journal::decode(config_map) {
        Ok(journal) => Stored::Some { journal: Box::new(journal), guard },
        Err(error) => {
            let name = config_map["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Stored::Unreadable { name, guard, error }
        }
    }
}

/// The journal in progress for this StatefulSet, the heads of all others, and the images in those that only wait for
/// the removal of protective owner references.
fn sort_journals(set: &SetName, live: &Live, stored: &[Value]) -> (Stored, Vec<JournalHead>, Vec<Value>) {
    let (mut own, mut others, mut protecting) = (Stored::None, Vec::new(), Vec::new());
    let by_uid = match live {
        Live::Present(live) => Some(journal::name_of(&live.uid)),
        Live::Absent => None,
    };
    for config_map in stored {
        let head = journal::head_of(config_map);
        let named = by_uid.is_some() && config_map["metadata"]["name"].as_str() == by_uid.as_deref();
        match head {
            Some(head) if head.set == *set && head.phase == Phase::Guarded => {
                protecting.extend(Journal::decode(config_map).ok().map(|journal| journal.image));
                others.push(head);
            }
            Some(head) if head.set == *set => own = read_journal(config_map),
            // An object has one name all its life, so another client changed the head.
            Some(head) if named => {
                own = Stored::Unreadable { name: head.name, guard: head.guard, error: JournalError::Head("set") };
            }
            Some(head) => others.push(head),
            None if named => own = read_journal(config_map),
            None => {}
        }
    }
    (own, others, protecting)
}

fn read_namespace(namespace: Option<&Value>) -> Namespace {
    let Some(namespace) = namespace else { return Namespace { uid: Uid::new(""), terminating: true } };
    let uid = Uid::new(namespace["metadata"]["uid"].as_str().unwrap_or_default());
    Namespace { uid, terminating: namespace["status"]["phase"] == "Terminating" }
}

fn dependent(kind: Kind, object: &Value) -> Option<Dependent> {
    let metadata = &object["metadata"];
    let Precondition { uid, resource_version } = Precondition::of(metadata)?;
    Some(Dependent {
        kind,
        name: metadata["name"].as_str()?.to_owned(),
        uid,
        resource_version,
        generation: metadata["generation"].as_i64(),
        owners: metadata["ownerReferences"].as_array().cloned().unwrap_or_default(),
        revision: metadata["labels"]["controller-revision-hash"].as_str().map(str::to_owned),
        labels: labels(&metadata["labels"]),
        deleting: !metadata["deletionTimestamp"].is_null(),
        owners_changed: owners_changed(metadata),
    })
}

fn claim(object: &Value) -> Option<Claim> {
    // A driver may provide more than was requested, and then the capacity has that size without a request for it. A size
    // that cannot be read counts as 0. That is below every target, so no recreation begins.
    let requested = storage::request(object).max(storage::capacity(object)).unwrap_or_default();
    Some(Claim { object: dependent(Kind::Claim, object)?, requested })
}
