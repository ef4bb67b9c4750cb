//! The Controller service: creates, deletes, and lists volumes, and reports the capacity of the node.

mod create;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::capability::MountRequest;
use super::request::{check_filesystem, existing_volume, required};
use crate::csi::driver::Driver;
use crate::csi::error::CallError;
use crate::csi::proto::v1::controller_server::Controller;
use crate::csi::proto::v1::controller_service_capability::{Rpc, Type, rpc};
use crate::csi::proto::v1::list_volumes_response::Entry;
use crate::csi::proto::v1::validate_volume_capabilities_response::Confirmed;
use crate::csi::proto::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, GetCapacityRequest,
    GetCapacityResponse, ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
    ValidateVolumeCapabilitiesResponse, Volume,
};
use crate::csi::volume::capacity::wire_bytes;
use crate::csi::volume::class::VolumeClass;
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::VolumeRecord;

/// Implements Controller.
#[derive(Debug, Clone)]
pub struct ControllerService(pub Arc<Driver>);

/// The prefix of every page token, by which the driver recognizes its own tokens.
const PAGE_TOKEN_PREFIX: &str = "after:";

impl Driver {
    fn delete(&self, request: &DeleteVolumeRequest) -> Result<DeleteVolumeResponse, CallError> {
        required("volume_id", &request.volume_id)?;
        // A text that is not a valid ID names a volume that does not exist, so there is nothing to delete.
        let Ok(id) = VolumeId::parse(&request.volume_id) else { return Ok(DeleteVolumeResponse {}) };
        let _lock = self.locks.lock(&id)?;
        if self.store.get(&id).is_some() {
            for backend in self.backends.all() {
                if backend.is_mounted(&id)? {
                    return Err(CallError::FailedPrecondition(format!(
                        "volume {id} is still mounted; it is deleted after it is unmounted"
                    )));
                }
            }
            self.store.mark_for_deletion(&id)?;
            self.backends.all().try_for_each(|backend| backend.delete(&id))?;
            self.store.remove_marked(&id)?;
            tracing::info!(volume = %id, "volume deleted");
        }
        Ok(DeleteVolumeResponse {})
    }

    fn validate(
        &self,
        request: ValidateVolumeCapabilitiesRequest,
    ) -> Result<ValidateVolumeCapabilitiesResponse, CallError> {
        required("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(CallError::InvalidArgument("volume_capabilities is required".to_owned()));
        }
        let volume = self.volume(&existing_volume(&request.volume_id)?)?;
        let supported = MountRequest::common_filesystem(&request.volume_capabilities)
            .and_then(|filesystem| check_filesystem(&volume, &filesystem));
        Ok(match supported {
            Ok(()) => {
                let ValidateVolumeCapabilitiesRequest { volume_context, volume_capabilities, parameters, .. } = request;
                let confirmed = Some(Confirmed { volume_context, volume_capabilities, parameters });
                ValidateVolumeCapabilitiesResponse { confirmed, message: String::new() }
            }
            Err(error) => ValidateVolumeCapabilitiesResponse { confirmed: None, message: error.to_string() },
        })
    }

    fn list(&self, request: &ListVolumesRequest) -> Result<ListVolumesResponse, CallError> {
        let after = parse_page_token(&request.starting_token)?;
        let page = usize::try_from(request.max_entries).map_err(|_| {
            CallError::InvalidArgument(format!("max_entries must not be negative: {}", request.max_entries))
        })?;
        let mut volumes = self.store.list(after.as_ref());
        let mut next_token = String::new();
        if page > 0 && volumes.len() > page {
            volumes.truncate(page);
            next_token = volumes.last().map(|last| format!("{PAGE_TOKEN_PREFIX}{}", last.id)).unwrap_or_default();
        }
        let entries = volumes.iter().map(|volume| Entry { volume: Some(self.volume_message(volume)) }).collect();
        Ok(ListVolumesResponse { entries, next_token })
    }

    fn capacity(&self, request: &GetCapacityRequest) -> Result<GetCapacityResponse, CallError> {
        let is_other_node = request.accessible_topology.as_ref().is_some_and(|topology| !self.is_in(topology));
        let filesystem = match request.volume_capabilities.as_slice() {
            [] => Ok(String::new()),
            capabilities => MountRequest::common_filesystem(capabilities),
        };
        let (false, Ok(filesystem)) = (is_other_node, filesystem) else { return Ok(GetCapacityResponse::default()) };
        let class = VolumeClass::parse(&request.parameters, &filesystem)?;
        let disk = self.backends.get(class.backend).disk_space()?;
        let unallocated = self.store.unallocated(disk, class.overcommit);
        let maximum = unallocated.min(class.max_size.unwrap_or(u64::MAX));
        Ok(GetCapacityResponse {
            available_capacity: wire_bytes(unallocated),
            maximum_volume_size: Some(wire_bytes(maximum)),
            minimum_volume_size: Some(wire_bytes(class.minimum_size())),
        })
    }

    fn volume_message(&self, volume: &VolumeRecord) -> Volume {
        Volume {
            capacity_bytes: wire_bytes(volume.size),
            volume_id: volume.id.to_string(),
            volume_context: std::collections::HashMap::new(),
            accessible_topology: vec![self.topology()],
        }
    }
}

/// The ID after which a page begins; `None` for the first page.
fn parse_page_token(token: &str) -> Result<Option<VolumeId>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    let id = token.strip_prefix(PAGE_TOKEN_PREFIX).and_then(|id| VolumeId::parse(id).ok());
    id.map(Some).ok_or_else(|| CallError::InvalidToken(token.to_owned()))
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        self.0.call("CreateVolume", request.name.clone(), move |driver| driver.create(&request)).await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let request = request.into_inner();
        let response =
            self.0.call("DeleteVolume", request.volume_id.clone(), move |driver| driver.delete(&request)).await;
        // The kernel needs seconds to free a large file, so the space is freed after the call.
        let driver = Arc::clone(&self.0);
        drop(tokio::task::spawn_blocking(move || driver.free_deleted()));
        response
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        let volume = request.volume_id.clone();
        self.0.call("ValidateVolumeCapabilities", volume, move |driver| driver.validate(request)).await
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let request = request.into_inner();
        self.0.call("ListVolumes", String::new(), move |driver| driver.list(&request)).await
    }

    async fn get_capacity(
        &self,
        request: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        let request = request.into_inner();
        self.0.call("GetCapacity", String::new(), move |driver| driver.capacity(&request)).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        // No EXPAND_VOLUME: the Node service expands volumes, and the resizer leaves it to the kubelet.
        let kinds = [rpc::Type::CreateDeleteVolume, rpc::Type::ListVolumes, rpc::Type::GetCapacity];
        let capability =
            |kind: rpc::Type| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: kinds.map(capability).into() }))
    }
}
