//! How long expansions take, from the metrics of the operator, as far as this user may read them.
//!
//! Only the leader has these metrics. Like the usage of volumes, they come through the proxy of the API server. Who may not read
//! them, or where no operator answers, sees the rest of the status without them.

mod samples;

use std::collections::BTreeMap;
use std::future::ready;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use serde_json::Value;

use super::measure::Key;
use crate::api::objects::{Address, PODS};
use crate::cluster::client::{Client, Selector};
use crate::policy::claim::Claim;
use crate::policy::reaction::Longest;

/// The label of the operator's Pods.
pub(crate) const OPERATOR_PODS: &str = "app.kubernetes.io/name=rso";

/// The largest delay of the status by an operator that does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest number of requests at the same time: more than there are replicas.
const MAX_CONCURRENT_REQUESTS: usize = 16;

/// The longest of the last expansions, by StorageClass.
pub(crate) type Reactions = BTreeMap<String, Longest>;

/// Asks the operator in this namespace how long expansions take, if one of these PVCs has a StorageClass.
pub(crate) async fn reactions(client: &Client, namespace: &str, claims: &BTreeMap<Key, Claim>) -> Reactions {
    if claims.values().all(|claim| claim.class.is_none()) {
        return Reactions::new();
    }
    tokio::time::timeout(TIMEOUT, ask_replicas(client, namespace)).await.unwrap_or_default()
}

/// The metrics of the first replica that has some.
async fn ask_replicas(client: &Client, namespace: &str) -> Reactions {
    let selector = Selector { labels: Some(OPERATOR_PODS), fields: Some("status.phase=Running") };
    let Ok(pods) = client.list(&PODS, Some(namespace), selector).await else { return Reactions::new() };
    let replicas = pods.items.iter().filter_map(|pod| metrics_of(namespace, pod));
    let answers = stream::iter(replicas.map(|replica| ask(client, replica))).buffer_unordered(MAX_CONCURRENT_REQUESTS);
    let mut measured = answers.filter(|reactions| ready(!reactions.is_empty()));
    measured.next().await.unwrap_or_default()
}

async fn ask(client: &Client, replica: Address) -> Reactions {
    let body = client.get_bytes(&replica).await.ok().flatten().unwrap_or_default();
    std::str::from_utf8(&body).map(samples::reactions).unwrap_or_default()
}

/// The metrics of a Pod; `None` if it serves none, such as the Pod that checks before an uninstall.
fn metrics_of(namespace: &str, pod: &Value) -> Option<Address> {
    let name = pod["metadata"]["name"].as_str()?;
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
    let port = ports.find(|port| port["name"] == "metrics")?["containerPort"].as_u64()?;
    Some(Address { subresource: Some("proxy/metrics"), ..PODS.of(namespace, format!("{name}:{port}")) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_asked_at_its_port_for_metrics() {
        let check = |ports: Value, expected: Option<&str>| {
            let containers = json!([{"name": "proxy"}, {"name": "rso", "ports": ports}]);
            let pod = json!({"metadata": {"name": "rso-1"}, "spec": {"containers": containers}});
            assert_eq!(metrics_of("rso-system", &pod).map(|address| address.path()).as_deref(), expected, "{pod}");
        };
        let (metrics, health) = (json!({"name": "metrics", "containerPort": 8080}), json!({"containerPort": 8081}));
        let path = "/api/v1/namespaces/rso-system/pods/rso-1%3A8080/proxy/metrics";
        check(json!([health, metrics]), Some(path));
        check(json!([health]), None);
        check(json!([{"name": "metrics", "containerPort": "8080"}]), None);
        check(Value::Null, None);
    }
}
