//! How are objects of a tool made whose controllers are not there? Its kinds, with any fields, for as long as a test takes.

use serde_json::{Value, json};

use super::programs::{kubectl, kubectl_reading};
use super::{PATIENCE, expect, until};

/// A kind of somebody else: group, version, kind, plural.
#[derive(Clone, Copy, Debug)]
pub struct Foreign(pub &'static str, pub &'static str, pub &'static str, pub &'static str);

impl Foreign {
    /// Makes it known to the API server.
    pub async fn install(self) {
        let Self(group, version, kind, plural) = self;
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": self.name()},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        });
        kubectl_reading(&definition.to_string(), &["apply", "-f", "-"]).await.ok();
        until(&format!("the kind {kind}"), PATIENCE, async || {
            let listed = kubectl(&["get", &self.name(), "-A"]).await;
            expect(listed.code == 0, || listed.err)
        })
        .await;
    }

    /// Takes it away with every object of it.
    pub async fn remove(self) {
        kubectl(&["delete", "customresourcedefinition", &self.name()]).await.ok();
    }

    /// `applications.argoproj.io`.
    pub fn name(self) -> String {
        format!("{}.{}", self.3, self.0)
    }

    /// One of it, with what else it says.
    pub fn object(self, name: &str, rest: &Value) -> Value {
        let mut object =
            json!({"apiVersion": format!("{}/{}", self.0, self.1), "kind": self.2, "metadata": {"name": name}});
        for (field, value) in rest.as_object().into_iter().flatten() {
            match (object[field].as_object_mut(), value.as_object()) {
                (Some(there), Some(more)) => there.extend(more.clone()),
                _ => object[field] = value.clone(),
            }
        }
        object
    }
}
