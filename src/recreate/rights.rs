//! The rights that a pod template takes, and those that nothing confirms.
//!
//! A backup lies in the namespace of its StatefulSet, where a tenant may write ConfigMaps but not StatefulSets. A
//! ControllerRevision is written by Kubernetes alone, and a running Pod has passed admission: only what one of them has is
//! known to be meant. Every field that is not known to be harmless counts, also one that this program has never heard of.

use std::collections::BTreeSet;

use serde_json::Value;

use super::manifest;
use crate::api::names::{ClaimName, SetName, TemplateName};

/// Fields of a Pod that take nothing from the node, the namespace or other Pods.
const HARMLESS_IN_POD: [&str; 24] = [
    "containers",
    "initContainers",
    "ephemeralContainers",
    "volumes",
    "activeDeadlineSeconds",
    "affinity",
    "dnsPolicy",
    "enableServiceLinks",
    "hostname",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "readinessGates",
    "resources",
    "restartPolicy",
    "schedulerName",
    "schedulingGates",
    "setHostnameAsFQDN",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
];

/// The same of a container.
const HARMLESS_IN_CONTAINER: [&str; 15] = [
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "args",
    "workingDir",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
];

/// Fields that may ask a server: harmless, but for another server than the Pod itself.
const PROBES: [&str; 4] = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

/// Sources of volumes that show the Pod nothing but itself and what is no secret.
const HARMLESS_VOLUMES: [&str; 3] = ["emptyDir", "configMap", "downwardAPI"];

/// Annotations by which older versions of Kubernetes switched protections off.
const OLD_PROTECTIONS: [&str; 2] =
    ["container.apparmor.security.beta.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"];

/// What a pod template takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Each as `path: value`.
    grants: BTreeSet<String>,
    /// Paths of the fields that take something away from the Pod, such as `runAsNonRoot: true`.
    protections: BTreeSet<String>,
    /// Names of its containers.
    containers: BTreeSet<String>,
}

impl Rights {
    /// The rights of a pod template, or of a Pod.
    pub fn of(template: &Value) -> Self {
        let (mut rights, spec) = (Self::default(), &template["spec"]);
        for (key, value) in entries(spec).filter(|(key, _)| !HARMLESS_IN_POD.contains(&key.as_str())) {
            rights.leaves(&format!("spec.{key}"), value);
        }
        for kind in ["containers", "initContainers", "ephemeralContainers"] {
            items(&spec[kind]).for_each(|container| rights.container(kind, container));
        }
        items(&spec["volumes"]).for_each(|volume| rights.volume(volume));
        for (key, value) in entries(&template["metadata"]["annotations"]) {
            if OLD_PROTECTIONS.iter().any(|prefix| key.starts_with(prefix)) {
                rights.leaves(&format!("metadata.annotations.{key}"), value);
            }
        }
        rights
    }

    /// Adds what the volumeClaimTemplates take: data of somebody else, or a certain volume.
    #[must_use]
    pub fn with_templates(mut self, set: &Value) -> Self {
        for template in items(&set["spec"]["volumeClaimTemplates"]) {
            self.data(template["metadata"]["name"].as_str().unwrap_or_default(), &template["spec"]);
        }
        self
    }

    /// What a PVC of the set confirms of its template.
    pub fn of_claim(claim: &Value, set: &SetName, templates: &BTreeSet<TemplateName>) -> Self {
        let mut rights = Self::default();
        let name = ClaimName::from(claim["metadata"]["name"].as_str().unwrap_or_default());
        if let Some(template) = templates.iter().find(|template| name.ordinal_of(template, set).is_some()) {
            rights.data(template.as_str(), &claim["spec"]);
        }
        rights
    }

    fn data(&mut self, template: &str, spec: &Value) {
        for key in ["dataSource", "dataSourceRef", "selector", "volumeName"] {
            self.leaves(&format!("volumeClaimTemplates[{template}].spec.{key}"), &spec[key]);
        }
    }

    fn container(&mut self, kind: &str, container: &Value) {
        let name = container["name"].as_str().unwrap_or_default();
        self.containers.insert(name.to_owned());
        let path = format!("spec.{kind}[{name}]");
        for (key, value) in entries(container) {
            let path = format!("{path}.{key}");
            match key.as_str() {
                key if HARMLESS_IN_CONTAINER.contains(&key) => {}
                key if PROBES.contains(&key) => self.hosts(&path, value),
                "resources" => self.leaves(&format!("{path}.claims"), &value["claims"]),
                "ports" => items(value).for_each(|port| self.port(&path, port)),
                "env" => items(value).for_each(|one| self.variable(&path, one)),
                "envFrom" => items(value).for_each(|source| self.source(&path, source, &["configMapRef", "prefix"])),
                "volumeMounts" => items(value).for_each(|mount| self.mount(&path, mount)),
                _ => self.leaves(&path, value),
            }
        }
    }

    fn port(&mut self, path: &str, port: &Value) {
        ["hostPort", "hostIP"].into_iter().for_each(|key| self.leaves(&format!("{path}.{key}"), &port[key]));
    }

    fn variable(&mut self, path: &str, variable: &Value) {
        let path = format!("{path}[{}]", variable["name"].as_str().unwrap_or_default());
        self.source(&path, &variable["valueFrom"], &["configMapKeyRef", "fieldRef", "resourceFieldRef"]);
    }

    fn mount(&mut self, path: &str, mount: &Value) {
        let propagation = &mount["mountPropagation"];
        if propagation != "None" {
            self.leaves(&format!("{path}.mountPropagation"), propagation);
        }
    }

