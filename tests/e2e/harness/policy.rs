//! How is a moment inside a recreate stretched until a test has done its thing?
//!
//! By admission: a ValidatingAdmissionPolicy refuses one kind of write of the operator in the test's namespace, dry runs
//! apart. To the operator that is a cluster that says no after it said yes; it has to keep trying.

use serde_json::{Value, json};

use super::api::{Api, Kind};
use super::operator;
use super::space::Space;
use super::{PATIENCE, expect, until};

/// A write of the operator that is refused.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// The set is gone and cannot be made: the name stays absent.
    Creating,
    /// The set is being deleted, and what holds it cannot be taken off: it stays, terminating.
    Releasing,
    /// The set is held and cannot be deleted.
    Deleting,
    /// The set is back and cannot be finished.
    Landing,
    /// Claims cannot be protected from the deletion of their set.
    Protecting,
}

impl Moment {
    fn operation(self) -> &'static str {
        match self {
            Self::Creating => "CREATE",
            Self::Releasing | Self::Landing | Self::Protecting => "UPDATE",
            Self::Deleting => "DELETE",
        }
    }

    /// The API group and the resource.
    fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Creating | Self::Deleting | Self::Releasing | Self::Landing => ("apps", "statefulsets"),
            Self::Protecting => ("", "persistentvolumeclaims"),
        }
    }

    fn refused_when(self) -> &'static str {
        match self {
            Self::Creating | Self::Deleting => "true",
            Self::Releasing => "has(oldObject.metadata.deletionTimestamp)",
            Self::Protecting => {
                "object.metadata.?ownerReferences.orValue([]) != oldObject.metadata.?ownerReferences.orValue([])"
            }
            Self::Landing => {
                "has(oldObject.metadata.annotations) && 'resize-statefulset-operator/transaction' in oldObject.metadata.annotations"
            }
        }
    }
}

/// While it lives, the operator cannot pass the moment in the namespace. Lift it with [`Stop::lift`].
pub struct Stop<'a> {
    api: &'a Api,
    name: String,
}

impl<'a> Stop<'a> {
    /// Puts it up and waits until the server enforces it.
    pub async fn at(space: &'a Space, moment: Moment) -> Self {
        let stop = Self { api: &space.api, name: space.name.clone() };
        let policy = stop.policy(moment);
        space.api.create(Kind::Policy, "", &policy).await.unwrap();
        space.api.create(Kind::PolicyBinding, "", &stop.binding()).await.unwrap();
        stop.is_enforced(space).await;
        stop
    }

    /// Takes it away; the operator may go on.
    pub async fn lift(self) {
        for kind in [Kind::PolicyBinding, Kind::Policy] {
            self.api.delete(kind, "", &self.name, &json!({})).await.unwrap();
        }
    }

    /// A config map that the same policy refuses tells when it is in force.
    async fn is_enforced(&self, space: &Space) {
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "probe-"}});
        until("the policy to be enforced", PATIENCE, async || {
            let answer = space.api.create(Kind::ConfigMap, &space.name, &probe).await;
            expect(answer.is_err_and(|refused| refused.code == 422 || refused.code == 403), || "it is not".to_owned())
        })
        .await;
    }

    fn policy(&self, moment: Moment) -> Value {
        let operator =
            format!("request.userInfo.username.startsWith('system:serviceaccount:{}:')", operator::NAMESPACE);
        let (group, resource) = moment.resource();
        let ours = format!("{operator} && request.resource.resource == '{resource}' && {}", moment.refused_when());
        let probe = "request.resource.resource == 'configmaps' && has(object.metadata.generateName) && object.metadata.generateName == 'probe-'";
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": self.name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [group], "apiVersions": ["v1"], "operations": [moment.operation()], "resources": [resource]},
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
                ]},
                "matchConditions": [
                    {"name": "for-real", "expression": "!has(request.dryRun) || !request.dryRun"},
                    {"name": "the-moment", "expression": format!("({ours}) || ({probe})")},
                ],
                "validations": [{"expression": "false", "message": "stopped by a test"}],
            },
        })
    }

    fn binding(&self) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": self.name},
            "spec": {
                "policyName": self.name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.name}}},
            },
        })
    }
}
