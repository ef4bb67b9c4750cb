//! How does a cluster write something else than was sent?
//!
//! A MutatingAdmissionPolicy of the cluster's administrator, in force in the namespace of one test.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Kind};
use super::{LOOK, PATIENCE};

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// What the policy does to a StatefulSet or a claim.
#[derive(Clone, Copy, Debug)]
pub enum Rewritten {
    /// The Pod template gets the label `team`.
    TemplateLabel,
    /// The volume claim template `data`, the first, gets at most 400Mi.
    SizeCap,
    /// The set itself gets the label `team`.
    MetadataLabel,
    /// The annotations of the operator are taken off.
    Annotations,
    /// A claim requests at most 450Mi; for `UPDATE`.
    ClaimCap,
    /// The first container of a Pod gets another image; for `UPDATE`.
    PodImage,
    /// The Pod template gets the label `team` with a change of the spec, not with one of the metadata; for `UPDATE`.
    TemplateLabelOfSpec,
    /// The Pod templates of `db` and `sample` get the label `team`, those of no other name.
    TemplateLabelByName,
}

impl Rewritten {
    fn condition(self) -> &'static str {
        match self {
            Self::TemplateLabel => "!has(object.spec.template.metadata.labels.team)",
            Self::TemplateLabelOfSpec => {
                "object.spec != oldObject.spec && !has(object.spec.template.metadata.labels.team)"
            }
            Self::TemplateLabelByName => {
                "object.metadata.name in ['db', 'sample'] && !has(object.spec.template.metadata.labels.team)"
            }
            Self::SizeCap => {
                "quantity(object.spec.volumeClaimTemplates[0].spec.resources.requests.storage).isGreaterThan(quantity('400Mi'))"
            }
            Self::MetadataLabel => "!has(object.metadata.labels) || !('team' in object.metadata.labels)",
            Self::Annotations => "has(object.metadata.annotations)",
            Self::ClaimCap => "quantity(object.spec.resources.requests.storage).isGreaterThan(quantity('450Mi'))",
            Self::PodImage => "object.spec.containers[0].image != 'localhost/other:1'",
        }
    }

    fn patch(self) -> &'static str {
        match self {
            Self::TemplateLabel | Self::TemplateLabelOfSpec | Self::TemplateLabelByName => {
                "[JSONPatch{op: 'add', path: '/spec/template/metadata/labels/team', value: 'x'}]"
            }
            Self::SizeCap => {
                "[JSONPatch{op: 'replace', path: '/spec/volumeClaimTemplates/0/spec/resources/requests/storage', value: '400Mi'}]"
            }
            Self::MetadataLabel => {
                "has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels/team', value: 'x'}] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {'team': 'x'}}]"
            }
            Self::Annotations => "[JSONPatch{op: 'remove', path: '/metadata/annotations'}]",
            Self::ClaimCap => "[JSONPatch{op: 'replace', path: '/spec/resources/requests/storage', value: '450Mi'}]",
            Self::PodImage => {
                "[JSONPatch{op: 'replace', path: '/spec/containers/0/image', value: 'localhost/other:1'}]"
            }
        }
    }

    /// The kind of object, its API group, and its resource.
    fn resource(self) -> (Kind, &'static str, &'static str) {
        match self {
            Self::TemplateLabel
            | Self::TemplateLabelOfSpec
            | Self::TemplateLabelByName
            | Self::SizeCap
            | Self::MetadataLabel
            | Self::Annotations => (Kind::StatefulSet, "apps", "statefulsets"),
            Self::ClaimCap => (Kind::Claim, "", "persistentvolumeclaims"),
            Self::PodImage => (Kind::Pod, "", "pods"),
        }
    }

    /// A patch of such an object, whose answer shows whether the policy is in force.
    fn probe(self) -> Value {
        match self {
            Self::TemplateLabelOfSpec => json!({"spec": {"minReadySeconds": 1}}),
            Self::TemplateLabel
            | Self::TemplateLabelByName
            | Self::SizeCap
            | Self::MetadataLabel
            | Self::PodImage
            | Self::Annotations => {
                json!({"metadata": {"labels": {"probe": "p"}}})
            }
            Self::ClaimCap => json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
        }
    }

    fn is_seen_in(self, set: &Value) -> bool {
        match self {
            Self::TemplateLabel | Self::TemplateLabelOfSpec | Self::TemplateLabelByName => {
                set["spec"]["template"]["metadata"]["labels"]["team"] == "x"
            }
            Self::SizeCap => {
                set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "400Mi"
            }
            Self::MetadataLabel => set["metadata"]["labels"]["team"] == "x",
            Self::Annotations => set["metadata"]["annotations"].is_null(),
            Self::ClaimCap => set["spec"]["resources"]["requests"]["storage"] == "450Mi",
            Self::PodImage => set["spec"]["containers"][0]["image"] == "localhost/other:1",
        }
    }
}

