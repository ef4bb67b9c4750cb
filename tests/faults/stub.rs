//! Who makes pods ready and claims bound and large, where there is no node? This, as kubelet and CSI driver would, a moment
//! later. It knows nothing of the operator.

use std::sync::Arc;
use std::time::Duration;

use rso::api::bytes::Bytes;
use serde_json::{Value, json};

use crate::agents::Agents;
use crate::harness::api::{Api, Kind as Stored};
use crate::harness::facts::requested;
use crate::recorder::{Change, Kind, Recorder};

/// How long a volume takes to grow.
const GROWTH: Duration = Duration::from_millis(50);

/// A pod with this annotation is never ready.
pub const BROKEN: &str = "broken";
/// Of a claim with this annotation the driver makes no larger volume than it says.
pub const MOST: &str = "most";

/// Stands in for the node until the test ends, with these agents in its pods.
pub fn start(api: Api, recorder: &Recorder, agents: Agents) {
    let mut changes = recorder.follow();
    tokio::spawn(async move {
        loop {
            let (kind, change, object) = match changes.recv().await {
                Ok(told) => told,
                Err(error) => panic!("the stub cannot keep up: {error}"),
            };
            match (kind, change) {
                (Kind::Pod, Change::Deleted) => agents.end(&object),
                (_, Change::Deleted) => {}
                (_, Change::Added | Change::Modified) => serve(&api, &agents, kind, &object),
            }
        }
    });
}

fn serve(api: &Api, agents: &Agents, kind: Kind, object: &Arc<Value>) {
    let broken = !object["metadata"]["annotations"][BROKEN].is_null();
    if broken || !object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let (api, agents, object) = (api.clone(), agents.clone(), object.clone());
    match kind {
        Kind::Pod if object["status"]["phase"] == "Pending" => {
            let address = agents.start(&object);
            tokio::spawn(async move { make_ready(&api, &object, address).await });
        }
        Kind::Claim if object["status"]["phase"] == "Pending" => {
            tokio::spawn(async move { bind(&api, &object).await });
        }
        Kind::Claim => {
            let answer = if is_too_much(&object) { refusal() } else { capacity(&object) };
            if !holds(&object["status"], &answer["status"]) {
                tokio::spawn(async move {
                    tokio::time::sleep(GROWTH).await;
                    if !is_too_much(&object) {
                        agents.grow(&object, requested(&object)).await;
                    }
                    write(&api, Stored::Claim, &object, "/status", &answer).await;
                });
            }
        }
        Kind::Pod | Kind::StatefulSet | Kind::Revision | Kind::ConfigMap => {}
    }
}

async fn make_ready(api: &Api, pod: &Value, address: Option<String>) {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let time = "2026-01-01T00:00:00Z";
    let container = |container: &Value| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "stub",
            "containerID": format!("stub://{uid}/{}", container["name"].as_str().unwrap_or_default()),
            "restartCount": 0, "ready": true, "started": true, "state": {"running": {"startedAt": time}},
        })
    };
    let all =
        |list: &str| -> Vec<Value> { pod["spec"][list].as_array().into_iter().flatten().map(container).collect() };
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let mut status = json!({"status": {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": all("containers"),
        "initContainerStatuses": all("initContainers"),
    }});
    if let Some(address) = address {
        status["status"]["podIPs"] = json!([{"ip": address}]);
        status["status"]["podIP"] = json!(address);
    }
    write(api, Stored::Pod, pod, "/status", &status).await;
}

async fn bind(api: &Api, claim: &Value) {
    let volume = format!("pv-{}", claim["metadata"]["uid"].as_str().unwrap_or_default());
    write(api, Stored::Claim, claim, "", &json!({"spec": {"volumeName": volume}})).await;
    let mut status = capacity(claim);
    status["status"]["phase"] = json!("Bound");
    status["status"]["accessModes"] = claim["spec"]["accessModes"].clone();
    write(api, Stored::Claim, claim, "/status", &status).await;
}

fn capacity(claim: &Value) -> Value {
    let size = &claim["spec"]["resources"]["requests"]["storage"];
    json!({"status": {"capacity": {"storage": size}, "allocatedResourceStatuses": null}})
}

fn refusal() -> Value {
    json!({"status": {"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}}})
}

fn is_too_much(claim: &Value) -> bool {
    let most = claim["metadata"]["annotations"][MOST].as_str().and_then(|text| text.parse::<Bytes>().ok());
    most.is_some_and(|most| requested(claim) > most)
}

/// Whether a merge patch has nothing to change.
fn holds(object: &Value, patch: &Value) -> bool {
    let mut patched = object.clone();
    json_patch::merge(&mut patched, patch);
    patched == *object
}

async fn write(api: &Api, kind: Stored, object: &Value, part: &str, patch: &Value) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let path = format!("{}/{}{part}?fieldManager=node", kind.path(text("namespace")), text("name"));
    // Gone meanwhile, or somebody was faster: the next event tells.
    let _ = api.send(http::Method::PATCH, &path, Some(patch)).await;
}
