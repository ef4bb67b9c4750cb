//! The calls to a driver, one function for each.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rso::csi::proto::v1::controller_client::ControllerClient;
use rso::csi::proto::v1::node_client::NodeClient;
use rso::csi::proto::v1::volume_capability::access_mode::Mode;
use rso::csi::proto::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use rso::csi::proto::v1::{
    CapacityRange, CreateVolumeRequest, DeleteVolumeRequest, NodeExpandVolumeRequest, NodeGetVolumeStatsRequest,
    NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, Volume,
    VolumeCapability, VolumeUsage,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The calls to a driver, which can be used while the driver is being killed.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) directory: PathBuf,
    pub(crate) channel: Option<Channel>,
}

/// A call that failed: code and message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallFailed(pub(crate) Code, pub(crate) String);

pub(crate) type CallResult<T> = Result<T, CallFailed>;

impl Calls {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("csi.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A name that no other test uses: the driver recognizes a loop device only by the name of its file.
    pub(crate) fn name(&self, name: &str) -> String {
        let own = self.directory.file_name().unwrap().to_str().unwrap().to_lowercase();
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

    pub(crate) async fn create(&self, name: &str, bytes: u64, parameters: &[(&str, &str)]) -> CallResult<Volume> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: at_least(bytes),
            volume_capabilities: vec![writer()],
            parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>(),
            ..CreateVolumeRequest::default()
        };
        Ok(response(self.controller().create_volume(request).await)?.volume.unwrap())
    }

    pub(crate) async fn delete(&self, id: &str) -> CallResult<()> {
        let request = DeleteVolumeRequest { volume_id: id.to_owned() };
        response(self.controller().delete_volume(request).await).map(|_| ())
    }

    pub(crate) async fn stage(&self, id: &str) -> CallResult<()> {
        let request = NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(&self.staging(id)),
            volume_capability: Some(writer()),
            ..NodeStageVolumeRequest::default()
        };
        response(self.node().node_stage_volume(request).await).map(|_| ())
    }

    pub(crate) async fn unstage(&self, id: &str) -> CallResult<()> {
        let request =
            NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path: text(&self.staging(id)) };
        response(self.node().node_unstage_volume(request).await).map(|_| ())
    }

    pub(crate) async fn publish(&self, id: &str, readonly: bool) -> CallResult<()> {
        self.publish_as(id, readonly, writer()).await
    }

    pub(crate) async fn publish_as(&self, id: &str, readonly: bool, capability: VolumeCapability) -> CallResult<()> {
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(&self.staging(id)),
            target_path: text(&self.target(id)),
            volume_capability: Some(capability),
            readonly,
            ..NodePublishVolumeRequest::default()
        };
        response(self.node().node_publish_volume(request).await).map(|_| ())
    }

    pub(crate) async fn unpublish(&self, id: &str) -> CallResult<()> {
        let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path: text(&self.target(id)) };
        response(self.node().node_unpublish_volume(request).await).map(|_| ())
    }

    pub(crate) async fn stats(&self, id: &str, path: &Path) -> CallResult<Vec<VolumeUsage>> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: text(path),
            ..NodeGetVolumeStatsRequest::default()
        };
        Ok(response(self.node().node_get_volume_stats(request).await)?.usage)
    }

    /// Expands the volume at the path where it is published.
    pub(crate) async fn expand(&self, id: &str, bytes: u64) -> CallResult<u64> {
        let request = NodeExpandVolumeRequest {
            volume_id: id.to_owned(),
            volume_path: text(&self.target(id)),
            capacity_range: at_least(bytes),
            ..NodeExpandVolumeRequest::default()
        };
        Ok(response(self.node().node_expand_volume(request).await)?.capacity_bytes.try_into().unwrap())
    }

    /// Creates, stages, and publishes a volume; returns its ID and the directory of the Pod.
    pub(crate) async fn mounted(&self, name: &str, bytes: u64, parameters: &[(&str, &str)]) -> (String, PathBuf) {
        let id = self.create(&self.name(name), bytes, parameters).await.unwrap().volume_id;
        self.stage(&id).await.unwrap();
        self.publish(&id, false).await.unwrap();
        let target = self.target(&id);
        (id, target)
    }

    pub(crate) async fn remove(&self, id: &str) {
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

    /// All files of volumes, also incomplete and deleted ones.
    pub(crate) fn files(&self) -> Vec<String> {
        let names = |directory| {
            fs::read_dir(self.path(directory)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap())
        };
        let mut names: Vec<_> =
            names("state/volumes").chain(names("state/trash")).filter(|name| name != "lock").collect();
        names.sort();
        names
    }
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

pub(crate) fn response<T>(result: Result<tonic::Response<T>, Status>) -> CallResult<T> {
    result.map(tonic::Response::into_inner).map_err(|status| CallFailed(status.code(), status.message().to_owned()))
}

pub(crate) fn code<T: std::fmt::Debug>(result: CallResult<T>) -> Code {
    result.unwrap_err().0
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
