//! One HTTP GET to a server that may be broken or hostile, with limits on its time, its bytes, and its address.
//!
//! It follows no redirect and decompresses nothing: the result is the response of that address within the limits, or an
//! error.

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

/// The largest header of a response; hyper accepts no limit below 8 KiB.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Why the usage of a volume is unknown. Short: it follows "no answer" in an Event message.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Not an address of a Pod or node.
    #[error("{0} is not the address of a Pod or node")]
    Address(IpAddr),
    /// It failed recently, and is not queried for a while.
    #[error("it failed recently")]
    BackingOff,
    /// The connection failed.
    #[error("failed to connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    /// The certificate is not trusted.
    #[error("failed to verify the certificate of {0} with the cluster's CA")]
    Tls(SocketAddr, #[source] io::Error),
    /// No response within the deadline.
    #[error("no response within {} s", .0.as_secs())]
    Slow(Duration),
    /// The response is not valid HTTP.
    #[error("invalid HTTP response")]
    Http(#[source] hyper::Error),
    /// The status is an error.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// The response is longer than any valid one.
    #[error("the response is longer than {0} bytes")]
    TooLong(usize),
    /// The response cannot be parsed.
    #[error("the response cannot be parsed")]
    Read(#[from] ReadError),
    /// There is no token for the kubelet, which never receives the operator's own.
    #[error("failed to request a token of ServiceAccount {0}, which may only read statistics")]
    Token(String, #[source] Box<crate::cluster::client::Error>),
    /// The same: the ServiceAccount is missing, or the response has no token.
    #[error("ServiceAccount {0}, which may only read statistics, does not exist; install the chart again")]
    NoAccount(String),
    /// The cluster's certificates cannot be used.
    #[error("failed to create a TLS client from the cluster's certificates")]
    Certificates(#[source] kube::Error),
    /// The node cannot be read.
    #[error("failed to get the node")]
    Node(#[source] Box<crate::cluster::client::Error>),
    /// The node does not exist, or has no address.
    #[error("node {0} does not exist or has no address")]
    NoAddress(String),
}

impl UsageError {
    /// The label in the metrics.
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

/// What is requested, and what is accepted.
pub(super) struct Query<'a> {
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) accepts: fn(StatusCode) -> bool,
    pub(super) largest: usize,
}

/// Opens a connection to an address that [`is_allowed`].
pub(super) async fn connect(to: SocketAddr, is_allowed: fn(IpAddr) -> bool) -> Result<TcpStream, UsageError> {
    if !is_allowed(to.ip()) {
        return Err(UsageError::Address(to.ip()));
    }
    let stream = TcpStream::connect(to).await.map_err(|source| UsageError::Connect(to, source))?;
    // Best effort: one small request, and then we wait for the response.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Sends the request on a connection and reads the whole response. The caller bounds the time.
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
    let response = async {
        let response = sender.send_request(request(host, query)).await.map_err(UsageError::Http)?;
        if !(query.accepts)(response.status()) {
            return Err(UsageError::Status(response.status()));
        }
        let body = response.into_body();
        if body.size_hint().lower() > query.largest as u64 {
            return Err(UsageError::TooLong(query.largest));
        }
        let body = Limited::new(body, query.largest).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| unread(error, query.largest))
    };
    // In this task: when the caller gives up, this closes the connection, which lives no longer than the response
    // needs.
    let (mut response, connection) = (pin!(response), pin!(connection));
    tokio::select! {
        response = &mut response => response,
        _ended = connection => response.await,
    }
}

fn request(host: SocketAddr, query: &Query<'_>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    // Every path is valid; the one of an invalid one would be `/`.
    *request.uri_mut() = query.path.parse().unwrap_or_default();
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

/// Whether a Pod or node can have this address. 169.254.169.254 and similar addresses serve the credentials of a cloud;
/// loopback is our own Pod.
pub(super) fn is_allowed(ip: IpAddr) -> bool {
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

    /// The result of a response, byte for byte; `stays`: the server keeps the connection open.
    async fn answer(text: &str, stays: bool) -> (Result<Bytes, UsageError>, String) {
        let (ours, mut theirs) = duplex(1 << 20);
        let text = text.to_owned();
        let other = tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let read = theirs.read(&mut request).await.unwrap();
            theirs.write_all(text.as_bytes()).await.unwrap();
            if stays {
                // Until the client closes the connection.
                let _ = theirs.read(&mut [0]).await;
            }
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let host = SocketAddr::from(([10, 0, 0, 7], 1251));
        let start = tokio::time::timeout(Duration::from_millis(300), get(ours, host, &QUERY)).await;
        let start = start.unwrap_or(Err(UsageError::Slow(Duration::from_secs(2))));
        (start, other.await.unwrap())
    }

    #[tokio::test]
    async fn a_valid_response_is_read_and_the_request_is_minimal() {
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
    async fn a_hostile_response_costs_little_and_is_rejected() {
        let check = async |text: String, expected: &str| {
            let (response, _) = answer(&text, true).await;
            let error = format!("{:?}", response.unwrap_err());
            assert!(error.starts_with(expected), "{error} for {}", &text[..text.len().min(60)]);
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
    fn only_addresses_that_a_pod_can_have_are_accepted() {
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
