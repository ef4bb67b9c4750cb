//! One GET to a program that may be broken or hostile: bounded in time, in bytes, and in where it may lead.
//!
//! No redirect is followed and nothing is decompressed: the answer is what that address says within its limits, or nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::policy::usage::ReadError;

/// The most that the head of an answer may have; hyper takes no less than 8 KiB.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Why nobody said how full a volume is. Short: it stands in a note behind "no answer".
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Not an address that a pod or node has.
    #[error("{0} is not the address of a pod or node")]
    Address(IpAddr),
    /// It failed a moment ago, and is left alone for a while.
    #[error("it failed a moment ago")]
    BackingOff,
    /// Nobody listens there.
    #[error("failed to connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    /// The certificate is not what it should be.
    #[error("failed to trust {0}; is its certificate signed by the cluster's CA?")]
    Tls(SocketAddr, #[source] io::Error),
    /// Nothing came in time.
    #[error("nothing came within {} s", .0.as_secs())]
    Slow(Duration),
    /// It does not speak HTTP well.
    #[error("failed to speak HTTP")]
    Http(#[source] hyper::Error),
    /// It refused.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The answer is longer than any honest one.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Read(#[from] ReadError),
    /// There is no token for the kubelet; the operator's own is never sent to one.
    #[error("failed to get a token of ServiceAccount {0}, which may only read statistics")]
    Token(String, #[source] Box<crate::cluster::client::Error>),
    /// The same: the ServiceAccount is missing, or the answer has no token.
    #[error("ServiceAccount {0}, which may only read statistics, is missing; install the chart again")]
    NoAccount(String),
    /// Our own certificates cannot be used.
    #[error("failed to make a TLS client from the cluster's certificates")]
    Certificates(#[source] kube::Error),
    /// The node cannot be looked up.
    #[error("failed to find the node")]
    Node(#[source] Box<crate::cluster::client::Error>),
    /// The node is gone, or has no address.
    #[error("the node {0} has no address")]
    NoAddress(String),
}

impl UsageError {
    /// The word for it in the metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::BackingOff => "resting",
            Self::Status(_) | Self::TooLong(_) | Self::Read(_) | Self::Http(_) => "refused",
            Self::Address(_)
            | Self::Connect(..)
            | Self::Tls(..)
            | Self::Slow(_)
            | Self::Token(..)
            | Self::NoAccount(_)
            | Self::Certificates(_)
            | Self::Node(_)
            | Self::NoAddress(_) => "silent",
        }
    }
}

/// What is asked, and what is accepted.
pub(super) struct Query<'a> {
    pub(super) path: &'static str,
    pub(super) token: Option<&'a str>,
    pub(super) accepts: fn(StatusCode) -> bool,
    pub(super) largest: usize,
}

/// Opens a connection to an address that a pod or node can have.
pub(super) async fn connect(to: SocketAddr) -> Result<TcpStream, UsageError> {
    // 169.254.169.254 and its like tell a cloud's secrets; loopback is our own pod.
    if !is_allowed(to.ip()) {
        return Err(UsageError::Address(to.ip()));
    }
    let stream = TcpStream::connect(to).await.map_err(|source| UsageError::Connect(to, source))?;
    // Best effort: one small request, and the answer is waited for.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Asks on a connection and reads the whole answer. The caller bounds the time.
pub(super) async fn get<T>(connection: T, host: SocketAddr, query: &Query<'_>) -> Result<Bytes, UsageError>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    exchange(TokioIo::new(connection), host, query).await
}

async fn exchange<T>(connection: T, host: SocketAddr, query: &Query<'_>) -> Result<Bytes, UsageError>
where
    T: Read + Write + Unpin,
{
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEADER_BYTES).max_headers(32);
    let (mut sender, connection) = client.handshake(connection).await.map_err(UsageError::Http)?;
    let answer = async {
        let answer = sender.send_request(request(host, query)).await.map_err(UsageError::Http)?;
        if !(query.accepts)(answer.status()) {
            return Err(UsageError::Status(answer.status()));
        }
        let body = answer.into_body();
        if body.size_hint().lower() > query.largest as u64 {
            return Err(UsageError::TooLong(query.largest));
        }
        let body = Limited::new(body, query.largest).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| unread(error, query.largest))
    };
    // In this task, so that giving up closes the connection; and no longer than the answer needs.
    let (mut answer, connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        _ended = connection => answer.await,
    }
}

fn request(host: SocketAddr, query: &Query<'_>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static(query.path);
    let headers = request.headers_mut();
    let close = http::HeaderValue::from_static("close");
    headers.insert(header::CONNECTION, close);
    if let Ok(host) = host.to_string().parse() {
        headers.insert(header::HOST, host);
    }
    if let Some(Ok(token)) = query.token.map(|token| format!("Bearer {token}").parse::<http::HeaderValue>()) {
        headers.insert(header::AUTHORIZATION, token);
    }
    request
}

fn unread(error: Box<dyn std::error::Error + Send + Sync>, largest: usize) -> UsageError {
    match error.downcast::<hyper::Error>() {
        Ok(error) => UsageError::Http(*error),
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>());
            UsageError::TooLong(largest)
        }
    }
}

