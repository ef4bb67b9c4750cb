//! The Registration service: registers the driver with the kubelet through a socket in `plugins_registry`, without a sidecar.

use tonic::{Request, Response, Status};

use crate::csi::proto::registration::registration_server::Registration;
use crate::csi::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// The plugin type of a CSI driver.
const PLUGIN_TYPE: &str = "CSIPlugin";
/// The version of the interface; the kubelet requires a major version that it supports.
const INTERFACE_VERSION: &str = "1.0.0";

/// The name of the registration socket for a driver of this name.
///
/// The kubelet sends the socket's path as the `:authority` of its calls, with `%2F` for each slash, and `http` accepts
/// a percent sign only before an `@`; without an `@`, every call fails with PROTOCOL_ERROR before it reaches the service.
#[must_use]
pub fn socket_name(driver: &str) -> String {
    format!("csi@{driver}-reg.sock")
}

/// Implements Registration.
#[derive(Debug, Clone)]
pub struct RegistrationService {
    /// The name of the driver.
    pub name: String,
    /// The socket of the driver: an absolute path, as the kubelet sees it.
    pub endpoint: String,
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: PLUGIN_TYPE.to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec![INTERFACE_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        if plugin_registered {
            tracing::info!(driver = self.name, "registered with the kubelet");
        } else {
            // The kubelet retries.
            tracing::warn!(driver = self.name, error, "the kubelet rejected the registration");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::socket_name;

    #[test]
    fn the_socket_path_is_a_valid_authority() {
        let path = format!("/var/lib/kubelet/plugins_registry/{}", socket_name("local.csi.example"));
        let as_sent = path.replace('/', "%2F");
        assert!(as_sent.parse::<http::uri::Authority>().is_ok(), "{as_sent}");
    }
}
