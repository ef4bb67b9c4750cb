//! Which address has a pod where there is no node? One of those that all lead into the network namespace of the control
//! plane (`tests/cluster/up.sh`): the operator asks nobody at a loopback address.

use rso::api::names::AGENT_CONTAINER;
use serde_json::Value;

/// The number of the control plane (`tests/cluster/env.sh`).
pub fn cluster() -> u8 {
    std::env::var("CLUSTER_ID").ok().and_then(|text| text.parse().ok()).unwrap_or(15)
}

/// The address of the pod of that number.
pub fn address(number: u32) -> String {
    format!("10.{}.{}.{}", 112 + cluster(), number / 250 % 250, 1 + number % 250)
}

/// The claim that the agent of the pod measures, if the pod should have one.
pub fn measured_claim(pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let containers = ["initContainers", "containers"].map(|list| spec[list].as_array().into_iter().flatten());
    containers.into_iter().flatten().find(|container| container["name"] == AGENT_CONTAINER)?;
    let claims = |volume: &Value| volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
    spec["volumes"].as_array().into_iter().flatten().find_map(claims)
}

/// The namespace and the name of an object.
pub fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}
