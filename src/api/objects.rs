//! The kinds that the project uses, and the URL of each object.

use std::fmt;

use crate::api::names::{ClaimName, SetName};

/// A kind of object that the API server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version in that group.
    pub version: &'static str,
    /// `StatefulSet`.
    pub kind: &'static str,
    /// `statefulsets`, as in URLs and in RBAC rules.
    pub plural: &'static str,
}

const fn resource(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Resource {
    Resource { group, version, kind, plural }
}

/// StatefulSets.
pub const STATEFUL_SETS: Resource = resource("apps", "v1", "StatefulSet", "statefulsets");
/// ControllerRevisions: the revisions of Pod templates.
pub const CONTROLLER_REVISIONS: Resource = resource("apps", "v1", "ControllerRevision", "controllerrevisions");
/// ReplicaSets, which adopt Pods by their selector; so do the next three.
pub const REPLICA_SETS: Resource = resource("apps", "v1", "ReplicaSet", "replicasets");
/// DaemonSets.
pub const DAEMON_SETS: Resource = resource("apps", "v1", "DaemonSet", "daemonsets");
/// ReplicationControllers.
pub const REPLICATION_CONTROLLERS: Resource = resource("", "v1", "ReplicationController", "replicationcontrollers");
/// Jobs.
pub const JOBS: Resource = resource("batch", "v1", "Job", "jobs");
/// PersistentVolumeClaims.
pub const CLAIMS: Resource = resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
/// Pods.
pub const PODS: Resource = resource("", "v1", "Pod", "pods");
/// ConfigMaps: backups and journals.
pub const CONFIG_MAPS: Resource = resource("", "v1", "ConfigMap", "configmaps");
/// ServiceAccounts: the one whose tokens kubelets receive.
pub const SERVICE_ACCOUNTS: Resource = resource("", "v1", "ServiceAccount", "serviceaccounts");
/// Secrets: the webhook's certificate.
pub const SECRETS: Resource = resource("", "v1", "Secret", "secrets");
/// MutatingWebhookConfigurations: how the API server calls the webhook.
pub const MUTATING_WEBHOOKS: Resource =
    resource("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations");
/// Namespaces: protective owners, termination.
pub const NAMESPACES: Resource = resource("", "v1", "Namespace", "namespaces");
/// Nodes: the address of a kubelet.
pub const NODES: Resource = resource("", "v1", "Node", "nodes");
/// StorageClasses.
pub const STORAGE_CLASSES: Resource = resource("storage.k8s.io", "v1", "StorageClass", "storageclasses");
/// Leases: leader election.
pub const LEASES: Resource = resource("coordination.k8s.io", "v1", "Lease", "leases");
/// Events, in the API that has series.
pub const EVENTS: Resource = resource("events.k8s.io", "v1", "Event", "events");

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The URL path of all objects of the kind: in one namespace, or in all.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let api = self.api_version();
        match namespace {
            Some(namespace) => format!("{root}/{api}/namespaces/{}/{}", segment(namespace), self.plural),
            None => format!("{root}/{api}/{}", self.plural),
        }
    }

    /// An object in a namespace.
    pub fn of(&'static self, namespace: impl Into<String>, name: impl Into<String>) -> Address {
        Address { resource: self, namespace: Some(namespace.into()), name: name.into(), subresource: None }
    }

    /// An object of a kind without a namespace.
    pub fn global(&'static self, name: impl Into<String>) -> Address {
        Address { resource: self, namespace: None, name: name.into(), subresource: None }
    }
}

/// An object by kind, namespace, and name. Displays as `statefulsets shop/db`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its kind.
    pub resource: &'static Resource,
    /// Its namespace, if the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The subresource: `status`.
    pub subresource: Option<&'static str>,
}

impl Address {
    /// A StatefulSet.
    pub fn set(set: &SetName) -> Self {
        STATEFUL_SETS.of(&set.namespace, &set.name)
    }

    /// A PVC.
    pub fn claim(namespace: &str, claim: &ClaimName) -> Self {
        CLAIMS.of(namespace, claim.as_str())
    }

    /// The URL path.
    pub fn path(&self) -> String {
        let mut path = format!("{}/{}", self.resource.path(self.namespace.as_deref()), segment(&self.name));
        if let Some(part) = self.subresource {
            path.push('/');
            path.push_str(part);
        }
        path
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource.plural)?;
        if let Some(part) = self.subresource {
            write!(f, "/{part}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

/// A name as one segment of a path. Names from the server never need it; names from a command line might.
pub(crate) fn segment(name: &str) -> String {
    if matches!(name, "." | "..") {
        return name.replace('.', "%2E");
    }
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_path_and_a_text() {
        let check = |address: Address, path: &str, phrase: &str| {
            assert_eq!(address.path(), path);
            assert_eq!(address.to_string(), phrase);
        };
        check(
            Address::set(&SetName::new("shop", "db")),
            "/apis/apps/v1/namespaces/shop/statefulsets/db",
            "statefulsets shop/db",
        );
        check(
            CLAIMS.of("shop", "data-db-0"),
            "/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0",
            "persistentvolumeclaims shop/data-db-0",
        );
        check(STORAGE_CLASSES.global("fast"), "/apis/storage.k8s.io/v1/storageclasses/fast", "storageclasses fast");
    }

    #[test]
    fn a_name_cannot_leave_its_segment_of_the_path() {
        let check = |name: &str, expected: &str| assert_eq!(segment(name), expected);
        check("db-0.x", "db-0.x");
        check("../secrets", "..%2Fsecrets");
        check("..", "%2E%2E");
        check("a?dryRun=All", "a%3FdryRun%3DAll");
        check("é", "%C3%A9");
    }
}
