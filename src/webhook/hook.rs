//! Which hook is asked, and is the question one for it? Bytes in, bytes out; never an error.

use super::absorb::{absorb, keep_state};
use super::floor::{Siblings, floor};
use super::inject::inject;
use super::review::{AdmissionRequest, AdmissionResponse, Operation, read, uid_in, write};
use crate::api::names::{ClaimName, SetName, Uid};
use crate::api::reasons::Note;
use serde_json::Value;

/// The hooks. Each has its path, its rule in the chart, and its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Keeps what only the operator writes.
    State,
    /// Absorbs other volumeClaimTemplates.
    Absorb,
    /// Raises new claims to their siblings.
    Floor,
    /// Adds the agent to new pods.
    Agent,
}

/// Who asks. [`crate::cluster::hook_path`] tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The API server, which has verified what it says. It is answered, and what it says is told.
    ApiServer,
    /// Nobody knows. What follows from the question alone is answered; nothing that the operator knows is, and nothing is told.
    Unverified,
}

/// What the hooks need to know beyond the question.
pub trait Lookup {
    /// The claims that a new one stands beside.
    fn siblings(&self, namespace: &str, claim: &ClaimName) -> Option<Siblings>;
    /// The image of the agent, if a pod like this is to have one.
    fn agent(&self, namespace: &str, pod: &Value) -> Option<&str>;
}

/// What a stranger hears of.
struct EmptyLookup;

impl Lookup for EmptyLookup {
    fn siblings(&self, _: &str, _: &ClaimName) -> Option<Siblings> {
        None
    }

    fn agent(&self, _: &str, _: &Value) -> Option<&str> {
        None
    }
}

/// An answer, and what is to be told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The body.
    pub body: Vec<u8>,
    /// The code for the count: 200, or 4xx when the question had no meaning. What is sent is always 200.
    pub code: u16,
    /// For an Event about this set.
    pub events: Option<(SetName, Uid, Vec<Note>)>,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 4] = [Self::State, Self::Absorb, Self::Floor, Self::Agent];

    /// The label of its count, the first part of its path, and the first label of the webhook's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Absorb => "absorb",
            Self::Floor => "floor",
            Self::Agent => "agent",
        }
    }

    /// The hook behind a path, and what follows it: the token of who asks, if anything.
    pub fn at(path: &str) -> Option<(Self, &str)> {
        let (name, said) = path.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, "")))?;
        Self::ALL.into_iter().find(|hook| hook.as_str() == name).map(|hook| (hook, said))
    }

    /// Answers a question.
    pub fn handle(self, caller: Caller, body: &[u8], lookup: &impl Lookup) -> Reply {
        let request = match read(body, self) {
            Ok(request) => request,
            Err((uid, why)) => return unprocessed(&uid, why.code(), &why.to_string()),
        };
        if !self.accepts(&request) {
            let text = format!("{} of {} is no question for it", operation_name(request.operation), request.kind);
            return unprocessed(&request.uid, 422, &text);
        }
        let answer = match caller {
            Caller::ApiServer => self.evaluate(&request, lookup),
            Caller::Unverified => self.evaluate(&request, &EmptyLookup),
        };
        let body = write(&request.uid, &answer);
        let uid = request.old_object["metadata"]["uid"].as_str().map(Uid::new);
        let tell = caller == Caller::ApiServer && !request.dry_run && !answer.notes.is_empty();
        let events = uid.filter(|_| tell).map(|uid| (SetName::new(request.namespace, request.name), uid, answer.notes));
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
            Self::Agent => lookup.agent(namespace, object).map_or_else(AdmissionResponse::default, |image| inject(object, image)),
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

/// Yes, with a word that it was not understood.
pub fn unprocessed(uid: &str, code: u16, why: &str) -> Reply {
    let warning = format!("rso let this pass unseen: {why}");
    Reply { body: write(uid, &AdmissionResponse::warning(warning)), code, events: None }
}

/// Yes to a question that was not read to its end.
pub fn unread_body(head: &[u8], code: u16, why: &str) -> Reply {
    unprocessed(&uid_in(head), code, why)
}

#[cfg(test)]
mod tests;
