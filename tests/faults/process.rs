//! How is the operator started, killed, stopped and continued? It is the real program, run as a child of the test.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::plane::Place;
use crate::proxy::Door;

/// A running operator.
pub struct Operator {
    child: Child,
}

/// What every operator of a run has in common.
pub struct Post {
    place: Place,
    log: PathBuf,
    /// For how long claims keep their guards.
    guard_for: &'static str,
}

impl Post {
    /// It looks after one namespace, from another.
    pub fn new(place: &Place, folder: &Path, guard_for: &'static str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { place: place.clone(), log: folder.join("operator.log"), guard_for }
    }

    /// Starts one that reaches the API server through this door.
    pub fn start(&self, door: &Door) -> Operator {
        let kubeconfig = self.log.with_file_name(format!("kubeconfig-{}", door.who));
        std::fs::write(&kubeconfig, kubeconfig_of(door).to_string()).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let program = std::env::var_os("RSO").unwrap_or_else(|| env!("CARGO_BIN_EXE_rso").into());
        let mut command = Command::new(program);
        command.args(["controller", "--no-kubelet", "--watch-namespaces", &self.place.sets]);
        command.args(["--guard-for", self.guard_for, "--log-format", "text"]);
        command.args(["--metrics-address", "127.0.0.1:0", "--health-address", "127.0.0.1:0"]);
        command.env("KUBECONFIG", kubeconfig).env("POD_NAMESPACE", &self.place.home);
        command.env("POD_NAME", format!("rso-{}", door.who)).env("RSO_LOG", "info,rso=debug");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        Operator { child: command.spawn().unwrap() }
    }
}

impl Operator {
    /// SIGKILL, whether or not it still runs.
    pub async fn end(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGSTOP: it stands still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

fn kubeconfig_of(door: &Door) -> serde_json::Value {
    let authority = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, door.authority());
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
        "clusters": [{"name": "proxy", "cluster": {
            "server": format!("https://{}", door.address), "certificate-authority-data": authority,
        }}],
        "users": [{"name": "operator", "user": {"token": "the proxy knows who this is"}}],
    })
}
