//! Raw objects as the API server returns them, made from typed ones: what model, simulation and fuzzer feed to the assembly.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::assemble::{Outline, Related, Rest, without_foreign_body};
use super::dependent::{Claim, Dependent, Kind};
use super::journal::{Journal, JournalError, JournalHead};
use super::observed::{Namespace, Observed};
use super::set::Malformed;
use crate::api::names::SetName;
use crate::api::write::Precondition;

/// Everything in a cluster that an operator reads for a recreation.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The StatefulSet.
    pub live: Option<Value>,
    /// Its Namespace.
    pub namespace: Option<Value>,
    /// The ConfigMaps of all journals.
    pub journals: Vec<Value>,
    /// The Pods of the namespace.
    pub pods: Vec<Value>,
    /// The ControllerRevisions of the namespace.
    pub revisions: Vec<Value>,
    /// The PVCs of the namespace.
    pub claims: Vec<Value>,
}

/// Objects that concern no StatefulSet `db`, and look as if they might.
static STRANGERS: LazyLock<Objects> = LazyLock::new(|| {
    let owned = |name: &str, kind: &str| {
        let owner = json!({ "apiVersion": "apps/v1", "kind": kind, "name": "stranger", "uid": "uid-of-a-stranger", "controller": true });
        json!({ "metadata": {
            "name": name, "uid": format!("uid-of-stranger-{name}"), "resourceVersion": "7", "ownerReferences": [owner],
            "labels": { "app": "db" }, "deletionTimestamp": "2026-01-01T00:00:00Z",
        } })
    };
    let config_map = |name: &str, data: Value| json!({ "metadata": { "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "7" }, "data": data });
    let of_another = json!({ "set": "shop/stranger", "phase": "Guarded", "phase-at": "2026-01-01T00:00:00Z" });
    Objects {
        live: None,
        namespace: None,
        journals: vec![
            config_map("rso-journal-uid-of-a-stranger", of_another),
            config_map("not-a-journal", json!({ "set": "shop/db" })),
        ],
        pods: ["db-x", "db-01", "dbx-0", "db-0-0", "stranger-0"].map(|name| owned(name, "ReplicaSet")).to_vec(),
        revisions: ["db-stranger", "stranger-1"].map(|name| owned(name, "StatefulSet")).to_vec(),
        claims: ["data-db", "data-db-x", "data-dbx-0", "other-db-0", "data-stranger-0"]
            .map(|name| owned(name, "StatefulSet"))
            .to_vec(),
    }
});

impl Objects {
    /// What the operator makes of these objects, and of others beside them that do not concern the StatefulSet.
    ///
    /// # Errors
    /// When the StatefulSet is malformed.
    pub fn assemble(mut self, set: &SetName, rest: Rest) -> Result<Observed, Malformed> {
        self.journals.extend(STRANGERS.journals.iter().cloned());
        let journals: Vec<Value> =
            self.journals.into_iter().map(|journal| without_foreign_body(journal, set)).collect();
        let outline = Outline::read(set, self.live, self.namespace.as_ref(), &journals)?;
        let dependents = |kind, ours: &[Value], strangers: &[Value]| {
            let all = ours.iter().chain(strangers);
            all.filter_map(|object| outline.dependent(kind, object)).collect::<Vec<Dependent>>()
        };
        let pods = dependents(Kind::Pod, &self.pods, &STRANGERS.pods);
        let revisions = dependents(Kind::Revision, &self.revisions, &STRANGERS.revisions);
        let all = self.claims.iter().chain(&STRANGERS.claims);
        let claims = all.filter_map(|object| outline.claim(object)).collect();
        Ok(outline.complete(Related { pods, revisions, claims }, rest))
    }
}

/// A Pod, a ControllerRevision, or the metadata of a PVC.
pub fn dependent(dependent: &Dependent) -> Value {
    let mut metadata = json!({
        "name": dependent.name,
        "uid": dependent.uid.as_str(),
        "resourceVersion": dependent.resource_version,
        "ownerReferences": dependent.owners,
        "labels": dependent.labels,
    });
    if let Some(generation) = dependent.generation {
        metadata["generation"] = json!(generation);
    }
    if let Some(revision) = &dependent.revision {
        metadata["labels"]["controller-revision-hash"] = json!(revision);
    }
    if dependent.deleting {
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if let Some(at) = dependent.owners_changed {
        let fields = json!({ "f:metadata": { "f:ownerReferences": {} } });
        metadata["managedFields"] = json!([{ "manager": "kube-controller-manager", "time": at, "fieldsV1": fields }]);
    }
    json!({ "metadata": metadata })
}

/// A PVC.
pub fn claim(claim: &Claim) -> Value {
    let mut object = dependent(&claim.object);
    object["spec"] = json!({ "resources": { "requests": { "storage": claim.requested } } });
    object
}

/// A Namespace.
pub fn namespace(namespace: &Namespace) -> Value {
    let phase = if namespace.terminating { "Terminating" } else { "Active" };
    json!({ "metadata": { "uid": namespace.uid.as_str() }, "status": { "phase": phase } })
}

/// The ConfigMap of a journal.
///
/// # Errors
/// When the journal is too large for one.
pub fn journal(journal: &Journal, guard: &Precondition) -> Result<Value, JournalError> {
    let mut object = journal.encode("rso-system")?;
    object["metadata"]["uid"] = json!(guard.uid.as_str());
    object["metadata"]["resourceVersion"] = json!(guard.resource_version);
    Ok(object)
}

/// The ConfigMap of a journal of which only the head is known.
pub fn head(head: &JournalHead) -> Value {
    json!({
        "metadata": {
            "name": head.name, "uid": head.guard.uid.as_str(), "resourceVersion": head.guard.resource_version,
        },
        "data": { "set": head.set.to_string(), "phase": head.phase.as_str(), "phase-at": head.phase_at.to_string() },
    })
}
