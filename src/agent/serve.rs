//! The HTTP server of the agent: a few connections at a time, for a few seconds each, regardless of what clients send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{self, Probe, THREAD_STACK_BYTES};
use super::held::{Client, Holds, MAX_HELD};
use super::http::{self, AgentRequest, AgentResponse};
use crate::api::held::{HeldQuery, InvalidQuery};

/// Concurrent connections; each has a thread. Beside the held requests, there are four: the operator uses one, and a user
/// perhaps another.
const MAX_CONNECTIONS: usize = 4 + MAX_HELD;
/// The time to receive a request, and again the time to send the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the agent waits for each chunk of unread data after it has sent a response.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
/// How many chunks of 512 bytes of unread data the agent reads after it has sent a response.
const MAX_DRAINED_CHUNKS: u32 = 16;
/// The delay after a failed accept (no file descriptor left), which prevents the loop from spinning.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What the connections share.
pub(super) struct Service {
    /// The volumes.
    pub(super) probes: Vec<Probe>,
    /// The held requests.
    pub(super) holds: Holds,
}

/// Serves until the process ends.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn forever(listener: TcpListener, service: Arc<Service>) -> io::Result<()> {
    let listener = Arc::new(listener);
    for _ in 1..MAX_CONNECTIONS {
        let (listener, service) = (Arc::clone(&listener), Arc::clone(&service));
        thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(move || accept(&listener, &service))?;
    }
    accept(&listener, &service)
}

fn accept(listener: &TcpListener, service: &Service) -> ! {
    loop {
        match listener.accept() {
            // When a connection fails, the client retries.
            Ok((stream, _)) => drop(serve_connection(stream, service)),
            Err(_) => thread::sleep(ACCEPT_RETRY_DELAY),
        }
    }
}

fn serve_connection(mut stream: TcpStream, service: &Service) -> io::Result<()> {
    let request = http::read_request(&mut stream, Instant::now() + REQUEST_TIMEOUT)?;
    let Some(response) = respond(request, service, &stream) else { return Ok(()) };
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    stream.write_all(response.encode().as_bytes())?;
    drain_and_close(&mut stream)
}

/// Closes the connection so that the client receives the response: a socket that is closed with unread bytes resets the
/// connection, and the client can lose the response. Therefore the rest of an oversized request is read and discarded,
/// for a short time.
fn drain_and_close(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(DRAIN_TIMEOUT))?;
    let mut rest = [0; 512];
    for _ in 0..MAX_DRAINED_CHUNKS {
        if stream.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

/// The response; `None` if the client has gone.
fn respond(request: AgentRequest, service: &Service, stream: &TcpStream) -> Option<AgentResponse> {
    Some(match request {
        AgentRequest::Disk => usage(disk::render(&service.probes, &disk::measure(&service.probes), None)),
        AgentRequest::Held(query) => return hold(query, service, stream),
        AgentRequest::InvalidQuery => AgentResponse::text("400 Bad Request", &InvalidQuery.to_string()),
        AgentRequest::Health => AgentResponse::text("200 OK", "ok"),
        AgentRequest::NotFound => AgentResponse::text("404 Not Found", "not found; the paths are /disk and /healthz"),
        AgentRequest::NotAllowed => AgentResponse::text("405 Method Not Allowed", "method not allowed; use GET"),
        AgentRequest::Malformed => AgentResponse::text("400 Bad Request", "not a valid HTTP/1.1 request"),
        AgentRequest::TooLarge => {
            AgentResponse::text("431 Request Header Fields Too Large", "the request head is larger than 4 KiB")
        }
    })
}

fn usage((complete, body): (bool, String)) -> AgentResponse {
    let status = if complete { "200 OK" } else { "500 Internal Server Error" };
    AgentResponse { status, kind: "application/json", body }
}

fn hold(query: HeldQuery, service: &Service, stream: &TcpStream) -> Option<AgentResponse> {
    let Some(slot) = service.holds.slot() else {
        let why = format!("{MAX_HELD} requests are held already; use /disk without wait and full, or try again later");
        return Some(AgentResponse::text("503 Service Unavailable", &why));
    };
    service.holds.hold(&slot, &service.probes, query, |pause| wait(stream, pause)).map(usage)
}

/// Waits for that time, or until the client does something: a connection that it closes is free at once.
fn wait(stream: &TcpStream, pause: Duration) -> Client {
    if stream.set_read_timeout(Some(pause)).is_err() {
        return Client::Gone;
    }
    match stream.peek(&mut [0]) {
        Ok(0) => Client::Gone,
        Ok(_) => Client::Sends,
        Err(error) if is_timeout(error.kind()) => Client::Waits,
        Err(_) => Client::Gone,
    }
}

/// Whether the client has done nothing.
const fn is_timeout(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
