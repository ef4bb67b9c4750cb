//! The client of the kubelets. It connects directly, with the permission `nodes/stats`; never through `nodes/proxy`,
//! which amounts to a shell in every Pod.
//!
//! One response has all Pods of a node, so it serves every query for a while. The kubelet itself measures only every
//! minute or two.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use kube::client::ConfigExt;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::backoff::Backoff;
use super::http_get::{Query, UsageError, connect, get};
use super::token::{Account, Tokens};
use crate::api::objects::NODES;
use crate::cluster::client::Client;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{MAX_SUMMARY_BODY, PodVolume, read_summary};

/// The deadline of a kubelet: a large node takes a second or two to add up its volumes.
const KUBELET_DEADLINE: Duration = Duration::from_secs(10);

/// Kubelets that are queried at the same time: a response may have megabytes.
const MAX_CONCURRENT_REQUESTS: usize = 4;

/// How long one response serves all queries.
const ANSWER_MAX_AGE: Duration = Duration::from_secs(15);

/// How long it also serves Pods whose containers started later: the clock of a node may be ahead.
const ANSWER_MIN_AGE: Duration = Duration::from_secs(1);

/// The port, unless the node has another one.
const DEFAULT_PORT: u64 = 10_250;

/// Which certificates of kubelets are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the cluster's CA signed.
    #[default]
    ClusterCa,
    /// Any, because in many clusters the certificates of kubelets are self-signed: a server that impersonates a kubelet
    /// can then read the token, which is valid for statistics alone.
    Anyone,
}

/// Queries kubelets.
pub struct Kubelets {
    client: Client,
    tokens: Tokens,
    tls: TlsConnector,
    slots: Semaphore,
    /// The same for nodes that failed last time: unreachable nodes delay no others.
    failing: Semaphore,
    nodes: Mutex<HashMap<String, Arc<Node>>>,
    backoff: Mutex<Backoff<String>>,
}

/// The last response of a kubelet. A concurrent query waits for the response to the first one.
#[derive(Default)]
struct Node(tokio::sync::Mutex<Option<Response>>);

struct Response {
    /// When it was requested, since boot.
    since_boot: Duration,
    /// The same, as the time of day.
    at: Timestamp,
    volumes: Arc<Vec<PodVolume>>,
}

