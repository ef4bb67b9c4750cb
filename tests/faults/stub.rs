//! Who makes pods ready and claims bound and large, where there is no node? This, as kubelet and CSI driver would, a moment
//! later. It knows nothing of the operator.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{Api, Kind as Stored};
use crate::recorder::{Change, Kind, Recorder};

/// How long a volume takes to grow.
const GROWTH: Duration = Duration::from_millis(50);

/// A claim with this annotation is never bound, a pod never ready: for scenarios in which something is wrong.
pub const BROKEN: &str = "broken";

/// Stands in for the node until the test ends.
pub fn start(api: Api, recorder: &Recorder) {
    let mut changes = recorder.follow();
    tokio::spawn(async move {
        loop {
            let (kind, change, object) = match changes.recv().await {
                Ok(told) => told,
                Err(error) => panic!("the stub cannot keep up: {error}"),
            };
            if change != Change::Deleted {
                serve(&api, kind, &object);
            }
        }
    });
}

fn serve(api: &Api, kind: Kind, object: &Arc<Value>) {
    let broken = !object["metadata"]["annotations"][BROKEN].is_null();
    if broken || !object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let (api, object) = (api.clone(), object.clone());
    match kind {
        Kind::Pod if object["status"]["phase"] == "Pending" => {
            tokio::spawn(async move { make_ready(&api, &object).await });
        }
        Kind::Claim if object["status"]["phase"] == "Pending" => {
            tokio::spawn(async move { bind(&api, &object).await });
        }
        Kind::Claim => {
            let wanted = &object["spec"]["resources"]["requests"]["storage"];
            if *wanted != object["status"]["capacity"]["storage"] {
                tokio::spawn(async move {
                    tokio::time::sleep(GROWTH).await;
                    write(&api, Stored::Claim, &object, "/status", &capacity(&object)).await;
                });
            }
        }
        Kind::Pod | Kind::StatefulSet | Kind::Revision | Kind::ConfigMap => {}
    }
}

async fn make_ready(api: &Api, pod: &Value) {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let time = "2026-01-01T00:00:00Z";
    let container = |container: &Value| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "stub",
            "containerID": format!("stub://{uid}/{}", container["name"].as_str().unwrap_or_default()),
            "restartCount": 0, "ready": true, "started": true, "state": {"running": {"startedAt": time}},
        })
    };
    let containers: Vec<Value> = pod["spec"]["containers"].as_array().into_iter().flatten().map(container).collect();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let status = json!({"status": {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": containers,
    }});
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
    json!({"status": {"capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]}}})
}

async fn write(api: &Api, kind: Stored, object: &Value, part: &str, patch: &Value) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let path = format!("{}/{}{part}?fieldManager=node", kind.path(text("namespace")), text("name"));
    // Gone meanwhile, or somebody was faster: the next event tells.
    let _ = api.send(http::Method::PATCH, &path, Some(patch)).await;
}
