//! The Controller service: volumes are made, removed, listed, counted. Each call: parse → pure plan → system calls.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::capability::Usage;
use crate::csi::backend::loop_device;
use crate::csi::driver::{Driver, known_id, out_of_service, required};
use crate::csi::error::Fault;
use crate::csi::proto::v1::controller_server::Controller;
use crate::csi::proto::v1::controller_service_capability::{Rpc, Type, rpc};
use crate::csi::proto::v1::list_volumes_response::Entry as Listed;
use crate::csi::proto::v1::validate_volume_capabilities_response::Confirmed;
use crate::csi::proto::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, GetCapacityRequest,
    GetCapacityResponse, ListVolumesRequest, ListVolumesResponse, ValidateVolumeCapabilitiesRequest,
    ValidateVolumeCapabilitiesResponse, Volume as Wire,
};
use crate::csi::volume::capacity::{Range, size_of_new, wire};
use crate::csi::volume::class::Class;
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::{Entry, Volume};

/// Serves Controller.
#[derive(Debug, Clone)]
pub struct ControllerService(pub Arc<Driver>);

/// Longest name of a volume that CSI allows, bytes.
const LONGEST_NAME: usize = 128;

/// Begins every token of [`Driver::list`], so that one that is not ours is known.
const TOKEN: &str = "after:";

/// What a CreateVolume asks for, checked.
#[derive(Debug)]
struct Wanted {
    id: VolumeId,
    name: String,
    range: Range,
    class: Class,
}

impl Wanted {
    fn parse(request: &CreateVolumeRequest) -> Result<Self, Fault> {
        required("name", &request.name)?;
        if request.name.len() > LONGEST_NAME {
            return Err(Fault::Invalid(format!("the name is longer than {LONGEST_NAME} bytes")));
        }
        if request.volume_content_source.is_some() {
            return Err(Fault::Invalid("snapshots and clones are not supported: leave dataSource out".to_owned()));
        }
        if !request.mutable_parameters.is_empty() {
            return Err(Fault::Invalid("VolumeAttributesClass is not supported".to_owned()));
        }
        let filesystem = Usage::filesystem_of(&request.volume_capabilities)?;
        let class = Class::parse(&request.parameters, &filesystem)?;
        let range = Range::parse(request.capacity_range.as_ref())?;
        Ok(Self { id: VolumeId::from_name(&request.name), name: request.name.clone(), range, class })
    }

    /// Whether a volume that is there already is what is wanted: the call was made before, and its answer got lost.
    fn meets(&self, volume: &Volume) -> Result<(), Fault> {
        let differs = if volume.name != self.name {
            format!("name is {:?}", volume.name)
        } else if !self.range.admits(volume.size) {
            format!("size is {} bytes", volume.size)
        } else if volume.class != self.class {
            "parameters are others".to_owned()
        } else {
            return Ok(());
        };
        Err(Fault::Conflict(format!("volume {} is there already, but its {differs}", self.id)))
    }
}

impl Driver {
    fn create(&self, request: &CreateVolumeRequest) -> Result<CreateVolumeResponse, Fault> {
        let wanted = Wanted::parse(request)?;
        self.reachable_as_asked(request)?;
        let _held = self.locks.hold(&wanted.id)?;
        let volume = match self.store.get(&wanted.id) {
            Some(Entry::Sound(volume)) => wanted.meets(&volume).map(|()| volume)?,
            Some(Entry::Quarantined { reason, .. }) => return Err(out_of_service(&wanted.id, &reason)),
            None => self.make(wanted)?,
        };
        // Also for one that was there: its image may not have its name yet.
        self.images.reveal(&volume.id)?;
        Ok(CreateVolumeResponse { volume: Some(self.wire(&volume)) })
    }

    /// Image, record, in this order: see `state::clean`.
    fn make(&self, wanted: Wanted) -> Result<Volume, Fault> {
        let size = size_of_new(wanted.range, &wanted.class)?;
        let overcommit = wanted.class.overcommit;
        let reservation = self.store.reserve(size, self.images.disk()?, overcommit).map_err(|room| {
            Fault::Exhausted(format!("node {} has {room} bytes left to promise, fewer than {size}", self.node_id))
        })?;
        self.images.prepare(&wanted.id, size, wanted.class.filesystem)?;
        let Wanted { id, name, class, .. } = wanted;
        let volume = Volume { id, name, size, class };
        self.store.put(volume.clone(), reservation)?;
        tracing::info!(volume = %volume.id, bytes = size, filesystem = volume.class.filesystem.name(), "volume made");
        Ok(volume)
    }

    fn reachable_as_asked(&self, request: &CreateVolumeRequest) -> Result<(), Fault> {
        let requisite = request.accessibility_requirements.as_ref().map_or(&[][..], |asked| &asked.requisite);
        if requisite.is_empty() || requisite.iter().any(|place| self.is_at(place)) {
            return Ok(());
        }
        Err(Fault::Exhausted(format!(
            "volumes of node {} cannot be reached from where this one is needed",
            self.node_id
        )))
    }

