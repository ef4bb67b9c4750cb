//! What is an API server like that cannot keep up? A proxy before the real one, which refuses some requests for now (429) and
//! takes its time for others. Watches pass, and so do the requests for the Lease: a leader that cannot renew it ends, as it
//! should, and that is what the sweep of faults is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::answers::{Answer, clean, later};
use crate::operator::Server;

/// One request of so many is refused.
const REFUSED: u64 = 5;
/// One of so many is answered late.
const LATE: u64 = 20;
/// How late.
pub const DELAY: Duration = Duration::from_secs(10);

/// The proxy. Clones are the same.
#[derive(Clone)]
pub struct SlowServer {
    client: Client,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    is_slow: AtomicBool,
    all: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
}

impl SlowServer {
    /// Listens until the test ends, before the API server of this client.
    pub async fn listen(client: Client) -> (Self, Server) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = Self { client, counts: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(acceptor.clone(), stream));
            }
        });
        (server, Server { url, authority: made.cert.pem() })
    }

    /// From now on it is slow; before, it only passes on.
    pub fn begin(&self) {
        self.counts.is_slow.store(true, Ordering::Relaxed);
    }

    /// How many requests were refused, and how many were answered late.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.refused.load(Ordering::Relaxed), self.counts.late.load(Ordering::Relaxed))
    }

    async fn serve(self, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let service = service_fn(move |request| self.clone().answer(request));
        // How a connection ends is the operator's affair.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let passes = !self.counts.is_slow.load(Ordering::Relaxed)
            || parts.uri.path().contains("/leases")
            || parts.uri.query().is_some_and(|query| query.contains("watch=true") || query.contains("watch=1"));
        if !passes {
            let number = self.counts.all.fetch_add(1, Ordering::Relaxed) + 1;
            if number.is_multiple_of(LATE) {
                self.counts.late.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(DELAY).await;
            } else if number.is_multiple_of(REFUSED) {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(later(429, "TooManyRequests", "too many requests, try again later"));
            }
        }
        let mut passed = Request::builder().method(parts.method).uri(parts.uri.path_and_query().unwrap().as_str());
        // To the API server it is the administrator who asks.
        let ours = [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING, header::CONNECTION];
        for (name, value) in parts.headers.iter().filter(|(name, _)| !ours.contains(name)) {
            passed = passed.header(name, value);
        }
        let passed = passed.body(Body::from(body.to_vec())).unwrap();
        let (head, body) = self.client.send(passed).await.map_err(std::io::Error::other)?.into_parts();
        Ok(http::Response::from_parts(clean(head), body.map_err(std::io::Error::other).boxed_unsync()))
    }
}