/// While it lives, the policy is in force. Lift it with [`Rewrite::lift`].
pub struct Rewrite<'a> {
    api: &'a Api,
    namespace: &'a str,
    operation: &'static str,
    what: Rewritten,
}

impl<'a> Rewrite<'a> {
    /// Puts it up for this operation, `CREATE` or `UPDATE`, and waits until the server does as it says.
    pub async fn of(api: &'a Api, namespace: &'a str, operation: &'static str, what: Rewritten) -> Self {
        Self::put(api, namespace, operation, what).await;
        let started = Instant::now();
        while !is_in_force(api, namespace, operation, what).await {
            assert!(started.elapsed() < PATIENCE, "the policy {what:?} is not in force");
            tokio::time::sleep(LOOK).await;
        }
        Self { api, namespace, operation, what }
    }

    /// Puts it up, without waiting.
    pub async fn put(api: &Api, namespace: &str, operation: &str, what: Rewritten) {
        let (_, group, resource) = what.resource();
        let policy = json!({
            "apiVersion": GROUP, "kind": "MutatingAdmissionPolicy", "metadata": {"name": namespace},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [group], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]},
                ]},
                "matchConditions": [{"name": "is-needed", "expression": what.condition()}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": what.patch()}}],
            },
        });
        let binding = json!({
            "apiVersion": GROUP, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": namespace},
            "spec": {
                "policyName": namespace,
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            },
        });
        api.create(Kind::Rewrite, "", &policy).await.unwrap();
        api.create(Kind::RewriteBinding, "", &binding).await.unwrap();
    }

    /// The policy as it is stored.
    #[allow(dead_code, reason = "only the fault sweep asks when it came")]
    pub async fn object(&self) -> Value {
        self.api.get(Kind::Rewrite, "", self.namespace).await.unwrap_or_default()
    }

    /// Takes it away, and waits until the server has forgotten it.
    pub async fn lift(self) {
        for kind in [Kind::RewriteBinding, Kind::Rewrite] {
            self.api.delete(kind, "", self.namespace, &json!({})).await.unwrap();
        }
        let started = Instant::now();
        while is_in_force(self.api, self.namespace, self.operation, self.what).await {
            assert!(started.elapsed() < PATIENCE, "the policy {:?} is still in force", self.what);
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether a dry run shows what the policy does.
async fn is_in_force(api: &Api, namespace: &str, operation: &str, what: Rewritten) -> bool {
    let (kind, ..) = what.resource();
    let path = kind.path(namespace);
    let options = "dryRun=All&fieldManager=e2e";
    let answer = if operation == "CREATE" {
        api.send(Method::POST, &format!("{path}?{options}"), Some(&sample(namespace))).await
    } else {
        let all = api.list(kind, namespace, "").await;
        let name = all.first().and_then(|set| set["metadata"]["name"].as_str()).unwrap_or_default();
        api.send(Method::PATCH, &format!("{path}/{name}?{options}"), Some(&what.probe())).await
    };
    answer.is_ok_and(|set| what.is_seen_in(&set))
}

/// A set that is only ever sent for a dry run.
fn sample(namespace: &str) -> Value {
    let mut set = super::set::Set::named("sample").template("data", "500Mi").manifest();
    set["metadata"]["namespace"] = json!(namespace);
    set["metadata"]["annotations"] = json!({"note": "a dry run"});
    set
}
