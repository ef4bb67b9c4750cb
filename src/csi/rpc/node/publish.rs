//! NodePublishVolume and NodeUnpublishVolume: bind mounts of a staged volume at the path of a Pod.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::MountFlags;

use crate::csi::driver::Driver;
use crate::csi::error::CallError;
use crate::csi::host::mounts::{self, MountTable};
use crate::csi::host::place::{TargetState, create_directory, existing};
use crate::csi::proto::v1::{
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
};
use crate::csi::rpc::capability::MountRequest;
use crate::csi::rpc::request::{existing_volume, required};

/// What NodePublishVolume must do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PublishPlan {
    Nothing,
    Bind(MountFlags),
    SetFlags(MountFlags),
}

/// `staged`: the flags of the staged mount, which a new bind mount inherits.
fn plan_publish(target: &TargetState, staged: MountFlags, requested: MountFlags) -> Result<PublishPlan, CallError> {
    match target {
        TargetState::OtherMount => Err(CallError::AlreadyExists(
            "something else is mounted at target_path; unmount what is mounted there".to_owned(),
        )),
        TargetState::NotMounted => Ok(PublishPlan::Bind(staged | requested)),
        TargetState::Volume(mount) if mount.flags.contains(requested) => {
            let read_only = mount.flags.contains(MountFlags::RDONLY);
            let read_only_expected = (staged | requested).contains(MountFlags::RDONLY);
            if read_only && !read_only_expected {
                return Err(CallError::AlreadyExists(
                    "the volume is already published read-only at target_path; unpublish it first".to_owned(),
                ));
            }
            Ok(PublishPlan::Nothing)
        }
        // An earlier call ended between its two steps.
        TargetState::Volume(mount) => Ok(PublishPlan::SetFlags(mount.flags | requested)),
    }
}

impl Driver {
    pub(super) fn publish(&self, request: &NodePublishVolumeRequest) -> Result<NodePublishVolumeResponse, CallError> {
        let id = existing_volume(&request.volume_id)?;
        required("target_path", &request.target_path)?;
        required("staging_target_path", &request.staging_target_path)?;
        let mount_request = MountRequest::parse(request.volume_capability.as_ref())?;
        let _lock = self.locks.lock(&id)?;
        self.volume(&id)?;
        let path = &request.staging_target_path;
        let not_staged =
            || CallError::FailedPrecondition(format!("volume {id} is not staged at {path}; stage it first"));
        let staging = existing(path)?.ok_or_else(not_staged)?;
        let table = MountTable::read()?;
        let state_at = |path: &Path| self.with_mounts(&id, |volume| volume.state_at(&table, path));
        let TargetState::Volume(staged) = state_at(&staging)? else { return Err(not_staged()) };
        let target = create_directory(&request.target_path)?;
        match plan_publish(&state_at(&target)?, staged.flags, requested_flags(request, &mount_request))? {
            PublishPlan::Nothing => {}
            PublishPlan::SetFlags(flags) => mounts::set_flags(&target, flags)?,
            PublishPlan::Bind(flags) => {
                mounts::bind(&staging, &target)?;
                if flags != staged.flags {
                    mounts::set_flags(&target, flags)?;
                }
                tracing::info!(volume = %id, path = %target.display(), "volume published");
            }
        }
        Ok(NodePublishVolumeResponse {})
    }

    /// Does not read the record: a Pod must be able to end regardless of the state of the volume.
    pub(super) fn unpublish(
        &self,
        request: &NodeUnpublishVolumeRequest,
    ) -> Result<NodeUnpublishVolumeResponse, CallError> {
        required("target_path", &request.target_path)?;
        let id = existing_volume(&request.volume_id)?;
        let _lock = self.locks.lock(&id)?;
        if let Some(path) = self.with_mounts(&id, |volume| volume.unmount_all(&request.target_path))? {
            match fs::remove_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CallError::io("remove", path)(error));
                }
                Ok(()) | Err(_) => tracing::info!(volume = %id, path = %path.display(), "volume unpublished"),
            }
        }
        Ok(NodeUnpublishVolumeResponse {})
    }
}

/// The flags of the bind mount that a call requests.
fn requested_flags(request: &NodePublishVolumeRequest, mount_request: &MountRequest) -> MountFlags {
    let mut flags = mounts::flags(mount_request.options.iter().map(String::as_str));
    let read_only = flags.contains(MountFlags::RDONLY) || request.readonly || mount_request.read_only;
    flags.set(MountFlags::RDONLY, read_only);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::host::mounts::{DeviceNumber, Mount};

    const RO: MountFlags = MountFlags::RDONLY;
    const NOEXEC: MountFlags = MountFlags::NOEXEC;
    const NONE: MountFlags = MountFlags::empty();

    fn volume(flags: MountFlags) -> TargetState {
        TargetState::Volume(Mount { device: DeviceNumber { major: 7, minor: 0 }, point: "/t".into(), flags })
    }

    #[test]
    fn a_volume_is_mounted_once_and_never_over_another_mount() {
        let check = |target: TargetState, staged, requested, expected: Result<PublishPlan, tonic::Code>| {
            let plan = plan_publish(&target, staged, requested).map_err(|error| error.code());
            assert_eq!(plan, expected, "{target:?} {staged:?} {requested:?}");
        };
        check(TargetState::NotMounted, NONE, NONE, Ok(PublishPlan::Bind(NONE)));
        check(TargetState::NotMounted, NOEXEC, RO, Ok(PublishPlan::Bind(NOEXEC | RO)));
        check(TargetState::OtherMount, NONE, NONE, Err(tonic::Code::AlreadyExists));
        check(volume(NONE), NONE, NONE, Ok(PublishPlan::Nothing));
        check(volume(RO), NONE, RO, Ok(PublishPlan::Nothing));
        check(volume(RO), RO, NONE, Ok(PublishPlan::Nothing));
        check(volume(NOEXEC), NONE, RO, Ok(PublishPlan::SetFlags(NOEXEC | RO)));
        check(volume(RO), NONE, NONE, Err(tonic::Code::AlreadyExists));
    }
}
