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
use crate::telemetry::stop::Stopper;
use crate::webhook::hook::unprocessed;

/// Says how long the question was and who asked. Of `/state`, everything that it is asked takes long.
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

    fn replied(&self, _: Hook, answered: &Reply) {
        self.codes.lock().unwrap().push(answered.code);
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
    let (certificate, tokens, measure) = (Arc::new(ServedCertificate::default()), Arc::new(ApiServerTokens::default()), EchoLength::default());
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
    fn shows(&self, material: &Material) {
        self.certificate.set(material.certified(&rustls::crypto::ring::default_provider()).unwrap());
    }

    /// What comes of these bytes, over a new connection by a client that trusts the bundle.
    async fn says(&self, bundle: &str, request: &[u8]) -> io::Result<String> {
        let mut stream = self.connected(bundle).await?;
        stream.write_all(request).await?;
        let mut answer = String::new();
        // A server that hangs up without a farewell has still said what it had to say.
        let _ = stream.read_to_string(&mut answer).await;
        Ok(answer)
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

fn warning(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["response"]["allowed"], true);
    body["response"]["warnings"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_question_is_answered_whatever_its_length_and_wherever_it_breaks_off() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.shows(&material);
    let says = async |request: Vec<u8>| server.says(&material.bundle, &request).await.unwrap();
    assert!(warning(&says(post("/absorb", 4, b"1234")).await).contains("4 bytes"));
    assert!(warning(&says(post("/absorb", 0, b"")).await).contains("0 bytes"));
    let long = vec![b'x'; MAX_REVIEW_BYTES + 1];
    assert!(warning(&says(post("/absorb", long.len(), &long)).await).contains("over 8 MiB"));
    let asked = Instant::now();
    assert!(warning(&says(post("/absorb", 10, b"1234")).await).contains("in time"));
    assert!(asked.elapsed() < Duration::from_secs(3), "the API server would have given up");
    assert!(warning(&says(post("/absorb", MAX_REVIEW_BYTES + 1, b"1234")).await).contains("over 8 MiB"));
    assert_eq!(*server.codes.lock().unwrap(), [200, 200, 413, 408, 413]);
    assert!(says(post("/nothing", 0, b"")).await.starts_with("HTTP/1.1 404"));
    assert!(says(b"GET /absorb HTTP/1.1\r\nhost: rso\r\nconnection: close\r\n\r\n".to_vec()).await.contains(" 405 "));
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let server = test_server().await;
    let (old, new) = (Material::issue("rso", "ns", now()).unwrap(), Material::issue("rso", "ns", now()).unwrap());
    let request = post("/floor", 1, b"1");
    assert!(server.says(&old.bundle, &request).await.is_err(), "there is none yet");
    server.shows(&old);
    assert!(server.says(&old.bundle, &request).await.is_ok());
    server.shows(&new);
    assert!(server.says(&old.bundle, &request).await.is_err());
    assert!(server.says(&new.clone().trusting_also(&old.bundle).bundle, &request).await.is_ok());
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_up_nobody() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.shows(&material);
    let mut silent = Vec::new();
    for _ in 0..3 * CONNECTION_LIMITS.unverified {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(warning(&server.says(&material.bundle, &post("/agent", 1, b"1")).await.unwrap()).contains("1 bytes"));
}

fn token() -> (Token, String) {
    (Token::new([0xab; 32]), "ab".repeat(32))
}

#[tokio::test]
async fn who_knows_the_token_is_the_api_server() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.shows(&material);
    let (token, text) = token();
    let check = async |path: &str, expected: &str| {
        let answer = server.says(&material.bundle, &post(path, 1, b"1")).await.unwrap();
        assert!(warning(&answer).contains(&format!("1 bytes of {expected}")), "{path}: {answer}");
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
async fn strangers_who_drip_take_up_their_own_room_and_not_that_of_the_api_server() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.shows(&material);
    let (token, text) = token();
    server.tokens.set(BTreeSet::from([token]));
    let mut dripping = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connected(&material.bundle).await.unwrap();
        stream.write_all(&post("/floor", MAX_REVIEW_BYTES, b"1")).await.unwrap();
        dripping.push(stream);
    }
    let asked = Instant::now();
    let answer = server.says(&material.bundle, &post(&format!("/floor/{text}"), 3, b"123")).await.unwrap();
    assert!(warning(&answer).contains("3 bytes of ApiServer"));
    assert!(asked.elapsed() < Duration::from_secs(1), "it waited for strangers: {:?}", asked.elapsed());
}

#[tokio::test]
async fn an_answer_that_takes_long_holds_up_neither_the_thread_nor_the_asker() {
    let server = test_server().await;
    let material = Material::issue("rso", "ns", now()).unwrap();
    server.shows(&material);
    let asked = Instant::now();
    let long = async { server.says(&material.bundle, &post("/state", 1, b"1")).await.unwrap() };
    // This test has one thread.
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        asked.elapsed()
    };
    let (answer, meanwhile) = tokio::join!(long, meanwhile);
    assert!(warning(&answer).contains("in time") && asked.elapsed() < LONG, "{answer}");
    assert!(meanwhile < Duration::from_secs(1), "the thread was held up for {meanwhile:?}");
}
