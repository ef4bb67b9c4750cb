//! A driver of its own for each test, and its calls in one line each.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rso::csi::proto::v1::controller_client::ControllerClient;
use rso::csi::proto::v1::identity_client::IdentityClient;
use rso::csi::proto::v1::node_client::NodeClient;
use rso::csi::proto::v1::volume_capability::access_mode::Mode;
use rso::csi::proto::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use rso::csi::proto::v1::{
    CapacityRange, CreateVolumeRequest, DeleteVolumeRequest, NodeExpandVolumeRequest, NodeGetVolumeStatsRequest,
    NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest,
    ProbeRequest, Volume, VolumeCapability, VolumeUsage,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// A driver with a state folder, and the folders a kubelet would give it.
pub(crate) struct Driver {
    folder: TempDir,
    child: Option<Child>,
    calls: Calls,
}

/// The calls to a driver; usable while the driver is being killed.
#[derive(Clone)]
pub(crate) struct Calls {
    folder: PathBuf,
    channel: Option<Channel>,
}

impl std::ops::Deref for Driver {
    type Target = Calls;
    fn deref(&self) -> &Calls {
        &self.calls
    }
}

/// A call that failed: code and message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Code, pub(crate) String);

pub(crate) type Answer<T> = Result<T, Refused>;

impl Driver {
    pub(crate) async fn start() -> Self {
        let mut driver = Self::prepared();
        driver.restart().await;
        driver
    }

    /// A driver on a disk of its own, of that size.
    pub(crate) async fn start_on_disk(bytes: u64) -> Self {
        let mut driver = Self::prepared();
        let (state, options) = (driver.path("state"), CString::new(format!("size={bytes}")).unwrap());
        fs::create_dir(&state).unwrap();
        mount("tmpfs", &state, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        driver.restart().await;
        driver
    }

    fn prepared() -> Self {
        let folder = tempfile::Builder::new().prefix("rso-csi-").tempdir().unwrap();
        let calls = Calls { folder: folder.path().canonicalize().unwrap(), channel: None };
        Self { folder, child: None, calls }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Starts it (again) on what is there.
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
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(error) = self.connect().await {
            assert!(Instant::now() < patience, "not up: {error}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Only an answer shows that the new driver is there: a killed one leaves its socket behind.
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

    /// SIGTERM; whether it ended with success, and how long that took.
    pub(crate) fn terminate(&mut self) -> (bool, Duration) {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        (child.wait().unwrap().success(), begun.elapsed())
    }
}

impl Calls {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("csi.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Unlike any name of another test: a loop device shows only the last part of its file's path.
    pub(crate) fn name(&self, name: &str) -> String {
        let own = self.folder.file_name().unwrap().to_str().unwrap().to_lowercase();
        format!("{name}-{own}")
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone().unwrap()
    }

    pub(crate) fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel())
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel())
    }

    pub(crate) async fn create(&self, name: &str, bytes: u64, parameters: &[(&str, &str)]) -> Answer<Volume> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: at_least(bytes),
            volume_capabilities: vec![writer()],
            parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>(),
            ..CreateVolumeRequest::default()
        };
        Ok(answer(self.controller().create_volume(request).await)?.volume.unwrap())
    }

    pub(crate) async fn delete(&self, id: &str) -> Answer<()> {
        let request = DeleteVolumeRequest { volume_id: id.to_owned() };
        answer(self.controller().delete_volume(request).await).map(|_| ())
    }

    pub(crate) async fn stage(&self, id: &str) -> Answer<()> {
        let request = NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(&self.staging(id)),
            volume_capability: Some(writer()),
            ..NodeStageVolumeRequest::default()
        };
        answer(self.node().node_stage_volume(request).await).map(|_| ())
    }

    pub(crate) async fn unstage(&self, id: &str) -> Answer<()> {
        let request =
            NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path: text(&self.staging(id)) };
        answer(self.node().node_unstage_volume(request).await).map(|_| ())
    }

    pub(crate) async fn publish(&self, id: &str, readonly: bool) -> Answer<()> {
        self.publish_as(id, readonly, writer()).await
    }

    pub(crate) async fn publish_as(&self, id: &str, readonly: bool, capability: VolumeCapability) -> Answer<()> {
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(&self.staging(id)),
            target_path: text(&self.target(id)),
            volume_capability: Some(capability),
            readonly,
            ..NodePublishVolumeRequest::default()
        };
        answer(self.node().node_publish_volume(request).await).map(|_| ())
    }

    pub(crate) async fn unpublish(&self, id: &str) -> Answer<()> {
        let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path: text(&self.target(id)) };
        answer(self.node().node_unpublish_volume(request).await).map(|_| ())
    }

    pub(crate) async fn stats(&self, id: &str, path: &Path) -> Answer<Vec<VolumeUsage>> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: text(path),
            ..NodeGetVolumeStatsRequest::default()
        };
        Ok(answer(self.node().node_get_volume_stats(request).await)?.usage)
    }

    /// Grows the volume where it is published.
    pub(crate) async fn expand(&self, id: &str, bytes: u64) -> Answer<u64> {
        let request = NodeExpandVolumeRequest {
            volume_id: id.to_owned(),
            volume_path: text(&self.target(id)),
            capacity_range: at_least(bytes),
            ..NodeExpandVolumeRequest::default()
        };
        Ok(answer(self.node().node_expand_volume(request).await)?.capacity_bytes.try_into().unwrap())
    }

    /// Made, staged and published; the folder a pod would see.
    pub(crate) async fn mounted(&self, name: &str, bytes: u64, parameters: &[(&str, &str)]) -> (String, PathBuf) {
        let id = self.create(&self.name(name), bytes, parameters).await.unwrap().volume_id;
        self.stage(&id).await.unwrap();
        self.publish(&id, false).await.unwrap();
        let target = self.target(&id);
        (id, target)
    }

    pub(crate) async fn gone(&self, id: &str) {
        self.unpublish(id).await.unwrap();
        self.unstage(id).await.unwrap();
        self.delete(id).await.unwrap();
    }

    pub(crate) fn staging(&self, id: &str) -> PathBuf {
        self.path(&format!("staging-{id}"))
    }

    pub(crate) fn target(&self, id: &str) -> PathBuf {
        self.path(&format!("pods/{id}/mount"))
    }

    /// Files of volumes, whole or not.
    pub(crate) fn files(&self) -> Vec<String> {
        let names =
            |folder| fs::read_dir(self.path(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> =
            names("state/volumes").chain(names("state/trash")).filter(|name| name != "lock").collect();
        names.sort();
        names
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
        for point in mount_points().rev().filter(|point| point.starts_with(self.folder.path())) {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// How many mounts there are at a path.
pub(crate) fn mounts_at(path: &Path) -> usize {
    mount_points().filter(|point| point == path).count()
}

fn mount_points() -> impl DoubleEndedIterator<Item = PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points: Vec<_> = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    points.into_iter()
}

pub(crate) fn at_least(bytes: u64) -> Option<CapacityRange> {
    Some(CapacityRange { required_bytes: bytes.try_into().unwrap(), limit_bytes: 0 })
}

pub(crate) fn writer() -> VolumeCapability {
    capability("", &[], Mode::SingleNodeWriter)
}

pub(crate) fn capability(filesystem: &str, flags: &[&str], mode: Mode) -> VolumeCapability {
    let mount_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume { fs_type: filesystem.to_owned(), mount_flags })),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

pub(crate) fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Answer<T> {
    result.map(tonic::Response::into_inner).map_err(|status| Refused(status.code(), status.message().to_owned()))
}

pub(crate) fn code<T: std::fmt::Debug>(answer: Answer<T>) -> Code {
    answer.unwrap_err().0
}

/// Size of the filesystem at a path, bytes.
pub(crate) fn filesystem_size(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_blocks * stat.f_frsize
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
