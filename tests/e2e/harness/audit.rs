//! What did the API server record?

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
}

impl Request {
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
    let path = super::cluster_dir().join(format!("audit{}.log", super::cluster_suffix()));
    let log = std::fs::File::open(&path).unwrap_or_else(|e| panic!("no audit log at {}: {e}", path.display()));
    let lines = BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(user));
    let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let ours = parsed.filter(|event| event["user"]["username"].as_str().is_some_and(|name| name.starts_with(user)));
    ours.filter(|event| event["stage"] != "RequestReceived")
        .map(|event| read(&event))
        .filter(|one| one.at.as_str() >= since)
        .collect()
}

/// The time now, as the audit log writes it.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn read(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let subresource = object["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
    Request {
        verb: text(&event["verb"]),
        resource: format!("{}{subresource}", text(&object["resource"])),
        namespace: text(&object["namespace"]),
        uri: text(&event["requestURI"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or(0),
        at: text(&event["requestReceivedTimestamp"]),
        answered: text(&event["stageTimestamp"]),
    }
}