    fn delete(&self, request: &DeleteVolumeRequest) -> Result<DeleteVolumeResponse, Fault> {
        required("volume_id", &request.volume_id)?;
        // An id that cannot be ours names nothing that is there, and nothing is touched.
        let Ok(id) = VolumeId::parse(&request.volume_id) else { return Ok(DeleteVolumeResponse {}) };
        let _held = self.locks.hold(&id)?;
        if self.store.get(&id).is_some() {
            if loop_device::is_attached(&id)? {
                return Err(Fault::NotNow(format!("volume {id} is still mounted: it is removed when it is unmounted")));
            }
            self.store.doom(&id)?;
            self.images.discard(&id)?;
            self.store.forget(&id)?;
            tracing::info!(volume = %id, "volume removed");
        }
        Ok(DeleteVolumeResponse {})
    }

    fn validate(
        &self,
        request: ValidateVolumeCapabilitiesRequest,
    ) -> Result<ValidateVolumeCapabilitiesResponse, Fault> {
        required("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(Fault::Invalid("volume_capabilities is empty".to_owned()));
        }
        let volume = self.volume(&known_id(&request.volume_id)?)?;
        let possible = Usage::filesystem_of(&request.volume_capabilities).and_then(|filesystem| {
            let has = volume.class.filesystem.name();
            if filesystem.is_empty() || filesystem == has {
                return Ok(());
            }
            Err(Fault::Invalid(format!("the volume is {has}, not {filesystem}")))
        });
        Ok(match possible {
            Ok(()) => {
                let ValidateVolumeCapabilitiesRequest { volume_context, volume_capabilities, parameters, .. } = request;
                let confirmed = Some(Confirmed { volume_context, volume_capabilities, parameters });
                ValidateVolumeCapabilitiesResponse { confirmed, message: String::new() }
            }
            Err(why) => ValidateVolumeCapabilitiesResponse { confirmed: None, message: why.to_string() },
        })
    }

    fn list(&self, request: &ListVolumesRequest) -> Result<ListVolumesResponse, Fault> {
        let bad_token = || Fault::Token(request.starting_token.clone());
        let after = match request.starting_token.as_str() {
            "" => None,
            token => Some(token.strip_prefix(TOKEN).and_then(|id| VolumeId::parse(id).ok()).ok_or_else(bad_token)?),
        };
        let page = usize::try_from(request.max_entries)
            .map_err(|_| Fault::Invalid(format!("max_entries is below zero: {}", request.max_entries)))?;
        let mut volumes = self.store.list(after.as_ref());
        let mut next_token = String::new();
        if page > 0 && volumes.len() > page {
            volumes.truncate(page);
            next_token = volumes.last().map(|last| format!("{TOKEN}{}", last.id)).unwrap_or_default();
        }
        let entries = volumes.iter().map(|volume| Listed { volume: Some(self.wire(volume)) }).collect();
        Ok(ListVolumesResponse { entries, next_token })
    }

    fn capacity(&self, request: &GetCapacityRequest) -> Result<GetCapacityResponse, Fault> {
        let elsewhere = request.accessible_topology.as_ref().is_some_and(|place| !self.is_at(place));
        let filesystem = match request.volume_capabilities.as_slice() {
            [] => Ok(String::new()),
            capabilities => Usage::filesystem_of(capabilities),
        };
        let (false, Ok(filesystem)) = (elsewhere, filesystem) else { return Ok(GetCapacityResponse::default()) };
        let class = Class::parse(&request.parameters, &filesystem)?;
        let room = self.store.room(self.images.disk()?, class.overcommit);
        let largest = room.min(class.max_size.unwrap_or(u64::MAX));
        Ok(GetCapacityResponse {
            available_capacity: wire(room),
            maximum_volume_size: Some(wire(largest)),
            minimum_volume_size: Some(wire(class.filesystem.least())),
        })
    }

    fn wire(&self, volume: &Volume) -> Wire {
        Wire {
            capacity_bytes: wire(volume.size),
            volume_id: volume.id.to_string(),
            volume_context: std::collections::HashMap::new(),
            accessible_topology: vec![self.topology()],
        }
    }
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
        let answer =
            self.0.call("DeleteVolume", request.volume_id.clone(), move |driver| driver.delete(&request)).await;
        // Freeing a large file takes the kernel seconds: after the answer, not before.
        let driver = Arc::clone(&self.0);
        drop(tokio::task::spawn_blocking(move || driver.images.empty_trash()));
        answer
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
        // No EXPAND_VOLUME: growing is the node's, and the resizer then leaves it to the kubelet.
        let kinds = [rpc::Type::CreateDeleteVolume, rpc::Type::ListVolumes, rpc::Type::GetCapacity];
        let capability =
            |kind: rpc::Type| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: kinds.map(capability).into() }))
    }
}
