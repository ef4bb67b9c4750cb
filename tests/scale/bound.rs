//! How is a program kept to a memory limit, as a kubelet does it? By a memory cgroup of version 1 or 2, beside those of the
//! control plane, which takes it away when it stops (`tests/cluster/down.sh`). Where none can be made, nothing is kept to
//! anything, and only what a program took can be held against the limit.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rso::api::bytes::Bytes;
use serde_json::Value;
use tokio::process::Command;

/// Joins the cgroup and becomes the program.
const JOIN: &str = r#"echo $$ >"$0" && exec "$@""#;

/// A memory limit, and the cgroup that enforces it.
#[derive(Clone)]
pub struct Bound {
    pub limit: Bytes,
    group: Option<Group>,
}

/// A memory cgroup.
#[derive(Clone)]
struct Group {
    folder: PathBuf,
    /// Where the number of programs is that were killed.
    kills: &'static str,
}

/// What the files of a memory cgroup are called.
struct Files {
    /// Which controllers the cgroups below have, where that has to be said.
    children: Option<&'static str>,
    limit: &'static str,
    /// The limit of swap, with memory or alone.
    swap: &'static str,
    /// What is written there; the limit itself where it is with memory.
    most_swap: Option<Bytes>,
    kills: &'static str,
}

const VERSION_1: Files = Files {
    children: None,
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    most_swap: None,
    kills: "memory.oom_control",
};

const VERSION_2: Files = Files {
    children: Some("cgroup.subtree_control"),
    limit: "memory.max",
    swap: "memory.swap.max",
    most_swap: Some(Bytes(0)),
    kills: "memory.events",
};

/// The memory limit that the chart gives the operator.
pub fn of_the_chart() -> Bytes {
    let values = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("chart/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    values["resources"]["limits"]["memory"].as_str().unwrap().parse().unwrap()
}

impl Bound {
    /// This limit for the programs of this name, one at a time.
    pub fn new(limit: Bytes, name: &str) -> Self {
        let group = Group::make(limit, name).inspect_err(|error| {
            println!("no memory cgroup can be made ({error}): the limit is not enforced, only compared with the peak");
        });
        Self { limit, group: group.ok() }
    }

    /// The program, to be started within the limit.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let procs = self.group.as_ref().map_or_else(|| "/dev/null".into(), |group| group.folder.join("cgroup.procs"));
        let mut command = Command::new("sh");
        command.args(["-c", JOIN]).arg(procs).arg(program);
        command
    }

    /// How many programs the limit has killed.
    pub fn kills(&self) -> u64 {
        let Some(group) = &self.group else { return 0 };
        let text = fs::read_to_string(group.folder.join(group.kills)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        count.unwrap_or_else(|| panic!("{} does not say how many were killed: {text}", group.kills))
    }

    /// Whoever asserts that nothing was killed has to be able to see it: what takes twice the limit is.
    pub async fn is_enforced(&self) {
        if self.group.is_none() {
            return;
        }
        let hungry = format!("head -c {} /dev/zero | tail -n 1", 2 * self.limit.0);
        let mut command = self.command("sh");
        command.args(["-c", &hungry]).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = command.status().await.unwrap();
        assert!(!ended.success() && self.kills() > 0, "the limit of {} kills nobody: {ended}", self.limit);
        println!("a program that takes twice the limit of {} is killed", self.limit);
    }
}

impl Group {
    fn make(limit: Bytes, program: &str) -> std::io::Result<Self> {
        let (root, name) = (Path::new("/sys/fs/cgroup"), format!("rso{}", crate::addresses::cluster()));
        let (parent, files) = if root.join("cgroup.controllers").exists() {
            (root.join(name), VERSION_2)
        } else {
            (root.join("memory").join(name), VERSION_1)
        };
        // Which of the limits of version 1 can be set first depends on what they were before.
        let folder = parent.join(format!("{program}-{}", limit.0));
        fs::create_dir_all(&folder)?;
        if let Some(children) = files.children {
            fs::write(parent.join(children), "+memory")?;
        }
        // A folder where no controller is mounted is only a folder.
        fs::metadata(folder.join(files.kills))?;
        fs::write(folder.join(files.limit), limit.0.to_string())?;
        // Not every kernel accounts swap.
        let _ = fs::write(folder.join(files.swap), files.most_swap.map_or(limit.0, |most| most.0).to_string());
        Ok(Self { folder, kills: files.kills })
    }
}