impl Kubelets {
    /// Creates a client with the tokens of this account. A compromised node reads what it receives, so it never
    /// receives the client's own token or certificate.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(client: &Client, trust: Trust, account: Account) -> Result<Self, UsageError> {
        let mut config = client.config().clone();
        config.tls_server_name = None;
        config.auth_info = kube::config::AuthInfo::default();
        match trust {
            Trust::ClusterCa => {}
            Trust::Anyone => config.accept_invalid_certs = true,
        }
        let tls = config.rustls_client_config().map_err(UsageError::Certificates)?;
        Ok(Self {
            client: client.clone(),
            tokens: Tokens::of(account),
            tls: TlsConnector::from(Arc::new(tls)),
            slots: Semaphore::new(MAX_CONCURRENT_REQUESTS),
            failing: Semaphore::new(MAX_CONCURRENT_REQUESTS),
            nodes: Mutex::default(),
            backoff: Mutex::default(),
        })
    }

    /// All volumes of the Pods of a node, as its kubelet reports them. `started`: when the newest container of the Pod
    /// that is measured started; an earlier response does not serve.
    ///
    /// # Errors
    /// When it does not respond properly, or failed recently.
    pub async fn query(&self, node: &str, started: Option<Timestamp>) -> Result<Arc<Vec<PodVolume>>, UsageError> {
        let known = self.known(node);
        let mut last = known.0.lock().await;
        if let Some(response) = last.as_ref().filter(|response| response.serves(since_boot(), started)) {
            return Ok(response.volumes.clone());
        }
        if self.backoff().is_backing_off(&node.to_owned(), since_boot()) {
            return Err(UsageError::BackingOff);
        }
        let failing = self.backoff().has_failed(&node.to_owned());
        let _slot = if failing { &self.failing } else { &self.slots }.acquire().await;
        let (requested, at) = (since_boot(), now());
        let response = tokio::time::timeout(KUBELET_DEADLINE, self.exchange(node)).await;
        match response.unwrap_or(Err(UsageError::Slow(KUBELET_DEADLINE))) {
            Ok(volumes) => {
                self.backoff().succeeded(&node.to_owned());
                Ok(last.insert(Response { since_boot: requested, at, volumes: Arc::new(volumes) }).volumes.clone())
            }
            Err(error) => {
                *last = None;
                self.backoff().failed(&node.to_owned(), since_boot());
                Err(error)
            }
        }
    }

    async fn exchange(&self, node: &str) -> Result<Vec<PodVolume>, UsageError> {
        let object = self.client.get(&NODES.global(node)).await;
        let object = object.map_err(|error| UsageError::Node(Box::new(error)))?.unwrap_or_default();
        let kubelet = address(&object).ok_or_else(|| UsageError::NoAddress(node.to_owned()))?;
        let token = self.tokens.get(&self.client).await?;
        let stream = connect(kubelet).await?;
        let name = ServerName::IpAddress(kubelet.ip().into());
        let stream = self.tls.connect(name, stream).await.map_err(|source| UsageError::Tls(kubelet, source))?;
        let query = Query {
            path: "/stats/summary",
            token: Some(&token),
            accepts: |code| code == StatusCode::OK,
            largest: MAX_SUMMARY_BODY,
        };
        let body = get(stream, kubelet, &query).await;
        if matches!(body, Err(UsageError::Status(StatusCode::UNAUTHORIZED))) {
            self.tokens.refused(&token).await;
        }
        Ok(read_summary(&body?, now())?)
    }

    fn known(&self, node: &str) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // Nodes come and go with every upgrade; a node that is dropped here is queried again.
        if nodes.len() > 10_000 {
            nodes.clear();
        }
        nodes.entry(node.to_owned()).or_default().clone()
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff<String>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Response {
    /// Whether it serves a query at this time since boot, about a Pod whose newest container started then. The kubelet
    /// reports only Pods in which a container runs.
    fn serves(&self, since_boot: Duration, started: Option<Timestamp>) -> bool {
        let age = since_boot.saturating_sub(self.since_boot);
        age < ANSWER_MIN_AGE || (age < ANSWER_MAX_AGE && started.is_none_or(|started| started <= self.at))
    }
}

/// The address on the cluster's own network, and the port that the kubelet reports.
fn address(node: &Value) -> Option<SocketAddr> {
    let addresses = node["status"]["addresses"].as_array()?;
    let internal = addresses.iter().filter(|address| address["type"] == "InternalIP");
    let ip: IpAddr = internal.filter_map(|address| address["address"].as_str()?.parse().ok()).next()?;
    let port = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    let port = u16::try_from(port.as_u64().filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)).ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_serves_for_fifteen_seconds_but_not_a_pod_whose_container_started_later() {
        let second = |second: i64| Timestamp::from_second(second).unwrap();
        let response = Response { since_boot: Duration::from_secs(100), at: second(1_000), volumes: Arc::default() };
        let check = |since_boot: u64, started: Option<i64>, expected: bool| {
            let serves = response.serves(Duration::from_secs(since_boot), started.map(second));
            assert_eq!(serves, expected, "{since_boot} {started:?}");
        };
        check(100, None, true);
        check(114, None, true);
        check(115, None, false);
        check(101, Some(1_000), true);
        check(101, Some(1_001), false);
        check(100, Some(1_001), true);
    }

    #[test]
    fn a_kubelet_is_queried_on_the_network_of_the_cluster() {
        let check = |status: Value, expected: Option<&str>| {
            let found = address(&json!({"status": status})).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{status}");
        };
        let addresses = json!([
            {"type": "Hostname", "address": "n1"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "10.0.0.5"},
        ]);
        let endpoints = |port: u64| json!({"kubeletEndpoint": {"Port": port}});
        check(json!({"addresses": addresses}), Some("10.0.0.5:10250"));
        check(json!({"addresses": addresses, "daemonEndpoints": endpoints(10_255)}), Some("10.0.0.5:10255"));
        check(json!({"addresses": addresses, "daemonEndpoints": endpoints(99_999)}), None);
        check(json!({"addresses": [{"type": "InternalIP", "address": "fd00::5"}]}), Some("[fd00::5]:10250"));
        check(json!({"addresses": [{"type": "ExternalIP", "address": "203.0.113.1"}]}), None);
        check(Value::Null, None);
    }
}
