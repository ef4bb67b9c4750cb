//! The webhook is asked without the API server, as anybody in the cluster can.

use std::sync::Arc;

use base64::Engine;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::api::Api;
use super::operator;
use super::programs::kubectl;

/// Where each operator listens for reviews.
pub async fn operators(api: &Api) -> Vec<String> {
    let pods = operator::pods(api).await;
    pods.iter().filter_map(|pod| Some(format!("{}:9443", pod["status"]["podIP"].as_str()?))).collect()
}

/// Who signed the certificate that the operators show. These tests leave it alone.
static ROOTS: OnceCell<RootCertStore> = OnceCell::const_new();

async fn roots() -> RootCertStore {
    let bundle = webhooks().await[0]["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    let bundle = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    roots
}

async fn webhooks() -> Value {
    let configuration = kubectl(&["get", "mutatingwebhookconfiguration", operator::NAME, "-o", "json"]).await.ok();
    serde_json::from_str::<Value>(&configuration).unwrap()["webhooks"].take()
}

/// What an administrator can read and nobody else: how the operator knows the API server.
pub async fn token() -> String {
    let webhooks = webhooks().await;
    let path = webhooks[0]["clientConfig"]["service"]["path"].as_str().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A review as the API server would send it.
pub fn review(
    kind: (&str, &str, &str),
    operation: &str,
    namespace: &str,
    name: &str,
    object: &Value,
    old: &Value,
) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0-1",
            "kind": {"group": kind.0, "version": kind.1, "kind": kind.2},
            "operation": operation, "namespace": namespace, "name": name, "object": object, "oldObject": old,
        },
    })
}

/// What an operator answers, or what it says before it hangs up.
pub async fn post(to: &str, path: &str, body: &[u8]) -> String {
    let roots = ROOTS.get_or_init(roots).await.clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(format!("{}.{}.svc", operator::NAME, operator::NAMESPACE)).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let asked = async {
        let stream = TcpStream::connect(to).await?;
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(head.as_bytes()).await?;
        // One that has heard enough hangs up.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), asked).await;
    answer.unwrap_or_else(|_| panic!("{to}{path} did not answer")).unwrap_or_default()
}
