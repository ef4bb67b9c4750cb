//! Who is answered, and for how long? HTTP/1.1 over TLS, bounded in connections, questions at a time, bytes and time.
//!
//! The API server keeps its connections open, so a handshake is rare. HTTP/2 is not offered: a single connection whose other
//! end is gone would hold up every question until it is found dead.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::hook::{Answered, Hook, unread};
use super::review::LARGEST;
use crate::telemetry::stop::Stop;

/// Connections at a time: an API server keeps at most 25 idle ones.
const CONNECTIONS: usize = 512;
/// Questions that are read and answered at the same time. The others wait their turn, within the deadline.
const AT_ONCE: usize = 64;
/// The API server waits two or three seconds; later is too late.
const DEADLINE: Duration = Duration::from_millis(1_800);
/// A handshake takes milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// An idle connection is kept longer than the API server does (90 s), so that it is the one that closes.
const IDLE: Duration = Duration::from_secs(120);
/// After the stop, until every API server has heard that this replica is going.
const LINGER: Duration = Duration::from_secs(4);
/// As much of an overlong question is thrown away before it is answered, so that the answer arrives.
const LONGEST_LEFTOVER: usize = 4 * LARGEST;
/// After an accept that failed (no descriptor left), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the webhook does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be had.
    #[error("failed to listen on {0}; is the port taken?")]
    Listen(SocketAddr, #[source] io::Error),
    /// TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

/// The certificate that is shown now. Replaced while connections go on.
#[derive(Debug, Default)]
pub struct Shown(RwLock<Option<Arc<CertifiedKey>>>);

impl Shown {
    /// Shows this one from now on.
    pub fn show(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers the questions to a hook.
pub trait Answers: Send + Sync + 'static {
    /// The answer to the body of a question.
    fn answer(&self, hook: Hook, body: &[u8]) -> Answered;
    /// It is sent now.
    fn sent(&self, hook: Hook, answered: &Answered);
}

struct Room<A> {
    answers: A,
    slots: Semaphore,
}

/// Serves until some time after the stop.
///
/// # Errors
/// When the port cannot be had.
pub async fn serve(
    address: SocketAddr,
    shown: Arc<Shown>,
    answers: impl Answers,
    stop: Stop,
) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen(address, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(ServeError::Tls)?.with_no_client_auth().with_cert_resolver(shown);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let room = Arc::new(Room { answers, slots: Semaphore::new(AT_ONCE) });
    let over = async {
        stop.wait().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        () = accept(&listener, &acceptor, &room) => {}
        () = over => {}
    }
    Ok(())
}

async fn accept<A: Answers>(listener: &TcpListener, acceptor: &TlsAcceptor, room: &Arc<Room<A>>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, room) = (acceptor.clone(), room.clone());
                tokio::spawn(async move {
                    converse(stream, &acceptor, &room).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn converse<A: Answers>(stream: TcpStream, acceptor: &TlsAcceptor, room: &Arc<Room<A>>) {
    // Best effort: answers are small.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("a handshake failed");
        return;
    };
    let service = service_fn(|request| async { Ok::<_, Infallible>(respond(request, room).await) });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 << 10);
    // A connection that breaks is the other side's affair; it will ask again.
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn respond<A: Answers>(request: Request<Incoming>, room: &Room<A>) -> Response<Full<Bytes>> {
    let Some(hook) = Hook::at(request.uri().path()) else { return plain(StatusCode::NOT_FOUND, "no such hook\n") };
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let answered = answered(request.into_body(), hook, room).await;
    room.answers.sent(hook, &answered);
    let mut response = Response::new(Full::from(answered.body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn plain(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    response
}

async fn answered<A: Answers>(body: impl Body<Data = Bytes> + Unpin, hook: Hook, room: &Room<A>) -> Answered {
    let mut read = Vec::new();
    let too_long = (413, "the review is over 8 MiB");
    // What says beforehand that it is too long is so, also when it does not come in time.
    let late =
        if body.size_hint().lower() > LARGEST as u64 { too_long } else { (408, "the review did not come in time") };
    let whole = async {
        // Never closed.
        let _slot = room.slots.acquire().await;
        match read_whole(body, &mut read).await {
            Whole::Yes => None,
            Whole::Broken => Some((400, "the review did not come whole")),
            Whole::TooLong => Some(too_long),
        }
    };
    let fault = tokio::time::timeout(DEADLINE, whole).await.unwrap_or(Some(late));
    match fault {
        None => room.answers.answer(hook, &read),
        Some((code, why)) => unread(&read, code, why),
    }
}

enum Whole {
    Yes,
    Broken,
    TooLong,
}

async fn read_whole(mut body: impl Body<Data = Bytes> + Unpin, into: &mut Vec<u8>) -> Whole {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Whole::Broken };
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length > LONGEST_LEFTOVER {
            break;
        }
        if length <= LARGEST {
            into.extend_from_slice(&data);
        }
    }
    if length > LARGEST { Whole::TooLong } else { Whole::Yes }
}

#[cfg(test)]
mod tests;
