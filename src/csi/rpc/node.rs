//! The Node service: volumes are mounted, shown to pods, measured, grown. Each call: parse → pure plan → system calls.

use std::fs;
use std::io;
use std::sync::Arc;

use rustix::mount::MountFlags;
use tonic::{Request, Response, Status};

use super::capability::Usage;
use crate::csi::backend::{filesystem, loop_device};
use crate::csi::driver::{Driver, known_id, required};
use crate::csi::error::Fault;
use crate::csi::host::mounts::{self, Table};
use crate::csi::host::place::{Occupant, existing, folder, mounted_at, occupant, unmounted};
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
use crate::csi::volume::capacity::{Growth, Range, growth, wire};
use crate::csi::volume::record::Volume;

/// Serves Node.
#[derive(Debug, Clone)]
pub struct NodeService(pub Arc<Driver>);

/// What publishing has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Publish {
    Nothing,
    Bind(MountFlags),
    SetFlags(MountFlags),
}

/// `staged`: flags of the staged mount, which a new bind mount takes over.
fn plan_publish(target: &Occupant, staged: MountFlags, wanted: MountFlags) -> Result<Publish, Fault> {
    match target {
        Occupant::Another => Err(Fault::Conflict("something else is mounted at target_path".to_owned())),
        Occupant::Nothing => Ok(Publish::Bind(staged | wanted)),
        Occupant::ThisVolume(mount) if mount.flags.contains(wanted) => {
            let read_only = mount.flags.contains(MountFlags::RDONLY);
            let may_be = (staged | wanted).contains(MountFlags::RDONLY);
            if read_only && !may_be {
                return Err(Fault::Conflict("the volume is published read-only at target_path already".to_owned()));
            }
            Ok(Publish::Nothing)
        }
        // A call before this one ended between its two steps.
        Occupant::ThisVolume(mount) => Ok(Publish::SetFlags(mount.flags | wanted)),
    }
}

impl Driver {
    fn stage(&self, request: &NodeStageVolumeRequest) -> Result<NodeStageVolumeResponse, Fault> {
        let id = known_id(&request.volume_id)?;
        required("staging_target_path", &request.staging_target_path)?;
        let usage = Usage::parse(request.volume_capability.as_ref())?;
        let _held = self.locks.hold(&id)?;
        let volume = self.volume(&id)?;
        let has = volume.class.filesystem.name();
        if !usage.filesystem.is_empty() && usage.filesystem != has {
            return Err(Fault::Invalid(format!("volume {id} is {has}, not {}", usage.filesystem)));
        }
        let path = folder(&request.staging_target_path)?;
        match occupant(&Table::read()?, &path, &id)? {
            Occupant::ThisVolume(_) => {}
            Occupant::Another => {
                return Err(Fault::Conflict(format!("something else is mounted at {}", path.display())));
            }
            Occupant::Nothing => {
                let image = self.images.path(&id);
                if !loop_device::is_attached(&id)? {
                    filesystem::grow_offline(&self.tools, volume.class.filesystem, &image)?;
                }
                filesystem::mount(&self.tools, volume.class.filesystem, &image, &path, &usage.flags)?;
                tracing::info!(volume = %id, path = %path.display(), "volume staged");
            }
        }
        Ok(NodeStageVolumeResponse {})
    }

    fn publish(&self, request: &NodePublishVolumeRequest) -> Result<NodePublishVolumeResponse, Fault> {
        let id = known_id(&request.volume_id)?;
        required("target_path", &request.target_path)?;
        required("staging_target_path", &request.staging_target_path)?;
        let usage = Usage::parse(request.volume_capability.as_ref())?;
        let _held = self.locks.hold(&id)?;
        self.volume(&id)?;
        let not_staged = || Fault::NotNow(format!("volume {id} is not staged at {}", request.staging_target_path));
        let staging = existing(&request.staging_target_path)?.ok_or_else(not_staged)?;
        let table = Table::read()?;
        let Occupant::ThisVolume(staged) = occupant(&table, &staging, &id)? else { return Err(not_staged()) };
        let target = folder(&request.target_path)?;
        let mut wanted = mounts::flags(usage.flags.iter().map(String::as_str));
        wanted.set(MountFlags::RDONLY, wanted.contains(MountFlags::RDONLY) || request.readonly || usage.read_only);
        match plan_publish(&occupant(&table, &target, &id)?, staged.flags, wanted)? {
            Publish::Nothing => {}
            Publish::SetFlags(flags) => mounts::set_flags(&target, flags)?,
            Publish::Bind(flags) => {
                mounts::bind(&staging, &target)?;
                if flags != staged.flags {
                    mounts::set_flags(&target, flags)?;
                }
                tracing::info!(volume = %id, path = %target.display(), "volume published");
            }
        }
        Ok(NodePublishVolumeResponse {})
    }

