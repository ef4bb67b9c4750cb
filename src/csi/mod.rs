//! `rso csi`: a node-local CSI driver whose volumes really grow while a pod uses them.
//!
//! A volume is a sparse file with a filesystem of its own, mounted through a loop device: hard isolation on any host
//! filesystem. Growing it is four steps of milliseconds: a longer file, a larger device, a larger filesystem, and the
//! record that promises it. What is promised is what the disk has, unless a StorageClass says otherwise.
//!
//! Every call is: parse → pure plan ([`volume::capacity`], [`volume::class`], [`rpc::capability`]) → system calls ([`backend::image`], [`host::mounts`],
//! [`backend::loop_device`], [`backend::filesystem`]). Every call can be repeated, and can meet a second one on the same volume ([`volume::locks`]); what a
//! crash has interrupted is finished by the repetition, or at the next start ([`volume::record`]).

pub mod backend;
pub mod driver;
pub mod error;
pub mod host;
pub mod proto;
pub mod rpc;
pub mod volume;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::Router;

use driver::Driver;
use host::socket::Socket;
use proto::registration::registration_server::RegistrationServer;
use proto::v1::controller_server::ControllerServer;
use proto::v1::identity_server::IdentityServer;
use proto::v1::node_server::NodeServer;
use rpc::controller::ControllerService;
use rpc::identity::IdentityService;
use rpc::node::NodeService;
use rpc::registration::{self, RegistrationService};

/// The driver's name unless told otherwise: `provisioner` of a StorageClass.
pub const DRIVER_NAME: &str = "local.csi.resize-statefulset-operator";

/// Serve local volumes of this node to Kubernetes (CSI).
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Socket to serve CSI at, as the kubelet sees it: unix:///var/lib/kubelet/plugins/DRIVER/csi.sock
    #[arg(long, env = "CSI_ENDPOINT", value_parser = socket_path)]
    pub endpoint: PathBuf,
    /// Name of this node in the cluster
    #[arg(long, env = "NODE_NAME")]
    pub node_id: String,
    /// Folder for volumes and their records; its filesystem is what is given away
    #[arg(long)]
    pub state_dir: PathBuf,
    /// The kubelet's plugins_registry folder; without it the driver does not register itself
    #[arg(long)]
    pub registration_dir: Option<PathBuf>,
    /// Name of the driver: `provisioner` of its StorageClasses
    #[arg(long, default_value = DRIVER_NAME)]
    pub driver_name: String,
}

/// Why the driver could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error("failed to open the state folder")]
    State(#[from] volume::record::OpenError),
    /// A socket cannot be made.
    #[error("failed to listen at {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("failed to serve")]
    Serve(#[from] tonic::transport::Error),
    /// Signals cannot be waited for.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// How long callers may keep their connections after a signal. Work that has begun is finished whatever it takes.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT; calls that have begun are finished first. Volumes stay mounted.
///
/// # Errors
/// When the driver cannot start, or a server ends by itself.
pub async fn run(args: Args) -> Result<(), Error> {
    let driver = Arc::new(Driver::open(args.driver_name.clone(), args.node_id.clone(), &args.state_dir)?);
    if let Err(fault) = driver.probe() {
        tracing::warn!(error = error::chain(&fault), "the node is not ready for volumes");
    }
    let cleaner = Arc::clone(&driver);
    drop(tokio::task::spawn_blocking(move || cleaner.images.empty_trash()));

    let (stop, stopping) = watch::channel(());
    let csi = Server::builder()
        .add_service(IdentityServer::new(IdentityService(Arc::clone(&driver))))
        .add_service(ControllerServer::new(ControllerService(Arc::clone(&driver))))
        .add_service(NodeServer::new(NodeService(driver)));
    let csi = serve(csi, &args.endpoint, stopping.clone())?;
    tracing::info!(driver = args.driver_name, node = args.node_id, endpoint = %args.endpoint.display(), "serving");

    // Only now: the kubelet calls the driver as soon as it sees the registration.
    let registration = args.registration_dir.as_deref().map(|folder| register(&args, folder, stopping)).transpose()?;
    let signals = terminated(stop)?;
    let registered = async {
        match registration {
            Some(server) => server.await,
            None => Ok(()),
        }
    };
    tokio::select! {
        served = async { tokio::try_join!(csi, registered) } => served.map(|_| ()),
        () = signals => Ok(()),
    }
}

fn register(
    args: &Args,
    folder: &Path,
    stopping: watch::Receiver<()>,
) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
    let endpoint = args.endpoint.display().to_string();
    let service = RegistrationService { name: args.driver_name.clone(), endpoint };
    let server = Server::builder().add_service(RegistrationServer::new(service));
    serve(server, &folder.join(registration::socket_name(&args.driver_name)), stopping)
}

fn serve(
    server: Router,
    path: &Path,
    mut stopping: watch::Receiver<()>,
) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
    let (socket, incoming) = Socket::listen(path).map_err(|source| Error::Listen { path: path.to_owned(), source })?;
    Ok(async move {
        // The sender is dropped on a signal.
        let stopped = async move { while stopping.changed().await.is_ok() {} };
        let served = server.serve_with_incoming_shutdown(incoming, stopped).await;
        drop(socket);
        Ok(served?)
    })
}

/// On the first signal lets the servers end, and ends a little later itself.
fn terminated(stop: watch::Sender<()>) -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: volumes stay mounted");
        drop(stop);
        tokio::time::sleep(GRACE).await;
    })
}

/// `unix:///run/csi.sock`, `unix:/run/csi.sock` or the path alone.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if Path::new(path).is_absolute() { Ok(path.into()) } else { Err("must be unix:///<absolute path>".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_socket_with_an_absolute_path() {
        for good in ["unix:///run/csi.sock", "unix:/run/csi.sock", "/run/csi.sock"] {
            assert_eq!(socket_path(good).unwrap(), Path::new("/run/csi.sock"));
        }
        for bad in ["", "unix://", "tcp://127.0.0.1:1", "csi.sock"] {
            assert!(socket_path(bad).is_err(), "{bad:?}");
        }
    }
}
