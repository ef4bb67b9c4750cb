//! How is the control plane reached?

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::agents::Agents;
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

/// Where a run is played.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace of the set.
    pub sets: String,
    /// The operator's own: its lease and its journals.
    pub home: String,
}

/// The namespace controller looks again after 15 s, and may do so more than once.
const END_OF_A_NAMESPACE: std::time::Duration = std::time::Duration::from_secs(120);

static NAMESPACES: AtomicUsize = AtomicUsize::new(0);

impl Plane {
    /// Connects, and begins to record and to stand in for a node.
    pub async fn connect() -> Self {
        let api = Api::connect().await;
        let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        // Two sweeps may run at once.
        let prefix = format!("fault-{:05x}-{}", second % 0x10_0000, std::process::id());
        let recorder = Recorder::start(api.client().clone(), &prefix).await;
        stub::start(api.clone(), &recorder, Agents::default());
        Self { api, recorder, prefix }
    }

    /// Two namespaces that nobody has used: one for the set, one for the operator.
    pub async fn place(&self) -> Place {
        let sets = format!("{}-{}", self.prefix, NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let place = Place { home: format!("{sets}-rso"), sets };
        for name in [&place.sets, &place.home] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.api.create(Kind::Namespace, "", &object).await.unwrap();
        }
        place
    }

    /// Waits for the end of a namespace that somebody has deleted.
    pub async fn until_gone(&self, namespace: &str) -> Result<(), String> {
        let began = std::time::Instant::now();
        while let Some(left) = self.api.get(Kind::Namespace, "", namespace).await {
            if began.elapsed() > END_OF_A_NAMESPACE {
                return Err(format!("the namespace does not come to its end: {}", left["status"]));
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Takes away what a run has left. The empty namespaces stay: to delete one costs sixty requests.
    pub async fn clean(&self, place: &Place) {
        let namespace = &place.sets;
        for set in self.recorder.live(namespace, crate::recorder::Kind::StatefulSet) {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            if set["metadata"]["finalizers"].is_array() {
                let none = json!({"metadata": {"finalizers": null}});
                let _ = self.api.patch(Kind::StatefulSet, namespace, name, &none).await;
            }
        }
        for kind in [Kind::RewriteBinding, Kind::Rewrite] {
            let _ = self.api.delete(kind, "", namespace, &json!({})).await;
        }
        let all = [Kind::ReplicaSet, Kind::StatefulSet, Kind::Claim, Kind::ConfigMap, Kind::Event, Kind::Pod];
        let left = all.map(|kind| (kind, namespace));
        for (kind, namespace) in left.into_iter().chain([(Kind::ConfigMap, &place.home), (Kind::Lease, &place.home)]) {
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
