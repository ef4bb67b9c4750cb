//! A separate driver for each test.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rso::csi::proto::v1::ProbeRequest;
use rso::csi::proto::v1::identity_client::IdentityClient;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::calls::Calls;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// A driver with a state directory, and the directories that a kubelet would use.
pub(crate) struct Driver {
    directory: TempDir,
    child: Option<Child>,
    calls: Calls,
}

impl std::ops::Deref for Driver {
    type Target = Calls;
    fn deref(&self) -> &Calls {
        &self.calls
    }
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let mut driver = Self::prepared();
        driver.restart().await;
        driver
    }

    /// A driver on a separate disk of this size.
    pub(crate) async fn start_on_disk(bytes: u64) -> Self {
        let mut driver = Self::prepared();
        let (state, options) = (driver.path("state"), CString::new(format!("size={bytes}")).unwrap());
        fs::create_dir(&state).unwrap();
        mount("tmpfs", &state, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        driver.restart().await;
        driver
    }

    fn prepared() -> Self {
        let directory = tempfile::Builder::new().prefix("rso-csi-").tempdir().unwrap();
        let calls = Calls { directory: directory.path().canonicalize().unwrap(), channel: None };
        Self { directory, child: None, calls }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Starts the driver (again) on the existing directories.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rso"))
            .arg("csi")
            .args(["--node-id", "node1", "--endpoint"])
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--registration-dir")
            .arg(self.path("registry"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = self.connect().await {
            assert!(Instant::now() < deadline, "not ready: {error}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Only a response shows that the new driver is ready: a killed driver leaves its socket.
    async fn connect(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket().display()))?;
        let channel = endpoint.connect().await?;
        IdentityClient::new(channel.clone()).probe(ProbeRequest {}).await?;
        self.calls.channel = Some(channel);
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends SIGTERM; returns whether the driver ended with success, and how long that took.
    pub(crate) fn terminate(&mut self) -> (bool, Duration) {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        (child.wait().unwrap().success(), start.elapsed())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
        for point in mount_points().rev().filter(|point| point.starts_with(self.directory.path())) {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The number of mounts at a path.
pub(crate) fn mounts_at(path: &Path) -> usize {
    mount_points().filter(|point| point == path).count()
}

fn mount_points() -> impl DoubleEndedIterator<Item = PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points: Vec<_> = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    points.into_iter()
}

/// Size of the filesystem at a path, bytes.
pub(crate) fn filesystem_size(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_blocks * stat.f_frsize
}
