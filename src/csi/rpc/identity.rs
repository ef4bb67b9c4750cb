//! The Identity service: who the driver is, what it can do, and whether it can do it now.

use std::path::Path;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::csi::driver::Driver;
use crate::csi::error::Fault;
use crate::csi::host::tool;
use crate::csi::proto::v1::identity_server::Identity;
use crate::csi::proto::v1::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
use crate::csi::proto::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse,
    PluginCapability, ProbeRequest, ProbeResponse,
};

/// Serves Identity.
#[derive(Debug, Clone)]
pub struct IdentityService(pub Arc<Driver>);

/// What a node must have for volumes to be mounted.
const LOOP_CONTROL: &str = "/dev/loop-control";

impl Driver {
    /// Checks everything without which no volume can be made or mounted.
    ///
    /// # Errors
    /// FAILED_PRECONDITION that says what is missing.
    pub fn probe(&self) -> Result<(), Fault> {
        let missing = tool::missing();
        if !missing.is_empty() {
            return Err(Fault::NotNow(format!("not installed, or not in PATH: {}", missing.join(", "))));
        }
        if !Path::new(LOOP_CONTROL).exists() {
            return Err(Fault::NotNow(format!("{LOOP_CONTROL} is not there: load the kernel module `loop`")));
        }
        self.images.disk().map(|_| ())
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        let vendor_version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(GetPluginInfoResponse { name: self.0.name.clone(), vendor_version }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let service = |kind: service::Type| Type::Service(Service { r#type: kind.into() });
        let online = VolumeExpansion { r#type: volume_expansion::Type::Online.into() };
        let capabilities = [
            service(service::Type::ControllerService),
            service(service::Type::VolumeAccessibilityConstraints),
            Type::VolumeExpansion(online),
        ];
        let capabilities = capabilities.map(|kind| PluginCapability { r#type: Some(kind) }).into();
        Ok(Response::new(GetPluginCapabilitiesResponse { capabilities }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        let work = |driver: &Driver| driver.probe().map(|()| ProbeResponse { ready: Some(true) });
        self.0.call("Probe", String::new(), work).await
    }
}
