//! How is an object read and written? Untyped JSON both ways, so that a test sees every field there is.

use http::{Method, Request};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// The kinds that tests touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    StatefulSet,
    #[allow(dead_code, reason = "only the fault sweep makes one without kubectl")]
    ReplicaSet,
    Pod,
    Claim,
    Revision,
    ConfigMap,
    Event,
    Quota,
    Budget,
    Namespace,
    Lease,
    Deployment,
    Policy,
    PolicyBinding,
    Rewrite,
    RewriteBinding,
}

impl Kind {
    fn group_and_plural(self) -> (&'static str, &'static str) {
        match self {
            Self::StatefulSet => ("/apis/apps/v1", "statefulsets"),
            Self::ReplicaSet => ("/apis/apps/v1", "replicasets"),
            Self::Deployment => ("/apis/apps/v1", "deployments"),
            Self::Revision => ("/apis/apps/v1", "controllerrevisions"),
            Self::Pod => ("/api/v1", "pods"),
            Self::Claim => ("/api/v1", "persistentvolumeclaims"),
            Self::ConfigMap => ("/api/v1", "configmaps"),
            Self::Quota => ("/api/v1", "resourcequotas"),
            Self::Budget => ("/apis/policy/v1", "poddisruptionbudgets"),
            Self::Namespace => ("/api/v1", "namespaces"),
            Self::Event => ("/apis/events.k8s.io/v1", "events"),
            Self::Lease => ("/apis/coordination.k8s.io/v1", "leases"),
            Self::Policy => ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
            Self::PolicyBinding => ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"),
            Self::Rewrite => ("/apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicies"),
            Self::RewriteBinding => ("/apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings"),
        }
    }

    /// The collection of this kind in the namespace.
    pub fn path(self, namespace: &str) -> String {
        let (group, plural) = self.group_and_plural();
        match self {
            Self::Namespace | Self::Policy | Self::PolicyBinding | Self::Rewrite | Self::RewriteBinding => {
                format!("{group}/{plural}")
            }
            _ if namespace.is_empty() => format!("{group}/{plural}"),
            _ => format!("{group}/namespaces/{namespace}/{plural}"),
        }
    }
}

/// What the server refused, with its status code and its words.
#[derive(Debug)]
pub struct Refused {
    pub code: u16,
    pub message: String,
}

/// A client of the cluster under test, with the rights of its administrator.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Connects with the cluster's kubeconfig.
    pub async fn connect() -> Self {
        let path = super::kubeconfig();
        let file = Kubeconfig::read_from(&path)
            .unwrap_or_else(|e| panic!("no cluster: {e}; start one with `make cluster-up` ({})", path.display()));
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap() }
    }

    /// The client itself, for watches.
    #[allow(dead_code, reason = "only the fault sweep watches")]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The object, or nothing.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        match self.send(Method::GET, &format!("{}/{name}", kind.path(namespace)), None).await {
            Ok(object) => Some(object),
            Err(Refused { code: 404, .. }) => None,
            Err(refused) => panic!("cannot read {kind:?} {namespace}/{name}: {refused:?}"),
        }
    }

    /// All objects of a kind in a namespace, or in all, that have the labels.
    pub async fn list(&self, kind: Kind, namespace: &str, labels: &str) -> Vec<Value> {
        self.try_list(kind, namespace, labels).await.unwrap_or_else(|e| panic!("cannot list {kind:?}: {e:?}"))
    }

    /// The same while the API server may be down.
    pub async fn try_list(&self, kind: Kind, namespace: &str, labels: &str) -> Result<Vec<Value>, Refused> {
        let labels = labels.replace('=', "%3D").replace(',', "%2C").replace('/', "%2F");
        let list = self.send(Method::GET, &format!("{}?labelSelector={labels}", kind.path(namespace)), None).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Creates it as a person would.
    pub async fn create(&self, kind: Kind, namespace: &str, object: &Value) -> Result<Value, Refused> {
        self.send(Method::POST, &format!("{}?fieldManager=e2e", kind.path(namespace)), Some(object)).await
    }

    /// Merges the patch into the object, as field manager `e2e`.
    pub async fn patch(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value, Refused> {
        self.send(Method::PATCH, &format!("{}/{name}?fieldManager=e2e", kind.path(namespace)), Some(patch)).await
    }

    /// Deletes it with these DeleteOptions.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str, options: &Value) -> Result<Value, Refused> {
        self.send(Method::DELETE, &format!("{}/{name}", kind.path(namespace)), Some(options)).await
    }

    /// Any request; a PATCH is a merge patch.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refused> {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("content-type", media).body(bytes).unwrap();
        self.client.request::<Value>(request).await.map_err(|error| match error {
            kube::Error::Api(status) => Refused { code: status.code, message: status.message },
            other => Refused { code: 0, message: format!("{other:?}") },
        })
    }
}