    fn volume(&mut self, volume: &Value) {
        for (key, value) in entries(volume).filter(|(key, _)| key.as_str() != "name") {
            if key == "projected" {
                items(&value["sources"])
                    .for_each(|source| self.source("spec.volumes.projected", source, &["configMap", "downwardAPI"]));
            } else if !HARMLESS_VOLUMES.contains(&key.as_str()) {
                // As a whole: which Secret, and not how its files are called.
                self.grants.insert(format!("spec.volumes.{key}: {value}"));
            }
        }
    }

    /// One of several sources, of which some are harmless.
    fn source(&mut self, path: &str, source: &Value, harmless: &[&str]) {
        for (key, value) in entries(source).filter(|(key, _)| !harmless.contains(&key.as_str())) {
            self.leaves(&format!("{path}.{key}"), value);
        }
    }

    fn hosts(&mut self, path: &str, value: &Value) {
        for (key, value) in entries(value) {
            if key == "host" {
                self.leaves(&format!("{path}.host"), value);
            }
            self.hosts(&format!("{path}.{key}"), value);
        }
    }

    fn leaves(&mut self, path: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(object) => {
                object.iter().for_each(|(key, value)| self.leaves(&format!("{path}.{key}"), value));
            }
            Value::Array(array) => array.iter().for_each(|value| self.leaves(path, value)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match weight(path, &text) {
                    Weight::Nothing => {}
                    Weight::Protection => drop(self.protections.insert(path.to_owned())),
                    Weight::Grant => drop(self.grants.insert(format!("{path}: {text}"))),
                    Weight::EachValueProtects => drop(self.protections.insert(format!("{path}: {text}"))),
                    Weight::Both => {
                        self.grants.insert(format!("{path}: {text}"));
                        self.protections.insert(path.to_owned());
                    }
                }
            }
        }
    }

    /// What these rights have that none of the known ones has. Where nothing is known, that is every grant.
    pub fn beyond(&self, known: &[Self]) -> Vec<String> {
        let granted = |right: &&String| !known.iter().any(|one| one.grants.contains(*right));
        let mut new: Vec<String> = self.grants.iter().filter(granted).cloned().collect();
        let templates: Vec<&Self> = known.iter().filter(|one| !one.containers.is_empty()).collect();
        if templates.is_empty() {
            return new;
        }
        let stranger = |name: &&String| !templates.iter().any(|one| one.containers.contains(*name));
        new.extend(self.containers.iter().filter(stranger).map(|name| format!("a container {name}")));
        // A field that every known template has, and that nothing here replaces.
        let everywhere = |path: &&String| templates.iter().all(|one| one.protections.contains(*path));
        let lost = |path: &&String| !self.protections.contains(*path) && self.has_container_of(path);
        let all: BTreeSet<&String> = templates.iter().flat_map(|one| &one.protections).collect();
        new.extend(all.into_iter().filter(everywhere).filter(lost).map(|path| format!("without {path}")));
        new
    }

    /// What a container that is gone was kept from matters to nobody.
    fn has_container_of(&self, path: &str) -> bool {
        let name = path.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name);
        name.is_none_or(|name| self.containers.contains(name))
    }
}

/// What a value of a field does.
enum Weight {
    /// As if the field was not there.
    Nothing,
    /// It lets the Pod do something.
    Grant,
    /// It keeps the Pod from something, whatever the value is.
    Protection,
    /// The same, each value from something else.
    EachValueProtects,
    /// It keeps the Pod from something, and another value lets it.
    Both,
}

fn weight(path: &str, value: &str) -> Weight {
    let mut fields = path.rsplit('.');
    let (field, parent) = (fields.next().unwrap_or(path), fields.next().unwrap_or_default());
    match (field, value) {
        ("privileged" | "hostPID" | "hostIPC" | "hostNetwork" | "shareProcessNamespace", "false")
        | ("readOnlyRootFilesystem", "false")
        | ("automountServiceAccountToken" | "hostUsers", "true")
        // The account that every Pod has anyway.
        | ("serviceAccountName" | "serviceAccount", "default") => Weight::Nothing,
        ("runAsUser" | "runAsGroup" | "fsGroup", "0") | ("type", "Unconfined") => Weight::Grant,
        ("runAsNonRoot" | "readOnlyRootFilesystem", "true")
        | ("allowPrivilegeEscalation" | "automountServiceAccountToken" | "hostUsers", "false")
        | ("runAsUser", _) => Weight::Protection,
        ("runAsGroup" | "fsGroup" | "fsGroupChangePolicy" | "supplementalGroupsPolicy", _)
        | ("procMount", "Default") => Weight::Nothing,
        ("type", _) if ["seccompProfile", "appArmorProfile"].contains(&parent) => Weight::Protection,
        ("drop", _) => Weight::EachValueProtects,
        ("runtimeClassName", _) => Weight::Both,
        _ => Weight::Grant,
    }
}

/// Whether two pod templates ask for the same; `null`, and what a ControllerRevision adds, aside.
pub fn same_template(one: &Value, other: &Value) -> bool {
    differing(one, other).is_empty()
}

/// Where two pod templates differ, as paths without values: a template may hold secrets.
pub fn differing(one: &Value, other: &Value) -> Vec<String> {
    manifest::paths(&normal(one), &normal(other))
}

fn normal(template: &Value) -> Value {
    match template {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| key.as_str() != "$patch" && !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), normal(value))).collect())
        }
        Value::Array(array) => array.iter().map(normal).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => template.clone(),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
