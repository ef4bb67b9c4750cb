//! What does the agent cost while it holds a request? The program itself, on this machine; no cluster is needed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rso::api::bytes::Percent;
use rso::api::held::HeldQuery;

use crate::figures::{self, Row, markdown, sizes};
use crate::harness::cluster_dir;
use crate::kubelet::today;
use crate::{memory, page};

/// The volume that is measured: a filesystem that is quiet.
const VOLUME: &str = "/dev/shm";
/// How near a share is that is near, in percent.
const NEAR: f64 = 0.2;
/// How long a sample takes, and how many fit into a request of a minute.
const SAMPLE: Duration = Duration::from_secs(10);
const SAMPLES: usize = 5;

/// Measures the agent with a request for a share that is far away, and for one that the next few MiB would reach.
pub fn measure() {
    let program = cluster_dir().join("bin/rso-agent");
    println!("agent: {}, {} bytes", program.display(), std::fs::metadata(&program).map_or(0, |file| file.len()));
    let mut rows = Vec::new();
    for (what, room) in [("far from the share", None), ("near the share", Some(NEAR))] {
        let agent = Agent::start(&program);
        let full = room.map_or(Percent::whole(100), |room| agent.share_after(room));
        let Some(held) = agent.hold(full) else {
            figures::row(&format!("agent, {what}"), 0, "this agent does not hold requests");
            return;
        };
        rows.extend(agent.cost(what));
        drop(held);
    }
    let below = format!("{}, `rso-agent` as `make binaries` builds it, with one volume.", today());
    page::write("agent", &markdown(&rows, &below));
}

/// The running agent; it ends with this value.
struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    fn start(program: &std::path::Path) -> Self {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--volume", &format!("data={VOLUME}")]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}; run make binaries", program.display()));
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        Self { child, address }
    }

    /// Sends a request.
    fn ask(&self, target: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: agent\r\n\r\n").as_bytes()).unwrap();
        stream
    }

    /// The share that is that much more, in percent, than is in use now.
    fn share_after(&self, room: f64) -> Percent {
        let mut answer = String::new();
        self.ask("/disk").read_to_string(&mut answer).unwrap();
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let bytes = |field: &str| body[0][field].as_f64().unwrap_or_else(|| panic!("no {field} in {body}"));
        let used = bytes("all_bytes") - bytes("free_bytes");
        Percent((1_000.0 * (100.0 * used / (used + bytes("available_bytes")) + room)) as u32)
    }

    /// A held request; `None` if the agent answers it at once, as older ones do.
    fn hold(&self, full: Percent) -> Option<TcpStream> {
        let mut held = self.ask(&format!("/disk?{}", HeldQuery { wait: HeldQuery::MAX_WAIT, full }));
        held.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let answered = held.read(&mut [0]).is_ok();
        (!answered).then_some(held)
    }

    /// Memory, and CPU time for each second, over some samples.
    fn cost(&self, what: &str) -> [Row; 2] {
        let (mut resident, mut used) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            let (before, started) = (self.on_cpu(), Instant::now());
            std::thread::sleep(SAMPLE);
            let used_now = (self.on_cpu() - before) as f64 / 1e6;
            used.push(used_now / started.elapsed().as_secs_f64());
            resident.extend(memory::resident_of(format!("/proc/{}", self.child.id())));
        }
        [
            sizes(&format!("Resident memory, {what}"), resident, "≤ 2 MiB"),
            figures::cpu(&format!("CPU time for each second, {what}"), used, "≤ 1 ms"),
        ]
    }

    /// Nanoseconds that its threads were on a CPU.
    fn on_cpu(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let of_thread = |task: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        };
        tasks.map(of_thread).sum()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
