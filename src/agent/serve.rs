//! Who is answered, and for how long? A few connections at a time, a few seconds each, whatever comes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{self, Probe, STACK};
use super::http::{self, Request, Response};

/// Connections at a time; each has a thread. The operator has one, a person perhaps another.
const CONNECTIONS: usize = 4;
/// A request must have come within this, and the answer must have gone within the same again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long, and how many times 512 bytes, are waited for when an answer has gone.
const PARTING: Duration = Duration::from_millis(100);
const LEFTOVERS: u32 = 16;
/// After an accept that failed (no descriptor left), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until the process ends.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn forever(listener: TcpListener, probes: Arc<Vec<Probe>>) -> io::Result<()> {
    let listener = Arc::new(listener);
    for _ in 1..CONNECTIONS {
        let (listener, probes) = (Arc::clone(&listener), Arc::clone(&probes));
        thread::Builder::new().stack_size(STACK).spawn(move || accept(&listener, &probes))?;
    }
    accept(&listener, &probes)
}

fn accept(listener: &TcpListener, probes: &[Probe]) -> ! {
    loop {
        match listener.accept() {
            // A connection that breaks is the other side's affair; it will ask again.
            Ok((stream, _)) => drop(converse(stream, probes)),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn converse(mut stream: TcpStream, probes: &[Probe]) -> io::Result<()> {
    let request = http::read(&mut stream, Instant::now() + PATIENCE)?;
    let response = respond(request, probes);
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(response.encode().as_bytes())?;
    part(&mut stream)
}

/// Closes so that the answer arrives: a socket that is closed with bytes unread resets the connection, and the other side
/// may lose what it was sent. What is left of an overlong request is thrown away, for a moment.
fn part(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PARTING))?;
    let mut rest = [0; 512];
    for _ in 0..LEFTOVERS {
        if stream.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

fn respond(request: Request, probes: &[Probe]) -> Response {
    match request {
        Request::Disk => {
            let (whole, body) = disk::answer(probes);
            let status = if whole { "200 OK" } else { "500 Internal Server Error" };
            Response { status, kind: "application/json", body }
        }
        Request::Health => Response::text("200 OK", "ok"),
        Request::NotFound => Response::text("404 Not Found", "there is /disk and /healthz"),
        Request::NotAllowed => Response::text("405 Method Not Allowed", "only GET"),
        Request::Malformed => Response::text("400 Bad Request", "this is no HTTP/1.1 request"),
        Request::TooLarge => Response::text("431 Request Header Fields Too Large", "the head is over 4 KiB"),
    }
}
