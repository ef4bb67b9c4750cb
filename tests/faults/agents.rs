//! Who tells how full the volumes are, where no pod runs? The real agent: one for each pod that should have one, at an
//! address of its own, with a tmpfs for its volume.
//!
//! It listens in the network namespace of the control plane, to which all addresses of pods lead. Its mount namespace is its
//! own, so that the volume goes when it does.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rso::api::bytes::Bytes;
use rso::api::names::AGENT_PORT;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::addresses::{address, cluster, key, measured_claim};

/// How large the volumes are at first.
pub const SIZE: &str = "16Mi";
/// How much is in them.
const USED: &str = "10M";

/// All that run, by the namespace and name of the pod.
#[derive(Clone, Default)]
pub struct Agents(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    running: HashMap<(String, String), Agent>,
    started: u32,
}

struct Agent {
    child: Child,
    claim: String,
    address: String,
}

/// Mounts the volume, fills it, and becomes the agent.
const START: &str = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && head -c "$3" /dev/zero >"$2/data" && exec "$4" --volume "$5=$2" --listen "$6""#;

impl Agents {
    /// Starts one for the pod, if the pod should have one. Answers the pod's address.
    pub fn start(&self, pod: &Value) -> Option<String> {
        let claim = measured_claim(pod)?;
        let mut inner = self.0.lock().unwrap();
        if let Some(known) = inner.running.get(&key(pod)) {
            return Some(known.address.clone());
        }
        let address = address(inner.started);
        inner.started += 1;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/rso{}", cluster()));
        command.args([
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            START,
            "sh",
            SIZE.trim_end_matches('i'),
        ]);
        command.arg(mount_point()).args([USED, env!("CARGO_BIN_EXE_rso-agent"), &claim]);
        command.arg(format!("{address}:{AGENT_PORT}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().unwrap();
        inner.running.insert(key(pod), Agent { child, claim, address: address.clone() });
        Some(address)
    }

    /// Ends that of a pod that is gone.
    pub fn end(&self, pod: &Value) {
        self.0.lock().unwrap().running.remove(&key(pod));
    }

    /// The filesystem of a claim grows, if an agent measures it.
    pub async fn grow(&self, claim: &Value, size: Bytes) {
        let id = {
            let inner = self.0.lock().unwrap();
            let is_it = |((namespace, _), agent): &(&(String, String), &Agent)| {
                claim["metadata"]["namespace"] == namespace.as_str()
                    && claim["metadata"]["name"] == agent.claim.as_str()
            };
            inner.running.iter().find(is_it).and_then(|(_, agent)| agent.child.id())
        };
        let Some(id) = id else { return };
        let mut command = Command::new("nsenter");
        command.args(["--mount", &format!("--target={id}"), "mount", "-o", &format!("remount,size={}", size.0)]);
        let done = command.arg(mount_point()).stdin(Stdio::null()).status().await.unwrap();
        assert!(done.success(), "the filesystem of {} does not grow", claim["metadata"]["name"]);
    }
}

/// Where each sees its volume.
fn mount_point() -> std::path::PathBuf {
    let folder = crate::plane::folder().join("volume");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
