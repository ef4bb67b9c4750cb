//! Where does a program read the usage of volumes that does not ask agents? The metrics of kubelets, each for 50 volumes,
//! behind Nodes whose address is that of the control plane. A page has the volumes and nothing else, and is smaller than a real
//! one.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes as Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rso::api::bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::addresses::cluster;
use crate::harness::api::Api;
use crate::harness::cluster_dir;
use crate::measure::Place;

/// The volumes of each node.
const ON_NODE: usize = 50;
/// The port of the first.
const PORT: usize = 20_000;

/// Kubelets, until they are stopped.
pub struct Kubelets {
    nodes: Vec<Node>,
}

struct Node {
    path: String,
    asked: Arc<Mutex<Asked>>,
    serving: AbortHandle,
}

#[derive(Default)]
struct Asked {
    count: u64,
    last: Option<Instant>,
}

impl Kubelets {
    /// Starts those of these PVCs, each of which is 40 % full.
    pub async fn start(api: &Api, claims: &[Place], size: Bytes) -> Self {
        let acceptor = acceptor();
        let mut nodes = Vec::new();
        for (nth, claims) in claims.chunks(ON_NODE).enumerate() {
            nodes.push(Node::start(api, nth, page(claims, size), acceptor.clone()).await);
        }
        Self { nodes }
    }

    /// How many pages were read.
    pub fn pages(&self) -> u64 {
        self.nodes.iter().map(|node| node.asked.lock().unwrap().count).sum()
    }

    /// The time since the page was read that was not read for the longest; `None` if one was never read.
    pub fn oldest(&self) -> Option<Duration> {
        let last: Option<Vec<Instant>> = self.nodes.iter().map(|node| node.asked.lock().unwrap().last).collect();
        last?.into_iter().min().map(|at| at.elapsed())
    }

    /// Ends them and their Nodes.
    pub async fn stop(self, api: &Api) {
        for node in self.nodes {
            node.serving.abort();
            api.send(http::Method::DELETE, &node.path, None).await.unwrap();
        }
    }
}

impl Node {
    async fn start(api: &Api, nth: usize, page: String, acceptor: TlsAcceptor) -> Self {
        let (name, address, port) = (format!("node-{nth}"), format!("10.87.{}.2", cluster()), PORT + nth);
        let listener = TcpListener::bind(format!("{address}:{port}")).await.unwrap();
        let path = format!("/api/v1/nodes/{name}");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        api.send(http::Method::POST, "/api/v1/nodes", Some(&node)).await.unwrap();
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        api.send(http::Method::PATCH, &format!("{path}/status"), Some(&status)).await.unwrap();
        let asked = Arc::<Mutex<Asked>>::default();
        let serving = tokio::spawn(accept(listener, acceptor, Body::from(page), asked.clone())).abort_handle();
        Self { path, asked, serving }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, page: Body, asked: Arc<Mutex<Asked>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(acceptor.clone(), stream, page.clone(), asked.clone()));
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, page: Body, asked: Arc<Mutex<Asked>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |_: Request<Incoming>| {
        let mut asked = asked.lock().unwrap();
        (asked.count, asked.last) = (asked.count + 1, Some(Instant::now()));
        let response = Response::builder().header("content-type", "text/plain; version=0.0.4");
        let response = response.body(Full::new(page.clone()));
        async move { response }
    });
    // How a connection ends is the API server's affair.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// What a kubelet exports for these PVCs.
fn page(claims: &[Place], size: Bytes) -> String {
    let used = size.0 / 5 * 2;
    let series = [
        ("available_bytes", size.0 - used),
        ("capacity_bytes", size.0),
        ("used_bytes", used),
        ("inodes", 5_000_000),
        ("inodes_free", 4_900_000),
        ("inodes_used", 100_000),
    ];
    let mut page = String::new();
    for (name, value) in series {
        let _ = writeln!(page, "# TYPE kubelet_volume_stats_{name} gauge");
        for (namespace, claim) in claims {
            let labels = format!("namespace=\"{namespace}\",persistentvolumeclaim=\"{claim}\"");
            let _ = writeln!(page, "kubelet_volume_stats_{name}{{{labels}}} {value}");
        }
    }
    page
}

/// With the certificate that the control plane has for its kubelet.
fn acceptor() -> TlsAcceptor {
    let pki = pki();
    let certificates = CertificateDer::pem_file_iter(pki.join("kubelet-server.crt")).unwrap();
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.join("kubelet-server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The certificates of the control plane.
pub fn pki() -> PathBuf {
    cluster_dir().join("run").join(cluster().to_string()).join("pki")
}
