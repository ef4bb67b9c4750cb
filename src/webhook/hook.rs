//! Which hook is asked, and is the question one for it? Bytes in, bytes out; never an error.

use super::absorb::{absorb, keep_state};
use super::floor::{Siblings, floor};
use super::inject::inject;
use super::review::{Answer, Operation, Request, read, uid_in, write};
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
pub enum Asker {
    /// The API server, which has verified what it says. It is answered, and what it says is told.
    ApiServer,
    /// Nobody knows. What follows from the question alone is answered; nothing that the operator knows is, and nothing is told.
    Anybody,
}

/// What the hooks need to know beyond the question.
pub trait Facts {
    /// The claims that a new one stands beside.
    fn siblings(&self, namespace: &str, claim: &ClaimName) -> Option<Siblings>;
    /// The image of the agent, if a pod like this is to have one.
    fn agent(&self, namespace: &str, pod: &Value) -> Option<&str>;
}

/// What a stranger hears of.
struct Nothing;

impl Facts for Nothing {
    fn siblings(&self, _: &str, _: &ClaimName) -> Option<Siblings> {
        None
    }

    fn agent(&self, _: &str, _: &Value) -> Option<&str> {
        None
    }
}

/// An answer, and what is to be told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The body.
    pub body: Vec<u8>,
    /// The code for the count: 200, or 4xx when the question had no meaning. What is sent is always 200.
    pub code: u16,
    /// For an Event about this set.
    pub told: Option<(SetName, Uid, Vec<Note>)>,
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
    pub fn answer(self, asker: Asker, body: &[u8], facts: &impl Facts) -> Answered {
        let request = match read(body, self) {
            Ok(request) => request,
            Err((uid, why)) => return refused(&uid, why.code(), &why.to_string()),
        };
        if !self.is_for(&request) {
            let text = format!("{} of {} is no question for it", told(request.operation), request.kind);
            return refused(&request.uid, 422, &text);
        }
        let answer = match asker {
            Asker::ApiServer => self.judge(&request, facts),
            Asker::Anybody => self.judge(&request, &Nothing),
        };
        let body = write(&request.uid, &answer);
        let uid = request.old_object["metadata"]["uid"].as_str().map(Uid::new);
        let tell = asker == Asker::ApiServer && !request.dry_run && !answer.notes.is_empty();
        let told = uid.filter(|_| tell).map(|uid| (SetName::new(request.namespace, request.name), uid, answer.notes));
        Answered { body, code: 200, told }
    }

    fn is_for(self, request: &Request) -> bool {
        let kind = (request.kind.group.as_str(), request.kind.version.as_str(), request.kind.kind.as_str());
        let whole = request.object.is_object();
        let changes = request.operation == Operation::Update && request.old_object.is_object();
        let makes = request.operation == Operation::Create;
        whole
            && match self {
                Self::State => kind == ("apps", "v1", "StatefulSet") && (makes || changes),
                Self::Absorb => kind == ("apps", "v1", "StatefulSet") && changes,
                Self::Floor => kind == ("", "v1", "PersistentVolumeClaim") && makes,
                Self::Agent => kind == ("", "v1", "Pod") && makes,
            }
    }

    fn judge(self, request: &Request, facts: &impl Facts) -> Answer {
        let Request { object, old_object, namespace, name, .. } = request;
        match self {
            Self::State => keep_state(object, old_object),
            Self::Absorb => absorb(object, old_object),
            Self::Floor => floor(object, facts.siblings(namespace, &ClaimName::new(name)).as_ref()),
            Self::Agent => facts.agent(namespace, object).map_or_else(Answer::default, |image| inject(object, image)),
        }
    }
}

fn told(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Yes, with a word that it was not understood.
pub fn refused(uid: &str, code: u16, why: &str) -> Answered {
    let warning = format!("rso let this pass unseen: {why}");
    Answered { body: write(uid, &Answer::warning(warning)), code, told: None }
}

/// Yes to a question that was not read to its end.
pub fn unread(head: &[u8], code: u16, why: &str) -> Answered {
    refused(&uid_in(head), code, why)
}

#[cfg(test)]
mod tests;
