//! The four hooks, and what one does with an AdmissionReview: bytes in, bytes out, never an error.

use super::absorb::{absorb, keep_state};
pub use super::endpoint::Hook;
use super::floor::{Siblings, floor};
use super::inject::inject;
use super::review::{AdmissionRequest, AdmissionResponse, Operation, read, uid_in, write};
use crate::api::names::{ClaimName, SetName, Uid};
use crate::api::reasons::Note;
use serde_json::Value;

/// Who sent a request; the token in its path decides (see [`crate::cluster::hook_path`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The API server, which has verified what it sends. It gets a full response, and Events are recorded.
    ApiServer,
    /// An unknown client. The response follows from its request alone: nothing that the operator knows, and no Event.
    Unverified,
}

/// What the hooks need to know beyond the request.
pub trait Lookup {
    /// The existing PVCs of the template of a new PVC.
    fn siblings(&self, namespace: &str, claim: &ClaimName) -> Option<Siblings>;
    /// The image of the agent, if this Pod is to have one.
    fn agent(&self, namespace: &str, pod: &Value) -> Option<&str>;
}

/// What is looked up for an unknown client: nothing.
struct EmptyLookup;

impl Lookup for EmptyLookup {
    fn siblings(&self, _: &str, _: &ClaimName) -> Option<Siblings> {
        None
    }

    fn agent(&self, _: &str, _: &Value) -> Option<&str> {
        None
    }
}

/// A response as bytes, with what to count and to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The body.
    pub body: Vec<u8>,
    /// The code for the metrics: 200, or 4xx if the request was not processed. The HTTP status is always 200.
    pub code: u16,
    /// Event messages about this StatefulSet.
    pub events: Option<(SetName, Uid, Vec<Note>)>,
}

impl Hook {
    /// Handles a request.
    pub fn handle(self, caller: Caller, body: &[u8], lookup: &impl Lookup) -> Reply {
        let request = match read(body, self) {
            Ok(request) => request,
            Err((uid, why)) => return unprocessed(&uid, why.code(), &why.to_string()),
        };
        if !self.accepts(&request) {
            let text = format!(
                "webhook {} does not handle {} of {}",
                self.as_str(),
                operation_name(request.operation),
                request.kind
            );
            return unprocessed(&request.uid, 422, &text);
        }
        let response = match caller {
            Caller::ApiServer => self.evaluate(&request, lookup),
            Caller::Unverified => self.evaluate(&request, &EmptyLookup),
        };
        let body = write(&request.uid, &response);
        let uid = request.old_object["metadata"]["uid"].as_str().map(Uid::new);
        let record = caller == Caller::ApiServer && !request.dry_run && !response.notes.is_empty();
        let events =
            uid.filter(|_| record).map(|uid| (SetName::new(request.namespace, request.name), uid, response.notes));
        Reply { body, code: 200, events }
    }

    fn accepts(self, request: &AdmissionRequest) -> bool {
        let kind = (request.kind.group.as_str(), request.kind.version.as_str(), request.kind.kind.as_str());
        let whole = request.object.is_object();
        let is_update = request.operation == Operation::Update && request.old_object.is_object();
        let is_create = request.operation == Operation::Create;
        whole
            && match self {
                Self::State => kind == ("apps", "v1", "StatefulSet") && (is_create || is_update),
                Self::Absorb => kind == ("apps", "v1", "StatefulSet") && is_update,
                Self::Floor => kind == ("", "v1", "PersistentVolumeClaim") && is_create,
                Self::Agent => kind == ("", "v1", "Pod") && is_create,
            }
    }

    fn evaluate(self, request: &AdmissionRequest, lookup: &impl Lookup) -> AdmissionResponse {
        let AdmissionRequest { object, old_object, namespace, name, .. } = request;
        match self {
            Self::State => keep_state(object, old_object),
            Self::Absorb => absorb(object, old_object),
            Self::Floor => floor(object, lookup.siblings(namespace, &ClaimName::new(name)).as_ref()),
            Self::Agent => {
                lookup.agent(namespace, object).map_or_else(AdmissionResponse::default, |image| inject(object, image))
            }
        }
    }
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// An allowing response with a warning that the request was not processed.
pub fn unprocessed(uid: &str, code: u16, why: &str) -> Reply {
    let warning = format!("rso allowed this request without processing it: {why}");
    Reply { body: write(uid, &AdmissionResponse::warning(warning)), code, events: None }
}

/// The same for a body that was not read to its end.
pub fn unread_body(head: &[u8], code: u16, why: &str) -> Reply {
    unprocessed(&uid_in(head), code, why)
}

#[cfg(test)]
mod tests;
