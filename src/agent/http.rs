//! What is asked, and how is it answered? As much of HTTP/1.1 as two routes need.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

/// The most bytes of a request's head. The operator's has about a hundred.
const MAX_HEAD: usize = 4 << 10;

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The figures of the volumes.
    Disk,
    /// Whether the agent lives.
    Health,
    /// A route that does not exist.
    NotFound,
    /// Another method than GET.
    NotAllowed,
    /// No HTTP.
    Malformed,
    /// A head without end.
    TooLarge,
}

/// A status line, a type and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Response {
    /// A short answer in plain text.
    pub(super) fn text(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{body}\n") }
    }

    /// As it goes over the wire.
    pub(super) fn encode(&self) -> String {
        let (status, kind, body) = (self.status, self.kind, &self.body);
        let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// Reads the head of a request, until the deadline at most. A body is not read: no route has one.
///
/// # Errors
/// When the connection breaks, or is too slow.
pub(super) fn read(stream: &mut TcpStream, until: Instant) -> io::Result<Request> {
    let mut head = Vec::with_capacity(512);
    let mut piece = [0; 512];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(end) = end_of_head(&head) {
            return Ok(parse(head.get(..end).unwrap_or_default()));
        }
        if head.len() >= MAX_HEAD {
            return Ok(Request::TooLarge);
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

/// Reads the request line: `GET /disk HTTP/1.1`.
fn parse(head: &[u8]) -> Request {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::Malformed;
    };
    if !version.starts_with(b"HTTP/1.") || !target.starts_with(b"/") {
        return Request::Malformed;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    match (path, method) {
        (b"/disk", b"GET") => Request::Disk,
        (b"/healthz", b"GET") => Request::Health,
        (b"/disk" | b"/healthz", _) => Request::NotAllowed,
        _ => Request::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_first_line() {
        let check = |head: &str, expected: Request| assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        check("GET /disk HTTP/1.1\r\nHost: a", Request::Disk);
        check("GET /disk HTTP/1.0", Request::Disk);
        check("GET /disk?pretty HTTP/1.1", Request::Disk);
        check("GET /healthz HTTP/1.1", Request::Health);
        check("GET / HTTP/1.1", Request::NotFound);
        check("GET /disk/../../etc/passwd HTTP/1.1", Request::NotFound);
        check("GET /DISK HTTP/1.1", Request::NotFound);
        check("POST /disk HTTP/1.1", Request::NotAllowed);
        check("DELETE /healthz HTTP/1.1", Request::NotAllowed);
        check("GET  /disk HTTP/1.1", Request::Malformed);
        check("GET /disk HTTP/2.0", Request::Malformed);
        check("GET disk HTTP/1.1", Request::Malformed);
        check("GET /disk", Request::Malformed);
        check("", Request::Malformed);
        check("\u{16}\u{3}\u{1}", Request::Malformed);
    }
}
