//! The writes of a recreation: how each action is carried out, and its result.
//!
//! Each action is one write, and no write is repeated. Any result other than a plain success is a reason to observe
//! again.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::act::act;
use super::client::{Class, Error, Outcome, chain};
use super::environment::Environment;
use super::history::{last_in, watch};
use super::lease::Leadership;
use crate::api::names::SetName;
use crate::api::objects::Address;
use crate::api::write::{Precondition, Write};
use crate::recreate::journal::JournalError;
use crate::recreate::observed::LastObject;
use crate::recreate::set::LiveSet;
use crate::recreate::step::Action;
use crate::recreate::{compare, write};

/// How long to wait for the DELETED event of a released StatefulSet. The event comes with the response to the PATCH;
/// without it, rso searches the history of the watch.
const FAREWELL: Duration = Duration::from_millis(500);

/// The result of an action.
#[derive(Debug)]
pub enum Acted {
    /// Done; the response of the API server.
    Done(Value),
    /// The StatefulSet is released: its name is free.
    Released {
        /// The last state of the old StatefulSet.
        last: LastObject,
        /// When the release was sent: the name was not free before.
        sent: Instant,
    },
    /// The cluster was not as observed: a precondition did not hold, the object does not exist, or the name is taken.
    Moved,
    /// Nothing was changed, and the same request will be refused until something else changes. The message of the
    /// server.
    Refused(String),
    /// Only a dry run was sent: admission would change these fields of the StatefulSet as well.
    Changed(Vec<String>),
    /// The server asks rso to retry later. Nothing was changed.
    Busy(Duration),
    /// It is not known whether the write was done. The error.
    Unknown(String),
    /// Another replica is the leader. Nothing was written.
    NotLeading,
}

/// Carries out one action. `live` is the StatefulSet as it was observed.
///
/// A PATCH of a StatefulSet is first sent as a dry run: where admission changes the Pod template on every UPDATE, even
/// the smallest PATCH restarts every Pod.
pub async fn carry_out(
    environment: &Environment,
    leadership: &Leadership,
    set: &SetName,
    live: Option<&LiveSet>,
    action: &Action,
) -> Acted {
    let write = match write::of(action, set, &environment.namespace) {
        Ok(write) => write,
        Err(error) => return Acted::Refused(unfit(set, &error)),
    };
    let sender = Sender { environment, leadership, set };
    match (sender.rehearse(live, &write).await, action) {
        (Rehearsed::Changed { answer, .. }, Action::Release { guard, finalizers }) => {
            // The StatefulSet is being deleted and cannot be kept.
            match (sender.release(&write, guard, finalizers).await, live) {
                (Acted::Released { last: LastObject::Seen(last), sent }, Some(live)) => {
                    let last = LastObject::Seen(Box::new(without_admission(*last, &answer, &live.object)));
                    Acted::Released { last, sent }
                }
                (acted, _) => acted,
            }
        }
        // Any other PATCH of a StatefulSet that is being deleted is sent too: no Pod restarts for it.
        (Rehearsed::Changed { .. }, _) if live.is_some_and(|live| live.deleting.is_some()) => sender.send(&write).await,
        (Rehearsed::Changed { fields, .. }, _) => Acted::Changed(fields),
        (Rehearsed::Answered(acted), _) => acted,
        (Rehearsed::AsAsked, Action::Release { guard, finalizers }) => sender.release(&write, guard, finalizers).await,
        (Rehearsed::AsAsked, _) => sender.send(&write).await,
    }
}

/// The last state of a StatefulSet without the changes that admission made to its spec at the release, which are not an
/// edit by a client. An edit of the metadata or of the spec that arrived with the release is kept.
fn without_admission(mut last: Value, admitted: &Value, before: &Value) -> Value {
    if last["spec"] == admitted["spec"] {
        last["spec"] = before["spec"].clone();
    }
    last
}

/// The result of the dry run of a PATCH.
enum Rehearsed {
    /// The PATCH would change what it says and nothing else.
    AsAsked,
    /// The PATCH would change these fields as well.
    Changed {
        /// Their paths.
        fields: Vec<String>,
        /// The object as it would be stored.
        answer: Box<Value>,
    },
    /// The PATCH would not be done; this is why.
    Answered(Acted),
}

/// Sends the writes about one StatefulSet.
struct Sender<'a> {
    environment: &'a Environment,
    leadership: &'a Leadership,
    set: &'a SetName,
}

impl Sender<'_> {
    async fn rehearse(&self, live: Option<&LiveSet>, write: &Write) -> Rehearsed {
        let (Some(live), Some(patch)) = (live, write.merge_patch()) else { return Rehearsed::AsAsked };
        if write.object != Address::set(self.set) {
            return Rehearsed::AsAsked;
        }
        match self.environment.client.dry_run(write).await {
            Ok(Outcome::Done(answer)) => {
                match compare::changes(&compare::patched(&live.object, patch), &answer).serious {
                    fields if fields.is_empty() => Rehearsed::AsAsked,
                    fields => Rehearsed::Changed { fields, answer: Box::new(answer) },
                }
            }
            answer => Rehearsed::Answered(judge(answer.map(Some))),
        }
    }

    async fn send(&self, write: &Write) -> Acted {
        judge(act(&self.environment.client, self.leadership, write).await)
    }

    /// Frees the name. The watch is opened first: its DELETED event reports the last state of the StatefulSet, including an
    /// edit that arrived between the check of the resourceVersion and the removal (hazard 4).
    async fn release(&self, write: &Write, guard: &Precondition, finalizers: &[String]) -> Acted {
        let events = watch(self.environment, self.set, &guard.resource_version, FAREWELL).await;
        let sent = Instant::now();
        match (self.send(write).await, events) {
            (Acted::Done(_), Ok(events)) if finalizers.is_empty() => {
                Acted::Released { last: last_in(events, &guard.uid, "", FAREWELL).await, sent }
            }
            (acted, _) => acted,
        }
    }
}

fn judge(answer: Result<Option<Outcome<Value>>, Error>) -> Acted {
    match answer {
        Ok(None) => Acted::NotLeading,
        Ok(Some(Outcome::Done(object))) => Acted::Done(object),
        Ok(Some(Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists)) => Acted::Moved,
        Err(error) => match error.class() {
            Class::Permanent => Acted::Refused(chain(&error)),
            Class::Retry { after } => Acted::Busy(after.unwrap_or_default()),
            Class::Unknown => Acted::Unknown(chain(&error)),
        },
    }
}

/// The message about a journal that cannot be encoded, for example because it is too large.
fn unfit(set: &SetName, error: &JournalError) -> String {
    format!("failed to write the journal of StatefulSet {set}: {}; nothing was sent", chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_does_not_fit_is_not_reported_as_the_answer_of_the_api_server() {
        let told = unfit(&SetName::new("shop", "db"), &JournalError::TooLarge(1_000_000));
        assert!(told.starts_with("failed to write the journal of StatefulSet shop/db: failed to pack"), "{told}");
        assert!(told.ends_with("; nothing was sent") && !told.contains("API server"), "{told}");
    }
}
