//! What does the operator under test keep, say and count?

use std::time::Duration;

use rso::api::annotations::KIND_LABEL;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api::{Api, Kind};
use super::programs::{kubectl, shell};
use super::{PATIENCE, expect, until};

/// The namespace that `make deploy` installs it in.
pub const NAMESPACE: &str = "rso-system";

/// The name of its release, its Deployment and its ServiceAccount.
pub const NAME: &str = "rso";

/// The phase of each journal about this set. `Guarded` is one that has landed and keeps the claims safe for a while.
pub async fn journals_about(api: &Api, namespace: &str, set: &str) -> Vec<String> {
    let journals = api.list(Kind::ConfigMap, NAMESPACE, &format!("{KIND_LABEL}=journal")).await;
    let about = journals.iter().filter(|journal| journal["data"]["set"] == format!("{namespace}/{set}"));
    about.map(|journal| journal["data"]["phase"].as_str().unwrap_or_default().to_owned()).collect()
}

/// All journals, for a dump.
pub async fn journals_as_yaml() -> String {
    kubectl(&["-n", NAMESPACE, "get", "configmaps", "-l", &format!("{KIND_LABEL}=journal"), "-o", "yaml"]).await.out
}

/// What all replicas logged about a namespace, the previous container's last words included.
pub async fn log_lines_about(namespace: &str) -> String {
    let mut lines = String::new();
    for pod in pods(&Api::connect().await).await {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for extra in ["--previous=false", "--previous=true"] {
            let log = kubectl(&["-n", NAMESPACE, "logs", name, extra]).await.out;
            let about = log.lines().filter(|line| line.contains(namespace) || !line.starts_with('{'));
            about.for_each(|line| lines.push_str(&format!("{name}: {line}\n")));
        }
    }
    lines
}

/// The pods of the operator.
pub async fn pods(api: &Api) -> Vec<Value> {
    api.list(Kind::Pod, NAMESPACE, "app.kubernetes.io/name=rso").await
}

/// Sets how many replicas of it run, and waits until that many do.
pub async fn scale(api: &Api, replicas: u64) {
    api.patch(Kind::Deployment, NAMESPACE, NAME, &json!({"spec": {"replicas": replicas}})).await.unwrap();
    until(&format!("{replicas} operators"), PATIENCE, async || {
        let running = pods(api).await.len();
        let ready = api.get(Kind::Deployment, NAMESPACE, NAME).await.unwrap_or_default();
        let ready = ready["status"]["readyReplicas"].as_u64().unwrap_or(0);
        expect(running as u64 == replicas && ready == replicas, || format!("{running} pods, {ready} ready"))
    })
    .await;
}

/// Who leads: the holder in the Lease.
pub async fn leader(api: &Api) -> String {
    let lease = api.get(Kind::Lease, NAMESPACE, "rso").await.unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Sends a signal to every operator of this cluster.
pub async fn signal(name: &str) {
    for pod in pods(&Api::connect().await).await {
        signal_pod(pod["metadata"]["uid"].as_str().unwrap_or_default(), name).await;
    }
}

/// Sends a signal to every process of a pod: they are processes of this machine. One that has ended is no failure.
pub async fn signal_pod(uid: &str, name: &str) {
    let of_the_pod = format!("{{ grep -l 'pod{uid}' /proc/[0-9]*/cgroup 2>/dev/null || true; }} | cut -d/ -f3");
    shell(&format!("for pid in $({of_the_pod}); do kill -{name} $pid 2>/dev/null || true; done")).await.ok();
}

/// The value of a metric summed over its label sets whose text holds `labels`, on all replicas.
pub async fn metric(api: &Api, name: &str, labels: &str) -> f64 {
    let mut sum = 0.0;
    for pod in pods(api).await {
        let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
        let text = http_get(&format!("{ip}:8080"), "/metrics").await;
        sum += sum_of(&text, name, labels);
    }
    sum
}

/// That sum in one exposition.
pub fn sum_of(exposition: &str, name: &str, labels: &str) -> f64 {
    let samples = exposition.lines().filter_map(|line| line.strip_prefix(name));
    let ours = samples.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels));
    ours.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// A GET without anything around it. Pods are reachable from where the tests run.
pub async fn http_get(address: &str, path: &str) -> String {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(answer) => answer.unwrap_or_default(),
        Err(_) => String::new(),
    }
}
