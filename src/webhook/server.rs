//! Who is answered, and for how long? HTTP/1.1 over TLS, bounded in connections, questions at a time, bytes and time.
//!
//! The API server keeps its connections open, so a handshake is rare. HTTP/2 is not offered: a single connection whose other
//! end is gone would hold up every question until it is found dead.
//!
//! Anybody in the cluster can reach this port. Who knows the token in the path is the API server; all others share a small
//! room of their own, so they take neither its place nor its memory. Bodies are bounded in total, one is parsed at a time,
//! and on a thread of its own.

use std::collections::BTreeSet;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::hook::{Answered, Asker, Hook, refused, unread};
use super::review::{LARGEST, uid_in};
use crate::cluster::hook_path::Token;
use crate::telemetry::port::{self, Guest, Places};
use crate::telemetry::stop::Stop;

/// Connections at a time: an API server keeps at most 25 idle ones. Each takes up to 64 KiB.
const PLACES: Places = Places { strangers: 128, known: 256 };
/// A connection that has not shown whose it is ends after this.
const STRANGE: Duration = Duration::from_secs(10);
/// Of a head. The API server's has a few hundred bytes.
const LONGEST_HEAD: usize = 16 << 10;
/// All bodies together that the API server's questions have at a time: two of the largest. The others wait their turn, within
/// the deadline.
const BYTES_OF_THE_API_SERVER: usize = 2 * LARGEST;
/// The same for the questions of anybody else.
const BYTES_OF_ANYBODY: usize = LARGEST;
/// Bodies are counted in pieces of this size.
const PIECE: usize = 1 << 10;
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
/// Of a question that is too long, to find its uid in.
const HEAD: usize = 1 << 10;

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

/// The tokens that the API server says. Replaced while connections go on.
#[derive(Debug, Default)]
pub struct Known(RwLock<BTreeSet<Token>>);

impl Known {
    /// Believes these from now on, and no others.
    pub fn believe(&self, tokens: BTreeSet<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    fn asker(&self, said: &str) -> Asker {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if tokens.iter().any(|token| token.is(said)) { Asker::ApiServer } else { Asker::Anybody }
    }
}

/// Answers the questions to a hook.
pub trait Answers: Send + Sync + 'static {
    /// The answer to the body of a question. May take its time: it is on a thread of its own.
    fn answer(&self, hook: Hook, asker: Asker, body: &[u8]) -> Answered;
    /// It is sent now.
    fn sent(&self, hook: Hook, answered: &Answered);
}

struct Room<A> {
    answers: Arc<A>,
    known: Arc<Known>,
    of_the_api_server: Arc<Semaphore>,
    of_anybody: Arc<Semaphore>,
    /// What is parsed takes more than the body: one at a time.
    turn: Arc<Semaphore>,
}

impl<A> Room<A> {
    fn new(answers: A, known: Arc<Known>) -> Self {
        let pieces = |bytes: usize| Arc::new(Semaphore::new(bytes / PIECE));
        Self {
            answers: Arc::new(answers),
            known,
            of_the_api_server: pieces(BYTES_OF_THE_API_SERVER),
            of_anybody: pieces(BYTES_OF_ANYBODY),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until there is room for a body of that length. None: never, since it is longer than any may be.
    async fn place(&self, asker: Asker, length: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(length.div_ceil(PIECE)).ok().filter(|_| length <= LARGEST)?;
        let room = match asker {
            Asker::ApiServer => &self.of_the_api_server,
            Asker::Anybody => &self.of_anybody,
        };
        room.clone().acquire_many_owned(pieces).await.ok()
    }
}

/// Serves until some time after the stop.
///
/// # Errors
/// When the port cannot be had.
pub async fn serve(
    address: SocketAddr,
    shown: Arc<Shown>,
    known: Arc<Known>,
    answers: impl Answers,
    stop: Stop,
) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen(address, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(ServeError::Tls)?.with_no_client_auth().with_cert_resolver(shown);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let room = Arc::new(Room::new(answers, known));
    let over = async {
        stop.wait().await;
        tokio::time::sleep(LINGER).await;
    };
    let conversed = |stream, guest| converse(stream, guest, acceptor.clone(), room.clone());
    tokio::select! {
        () = port::accept(&listener, PLACES, conversed) => {}
        () = over => {}
    }
    Ok(())
}

async fn converse<A: Answers>(stream: TcpStream, guest: Guest, acceptor: TlsAcceptor, room: Arc<Room<A>>) {
    // Best effort: answers are small.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("a handshake failed");
        return;
    };
    let service = service_fn(|request| async { Ok::<_, Infallible>(respond(request, &guest, &room).await) });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(LONGEST_HEAD);
    let strange = async {
        tokio::time::sleep(STRANGE).await;
        if guest.is_known() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // A connection that breaks is the other side's affair; it will ask again.
        ended = server.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
        }
        () = strange => tracing::debug!("a stranger's connection was closed"),
    }
}

async fn respond<A: Answers>(request: Request<Incoming>, guest: &Guest, room: &Room<A>) -> Response<Full<Bytes>> {
    let Some((hook, said)) = Hook::at(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, "no such hook\n");
    };
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let asker = room.known.asker(said);
    if asker == Asker::ApiServer {
        guest.is_known_now();
    }
    let answered = answered(request.into_body(), hook, asker, room).await;
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

async fn answered<A: Answers>(
    body: impl Body<Data = Bytes> + Unpin,
    hook: Hook,
    asker: Asker,
    room: &Room<A>,
) -> Answered {
    let too_long = (413, "the review is over 8 MiB");
    let late = (408, "the review did not come in time");
    let deadline = Instant::now() + DEADLINE;
    // The API server says how long it is. For what does not, room for the longest is taken.
    let hint = body.size_hint();
    let length = hint.exact().unwrap_or_else(|| hint.lower().max(LARGEST as u64));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut read = Vec::new();
    let whole = async {
        let place = room.place(asker, length).await;
        read.reserve_exact(if place.is_some() { length } else { HEAD });
        (read_whole(body, &mut read).await, place)
    };
    let (fault, place) = match timeout_at(deadline, whole).await {
        Ok((Whole::Yes, Some(place))) => (None, Some(place)),
        Ok((Whole::Broken, _)) => (Some((400, "the review did not come whole")), None),
        Ok((Whole::TooLong, _) | (Whole::Yes, None)) => (Some(too_long), None),
        // What says beforehand that it is too long is so, also when it does not come in time.
        Err(_) => (Some(if length > LARGEST { too_long } else { late }), None),
    };
    if let Some((code, why)) = fault {
        return unread(&read, code, why);
    }
    let uid = uid_in(&read);
    let (answers, turn) = (room.answers.clone(), room.turn.clone());
    let judged = async {
        let turn = turn.acquire_owned().await;
        // It ends even when nobody waits for it any more, and gives back only then what it has taken.
        let judge = move || {
            let answered = answers.answer(hook, asker, &read);
            drop((read, turn, place));
            answered
        };
        tokio::task::spawn_blocking(judge).await
    };
    match timeout_at(deadline, judged).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => refused(&uid, 500, "the operator failed to answer"),
        Err(_) => refused(&uid, late.0, "the operator did not answer in time"),
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
        // As much as there is room for.
        let left = into.capacity() - into.len();
        into.extend_from_slice(&data[..data.len().min(left)]);
    }
    if length > LARGEST { Whole::TooLong } else { Whole::Yes }
}

#[cfg(test)]
mod tests;
