//! What was asked, and what came of it?

use std::time::Instant;

use http::Method;
use serde_json::Value;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changes something.
    Write,
    /// A GET, a LIST, or a write with `dryRun`.
    Read,
    Watch,
    Lease,
    Event,
}

/// One request, and what came of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which operator asked.
    pub who: usize,
    pub class: Class,
    /// Its number within its class.
    pub number: usize,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
    pub at: Instant,
    /// Each time it reached the API server: when it was answered, how, and with what (of writes).
    pub delivered: Vec<(Instant, u16, Value)>,
    /// The status that the operator saw; none: no answer.
    pub told: Option<u16>,
}

impl Asked {
    /// What it is about: `statefulsets/db`.
    pub fn object(&self) -> String {
        let name = self.body["metadata"]["name"].as_str().filter(|_| self.method == Method::POST);
        let mut parts = self.path.split('/').skip_while(|part| *part != "namespaces").skip(2);
        let plural = parts.next().unwrap_or_default();
        format!("{plural}/{}", name.or(parts.next()).unwrap_or_default())
    }

    /// The creation of a journal: the one write of a recreate whose only precondition is a name that nobody else uses.
    pub fn makes_a_journal(&self) -> bool {
        self.method == Method::POST && self.object().contains("rso-journal-")
    }

    /// What the API server would say to a write of the set.
    pub fn is_a_dry_run_of_the_set(&self) -> bool {
        self.class == Class::Read && self.method != Method::GET && self.path.contains("/statefulsets")
    }

    /// The API server has carried it out.
    pub fn is_done(&self) -> bool {
        self.delivered.iter().any(|(_, code, _)| (200..300).contains(code))
    }
}

/// Whether the answer is a stream.
pub fn is_watch(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// By method, address and body.
pub fn classify(method: &Method, path: &str, query: &str, body: &Value) -> Class {
    let is_dry = query.contains("dryRun=All") || body["dryRun"][0] == "All";
    if path.contains("/leases") {
        Class::Lease
    } else if is_watch(query) {
        Class::Watch
    } else if path.contains("/events") {
        Class::Event
    } else if *method == Method::GET || is_dry {
        Class::Read
    } else {
        Class::Write
    }
}
