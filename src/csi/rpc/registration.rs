//! Tells the kubelet that the driver is there: the socket in its `plugins_registry` folder, without a sidecar.

use tonic::{Request, Response, Status};

use crate::csi::proto::registration::registration_server::Registration;
use crate::csi::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// What the kubelet calls a CSI driver.
const KIND: &str = "CSIPlugin";
/// The kubelet asks for a major version it knows.
const VERSION: &str = "1.0.0";

/// The name of the socket for a driver of this name.
///
/// The kubelet sends the socket's path as the `:authority` of its calls, with `%2F` for each slash, and `http` takes a
/// percent sign only before an `@`; without one every call ends as a PROTOCOL_ERROR before it gets here.
#[must_use]
pub fn socket_name(driver: &str) -> String {
    format!("csi@{driver}-reg.sock")
}

/// Serves the registration.
#[derive(Debug, Clone)]
pub struct RegistrationService {
    /// The driver's name.
    pub name: String,
    /// Where the driver serves: an absolute path, as the kubelet sees it.
    pub endpoint: String,
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: KIND.to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec![VERSION.to_owned()],
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
            // The kubelet tries again by itself.
            tracing::warn!(driver = self.name, error, "the kubelet refused the registration");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::socket_name;

    #[test]
    fn what_the_kubelet_calls_the_socket_is_an_authority() {
        let path = format!("/var/lib/kubelet/plugins_registry/{}", socket_name("local.csi.example"));
        let as_sent = path.replace('/', "%2F");
        assert!(as_sent.parse::<http::uri::Authority>().is_ok(), "{as_sent}");
    }
}
