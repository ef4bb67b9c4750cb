//! The write of each action of a recreation, as a value.

use serde_json::{Value, json};

use super::dependent::Kind;
use super::journal::{Journal, JournalError};
use super::probes::{Orphan, ProbeRequest, Protection};
use super::step::Action;
use crate::api::annotations::TRANSACTION;
use crate::api::names::SetName;
use crate::api::objects::{Address, CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, PODS};
use crate::api::write::{Dependents, Precondition, Write};

/// The write of an action about this StatefulSet. `home` is the operator's namespace, which has the journals.
///
/// # Errors
/// When a journal cannot be encoded, for example because it is too large.
pub fn of(action: &Action, set: &SetName, home: &str) -> Result<Write, JournalError> {
    let of_set = || Address::set(set);
    let merge = |guard: &Precondition, patch| Write::merge_if(of_set(), guard, patch);
    Ok(match action {
        Action::CreateJournal(journal) => Write::create(&CONFIG_MAPS, Some(home), journal.encode(home)?),
        Action::UpdateJournal { journal, guard } => update_journal(journal, guard, home)?,
        Action::DeleteJournal { name, guard, .. } => delete(CONFIG_MAPS.of(home, name), guard),
        Action::CreateBackup(object) => Write::create(&CONFIG_MAPS, Some(&set.namespace), (**object).clone()),
        Action::DeleteBackup { name, guard } => delete(CONFIG_MAPS.of(&set.namespace, name), guard),
        Action::SetOwners { kind, name, guard, owners, .. } => set_owners(&dependent(*kind, set, name), guard, owners),
        Action::Delete { guard } => Write::delete(of_set(), Dependents::Orphan, guard.clone()),
        Action::Create(object) => Write::create(of_set().resource, Some(&set.namespace), (**object).clone()),
        Action::PatchTemplates { guard, templates } => {
            merge(guard, json!({ "spec": { "volumeClaimTemplates": templates } }))
        }
        Action::SetRetention { guard, when_deleted } => {
            let policy = json!({ "whenDeleted": when_deleted.as_str() });
            merge(guard, json!({ "spec": { "persistentVolumeClaimRetentionPolicy": policy } }))
        }
        Action::SetFinalizers { guard, finalizers } | Action::Release { guard, finalizers } => {
            merge(guard, json!({ "metadata": { "finalizers": finalizers } }))
        }
        Action::RestoreSpec { guard, spec } => merge(guard, json!({ "spec": spec })),
        Action::RestoreOwnership { guard, managed_fields } => {
            let annotations = json!({ TRANSACTION: null });
            merge(guard, json!({ "metadata": { "managedFields": managed_fields, "annotations": annotations } }))
        }
    })
}

fn update_journal(journal: &Journal, guard: &Precondition, home: &str) -> Result<Write, JournalError> {
    Ok(Write::update_if(CONFIG_MAPS.of(home, journal.name()), guard, journal.encode(home)?))
}

fn set_owners(object: &Address, guard: &Precondition, owners: &[Value]) -> Write {
    Write::merge_if(object.clone(), guard, json!({ "metadata": { "ownerReferences": owners } }))
}

fn delete(object: Address, guard: &Precondition) -> Write {
    Write::delete(object, Dependents::Background, guard.clone())
}

fn dependent(kind: Kind, set: &SetName, name: &str) -> Address {
    let kind = match kind {
        Kind::Pod => &PODS,
        Kind::Revision => &CONTROLLER_REVISIONS,
        Kind::Claim => &CLAIMS,
    };
    kind.of(&set.namespace, name)
}

/// The writes that a recreation sends as dry runs before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The CREATE of the StatefulSet.
    pub create: Write,
    /// The CREATE of the same StatefulSet under a free name.
    pub copy: Write,
    /// The DELETE.
    pub delete: Write,
    /// The PATCH that adds the finalizer.
    pub hold: Write,
    /// The CREATE of the backup.
    pub backup: Write,
    /// The PATCH of the templates in place.
    pub native: Write,
    /// The PATCH that restores the spec of the new StatefulSet, if something is restored.
    pub spec: Option<Write>,
    /// The PATCH that adds a protective owner reference to a PVC, if a PVC gets one.
    pub protect: Option<Write>,
}

/// The write that orphans a Pod, as the garbage collector sends it: with the UID as the only precondition.
pub fn orphan(orphan: &Orphan, set: &SetName) -> Write {
    let metadata = json!({ "uid": orphan.pod.uid.as_str(), "ownerReferences": orphan.owners });
    Write::merge(dependent(orphan.pod.kind, set, &orphan.pod.name), json!({ "metadata": metadata }))
}

/// The writes that are sent as dry runs, without those of the Pods.
pub fn probes(request: &ProbeRequest, set: &SetName) -> Probed {
    let (namespace, guard) = (Some(set.namespace.as_str()), &request.guard);
    let merge = |patch| Write::merge_if(Address::set(set), guard, patch);
    let create = |object: &Value| Write::create(Address::set(set).resource, namespace, object.clone());
    let protect = request.protect.as_ref();
    Probed {
        create: create(&request.create),
        copy: create(&request.copy),
        delete: Write::delete(Address::set(set), Dependents::Orphan, guard.clone()),
        hold: merge(json!({ "metadata": { "finalizers": request.finalizers } })),
        backup: Write::create(&CONFIG_MAPS, namespace, request.backup.clone()),
        native: merge(json!({ "spec": { "volumeClaimTemplates": request.templates } })),
        spec: request.spec.as_ref().map(|spec| merge(json!({ "spec": spec }))),
        protect: protect
            .map(|Protection { claim, guard, owners }| set_owners(&dependent(Kind::Claim, set, claim), guard, owners)),
    }
}
