//! The privileges that a Pod template takes, and those that nothing confirms.
//!
//! A backup is in the namespace of its StatefulSet, where a tenant may be allowed to write ConfigMaps but not
//! StatefulSets. Only Kubernetes writes a ControllerRevision, and a running Pod has passed admission: only privileges
//! that one of them has are known to be intended. Every field that is not known to be harmless counts, including fields
//! that this program does not know.

use std::collections::BTreeSet;

use serde_json::Value;

use super::manifest;
use crate::api::names::{ClaimName, SetName, TemplateName};

/// Fields of a Pod that take nothing from the node, the namespace, or other Pods.
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

/// Fields of a container that take nothing from the node, the namespace, or other Pods.
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

/// Fields that may send requests to a server. They are harmless unless that server is not the Pod itself.
const PROBES: [&str; 4] = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

/// Volume sources that expose only the Pod itself and data that is not secret.
const HARMLESS_VOLUMES: [&str; 3] = ["emptyDir", "configMap", "downwardAPI"];

/// Annotations with which older versions of Kubernetes disabled protections.
const OLD_PROTECTIONS: [&str; 2] =
    ["container.apparmor.security.beta.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"];

/// The privileges that a Pod template takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Each privilege as `path: value`.
    grants: BTreeSet<String>,
    /// Paths of the fields that restrict the Pod, such as `runAsNonRoot: true`.
    protections: BTreeSet<String>,
    /// The names of its containers.
    containers: BTreeSet<String>,
}

impl Rights {
    /// The privileges of a Pod template or of a Pod.
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

    /// Adds what the `volumeClaimTemplates` take: data of another owner, or a specific volume.
    #[must_use]
    pub fn with_templates(mut self, set: &Value) -> Self {
        for template in items(&set["spec"]["volumeClaimTemplates"]) {
            self.data(template["metadata"]["name"].as_str().unwrap_or_default(), &template["spec"]);
        }
        self
    }

    /// The privileges of its template that a PVC of the StatefulSet confirms.
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

    /// Adds one of several sources, some of which are harmless.
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

    /// The privileges that none of `known` has. If nothing is known, that is every grant.
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

    /// Whether the container at this path exists. A lost restriction of a removed container does not matter.
    fn has_container_of(&self, path: &str) -> bool {
        let name = path.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name);
        name.is_none_or(|name| self.containers.contains(name))
    }
}

/// The effect of a value of a field.
enum Weight {
    /// The same as if the field were absent.
    Nothing,
    /// It allows the Pod something.
    Grant,
    /// It restricts the Pod, regardless of the value.
    Protection,
    /// It restricts the Pod, and each value restricts something else.
    EachValueProtects,
    /// It restricts the Pod, and another value grants a privilege.
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

/// Whether two Pod templates specify the same, except for `null` and for what a ControllerRevision adds.
pub fn same_template(one: &Value, other: &Value) -> bool {
    differing(one, other).is_empty()
}

/// The paths at which two Pod templates differ, without values, because a template may hold secrets.
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
