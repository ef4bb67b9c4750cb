//! The agent container that the webhook adds to a Pod, which otherwise behaves as without it.
//!
//! The agent is a native sidecar, the first of the init containers: on a full disk, another init container often fails
//! (recovery, a copy of the configuration), and the agent responds while that one runs or waits for its restart. The
//! agent mounts the volumes of the containers read-only, has no token, and requests no more resources than the QoS
//! class of the Pod allows. It has no probe, so the next init container starts as soon as the agent runs. It is never
//! added to the StatefulSet's Pod template: that would restart Pods.

use serde_json::{Map, Value, json};

use super::patch::{append, prepend};
use super::review::AdmissionResponse;
use crate::api::names::{AGENT_CONTAINER, AGENT_PORT};

/// Where Kubernetes mounts the ServiceAccount token of a Pod.
const TOKEN_MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An empty volume in place of the token: Kubernetes mounts no token on a path that already has a mount.
const NO_TOKEN_VOLUME: &str = "rso-agent-no-token";

/// The resources of the agent. Measured: under 1 MiB, and almost no CPU.
const AGENT_CPU: &str = "10m";
const AGENT_MEMORY: &str = "16Mi";

/// Handles the CREATE of a Pod of a StatefulSet that rso measures.
pub fn inject(pod: &Value, image: &str) -> AdmissionResponse {
    let spec = &pod["spec"];
    let volumes = volumes(spec);
    if volumes.is_empty() || !accepts_agent(spec) {
        return AdmissionResponse::default();
    }
    let shield = has_token(spec);
    let mut patch = Vec::new();
    if shield {
        patch.push(append(pod, "/spec/volumes", json!({ "name": NO_TOKEN_VOLUME, "downwardAPI": {} })));
    }
    patch.push(prepend(pod, "/spec/initContainers", container(spec, image, &volumes, shield)));
    AdmissionResponse { patch, ..AdmissionResponse::default() }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "initContainers").iter().chain(list(spec, "containers"))
}

/// The PVCs that some container mounts as a filesystem, with the names of their volumes. A volume can be a filesystem
/// for one container and not for another; with a block device as a mount, the Pod could not start.
fn volumes(spec: &Value) -> Vec<(&str, &str)> {
    let mounted =
        |volume: &str| containers(spec).any(|c| list(c, "volumeMounts").iter().any(|mount| mount["name"] == volume));
    let claims = list(spec, "volumes")
        .iter()
        .filter_map(|volume| Some((volume["name"].as_str()?, volume["persistentVolumeClaim"]["claimName"].as_str()?)));
    let mut seen = std::collections::BTreeSet::new();
    claims.filter(|(volume, _)| mounted(volume)).filter(|(_, claim)| seen.insert(*claim)).collect()
}

/// Whether the Pod has no agent yet, and nothing that conflicts with one.
fn accepts_agent(spec: &Value) -> bool {
    let taken = |c: &Value| {
        c["name"] == AGENT_CONTAINER
            || list(c, "ports").iter().any(|port| port["containerPort"].as_u64() == Some(AGENT_PORT.into()))
    };
    let shield = list(spec, "volumes").iter().any(|volume| volume["name"] == NO_TOKEN_VOLUME);
    !containers(spec).any(taken) && !shield && spec["hostNetwork"] != true && spec["os"]["name"] != "windows"
}

/// Whether Kubernetes mounts a token in the containers of this Pod, and therefore in the agent.
fn has_token(spec: &Value) -> bool {
    let asked_for = spec["automountServiceAccountToken"] != false;
    asked_for
        || containers(spec).any(|c| list(c, "volumeMounts").iter().any(|mount| mount["mountPath"] == TOKEN_MOUNT_PATH))
}

fn container(spec: &Value, image: &str, volumes: &[(&str, &str)], shield: bool) -> Value {
    let path = |index: usize| format!("/volumes/{index}");
    let args: Vec<String> =
        volumes.iter().enumerate().map(|(index, (_, claim))| format!("--volume={claim}={}", path(index))).collect();
    let mut mounts: Vec<Value> = volumes
        .iter()
        .enumerate()
        .map(|(index, (volume, _))| json!({ "name": volume, "mountPath": path(index), "readOnly": true }))
        .collect();
    if shield {
        mounts.push(json!({ "name": NO_TOKEN_VOLUME, "mountPath": TOKEN_MOUNT_PATH, "readOnly": true }));
    }
    let mut container = json!({
        "name": AGENT_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": args,
        "ports": [{ "name": AGENT_CONTAINER, "containerPort": AGENT_PORT, "protocol": "TCP" }],
        "volumeMounts": mounts,
        "securityContext": security(spec),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    });
    let resources = resources(spec);
    if resources.as_object().is_some_and(|resources| !resources.is_empty()) {
        container["resources"] = resources;
    }
    container
}

/// The Pod Security profile `restricted`. The image sets a user; a Pod with `runAsUser: 0` would override it, and the
/// agent could not start.
fn security(spec: &Value) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    if spec["securityContext"]["runAsUser"] == 0 {
        context["runAsUser"] = json!(65532);
    }
    context
}

/// Requests and limits for each resource for which every container has some. This keeps the QoS class and satisfies a
/// quota that requires them. A Pod with Pod-level resources shares them.
fn resources(spec: &Value) -> Value {
    let of_the_pod = spec["resources"].as_object().is_some_and(|resources| !resources.is_empty());
    if of_the_pod {
        return json!({});
    }
    let containers = list(spec, "containers");
    let all = |kind: &str, resource: &str| {
        !containers.is_empty() && containers.iter().all(|c| !c["resources"][kind][resource].is_null())
    };
    let mut resources = Map::new();
    for kind in ["requests", "limits"] {
        let of_kind: Map<String, Value> = [("cpu", AGENT_CPU), ("memory", AGENT_MEMORY)]
            .into_iter()
            // A limit without a request is a request too.
            .filter(|(resource, _)| all(kind, resource) || (kind == "requests" && all("limits", resource)))
            .map(|(resource, amount)| (resource.to_owned(), json!(amount)))
            .collect();
        if !of_kind.is_empty() {
            resources.insert(kind.to_owned(), Value::Object(of_kind));
        }
    }
    Value::Object(resources)
}

#[cfg(test)]
mod tests;
