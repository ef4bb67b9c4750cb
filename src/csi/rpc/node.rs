//! The Node service: stages, publishes, measures, and expands volumes.

mod publish;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::capability::MountRequest;
use super::request::{check_filesystem, existing_volume, required};
use crate::csi::driver::Driver;
use crate::csi::error::CallError;
use crate::csi::host::mounts::MountTable;
use crate::csi::host::place::{TargetState, create_directory, not_mounted};
use crate::csi::host::statistics::Amount;
use crate::csi::proto::v1::node_server::Node;
use crate::csi::proto::v1::node_service_capability::{Rpc, Type, rpc};
use crate::csi::proto::v1::volume_usage::Unit;
use crate::csi::proto::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse,
    NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest,
    NodeUnstageVolumeResponse, VolumeUsage,
};
use crate::csi::volume::capacity::{Expansion, SizeRange, plan_expansion, wire_bytes};
use crate::csi::volume::record::VolumeRecord;

/// Implements Node.
#[derive(Debug, Clone)]
pub struct NodeService(pub Arc<Driver>);

impl Driver {
    fn stage(&self, request: &NodeStageVolumeRequest) -> Result<NodeStageVolumeResponse, CallError> {
        let id = existing_volume(&request.volume_id)?;
        required("staging_target_path", &request.staging_target_path)?;
        let mount_request = MountRequest::parse(request.volume_capability.as_ref())?;
        let _lock = self.locks.lock(&id)?;
        let volume = self.volume(&id)?;
        check_filesystem(&volume, &mount_request.filesystem)?;
        let path = create_directory(&request.staging_target_path)?;
        match self.with_mounts(&id, |volume| volume.state_at(&MountTable::read()?, &path))? {
            TargetState::Volume(_) => {}
            TargetState::OtherMount => {
                let path = path.display();
                return Err(CallError::AlreadyExists(format!(
                    "something else is mounted at {path}; unmount what is mounted there"
                )));
            }
            TargetState::NotMounted => {
                self.backends.get(volume.class.backend).stage(&volume, &path, &mount_request.options)?;
                tracing::info!(volume = %id, path = %path.display(), "volume staged");
            }
        }
        Ok(NodeStageVolumeResponse {})
    }

    /// Does not read the record: a Pod must be able to end regardless of the state of the volume.
    fn unstage(&self, request: &NodeUnstageVolumeRequest) -> Result<NodeUnstageVolumeResponse, CallError> {
        required("staging_target_path", &request.staging_target_path)?;
        let id = existing_volume(&request.volume_id)?;
        let _lock = self.locks.lock(&id)?;
        if let Some(path) = self.with_mounts(&id, |volume| volume.unmount_all(&request.staging_target_path))? {
            tracing::info!(volume = %id, path = %path.display(), "volume unstaged");
        }
        Ok(NodeUnstageVolumeResponse {})
    }

    fn stats(&self, request: &NodeGetVolumeStatsRequest) -> Result<NodeGetVolumeStatsResponse, CallError> {
        let id = existing_volume(&request.volume_id)?;
        required("volume_path", &request.volume_path)?;
        let (path, mount) = self.with_mounts(&id, |volume| volume.mount_at(&request.volume_path))?;
        // Without the record, so that the usage of an unavailable volume is reported too.
        let backend =
            self.backends.of_mount(&mount, &id)?.ok_or_else(|| not_mounted(id.as_str(), &request.volume_path))?;
        let statistics = backend.statistics(&path)?;
        let usage = |amount: Amount, unit: Unit| VolumeUsage {
            total: wire_bytes(amount.total),
            used: wire_bytes(amount.used),
            available: wire_bytes(amount.available),
            unit: unit.into(),
        };
        let usage = vec![usage(statistics.bytes, Unit::Bytes), usage(statistics.inodes, Unit::Inodes)];
        Ok(NodeGetVolumeStatsResponse { usage })
    }

    fn expand(&self, request: &NodeExpandVolumeRequest) -> Result<NodeExpandVolumeResponse, CallError> {
        let id = existing_volume(&request.volume_id)?;
        required("volume_path", &request.volume_path)?;
        let range = SizeRange::parse(request.capacity_range.as_ref())?;
        let _lock = self.locks.lock(&id)?;
        let volume = self.volume(&id)?;
        let (_, mount) = self.with_mounts(&id, |volume| volume.mount_at(&request.volume_path))?;
        let old_size = volume.size;
        let volume = self.allocate(volume, range)?;
        self.backends.get(volume.class.backend).expand(&volume, &mount)?;
        tracing::info!(volume = %id, from = old_size, to = volume.size, "volume expanded");
        Ok(NodeExpandVolumeResponse { capacity_bytes: wire_bytes(volume.size) })
    }

    /// Allocates what the range requires, and returns the volume with its new size.
    fn allocate(&self, mut volume: VolumeRecord, range: SizeRange) -> Result<VolumeRecord, CallError> {
        match plan_expansion(volume.size, range, &volume.class)? {
            Expansion::Keep => Ok(volume),
            Expansion::To { size, additional } => {
                let backend = self.backends.get(volume.class.backend);
                let (disk, overcommit) = (backend.disk_space()?, volume.class.overcommit);
                let reservation = self.store.reserve(additional, disk, overcommit).map_err(|unallocated| {
                    let node = &self.node_id;
                    CallError::OutOfRange(format!(
                        "node {node} has {unallocated} bytes left to allocate, and the expansion needs {additional} more; \
                         request a smaller size or delete volumes on the node"
                    ))
                })?;
                // Before the record: a size that the disk cannot hold is not recorded.
                backend.extend(&volume.id, size)?;
                volume.size = size;
                self.store.put(volume.clone(), reservation)?;
                Ok(volume)
            }
        }
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodeStageVolume", request.volume_id.clone(), move |driver| driver.stage(&request)).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodeUnstageVolume", request.volume_id.clone(), move |driver| driver.unstage(&request)).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodePublishVolume", request.volume_id.clone(), move |driver| driver.publish(&request)).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodeUnpublishVolume", request.volume_id.clone(), move |driver| driver.unpublish(&request)).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodeGetVolumeStats", request.volume_id.clone(), move |driver| driver.stats(&request)).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("NodeExpandVolume", request.volume_id.clone(), move |driver| driver.expand(&request)).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let kinds = [rpc::Type::StageUnstageVolume, rpc::Type::GetVolumeStats, rpc::Type::ExpandVolume];
        let capability =
            |kind: rpc::Type| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities: kinds.map(capability).into() }))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.0.node_id.clone(),
            max_volumes_per_node: 0,
            accessible_topology: Some(self.0.topology()),
        }))
    }
}
