//! The evidence that confirms a backup, and the effect of a restore on the existing Pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rights::{Rights, differing};
use crate::api::names::{SetName, TemplateName};

/// The remaining objects of a deleted StatefulSet. Complete lists of the namespace are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Remains<'a> {
    /// ControllerRevisions.
    pub revisions: &'a [Value],
    /// Pods.
    pub pods: &'a [Value],
    /// PersistentVolumeClaims.
    pub claims: &'a [Value],
}

/// The consequences of restoring a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The ControllerRevision that has the same Pod template.
    pub confirmed_by: Option<String>,
    /// The ControllerRevision that is closest to the backup, and where its Pod template differs.
    pub differs: Option<(String, Vec<String>)>,
    /// Whether there is a running Pod of the StatefulSet.
    pub runs: bool,
    /// Privileges that no ControllerRevision and no running Pod has.
    pub new_rights: Vec<String>,
    /// Owners in the backup. If one no longer exists, the garbage collector deletes the StatefulSet and its Pods.
    pub owners: Vec<String>,
    /// Running Pods of another revision, which a rolling update would replace.
    pub outdated: Vec<String>,
    /// Running Pods that are not among its replicas because they are below its first ordinal.
    pub below: Vec<String>,
    /// The number of replicas that the running Pods need, if the backup has fewer.
    pub replicas: Option<u32>,
}

impl Findings {
    /// Whether a person must decide: no ControllerRevision confirms the backup, it has owners, or it has new
    /// privileges.
    pub fn needs_a_person(&self) -> bool {
        self.confirmed_by.is_none() || !self.owners.is_empty() || !self.new_rights.is_empty()
    }

    /// The manifest to create so that no running Pod is replaced or deleted.
    #[must_use]
    pub fn gentle(&self, manifest: &Value) -> Value {
        let mut gentle = manifest.clone();
        if !self.outdated.is_empty() {
            gentle["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
        }
        if let Some(replicas) = self.replicas {
            gentle["spec"]["replicas"] = json!(replicas);
        }
        gentle
    }
}

/// Compares a StatefulSet from a backup with its remaining objects.
pub fn examine(set: &SetName, backup: &Value, remains: Remains<'_>) -> Findings {
    let template = &backup["spec"]["template"];
    let revisions: Vec<(&str, &Value)> = remains.revisions.iter().filter_map(|one| revision(one, set)).collect();
    let pods: Vec<Pod<'_>> = remains.pods.iter().filter_map(|pod| Pod::read(pod, set)).collect();
    let mut compared: Vec<(&str, Vec<String>)> =
        revisions.iter().map(|(name, known)| (*name, differing(template, known))).collect();
    compared.sort_by_key(|(_, paths)| paths.len());
    let same = |(_, paths): &&(&str, Vec<String>)| paths.is_empty();
    // Several revisions may be equal. Kubernetes continues with the one that the Pods run.
    let runs = |name: &str| pods.iter().any(|pod| pod.revision == Some(name));
    let equal: Vec<&str> = compared.iter().filter(same).map(|(name, _)| *name).collect();
    let confirmed_by = equal.iter().find(|name| runs(name)).or(equal.first()).map(|name| (*name).to_owned());
    let is_outdated = |pod: &&Pod<'_>| !pod.revision.is_some_and(|revision| equal.contains(&revision));
    let first = ordinal_at(backup, "/spec/ordinals/start").unwrap_or(0);
    let replicas = ordinal_at(backup, "/spec/replicas").unwrap_or(1);
    let needed = pods.iter().filter_map(|pod| pod.ordinal.checked_sub(first)?.checked_add(1)).max();
    let named = |pods: Vec<&Pod<'_>>| pods.into_iter().map(|pod| pod.name.to_owned()).collect();
    Findings {
        differs: compared
            .into_iter()
            .next()
            .map(|(name, paths)| (name.to_owned(), paths))
            .filter(|(_, p)| !p.is_empty()),
        new_rights: new_rights(set, backup, &revisions, &pods, remains.claims),
        owners: owners(backup),
        outdated: named(pods.iter().filter(is_outdated).collect()),
        below: named(pods.iter().filter(|pod| pod.ordinal < first).collect()),
        replicas: needed.filter(|needed| *needed > replicas),
        runs: !pods.is_empty(),
        confirmed_by,
    }
}

fn new_rights(
    set: &SetName,
    backup: &Value,
    revisions: &[(&str, &Value)],
    pods: &[Pod<'_>],
    claims: &[Value],
) -> Vec<String> {
    let names = backup["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let names: BTreeSet<TemplateName> =
        names.filter_map(|template| Some(TemplateName::new(template["metadata"]["name"].as_str()?))).collect();
    let of_revisions = revisions.iter().map(|(_, template)| Rights::of(template));
    let of_pods = pods.iter().map(|pod| Rights::of(pod.object));
    let of_claims = claims.iter().map(|claim| Rights::of_claim(claim, set, &names));
    let known: Vec<Rights> = of_revisions.chain(of_pods).chain(of_claims).collect();
    Rights::of(&backup["spec"]["template"]).with_templates(backup).beyond(&known)
}

/// The name and the Pod template of a ControllerRevision of the given StatefulSet. A client that can write a
/// ControllerRevision can also write the StatefulSet itself.
fn revision<'a>(object: &'a Value, set: &SetName) -> Option<(&'a str, &'a Value)> {
    let name = object["metadata"]["name"].as_str()?;
    let hash = name.strip_prefix(set.name.as_str())?.strip_prefix('-')?;
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let mut controllers = owners.filter(|owner| owner["controller"] == true);
    let ours = controllers.all(|owner| owner["kind"] == "StatefulSet" && owner["name"] == set.name.as_str());
    let template = &object["data"]["spec"]["template"];
    (!hash.contains('-') && ours && template.is_object()).then_some((name, template))
}

/// A Pod of the StatefulSet that is neither finished nor being deleted.
struct Pod<'a> {
    name: &'a str,
    ordinal: u32,
    revision: Option<&'a str>,
    object: &'a Value,
}

impl<'a> Pod<'a> {
    fn read(object: &'a Value, set: &SetName) -> Option<Self> {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str()?;
        let ordinal = name.strip_prefix(set.name.as_str())?.strip_prefix('-')?.parse().ok()?;
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        let lives = metadata["deletionTimestamp"].is_null() && !["Succeeded", "Failed"].contains(&phase);
        let revision = metadata["labels"]["controller-revision-hash"].as_str();
        lives.then_some(Self { name, ordinal, revision, object })
    }
}

fn ordinal_at(set: &Value, pointer: &str) -> Option<u32> {
    u32::try_from(set.pointer(pointer)?.as_u64()?).ok()
}

fn owners(backup: &Value) -> Vec<String> {
    let owners = backup["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let text = |owner: &Value, key: &str| owner[key].as_str().unwrap_or("?").to_owned();
    owners.map(|owner| format!("{} {}", text(owner, "kind"), text(owner, "name"))).collect()
}