fn is_allowed(ip: IpAddr) -> bool {
    let special = match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let ip = ip.to_canonical();
    !(special || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const QUERY: Query<'static> = Query {
        path: "/disk",
        token: Some("secret"),
        accepts: |code| code == StatusCode::OK || code == StatusCode::INTERNAL_SERVER_ERROR,
        largest: 64,
    };

    /// What comes of an answer, byte for byte; `stays`: the other side keeps the connection open.
    async fn answer(text: &str, stays: bool) -> (Result<Bytes, UsageError>, String) {
        let (ours, mut theirs) = duplex(1 << 20);
        let text = text.to_owned();
        let other = tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let read = theirs.read(&mut request).await.unwrap();
            theirs.write_all(text.as_bytes()).await.unwrap();
            if stays {
                // Until we hang up.
                let _ = theirs.read(&mut [0]).await;
            }
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let host = SocketAddr::from(([10, 0, 0, 7], 1251));
        let asked = tokio::time::timeout(Duration::from_millis(300), get(ours, host, &QUERY)).await;
        let asked = asked.unwrap_or(Err(UsageError::Slow(Duration::from_secs(2))));
        (asked, other.await.unwrap())
    }

    #[tokio::test]
    async fn a_good_answer_is_read_and_the_question_is_plain() {
        let (body, request) = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", false).await;
        assert_eq!(body.unwrap(), "[]");
        assert_eq!(
            request,
            "GET /disk HTTP/1.1\r\nconnection: close\r\nhost: 10.0.0.7:1251\r\nauthorization: Bearer secret\r\n\r\n"
        );
        let (body, _) = answer("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n[]", true).await;
        assert_eq!(body.unwrap(), "[]");
    }

    #[tokio::test]
    async fn a_hostile_answer_costs_little_and_leads_nowhere() {
        let check = async |text: String, expected: &str| {
            let (answer, _) = answer(&text, true).await;
            let told = format!("{:?}", answer.unwrap_err());
            assert!(told.starts_with(expected), "{told} for {}", &text[..text.len().min(60)]);
        };
        check("HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n".into(), "Status(302")
            .await;
        check("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".into(), "Status(404").await;
        check(format!("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n{}", "x".repeat(65)), "TooLong(64)").await;
        check("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx".into(), "TooLong(64)").await;
        let chunks = "10\r\n0123456789abcdef\r\n".repeat(5);
        check(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"), "TooLong(64)").await;
        check(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(20_000)), "Http(").await;
        check(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(40)), "Http(").await;
        check("SSH-2.0-OpenSSH_9.6\r\n".into(), "Http(").await;
        check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[".into(), "Slow(").await;
        check(String::new(), "Slow(").await;
    }

    #[test]
    fn only_addresses_that_a_pod_can_have_are_dialled() {
        let check = |ip: &str, expected: bool| assert_eq!(is_allowed(ip.parse().unwrap()), expected, "{ip}");
        check("10.0.0.7", true);
        check("192.168.1.1", true);
        check("fd00::7", true);
        check("127.0.0.1", false);
        check("::1", false);
        check("::ffff:127.0.0.1", false);
        check("169.254.169.254", false);
        check("::ffff:169.254.169.254", false);
        check("fe80::1", false);
        check("0.0.0.0", false);
        check("255.255.255.255", false);
        check("224.0.0.1", false);
    }
}
