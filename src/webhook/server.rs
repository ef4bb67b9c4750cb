//! The HTTPS server of the webhook: HTTP/1.1 over TLS, with limits on connections, concurrent requests, bytes, and
//! time.
//!
//! The API server keeps its connections open, so a handshake is rare. HTTP/2 is not offered: a single connection whose
//! other end is gone would delay every request until it is found dead.
//!
//! Any client in the cluster can reach this port. A client that knows the token in the path is the API server; all
//! others share separate, smaller limits, so they use up neither its connections nor its memory. The total size of all
//! bodies is limited, and one body is parsed at a time, on a thread of its own.

mod credentials;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

pub use self::credentials::{ApiServerTokens, ServedCertificate};
use super::hook::{Caller, Hook, Reply, unprocessed, unread_body};
use super::review::{MAX_REVIEW_BYTES, uid_in};
use crate::telemetry::port::{self, ConnectionLimits, Peer};
use crate::telemetry::stop::Stop;

/// Concurrent connections: an API server keeps at most 25 idle ones. Each takes up to 64 KiB.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits { unverified: 128, verified: 256 };
/// How long a connection stays open without a request that has the token.
const UNVERIFIED_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest header. That of the API server has a few hundred bytes.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// The total size of the bodies that the API server sends at the same time: two of the largest. Further ones wait,
/// within the deadline.
const API_SERVER_BODY_BYTES: usize = 2 * MAX_REVIEW_BYTES;
/// The same for unknown clients.
const UNVERIFIED_BODY_BYTES: usize = MAX_REVIEW_BYTES;
/// The unit in which the size of bodies is counted.
const BODY_UNIT_BYTES: usize = 1 << 10;
/// The time for a response: the API server waits two or three seconds.
const RESPONSE_DEADLINE: Duration = Duration::from_millis(1_800);
/// The time for a TLS handshake, which takes milliseconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept: longer than the API server keeps it (90 s), which therefore closes it first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time after the stop until every API server has learned that this replica is going away.
const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(4);
/// How many bytes of an overlong body are read and discarded before the response, which otherwise would not arrive.
const MAX_DISCARDED_BYTES: usize = 4 * MAX_REVIEW_BYTES;
/// How many bytes of an overlong body are kept to search for its uid.
const UID_SEARCH_BYTES: usize = 1 << 10;

/// Why the webhook does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port could not be bound.
    #[error("failed to listen on {0}; check that no other process uses the port")]
    Listen(SocketAddr, #[source] io::Error),
    /// TLS could not be set up.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Handles the requests to a hook.
pub trait ReviewHandler: Send + Sync + 'static {
    /// The response to the body of a request. It may take a while: it runs on a thread of its own.
    fn handle(&self, hook: Hook, caller: Caller, body: &[u8]) -> Reply;
    /// Called when the response is sent.
    fn replied(&self, hook: Hook, reply: &Reply);
}

struct ServerState<A> {
    handler: Arc<A>,
    tokens: Arc<ApiServerTokens>,
    api_server_bytes: Arc<Semaphore>,
    unverified_bytes: Arc<Semaphore>,
    /// Parsing takes more memory than the body: one at a time.
    parse_permit: Arc<Semaphore>,
}

impl<A> ServerState<A> {
    fn new(handler: A, tokens: Arc<ApiServerTokens>) -> Self {
        let pieces = |bytes: usize| Arc::new(Semaphore::new(bytes / BODY_UNIT_BYTES));
        Self {
            handler: Arc::new(handler),
            tokens,
            api_server_bytes: pieces(API_SERVER_BODY_BYTES),
            unverified_bytes: pieces(UNVERIFIED_BODY_BYTES),
            parse_permit: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until the budget has space for a body of that length. `None` if it is longer than the limit.
    async fn reserve(&self, caller: Caller, length: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(length.div_ceil(BODY_UNIT_BYTES)).ok().filter(|_| length <= MAX_REVIEW_BYTES)?;
        let state = match caller {
            Caller::ApiServer => &self.api_server_bytes,
            Caller::Unverified => &self.unverified_bytes,
        };
        state.clone().acquire_many_owned(pieces).await.ok()
    }
}

/// Serves until a grace period after the stop.
///
/// # Errors
/// When the port cannot be bound.
pub async fn serve(
    address: SocketAddr,
    certificate: Arc<ServedCertificate>,
    tokens: Arc<ApiServerTokens>,
    handler: impl ReviewHandler,
    stop: Stop,
) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen(address, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(ServeError::Tls)?.with_no_client_auth().with_cert_resolver(certificate);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let state = Arc::new(ServerState::new(handler, tokens));
    let stopped = async {
        stop.wait().await;
        tokio::time::sleep(SHUTDOWN_GRACE_PERIOD).await;
    };
    let connection = |stream, peer| handle_connection(stream, peer, acceptor.clone(), state.clone());
    tokio::select! {
        () = port::accept(&listener, CONNECTION_LIMITS, connection) => {}
        () = stopped => {}
    }
    Ok(())
}

async fn handle_connection<A: ReviewHandler>(
    stream: TcpStream,
    peer: Peer,
    acceptor: TlsAcceptor,
    state: Arc<ServerState<A>>,
) {
    // Best effort: responses are small.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
        tracing::debug!("TLS handshake failed");
        return;
    };
    let service = service_fn(|request| async { Ok::<_, Infallible>(handle_request(request, &peer, &state).await) });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    let unverified = async {
        tokio::time::sleep(UNVERIFIED_TIMEOUT).await;
        if peer.is_verified() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // After a connection breaks, the client tries again.
        ended = server.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection closed with an error");
            }
        }
        () = unverified => tracing::debug!("closed unverified connection"),
    }
}

