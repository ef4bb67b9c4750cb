//! Where does a test live, and what is kept of it when it fails?

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use futures::FutureExt;
use futures::future::join_all;
use serde_json::{Value, json};

use super::api::{Api, Kind};
use super::live::Live;
use super::operator;
use super::programs::kubectl;
use super::set::Set;

/// The namespace of one test.
pub struct Space {
    pub name: String,
    pub api: Api,
}

/// Gives the test a namespace of its own and takes it away again; if the test fails, dumps it first and says where.
pub async fn in_namespace(test: &str, body: impl AsyncFnOnce(&Space)) {
    in_namespaces(test, 1, async |spaces| body(&spaces[0]).await).await;
}

/// Several of them, for what may happen only once at a time in each.
pub async fn in_namespaces(test: &str, count: usize, body: impl AsyncFnOnce(&[Space])) {
    let spaces = join_all((0..count).map(|_| Space::make(test))).await;
    let ended = AssertUnwindSafe(body(&spaces)).catch_unwind().await;
    for space in &spaces {
        if ended.is_err() {
            let dump = space.dump(test).await;
            eprintln!("the test {test} failed; what its namespace {} looked like: {}", space.name, dump.display());
        }
        if ended.is_ok() || std::env::var_os("KEEP").is_none() {
            space.remove().await;
        }
    }
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

impl Space {
    async fn make(test: &str) -> Self {
        let api = Api::connect().await;
        let name = format!("e2e-{test}-{}", suffix());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"e2e": test}}});
        api.create(Kind::Namespace, "", &namespace).await.unwrap();
        Self { name, api }
    }

    /// Creates the set and gives it at once.
    pub async fn create(&self, set: &Set) -> Live<'_> {
        self.create_manifest(&set.manifest()).await
    }

    /// Creates a set from any manifest.
    pub async fn create_manifest(&self, manifest: &Value) -> Live<'_> {
        self.api.create(Kind::StatefulSet, &self.name, manifest).await.unwrap();
        Live::named(self, manifest["metadata"]["name"].as_str().unwrap())
    }

    /// Creates the set and waits until its pods are ready.
    pub async fn run(&self, set: &Set) -> Live<'_> {
        let live = self.create(set).await;
        live.is_ready().await;
        live
    }

    /// `kubectl -n <this namespace> …`, which must succeed.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(args);
        kubectl(&all).await.ok()
    }

    async fn remove(&self) {
        // Finalizers of a failed test must not hold the namespace for ever.
        for set in self.api.list(Kind::StatefulSet, &self.name, "").await {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            if set["metadata"]["finalizers"].is_array() {
                let _ = self
                    .api
                    .patch(Kind::StatefulSet, &self.name, name, &json!({"metadata": {"finalizers": null}}))
                    .await;
            }
        }
        for kind in [Kind::PolicyBinding, Kind::Policy, Kind::RewriteBinding, Kind::Rewrite] {
            let _ = self.api.delete(kind, "", &self.name, &json!({})).await;
        }
        let _ = self.api.delete(Kind::Namespace, "", &self.name, &json!({"propagationPolicy": "Background"})).await;
    }

    async fn dump(&self, test: &str) -> PathBuf {
        let folder = super::cluster_dir().join("failed").join(test).join(&self.name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let keep = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        let get = async |what: &str| {
            kubectl(&["-n", &self.name, "get", what, "-o", "yaml", "--show-managed-fields"]).await.out
        };
        keep("sets.yaml", &get("statefulsets,controllerrevisions").await);
        keep("pods.yaml", &get("pods").await);
        keep("claims.yaml", &get("persistentvolumeclaims").await);
        keep("others.yaml", &get("configmaps,resourcequotas").await);
        let all = "statefulsets,pods,persistentvolumeclaims,configmaps";
        keep("overview.txt", &kubectl(&["-n", &self.name, "get", all, "-o", "wide"]).await.out);
        keep("events.txt", &kubectl(&["-n", &self.name, "get", "events", "--sort-by=.lastTimestamp"]).await.out);
        keep("operator.log", &operator::log_lines_about(&self.name).await);
        keep("journals.yaml", &operator::journals_as_yaml().await);
        folder
    }
}

/// Five letters that no other test of this run has, nor one of the last hour.
fn suffix() -> String {
    static TAKEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let nth = TAKEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    format!("{:04x}{nth:x}", second % 0x1_0000)
}
