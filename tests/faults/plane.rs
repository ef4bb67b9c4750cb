//! How is the control plane reached?

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::api::{Api, Kind};
use crate::harness::cluster_dir;
use crate::recorder::Recorder;
use crate::stub;

/// The control plane, with the node's stand-in and the recorder at work.
#[derive(Clone)]
pub struct Plane {
    pub api: Api,
    pub recorder: Recorder,
    prefix: String,
}

static NAMESPACES: AtomicUsize = AtomicUsize::new(0);

impl Plane {
    /// Connects, and begins to record and to stand in for a node.
    pub async fn connect() -> Self {
        let api = Api::connect().await;
        let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        // Two sweeps may run at once.
        let prefix = format!("fault-{:05x}-{}", second % 0x10_0000, std::process::id());
        let recorder = Recorder::start(api.client().clone(), &prefix).await;
        stub::start(api.clone(), &recorder);
        Self { api, recorder, prefix }
    }

    /// A namespace that nobody has used.
    pub async fn namespace(&self) -> String {
        let name = format!("{}-{}", self.prefix, NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.create(Kind::Namespace, "", &object).await.unwrap();
        name
    }

    /// Takes away what a run has left. The empty namespace stays: to delete one costs sixty requests.
    pub async fn clean(&self, namespace: &str) {
        for set in self.recorder.live(namespace, crate::recorder::Kind::StatefulSet) {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            if set["metadata"]["finalizers"].is_array() {
                let none = json!({"metadata": {"finalizers": null}});
                let _ = self.api.patch(Kind::StatefulSet, namespace, name, &none).await;
            }
        }
        for kind in [Kind::StatefulSet, Kind::Claim, Kind::ConfigMap, Kind::Lease, Kind::Event, Kind::Pod] {
            let path = kind.path(namespace);
            let options = json!({"propagationPolicy": "Background"});
            let _ = self.api.send(http::Method::DELETE, &path, Some(&options)).await;
        }
    }
}

/// Where logs are kept.
pub fn folder() -> PathBuf {
    cluster_dir().join("faults")
}