async fn handle_request<A: ReviewHandler>(
    request: Request<Incoming>,
    peer: &Peer,
    state: &ServerState<A>,
) -> Response<Full<Bytes>> {
    let Some((hook, token)) = Hook::at(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, "no such hook\n");
    };
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let caller = state.tokens.caller(token);
    if caller == Caller::ApiServer {
        peer.mark_verified();
    }
    let reply = handle_review(request.into_body(), hook, caller, state).await;
    state.handler.replied(hook, &reply);
    let mut response = Response::new(Full::from(reply.body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn plain(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    response
}

async fn handle_review<A: ReviewHandler>(
    body: impl Body<Data = Bytes> + Unpin,
    hook: Hook,
    caller: Caller,
    state: &ServerState<A>,
) -> Reply {
    let too_long = (413, "the AdmissionReview is larger than 8 MiB");
    let late = (408, "the request body did not arrive in time");
    let deadline = Instant::now() + RESPONSE_DEADLINE;
    // The API server sends the length. Without it, reserve space for the longest body.
    let hint = body.size_hint();
    let length = hint.exact().unwrap_or_else(|| hint.lower().max(MAX_REVIEW_BYTES as u64));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut read = Vec::new();
    let whole = async {
        let place = state.reserve(caller, length).await;
        read.reserve_exact(if place.is_some() { length } else { UID_SEARCH_BYTES });
        (read_body(body, &mut read).await, place)
    };
    let (error, place) = match timeout_at(deadline, whole).await {
        Ok((BodyRead::Complete, Some(place))) => (None, Some(place)),
        Ok((BodyRead::Broken, _)) => (Some((400, "the request body is incomplete")), None),
        Ok((BodyRead::TooLong, _) | (BodyRead::Complete, None)) => (Some(too_long), None),
        // A body that is announced as too long is so, even if it does not arrive in time.
        Err(_) => (Some(if length > MAX_REVIEW_BYTES { too_long } else { late }), None),
    };
    if let Some((code, why)) = error {
        return unread_body(&read, code, why);
    }
    let uid = uid_in(&read);
    let (handler, parse_permit) = (state.handler.clone(), state.parse_permit.clone());
    let handled = async {
        let parse_permit = parse_permit.acquire_owned().await;
        // This ends even if nobody waits for it anymore, and only then releases what it reserved.
        let parse = move || {
            let reply = handler.handle(hook, caller, &read);
            drop((read, parse_permit, place));
            reply
        };
        tokio::task::spawn_blocking(parse).await
    };
    match timeout_at(deadline, handled).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => unprocessed(&uid, 500, "the handler failed"),
        Err(_) => unprocessed(&uid, late.0, "the handler did not finish in time"),
    }
}

enum BodyRead {
    Complete,
    Broken,
    TooLong,
}

async fn read_body(mut body: impl Body<Data = Bytes> + Unpin, into: &mut Vec<u8>) -> BodyRead {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return BodyRead::Broken };
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        // As much as there is capacity for.
        let left = into.capacity() - into.len();
        into.extend_from_slice(&data[..data.len().min(left)]);
    }
    if length > MAX_REVIEW_BYTES { BodyRead::TooLong } else { BodyRead::Complete }
}

#[cfg(test)]
mod tests;