    /// Asks no record: a pod must be able to end whatever has happened to the volume.
    fn unpublish(&self, request: &NodeUnpublishVolumeRequest) -> Result<NodeUnpublishVolumeResponse, Fault> {
        required("target_path", &request.target_path)?;
        let id = known_id(&request.volume_id)?;
        let _held = self.locks.hold(&id)?;
        if let Some(path) = unmounted(&request.target_path, &id)? {
            match fs::remove_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::io("remove", path)(error)),
                Ok(()) | Err(_) => tracing::info!(volume = %id, path = %path.display(), "volume unpublished"),
            }
        }
        Ok(NodeUnpublishVolumeResponse {})
    }

    /// Asks no record, as above.
    fn unstage(&self, request: &NodeUnstageVolumeRequest) -> Result<NodeUnstageVolumeResponse, Fault> {
        required("staging_target_path", &request.staging_target_path)?;
        let id = known_id(&request.volume_id)?;
        let _held = self.locks.hold(&id)?;
        if let Some(path) = unmounted(&request.staging_target_path, &id)? {
            tracing::info!(volume = %id, path = %path.display(), "volume unstaged");
        }
        Ok(NodeUnstageVolumeResponse {})
    }

    fn stats(&self, request: &NodeGetVolumeStatsRequest) -> Result<NodeGetVolumeStatsResponse, Fault> {
        let id = known_id(&request.volume_id)?;
        required("volume_path", &request.volume_path)?;
        let (path, _) = mounted_at(&request.volume_path, &id)?;
        let stat = rustix::fs::statvfs(&path).map_err(Fault::io("measure", &path))?;
        let bytes = |blocks: u64| wire(blocks.saturating_mul(stat.f_frsize));
        let usage = vec![
            VolumeUsage {
                total: bytes(stat.f_blocks),
                used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
                available: bytes(stat.f_bavail),
                unit: Unit::Bytes.into(),
            },
            VolumeUsage {
                total: wire(stat.f_files),
                used: wire(stat.f_files.saturating_sub(stat.f_ffree)),
                available: wire(stat.f_favail),
                unit: Unit::Inodes.into(),
            },
        ];
        Ok(NodeGetVolumeStatsResponse { usage })
    }

    fn expand(&self, request: &NodeExpandVolumeRequest) -> Result<NodeExpandVolumeResponse, Fault> {
        let id = known_id(&request.volume_id)?;
        required("volume_path", &request.volume_path)?;
        let range = Range::parse(request.capacity_range.as_ref())?;
        let _held = self.locks.hold(&id)?;
        let volume = self.volume(&id)?;
        let (_, mount) = mounted_at(&request.volume_path, &id)?;
        let size = self.promise(volume.clone(), range)?;
        // Done even when the promise is old: a call before this one may have ended right after it.
        self.images.lengthen(&id, size)?;
        loop_device::refresh(&self.tools, mount.device)?;
        filesystem::grow(&self.tools, volume.class.filesystem, &mount, &Table::read()?)?;
        tracing::info!(volume = %id, from = volume.size, to = size, "volume grown");
        Ok(NodeExpandVolumeResponse { capacity_bytes: wire(size) })
    }

    /// Promises the volume what is asked and returns its size, bytes.
    fn promise(&self, mut volume: Volume, range: Range) -> Result<u64, Fault> {
        match growth(volume.size, range, &volume.class)? {
            Growth::Keep => Ok(volume.size),
            Growth::To { size, more } => {
                let disk = self.images.disk()?;
                let reservation = self.store.reserve(more, disk, volume.class.overcommit).map_err(|room| {
                    let node = &self.node_id;
                    Fault::OutOfRange(format!(
                        "node {node} has {room} bytes left to promise, and {more} more are asked"
                    ))
                })?;
                self.images.lengthen(&volume.id, size)?;
                volume.size = size;
                self.store.put(volume, reservation)?;
                Ok(size)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::host::mounts::{Device, Mount};

    const RO: MountFlags = MountFlags::RDONLY;
    const NOEXEC: MountFlags = MountFlags::NOEXEC;
    const NONE: MountFlags = MountFlags::empty();

    fn this(flags: MountFlags) -> Occupant {
        Occupant::ThisVolume(Mount { device: Device { major: 7, minor: 0 }, point: "/t".into(), flags })
    }

    #[test]
    fn publishing_mounts_once_and_only_over_nothing() {
        let check = |target: Occupant, staged, wanted, expected: Result<Publish, tonic::Code>| {
            let got = plan_publish(&target, staged, wanted).map_err(|fault| fault.code());
            assert_eq!(got, expected, "{target:?} {staged:?} {wanted:?}");
        };
        check(Occupant::Nothing, NONE, NONE, Ok(Publish::Bind(NONE)));
        check(Occupant::Nothing, NOEXEC, RO, Ok(Publish::Bind(NOEXEC | RO)));
        check(Occupant::Another, NONE, NONE, Err(tonic::Code::AlreadyExists));
        check(this(NONE), NONE, NONE, Ok(Publish::Nothing));
        check(this(RO), NONE, RO, Ok(Publish::Nothing));
        check(this(RO), RO, NONE, Ok(Publish::Nothing));
        check(this(NOEXEC), NONE, RO, Ok(Publish::SetFlags(NOEXEC | RO)));
        check(this(RO), NONE, NONE, Err(tonic::Code::AlreadyExists));
    }
}
