//! HTTP requests and responses of the agent: the part of HTTP/1.1 that two routes need.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

use crate::api::held::HeldQuery;

/// The maximum size of the head of a request, bytes. The operator sends about a hundred.
const MAX_HEAD_BYTES: usize = 4 << 10;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentRequest {
    /// The usage of the volumes.
    Disk,
    /// The same, when a volume has reached a share, or after a wait.
    Held(HeldQuery),
    /// Only a part of such a query, or an invalid value.
    InvalidQuery,
    /// Whether the agent is alive.
    Health,
    /// A route that does not exist.
    NotFound,
    /// A method other than GET.
    NotAllowed,
    /// Not HTTP/1.
    Malformed,
    /// A head that is too large.
    TooLarge,
}

/// A response: status, content type, and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentResponse {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl AgentResponse {
    /// A response in plain text.
    pub(super) fn text(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{body}\n") }
    }

    /// The bytes that are sent.
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

/// Reads the head of a request, until `deadline` at the latest. Does not read a body, because no route has one.
///
/// # Errors
/// When the connection fails or is too slow.
pub(super) fn read_request(stream: &mut TcpStream, deadline: Instant) -> io::Result<AgentRequest> {
    let mut head = Vec::with_capacity(512);
    let mut chunk = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(end) = end_of_head(&head) {
            return Ok(parse(head.get(..end).unwrap_or_default()));
        }
        if head.len() >= MAX_HEAD_BYTES {
            return Ok(AgentRequest::TooLarge);
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

/// Parses the request line: `GET /disk HTTP/1.1`.
pub(super) fn parse(head: &[u8]) -> AgentRequest {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return AgentRequest::Malformed;
    };
    if !version.starts_with(b"HTTP/1.") || !target.starts_with(b"/") {
        return AgentRequest::Malformed;
    }
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (path, method) {
        (b"/disk", b"GET") => match HeldQuery::parse(&String::from_utf8_lossy(query)) {
            Ok(None) => AgentRequest::Disk,
            Ok(Some(query)) => AgentRequest::Held(query),
            Err(_) => AgentRequest::InvalidQuery,
        },
        (b"/healthz", b"GET") => AgentRequest::Health,
        (b"/disk" | b"/healthz", _) => AgentRequest::NotAllowed,
        _ => AgentRequest::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::percent::Percent;

    #[test]
    fn the_first_line_decides_what_a_request_is_for() {
        let check = |head: &str, expected: AgentRequest| assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        check("GET /disk HTTP/1.1\r\nHost: a", AgentRequest::Disk);
        check("GET /disk HTTP/1.0", AgentRequest::Disk);
        check("GET /disk?pretty HTTP/1.1", AgentRequest::Disk);
        check("GET /disk? HTTP/1.1", AgentRequest::Disk);
        check("GET /disk?a=b?wait=5 HTTP/1.1", AgentRequest::Disk);
        let held = AgentRequest::Held(HeldQuery { wait: 55, full: Percent::whole(80) });
        check("GET /disk?wait=55&full=80 HTTP/1.1\r\nHost: a", held);
        check("GET /disk?wait=55 HTTP/1.1", AgentRequest::InvalidQuery);
        check("GET /disk?wait=55&full=80&full=80 HTTP/1.1", AgentRequest::InvalidQuery);
        check("POST /disk?wait=55&full=80 HTTP/1.1", AgentRequest::NotAllowed);
        check("GET /healthz?wait=55 HTTP/1.1", AgentRequest::Health);
        check("GET /healthz HTTP/1.1", AgentRequest::Health);
        check("GET / HTTP/1.1", AgentRequest::NotFound);
        check("GET /disk/../../etc/passwd HTTP/1.1", AgentRequest::NotFound);
        check("GET /DISK HTTP/1.1", AgentRequest::NotFound);
        check("POST /disk HTTP/1.1", AgentRequest::NotAllowed);
        check("DELETE /healthz HTTP/1.1", AgentRequest::NotAllowed);
        check("GET  /disk HTTP/1.1", AgentRequest::Malformed);
        check("GET /disk HTTP/2.0", AgentRequest::Malformed);
        check("GET disk HTTP/1.1", AgentRequest::Malformed);
        check("GET /disk", AgentRequest::Malformed);
        check("", AgentRequest::Malformed);
        check("\u{16}\u{3}\u{1}", AgentRequest::Malformed);
    }
}
