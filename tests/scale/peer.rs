//! What does another program take for the same volumes, at the same time, on the same machine? `PEER` is the path of
//! [pvc-autoresizer](https://github.com/topolvm/pvc-autoresizer), which is not part of this repository. It runs with its
//! defaults, without its webhook, and reads the metrics of kubelets through the API server once a minute.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rso::api::bytes::Bytes;
use tokio::process::{Child, Command};

use crate::addresses::cluster;
use crate::harness::api::Api;
use crate::harness::operator::NAMESPACE;
use crate::harness::programs::{kubectl, kubectl_reading};
use crate::harness::{cluster_dir, expect, until};
use crate::kubelets::{Kubelets, pki};
use crate::measure::Place;
use crate::operator::token;
use crate::process::Process;

/// How long it may take until it has read the page of each kubelet.
const PATIENCE: Duration = Duration::from_secs(300);
/// Its ServiceAccount, in the namespace whose requests the audit log has.
pub const ACCOUNT: &str = ":pvc-autoresizer";
/// The annotation of the PVCs that it is to expand.
pub const LIMIT: &str = "resize.topolvm.io/storage_limit";
/// What it may do. Its chart gives it more, for its webhook.
const RIGHTS: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pvc-autoresizer"}},
{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "pvc-autoresizer"}, "rules": [
  {"apiGroups": [""], "resources": ["nodes", "nodes/proxy"], "verbs": ["get", "list", "watch"]},
  {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "update", "patch"]},
  {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
  {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
  {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]},
{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "pvc-autoresizer"},
 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pvc-autoresizer"},
 "subjects": [{"kind": "ServiceAccount", "name": "pvc-autoresizer", "namespace": "rso-system"}]}]}
"#;
/// It finds its token where a container has it: in a mount namespace of its own that is so.
const IN_CLUSTER: &str = "mount -t tmpfs tmpfs /run && account=/run/secrets/kubernetes.io/serviceaccount && \
     mkdir -p $account && cp \"$0\"/* $account/ && exec \"$@\"";

/// The other program, and the kubelets that it asks.
pub struct Peer {
    child: Child,
    kubelets: Kubelets,
}

/// Whether there is one to measure.
pub fn is_wanted() -> bool {
    program().is_some()
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PEER").filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Peer {
    /// Starts it for these PVCs, if there is one.
    pub async fn start(api: &Api, claims: &[Place], size: Bytes) -> Option<Self> {
        let program = program()?;
        let kubelets = Kubelets::start(api, claims, size).await;
        kubectl_reading(RIGHTS, &["apply", "--namespace", NAMESPACE, "--filename", "-"]).await.ok();
        kubectl(&["annotate", "storageclass", "local", "--overwrite", "resize.topolvm.io/enabled=true"]).await.ok();
        let folder = cluster_dir().join("scale/peer");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("token"), token(ACCOUNT.trim_start_matches(':')).await).unwrap();
        fs::write(folder.join("namespace"), NAMESPACE).unwrap();
        fs::copy(pki().join("ca.crt"), folder.join("ca.crt")).unwrap();
        let log = fs::File::create(cluster_dir().join("scale/peer.log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", IN_CLUSTER]).arg(&folder).arg(program);
        command.args(["--use-k8s-metrics-api", "--pvc-mutating-webhook-enabled=false"]);
        command.args(["--metrics-addr=127.0.0.1:18080", "--health-addr=127.0.0.1:18081"]);
        // Else it would take that one, and be the administrator.
        command.env_remove("KUBECONFIG");
        command.env("KUBERNETES_SERVICE_HOST", format!("10.87.{}.2", cluster())).env("KUBERNETES_SERVICE_PORT", "6443");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        Some(Self { child: command.spawn().unwrap(), kubelets })
    }

    /// Waits until it has read the page of each kubelet: it begins a minute after its start, and takes its time.
    pub async fn until_all_are_read(&self) {
        until("the other program to read all kubelets", PATIENCE, async || {
            expect(self.oldest().is_some(), || format!("{} pages", self.pages()))
        })
        .await;
    }

    /// How many pages of kubelets it has read.
    pub fn pages(&self) -> u64 {
        self.kubelets.pages()
    }

    /// How old the oldest of the pages is that it has read last of each kubelet.
    pub fn oldest(&self) -> Option<Duration> {
        self.kubelets.oldest()
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id().expect("it runs"))
    }

    /// Ends it.
    pub async fn stop(mut self, api: &Api) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended; see .cluster/scale/peer.log");
        self.child.kill().await.unwrap();
        self.kubelets.stop(api).await;
    }
}
