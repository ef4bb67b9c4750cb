use std::collections::BTreeSet;
use std::sync::Mutex;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;
use crate::cluster::certificate::Material;
use crate::cluster::clock::now;
use crate::cluster::hook_path::Token;
use crate::telemetry::stop::Stopper;
use crate::webhook::hook::unprocessed;

/// Returns the length of the body and the caller. `/state` always takes long.
#[derive(Default)]
struct EchoLength {
    codes: Arc<Mutex<Vec<u16>>>,
}

const LONG: Duration = Duration::from_millis(2_500);

impl ReviewHandler for EchoLength {
    fn handle(&self, hook: Hook, caller: Caller, body: &[u8]) -> Reply {
        if hook == Hook::State {
            std::thread::sleep(LONG);
        }
        unprocessed("0-1", 200, &format!("{} bytes of {caller:?}", body.len()))
    }

    fn replied(&self, _: Hook, reply: &Reply) {
        self.codes.lock().unwrap().push(reply.code);
    }
}

struct TestServer {
    address: SocketAddr,
    certificate: Arc<ServedCertificate>,
    tokens: Arc<ApiServerTokens>,
    codes: Arc<Mutex<Vec<u16>>>,
    _stop: Stopper,
}

async fn test_server() -> TestServer {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (stopper, stop) = Stop::by_hand();
    let (certificate, tokens, measure) =
        (Arc::new(ServedCertificate::default()), Arc::new(ApiServerTokens::default()), EchoLength::default());
    let codes = measure.codes.clone();
    tokio::spawn(serve(free, certificate.clone(), tokens.clone(), measure, stop));
    for _ in 0..100 {
        if TcpStream::connect(free).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    TestServer { address: free, certificate, tokens, codes, _stop: stopper }
}

impl TestServer {
    fn serve(&self, material: &Material) {
        self.certificate.set(material.certified(&rustls::crypto::ring::default_provider()).unwrap());
    }

    /// The response to these bytes, over a new connection of a client that trusts the bundle.
    async fn send(&self, bundle: &str, request: &[u8]) -> io::Result<String> {
        let mut stream = self.connected(bundle).await?;
        stream.write_all(request).await?;
        let mut response = String::new();
        // A server that closes the connection without a TLS alert has still sent its response.
        let _ = stream.read_to_string(&mut response).await;
        Ok(response)
    }

    async fn connected(&self, bundle: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("rso.ns.svc").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn post(path: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: rso\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn warning(response: &str) -> String {
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    let body: Value = serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["response"]["allowed"], true);
    body["response"]["warnings"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_of_any_length_gets_a_response_even_if_it_breaks_off() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.serve(&material);
    let send = async |request: Vec<u8>| server.send(&material.bundle, &request).await.unwrap();
    assert!(warning(&send(post("/absorb", 4, b"1234")).await).contains("4 bytes"));
    assert!(warning(&send(post("/absorb", 0, b"")).await).contains("0 bytes"));
    let long = vec![b'x'; MAX_REVIEW_BYTES + 1];
    assert!(warning(&send(post("/absorb", long.len(), &long)).await).contains("larger than 8 MiB"));
    let start = Instant::now();
    assert!(warning(&send(post("/absorb", 10, b"1234")).await).contains("in time"));
    assert!(start.elapsed() < Duration::from_secs(3), "the API server would have given up");
    assert!(warning(&send(post("/absorb", MAX_REVIEW_BYTES + 1, b"1234")).await).contains("larger than 8 MiB"));
    assert_eq!(*server.codes.lock().unwrap(), [200, 200, 413, 408, 413]);
    assert!(send(post("/nothing", 0, b"")).await.starts_with("HTTP/1.1 404"));
    assert!(send(b"GET /absorb HTTP/1.1\r\nhost: rso\r\nconnection: close\r\n\r\n".to_vec()).await.contains(" 405 "));
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let server = test_server().await;
    let (old, new) = (Material::issue("rso", "ns", now()).unwrap(), Material::issue("rso", "ns", now()).unwrap());
    let request = post("/floor", 1, b"1");
    assert!(server.send(&old.bundle, &request).await.is_err(), "there is none yet");
    server.serve(&old);
    assert!(server.send(&old.bundle, &request).await.is_ok());
    server.serve(&new);
    assert!(server.send(&old.bundle, &request).await.is_err());
    assert!(server.send(&new.clone().trusting_also(&old.bundle).bundle, &request).await.is_ok());
}

#[tokio::test]
async fn silent_clients_do_not_block_the_api_server() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.serve(&material);
    let mut silent = Vec::new();
    for _ in 0..3 * CONNECTION_LIMITS.unverified {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(warning(&server.send(&material.bundle, &post("/agent", 1, b"1")).await.unwrap()).contains("1 bytes"));
}

fn token() -> (Token, String) {
    (Token::new([0xab; 32]), "ab".repeat(32))
}

#[tokio::test]
async fn a_client_with_the_token_is_the_api_server() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.serve(&material);
    let (token, text) = token();
    let check = async |path: &str, expected: &str| {
        let response = server.send(&material.bundle, &post(path, 1, b"1")).await.unwrap();
        assert!(warning(&response).contains(&format!("1 bytes of {expected}")), "{path}: {response}");
    };
    check(&format!("/floor/{text}"), "Unverified").await;
    server.tokens.set(BTreeSet::from([token]));
    check(&format!("/floor/{text}"), "ApiServer").await;
    check(&format!("/floor/{text}?timeout=2s"), "ApiServer").await;
    check(&format!("/floor/{}", "cd".repeat(32)), "Unverified").await;
    check("/floor/", "Unverified").await;
    check("/floor", "Unverified").await;
    server.tokens.set(BTreeSet::new());
    check(&format!("/floor/{text}"), "Unverified").await;
}

#[tokio::test]
async fn slow_unverified_clients_do_not_use_up_the_budget_of_the_api_server() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.serve(&material);
    let (token, text) = token();
    server.tokens.set(BTreeSet::from([token]));
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connected(&material.bundle).await.unwrap();
        stream.write_all(&post("/floor", MAX_REVIEW_BYTES, b"1")).await.unwrap();
        slow.push(stream);
    }
    let start = Instant::now();
    let response = server.send(&material.bundle, &post(&format!("/floor/{text}"), 3, b"123")).await.unwrap();
    assert!(warning(&response).contains("3 bytes of ApiServer"));
    assert!(start.elapsed() < Duration::from_secs(1), "it waited for unverified clients: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_handler_blocks_neither_the_thread_nor_the_caller() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.serve(&material);
    let start = Instant::now();
    let long = async { server.send(&material.bundle, &post("/state", 1, b"1")).await.unwrap() };
    // This test has one thread.
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        start.elapsed()
    };
    let (response, meanwhile) = tokio::join!(long, meanwhile);
    assert!(warning(&response).contains("in time") && start.elapsed() < LONG, "{response}");
    assert!(meanwhile < Duration::from_secs(1), "the thread was blocked for {meanwhile:?}");
}
