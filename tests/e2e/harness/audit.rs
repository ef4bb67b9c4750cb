//! What did the API server record?

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::operator::NAMESPACE;

/// One request of the operator, as the API server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub verb: String,
    pub resource: String,
    pub namespace: String,
    pub uri: String,
    pub code: u64,
    /// RFC 3339, to the microsecond: sorts as text.
    pub at: String,
    #[allow(dead_code, reason = "only the bench takes times")]
    pub answered: String,
    #[allow(dead_code, reason = "only the load test has several programs")]
    pub user: String,
    /// The ID of the token (`jti`), which tells two replicas from each other.
    #[allow(dead_code, reason = "only the load test has replicas with tokens that it knows")]
    pub token: String,
}

impl Request {
    /// Does it only read for its work? The watches of whole kinds are opened once, not for a StatefulSet.
    #[allow(dead_code, reason = "only the bench counts")]
    pub fn is_a_read(&self) -> bool {
        let is_of_one = || self.uri.contains("metadata.name%3D") || self.uri.contains("metadata.name=");
        let reads = matches!(self.verb.as_str(), "get" | "list") || (self.verb == "watch" && is_of_one());
        reads && !matches!(self.resource.as_str(), "leases" | "events")
    }

    /// Does it change anything? Leases are how replicas agree, not work.
    pub fn is_a_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
            && self.resource != "leases"
            && !self.uri.contains("dryRun=All")
    }
}

/// What the operator's service account asked since `since` (RFC 3339).
pub fn requests_of_the_operator(since: &str) -> Vec<Request> {
    requests_of(&format!("system:serviceaccount:{NAMESPACE}:"), since)
}

/// What users whose name begins so asked since then.
pub fn requests_of(user: &str, since: &str) -> Vec<Request> {
    let ours = events_about(user)
        .filter(|event| event["user"]["username"].as_str().is_some_and(|name| name.starts_with(user)));
    ours.map(|event| read(&event)).filter(|one| one.at.as_str() >= since).collect()
}

/// What the operator asked of a kubelet, which asked the API server whether it may: (verb, resource).
pub fn requests_of_the_operator_to_kubelets() -> BTreeSet<(String, String)> {
    let reviews = events_about(&format!("system:serviceaccount:{NAMESPACE}:")).filter(|event| {
        event["objectRef"]["resource"] == "subjectaccessreviews" && event["responseObject"]["status"]["allowed"] == true
    });
    let asked = reviews.map(|event| {
        let of = &event["requestObject"]["spec"]["resourceAttributes"];
        (text(&of["verb"]), resource(&of["resource"], &of["subresource"]))
    });
    asked.collect()
}

/// Whose tokens came to kubelets: each asked the API server what that account may.
pub fn accounts_at_kubelets(since: &str) -> BTreeSet<String> {
    let reviews = events_about("\"nodes\"").filter(|event| {
        event["objectRef"]["resource"] == "subjectaccessreviews"
            && event["requestObject"]["spec"]["resourceAttributes"]["resource"] == "nodes"
            && event["requestReceivedTimestamp"].as_str().is_some_and(|at| at >= since)
    });
    reviews.map(|event| text(&event["requestObject"]["spec"]["user"])).collect()
}

/// Every line that names this user.
fn events_about(user: &str) -> impl Iterator<Item = Value> + use<> {
    let user = user.to_owned();
    let path = super::cluster_dir().join(format!("audit{}.log", super::cluster_suffix()));
    let log = std::fs::File::open(&path).unwrap_or_else(|e| panic!("no audit log at {}: {e}", path.display()));
    let lines = BufReader::new(log).lines().map_while(Result::ok).filter(move |line| line.contains(&user));
    lines
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(|event| event["stage"] != "RequestReceived")
}

/// The time now, as the audit log writes it.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn read(event: &Value) -> Request {
    let object = &event["objectRef"];
    Request {
        verb: text(&event["verb"]),
        resource: resource(&object["resource"], &object["subresource"]),
        namespace: text(&object["namespace"]),
        uri: text(&event["requestURI"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or(0),
        at: text(&event["requestReceivedTimestamp"]),
        answered: text(&event["stageTimestamp"]),
        user: text(&event["user"]["username"]),
        token: text(&event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As a role names it: `nodes/stats`.
fn resource(resource: &Value, subresource: &Value) -> String {
    let subresource = subresource.as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
    format!("{}{subresource}", text(resource))
}
