//! The Identity service: the name of the driver, what it can do, and whether the node is ready for it.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::csi::driver::Driver;
use crate::csi::error::CallError;
use crate::csi::proto::v1::identity_server::Identity;
use crate::csi::proto::v1::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
use crate::csi::proto::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse,
    PluginCapability, ProbeRequest, ProbeResponse,
};

/// Implements Identity.
#[derive(Debug, Clone)]
pub struct IdentityService(pub Arc<Driver>);

impl Driver {
    /// Checks that the node has everything that volumes need.
    ///
    /// # Errors
    /// FAILED_PRECONDITION with what is missing.
    pub fn probe(&self) -> Result<(), CallError> {
        self.backends.all().try_for_each(|backend| backend.check())
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
