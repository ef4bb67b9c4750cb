//! How is the operator started, and what does it take? It is the program of the image, under the memory limit of the chart,
//! with the rights that the chart gives it and no others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

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

const METRICS: &str = "127.0.0.1:8080";
const HEALTH: &str = "127.0.0.1:8081";
/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// A second in `/proc/<pid>/stat`: USER_HZ, which is the same on every Linux.
const TICKS: f64 = 100.0;
/// How many lines of the log are shown when it has ended.
const LAST_WORDS: usize = 20;

/// What every operator of this test has in common.
pub struct Post {
    pub bound: Bound,
    folder: PathBuf,
}

/// A running operator.
pub struct Operator {
    child: Child,
    bound: Bound,
    /// Programs that the limit had killed before.
    killed: u64,
    log: PathBuf,
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
    /// Gives the operator its namespace, its rights and a token.
    pub async fn new(api: &Api, bound: Bound) -> Self {
        let folder = cluster_dir().join("scale");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        api.create(Kind::Namespace, "", &namespace).await.unwrap();
        let rights = ["template", NAME, "chart", "--namespace", NAMESPACE, "--show-only", "templates/rbac.yaml"];
        let rights = helm(&rights).await.ok();
        kubectl_reading(&rights, &["apply", "--namespace", NAMESPACE, "--filename", "-"]).await.ok();
        let token = kubectl(&["create", "token", NAME, "--namespace", NAMESPACE, "--duration", "24h"]).await.ok();
        fs::write(folder.join("kubeconfig"), with_token(token.trim()).to_string()).unwrap();
        Self { bound, folder }
    }

    /// Starts one as the chart does, and waits until it leads.
    pub async fn start(&self) -> Operator {
        let program = cluster_dir().join("bin/rso");
        assert!(program.exists(), "{} is missing; build it with `make binaries`", program.display());
        let log = self.folder.join("operator.log");
        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = self.bound.command(program);
        command.args(["controller", "--metrics-address", METRICS, "--health-address", HEALTH]);
        command.args(["--kubelet-account", &format!("{NAME}-kubelet")]);
        command.env("KUBECONFIG", self.folder.join("kubeconfig"));
        command.env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", NAME).env("RSO_LOG", "info");
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true);
        let (bound, killed) = (self.bound.clone(), self.bound.kills());
        let mut operator = Operator { child: command.spawn().unwrap(), bound, killed, log };
        operator.until_it_leads().await;
        operator
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

    async fn until_it_leads(&mut self) {
        until("the operator to lead", PATIENCE, async || {
            self.lives();
            let leads = sum_of(&http_get(METRICS, "/metrics").await, "leader_election_master_status", "");
            let is_ready = http_get(HEALTH, "/readyz").await.starts_with("HTTP/1.1 200");
            expect(leads > 0.0 && is_ready, || format!("leads {leads}, ready {is_ready}"))
        })
        .await;
    }

    /// What it has counted.
    pub async fn counts(&self) -> Counts {
        let metrics = http_get(METRICS, "/metrics").await;
        assert!(metrics.ends_with("# EOF\n"), "the metrics are not whole: {} bytes", metrics.len());
        Counts {
            requests: sum_of(&metrics, "rest_client_requests_total", ""),
            rolled_back: sum_of(&metrics, "rso_template_recreates_total", "result=\"undone\""),
            restarts: sum_of(&metrics, "rso_pod_restarts_caused_total", ""),
            cpu: self.cpu(),
        }
    }

    /// The recreates that have ended well.
    pub fn recreates(&self) -> Vec<Recreate> {
        let log = fs::read_to_string(&self.log).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let landed = lines.filter(|line| line["message"] == "recreate ended" && line["result"] == "landed");
        landed.map(|line| Recreate::read(&line)).collect()
    }

    /// The most memory that it had resident since [`Operator::forget_peak`].
    pub fn peak(&self) -> Bytes {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap();
        Bytes(kib * 1024)
    }

    /// From now on the peak is a new one, where the kernel can do that.
    pub fn forget_peak(&self) {
        let _ = fs::write(self.process().join("clear_refs"), "5");
    }

    /// Seconds of user and system time.
    fn cpu(&self) -> f64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks = |nth: usize| fields[nth].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Ends it as a kubelet does, and waits for its end. It has to end well.
    pub async fn stop(mut self) {
        self.lives();
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap();
        assert!(ended.success(), "it ended with {ended}; {}", self.last_words());
    }

    fn process(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().expect("it runs").to_string())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.process().join(file)).unwrap()
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

/// The kubeconfig of the control plane, for whoever has the token.
fn with_token(token: &str) -> Value {
    let mut file = serde_json::to_value(Kubeconfig::read_from(kubeconfig()).unwrap()).unwrap();
    let user = file["contexts"][0]["context"]["user"].clone();
    file["users"] = json!([{"name": user, "user": {"token": token}}]);
    file
}
