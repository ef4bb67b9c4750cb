//! The CSI driver `rso csi`: volumes on the disk of a node, which are expanded while a Pod uses them.
//!
//! A volume is a sparse file with its own filesystem, mounted through a loop device: it is isolated from other volumes on any
//! host filesystem. An expansion consists of four steps that take milliseconds: a longer file, a record of the new size, a
//! larger device, and a larger filesystem. The driver allocates what the disk has, unless a StorageClass sets `overcommit`.
//!
//! | Module | Content |
//! |---|---|
//! | [`rpc`] | The gRPC services |
//! | [`backend`] | The ways to store a volume |
//! | [`volume`] | IDs, sizes, classes, records, and locks |
//! | [`host`] | Mounts, programs, sockets, and files |
//! | [`recovery`] | What a start does with the volumes that exist |
//!
//! A call parses its request, plans with pure functions ([`volume::capacity`], [`volume::class`], [`rpc::capability`]), and
//! then makes system calls. Every call can be repeated, and can run beside another call on the same volume
//! ([`volume::locks`]). If a crash interrupts it, a retry or the next start completes it or rolls it back.

pub mod backend;
pub mod driver;
pub mod error;
pub mod host;
pub mod proto;
pub mod recovery;
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
use host::state_directory::OpenError;
use proto::registration::registration_server::RegistrationServer;
use proto::v1::controller_server::ControllerServer;
use proto::v1::identity_server::IdentityServer;
use proto::v1::node_server::NodeServer;
use rpc::controller::ControllerService;
use rpc::identity::IdentityService;
use rpc::node::NodeService;
use rpc::registration::{self, RegistrationService};

/// The default name of the driver: `provisioner` of a StorageClass.
pub const DEFAULT_DRIVER_NAME: &str = "local.csi.resize-statefulset-operator";

/// Serve local volumes of this node to Kubernetes (CSI).
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Socket on which to serve CSI, with its path as the kubelet sees it:
    /// unix:///var/lib/kubelet/plugins/DRIVER/csi.sock
    #[arg(long, env = "CSI_ENDPOINT", value_parser = socket_path)]
    pub endpoint: PathBuf,
    /// Name of this node in the cluster
    #[arg(long, env = "NODE_NAME")]
    pub node_id: String,
    /// Directory for volumes and their records; the space of its filesystem is allocated to volumes
    #[arg(long)]
    pub state_dir: PathBuf,
    /// The plugins_registry directory of the kubelet; if it is not set, the driver does not register itself
    #[arg(long)]
    pub registration_dir: Option<PathBuf>,
    /// Name of the driver, to use as `provisioner` in a StorageClass
    #[arg(long, default_value = DEFAULT_DRIVER_NAME)]
    pub driver_name: String,
}

/// Why the driver could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The state directory cannot be used.
    #[error("failed to open the state directory")]
    State(#[from] OpenError),
    /// A socket cannot be created.
    #[error("failed to listen at {}", path.display())]
    Listen {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        source: std::io::Error,
    },
    /// A server stopped.
    #[error("failed to serve CSI")]
    Serve(#[from] tonic::transport::Error),
    /// Signals cannot be received.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// How long clients can keep their connections after a signal. A call in progress is completed regardless of its duration.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, and completes the calls in progress. Volumes stay mounted.
///
/// # Errors
/// When the driver cannot start, or a server stops.
pub async fn run(args: Args) -> Result<(), DriverError> {
    let driver = Arc::new(Driver::open(args.driver_name.clone(), args.node_id.clone(), &args.state_dir)?);
    if let Err(error) = driver.probe() {
        tracing::warn!(error = error::chain(&error), "the node is not ready for volumes");
    }
    let cleaner = Arc::clone(&driver);
    drop(tokio::task::spawn_blocking(move || cleaner.free_deleted()));

    let (stop, stopping) = watch::channel(());
    let csi = Server::builder()
        .add_service(IdentityServer::new(IdentityService(Arc::clone(&driver))))
        .add_service(ControllerServer::new(ControllerService(Arc::clone(&driver))))
        .add_service(NodeServer::new(NodeService(driver)));
    let csi = serve(csi, &args.endpoint, stopping.clone())?;
    tracing::info!(driver = args.driver_name, node = args.node_id, endpoint = %args.endpoint.display(), "serving CSI");

    // After the driver serves: the kubelet calls it as soon as it finds the registration socket.
    let registration =
        args.registration_dir.as_deref().map(|directory| register(&args, directory, stopping)).transpose()?;
    let signals = until_signal(stop)?;
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
    directory: &Path,
    stopping: watch::Receiver<()>,
) -> Result<impl Future<Output = Result<(), DriverError>> + use<>, DriverError> {
    let endpoint = args.endpoint.display().to_string();
    let service = RegistrationService { name: args.driver_name.clone(), endpoint };
    let server = Server::builder().add_service(RegistrationServer::new(service));
    serve(server, &directory.join(registration::socket_name(&args.driver_name)), stopping)
}

fn serve(
    server: Router,
    path: &Path,
    mut stopping: watch::Receiver<()>,
) -> Result<impl Future<Output = Result<(), DriverError>> + use<>, DriverError> {
    let (socket, incoming) =
        Socket::listen(path).map_err(|source| DriverError::Listen { path: path.to_owned(), source })?;
    Ok(async move {
        // A signal drops the sender.
        let stopped = async move { while stopping.changed().await.is_ok() {} };
        let served = server.serve_with_incoming_shutdown(incoming, stopped).await;
        drop(socket);
        Ok(served?)
    })
}

/// Stops the servers on the first signal, and ends after [`SHUTDOWN_TIMEOUT`].
fn until_signal(stop: watch::Sender<()>) -> Result<impl Future<Output = ()>, DriverError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DriverError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DriverError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down; volumes stay mounted");
        drop(stop);
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    })
}

/// Parses `unix:///run/csi.sock`, `unix:/run/csi.sock`, or the path alone.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if Path::new(path).is_absolute() {
        Ok(path.into())
    } else {
        Err("must be unix:// and an absolute path, such as unix:///run/csi.sock".to_owned())
    }
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
