//! The HTTP server of the agent: a few connections at a time, for a few seconds each, regardless of what clients send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{self, Probe, THREAD_STACK_BYTES};
use super::http::{self, AgentRequest, AgentResponse};

/// Concurrent connections; each has a thread. The operator uses one, and a user perhaps another.
const MAX_CONNECTIONS: usize = 4;
/// The time to receive a request, and again the time to send the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the agent waits for each chunk of unread data after it has sent a response.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
/// How many chunks of 512 bytes of unread data the agent reads after it has sent a response.
const MAX_DRAINED_CHUNKS: u32 = 16;
/// The delay after a failed accept (no file descriptor left), which prevents the loop from spinning.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until the process ends.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn forever(listener: TcpListener, probes: Arc<Vec<Probe>>) -> io::Result<()> {
    let listener = Arc::new(listener);
    for _ in 1..MAX_CONNECTIONS {
        let (listener, probes) = (Arc::clone(&listener), Arc::clone(&probes));
        thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(move || accept(&listener, &probes))?;
    }
    accept(&listener, &probes)
}

fn accept(listener: &TcpListener, probes: &[Probe]) -> ! {
    loop {
        match listener.accept() {
            // When a connection fails, the client retries.
            Ok((stream, _)) => drop(serve_connection(stream, probes)),
            Err(_) => thread::sleep(ACCEPT_RETRY_DELAY),
        }
    }
}

fn serve_connection(mut stream: TcpStream, probes: &[Probe]) -> io::Result<()> {
    let request = http::read_request(&mut stream, Instant::now() + REQUEST_TIMEOUT)?;
    let response = respond(request, probes);
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

fn respond(request: AgentRequest, probes: &[Probe]) -> AgentResponse {
    match request {
        AgentRequest::Disk => {
            let (complete, body) = disk::measure(probes);
            let status = if complete { "200 OK" } else { "500 Internal Server Error" };
            AgentResponse { status, kind: "application/json", body }
        }
        AgentRequest::Health => AgentResponse::text("200 OK", "ok"),
        AgentRequest::NotFound => AgentResponse::text("404 Not Found", "not found; the paths are /disk and /healthz"),
        AgentRequest::NotAllowed => AgentResponse::text("405 Method Not Allowed", "method not allowed; use GET"),
        AgentRequest::Malformed => AgentResponse::text("400 Bad Request", "not a valid HTTP/1.1 request"),
        AgentRequest::TooLarge => {
            AgentResponse::text("431 Request Header Fields Too Large", "the request head is larger than 4 KiB")
        }
    }
}
