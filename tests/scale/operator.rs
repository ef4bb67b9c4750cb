//! How is the operator started, and what does it take? It is the program of the image, under the memory limit of the chart,
//! with the rights that the chart gives it and no others.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kube::config::Kubeconfig;
use rso::api::bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::bound::Bound;
use crate::harness::api::{Api, Kind};
use crate::harness::operator::{NAME, NAMESPACE, http_get, sum_of};
use crate::harness::programs::{helm, kubectl, kubectl_reading};
use crate::harness::{cluster_dir, expect, kubeconfig, until};
use crate::process::Process;

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many lines of the log are shown when it has ended.
const LAST_WORDS: usize = 20;

/// What every operator of this test has in common.
pub struct Post {
    /// The memory limit of those that are started from now on.
    pub limit: Bytes,
    folder: PathBuf,
}

/// One of the two replicas that the chart installs.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    name: &'static str,
    metrics: &'static str,
    health: &'static str,
}

/// The first to start.
pub const FIRST: Replica = Replica { name: "rso-0", metrics: "127.0.0.1:8080", health: "127.0.0.1:8081" };
/// The one that waits for the end of the first.
pub const SECOND: Replica = Replica { name: "rso-1", metrics: "127.0.0.1:8082", health: "127.0.0.1:8083" };

/// A running operator.
pub struct Operator {
    child: Child,
    replica: Replica,
    bound: Bound,
    /// Programs that the limit had killed before.
    killed: u64,
    log: PathBuf,
    /// The ID of its token.
    pub token: String,
}

/// What an operator has counted since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: f64,
    pub rolled_back: f64,
    pub restarts: f64,
    pub cpu: f64,
}

/// A recreate that has ended well, as the log says.
#[derive(Clone, Debug)]
pub struct Recreate {
    pub namespace: String,
    pub set: String,
    /// Seconds.
    pub absent: f64,
    pub unmanaged: f64,
}

impl Post {
    /// Gives the operator its namespace and its rights.
    pub async fn new(api: &Api, limit: Bytes) -> Self {
        let folder = cluster_dir().join("scale");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        api.create(Kind::Namespace, "", &namespace).await.unwrap();
        let rights = ["template", NAME, "chart", "--namespace", NAMESPACE, "--show-only", "templates/rbac.yaml"];
        let rights = helm(&rights).await.ok();
        kubectl_reading(&rights, &["apply", "--namespace", NAMESPACE, "--filename", "-"]).await.ok();
        Self { limit, folder }
    }

    /// Starts one as the chart does, and waits until it leads.
    pub async fn start(&self) -> Operator {
        let mut operator = self.run(FIRST).await;
        operator.until_ready(1.0).await;
        operator
    }

    /// Starts another one beside the leader, and waits until it could lead.
    pub async fn start_standby(&self) -> Operator {
        let mut operator = self.run(SECOND).await;
        operator.until_ready(0.0).await;
        operator
    }

    async fn run(&self, replica: Replica) -> Operator {
        let program = cluster_dir().join("bin/rso");
        assert!(program.exists(), "{} is missing; build it with `make binaries`", program.display());
        let log = self.folder.join(format!("{}.log", replica.name));
        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let token = token(NAME).await;
        let config = self.folder.join(format!("{}.kubeconfig", replica.name));
        fs::write(&config, with_token(&token).to_string()).unwrap();
        let bound = Bound::new(self.limit, replica.name);
        let mut command = bound.command(program);
        command.args(["controller", "--metrics-address", replica.metrics, "--health-address", replica.health]);
        command.args(["--kubelet-account", &format!("{NAME}-kubelet")]);
        command.env("KUBECONFIG", config);
        command.env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", replica.name).env("RSO_LOG", "info");
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true);
        let (killed, token) = (bound.kills(), id(&token));
        Operator { child: command.spawn().unwrap(), replica, bound, killed, log, token }
    }
}

impl Operator {
    /// Fails if it has ended: nobody here starts it again.
    pub fn lives(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let killed = self.bound.kills() - self.killed;
        assert!(
            ended.is_none() && killed == 0,
            "it ended ({ended:?}), {killed} killed by the limit; {}",
            self.last_words()
        );
    }

    async fn until_ready(&mut self, leader: f64) {
        until(&format!("{} to be ready", self.replica.name), PATIENCE, async || {
            self.lives();
            let leads = sum_of(&self.metrics().await, "leader_election_master_status", "");
            let is_ready = http_get(self.replica.health, "/readyz").await.starts_with("HTTP/1.1 200");
            expect(leads == leader && is_ready, || format!("leads {leads}, ready {is_ready}"))
        })
        .await;
    }

    async fn metrics(&self) -> String {
        http_get(self.replica.metrics, "/metrics").await
    }

    /// The value of a metric that has one series.
    pub async fn metric(&self, name: &str) -> f64 {
        sum_of(&self.metrics().await, name, "")
    }

    /// What it has counted.
    pub async fn counts(&self) -> Counts {
        let metrics = self.metrics().await;
        assert!(metrics.ends_with("# EOF\n"), "the metrics are not whole: {} bytes", metrics.len());
        Counts {
            requests: sum_of(&metrics, "rest_client_requests_total", ""),
            rolled_back: sum_of(&metrics, "rso_template_recreates_total", "result=\"undone\""),
            restarts: sum_of(&metrics, "rso_pod_restarts_caused_total", ""),
            cpu: self.process().cpu(),
        }
    }

    /// The recreates that have ended well.
    pub fn recreates(&self) -> Vec<Recreate> {
        let log = fs::read_to_string(&self.log).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let landed = lines.filter(|line| line["message"] == "recreate ended" && line["result"] == "landed");
        landed.map(|line| Recreate::read(&line)).collect()
    }

    /// Ends it as a kubelet does, and waits for its end. It has to end well.
    pub async fn stop(mut self) {
        self.lives();
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap();
        assert!(ended.success(), "it ended with {ended}; {}", self.last_words());
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id().expect("it runs"))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n"))
    }
}

impl Recreate {
    fn read(line: &Value) -> Self {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let seconds = |field: &str| text(field).parse::<f64>().unwrap() / 1000.0;
        let (namespace, set) = (text("namespace"), text("statefulset"));
        Self { namespace, set, absent: seconds("absent_ms"), unmanaged: seconds("unmanaged_ms") }
    }
}

/// A token of an account in the operator's namespace.
pub async fn token(account: &str) -> String {
    let token = kubectl(&["create", "token", account, "--namespace", NAMESPACE, "--duration", "24h"]).await.ok();
    token.trim().to_owned()
}

/// The ID of a token, by which the audit log names it.
fn id(token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    let payload: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    format!("JTI={}", payload["jti"].as_str().unwrap())
}

/// The kubeconfig of the control plane, for whoever has the token.
fn with_token(token: &str) -> Value {
    let mut file = serde_json::to_value(Kubeconfig::read_from(kubeconfig()).unwrap()).unwrap();
    let user = file["contexts"][0]["context"]["user"].clone();
    file["users"] = json!([{"name": user, "user": {"token": token}}]);
    file
}
