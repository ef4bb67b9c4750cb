//! CreateVolume: validate the request, allocate the size, and create the data and the record.

use crate::csi::driver::{Driver, unavailable};
use crate::csi::error::CallError;
use crate::csi::proto::v1::{CreateVolumeRequest, CreateVolumeResponse};
use crate::csi::rpc::capability::MountRequest;
use crate::csi::rpc::request::required;
use crate::csi::volume::capacity::{SizeRange, size_of_new};
use crate::csi::volume::class::VolumeClass;
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::VolumeRecord;
use crate::csi::volume::store::VolumeEntry;

/// The maximum length of a volume name in CSI, bytes.
const MAX_NAME_LENGTH: usize = 128;

/// A validated CreateVolume request.
#[derive(Debug)]
struct NewVolume {
    id: VolumeId,
    name: String,
    range: SizeRange,
    class: VolumeClass,
}

impl NewVolume {
    fn parse(request: &CreateVolumeRequest) -> Result<Self, CallError> {
        required("name", &request.name)?;
        let invalid = |problem: String| Err(CallError::InvalidArgument(problem));
        if request.name.len() > MAX_NAME_LENGTH {
            return invalid(format!("name must not be longer than {MAX_NAME_LENGTH} bytes"));
        }
        if request.volume_content_source.is_some() {
            return invalid("snapshots and clones are not supported; remove dataSource from the PVC".to_owned());
        }
        if !request.mutable_parameters.is_empty() {
            return invalid("VolumeAttributesClass is not supported; remove it from the PVC".to_owned());
        }
        let filesystem = MountRequest::common_filesystem(&request.volume_capabilities)?;
        let class = VolumeClass::parse(&request.parameters, &filesystem)?;
        let range = SizeRange::parse(request.capacity_range.as_ref())?;
        Ok(Self { id: VolumeId::from_name(&request.name), name: request.name.clone(), range, class })
    }

    /// Checks that an existing volume is the requested one: an earlier call created it, and its response was lost.
    fn check_existing(&self, volume: &VolumeRecord) -> Result<(), CallError> {
        let difference = if volume.name != self.name {
            format!("its name is {:?}", volume.name)
        } else if !self.range.contains(volume.size) {
            format!("its size is {} bytes", volume.size)
        } else if volume.class != self.class {
            "its parameters are different".to_owned()
        } else {
            return Ok(());
        };
        Err(CallError::AlreadyExists(format!("volume {} already exists, but {difference}", self.id)))
    }
}

impl Driver {
    pub(super) fn create(&self, request: &CreateVolumeRequest) -> Result<CreateVolumeResponse, CallError> {
        let new = NewVolume::parse(request)?;
        self.check_topology(request)?;
        let _lock = self.locks.lock(&new.id)?;
        let volume = match self.store.get(&new.id) {
            Some(VolumeEntry::Available(volume)) => new.check_existing(&volume).map(|()| volume)?,
            Some(VolumeEntry::Unavailable { reason, .. }) => return Err(unavailable(&new.id, &reason)),
            None => self.create_new(new)?,
        };
        // Also for an existing volume: the call that created it may have ended before its data was committed.
        self.backends.get(volume.class.backend).commit(&volume.id)?;
        Ok(CreateVolumeResponse { volume: Some(self.volume_message(&volume)) })
    }

    /// Creates the data and then the record; `recovery` depends on this order.
    fn create_new(&self, new: NewVolume) -> Result<VolumeRecord, CallError> {
        let size = size_of_new(new.range, &new.class)?;
        let backend = self.backends.get(new.class.backend);
        let reservation =
            self.store.reserve(size, backend.disk_space()?, new.class.overcommit).map_err(|unallocated| {
                let node = &self.node_id;
                CallError::ResourceExhausted(format!(
                    "node {node} has {unallocated} bytes left to allocate, fewer than the requested {size} bytes; request \
                     a smaller size or delete volumes"
                ))
            })?;
        backend.create(&new.id, size, &new.class)?;
        let NewVolume { id, name, class, .. } = new;
        let volume = VolumeRecord { id, name, size, class };
        self.store.put(volume.clone(), reservation)?;
        let filesystem = volume.class.filesystem.name();
        tracing::info!(volume = %volume.id, bytes = size, filesystem, "volume created");
        Ok(volume)
    }

    fn check_topology(&self, request: &CreateVolumeRequest) -> Result<(), CallError> {
        let requirements = request.accessibility_requirements.as_ref();
        let requisite = requirements.map_or(&[][..], |requirements| &requirements.requisite);
        if requisite.is_empty() || requisite.iter().any(|topology| self.is_in(topology)) {
            return Ok(());
        }
        let node = &self.node_id;
        Err(CallError::ResourceExhausted(format!(
            "the volume is required on another node: volumes of node {node} are accessible only on that node"
        )))
    }
}
