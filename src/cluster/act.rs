//! The writes of a recreation: how each action is carried out, and its result.
//!
//! Each action is one write, and no write is repeated. Whether this replica may write is checked here, once per action;
//! the permit also limits how long the write may take, so no write outlives the leadership. Any result other than a
//! plain success is a reason to observe again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::resources::{CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, PODS};
use super::client::{Address, Class, Client, Dependents, Error, Outcome, Patch, Run, chain};
use super::environment::Environment;
use super::history::{last_in, watch};
use super::lease::Leadership;
use super::observe::{guarded_patch, precondition};
use crate::api::annotations::TRANSACTION;
use crate::api::names::SetName;
use crate::recreate::compare;
use crate::recreate::dependent::Kind;
use crate::recreate::journal::Journal;
use crate::recreate::observed::{Guard, LastObject};
use crate::recreate::set::LiveSet;
use crate::recreate::step::Action;

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
    /// Another replica is the leader. Nothing was sent.
    NotLeading,
}

/// Carries out one action. `live` is the StatefulSet as it was observed.
///
/// A PATCH of a StatefulSet is first sent as a dry run: where admission changes the Pod template on every UPDATE, even
/// the smallest PATCH restarts every Pod.
pub async fn act(
    environment: &Environment,
    leadership: &Leadership,
    set: &SetName,
    live: Option<&LiveSet>,
    action: &Action,
) -> Acted {
    let Some(permit) = leadership.permit() else { return Acted::NotLeading };
    let environment = Environment { client: permit.client(&environment.client), ..environment.clone() };
    let rehearsed = match (live, patch_of(action)) {
        (Some(live), Some((guard, change))) => {
            rehearse(&environment.client, &Address::set(set), &live.object, &guarded(guard, change)).await
        }
        (None, _) | (_, None) => Rehearsed::AsAsked,
    };
    match (rehearsed, action) {
        (Rehearsed::Changed { answer, .. }, Action::Release { guard, finalizers }) => {
            // The StatefulSet is being deleted and cannot be kept.
            let acted = release(&environment, set, guard, finalizers).await;
            match (acted, live) {
                (Acted::Released { last: LastObject::Seen(last), sent }, Some(live)) => {
                    let last = LastObject::Seen(Box::new(without_admission(*last, &answer, &live.object)));
                    Acted::Released { last, sent }
                }
                (acted, _) => acted,
            }
        }
        // Any other PATCH of a StatefulSet that is being deleted is sent too: no Pod restarts for it.
        (Rehearsed::Changed { .. }, _) if live.is_some_and(|live| live.deleting.is_some()) => {
            judge(request(&environment, set, action).await)
        }
        (Rehearsed::Changed { fields, .. }, _) => Acted::Changed(fields),
        (Rehearsed::Answered(acted), _) => acted,
        (Rehearsed::AsAsked, Action::Release { guard, finalizers }) => {
            release(&environment, set, guard, finalizers).await
        }
        (Rehearsed::AsAsked, _) => judge(request(&environment, set, action).await),
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

async fn rehearse(client: &Client, object: &Address, live: &Value, patch: &Value) -> Rehearsed {
    match client.patch(object, &Patch::Merge(patch.clone()), Run::Dry).await {
        Ok(Outcome::Done(answer)) => match compare::changes(&compare::patched(live, patch), &answer).serious {
            fields if fields.is_empty() => Rehearsed::AsAsked,
            fields => Rehearsed::Changed { fields, answer: Box::new(answer) },
        },
        answer => Rehearsed::Answered(judge(answer)),
    }
}

/// The merge patch of an action that changes a StatefulSet in place.
fn patch_of(action: &Action) -> Option<(&Guard, Value)> {
    Some(match action {
        Action::PatchTemplates { guard, templates } => {
            (guard, json!({ "spec": { "volumeClaimTemplates": templates } }))
        }
        Action::SetRetention { guard, when_deleted } => {
            let policy = json!({ "whenDeleted": when_deleted.as_str() });
            (guard, json!({ "spec": { "persistentVolumeClaimRetentionPolicy": policy } }))
        }
        Action::SetFinalizers { guard, finalizers } | Action::Release { guard, finalizers } => {
            (guard, json!({ "metadata": { "finalizers": finalizers } }))
        }
        Action::RestoreSpec { guard, spec } => (guard, json!({ "spec": spec })),
        Action::RestoreOwnership { guard, managed_fields } => {
            let annotations = json!({ TRANSACTION: null });
            (guard, json!({ "metadata": { "managedFields": managed_fields, "annotations": annotations } }))
        }
        Action::CreateJournal(_)
        | Action::UpdateJournal { .. }
        | Action::DeleteJournal { .. }
        | Action::CreateBackup(_)
        | Action::DeleteBackup { .. }
        | Action::SetOwners { .. }
        | Action::Delete { .. }
        | Action::Create(_) => return None,
    })
}

async fn request(environment: &Environment, set: &SetName, action: &Action) -> Result<Outcome<Value>, Error> {
    let client = &environment.client;
    let within = Some(set.namespace.as_str());
    let own = |name: &str| CONFIG_MAPS.of(&environment.namespace, name);
    match action {
        Action::CreateJournal(journal) => match journal.encode(&environment.namespace) {
            Ok(object) => client.create(&CONFIG_MAPS, Some(&environment.namespace), &object, Run::Real).await,
            Err(error) => Err(unfit(&own(&journal.name()), "create", &error)),
        },
        Action::UpdateJournal { journal, guard } => update_journal(environment, journal, guard).await,
        Action::DeleteJournal { name, guard, .. } => delete(client, &own(name), guard).await,
        Action::CreateBackup(object) => client.create(&CONFIG_MAPS, within, object, Run::Real).await,
        Action::DeleteBackup { name, guard } => delete(client, &CONFIG_MAPS.of(&set.namespace, name), guard).await,
        Action::SetOwners { kind, name, guard, owners, .. } => {
            let kind = match kind {
                Kind::Pod => &PODS,
                Kind::Revision => &CONTROLLER_REVISIONS,
                Kind::Claim => &CLAIMS,
            };
            let owners = json!({ "metadata": { "ownerReferences": owners } });
            patch(client, &kind.of(&set.namespace, name), guard, owners).await
        }
        Action::Delete { guard } => {
            client.delete(&Address::set(set), Dependents::Orphan, &precondition(guard), Run::Real).await
        }
        Action::Create(object) => client.create(Address::set(set).resource, within, object, Run::Real).await,
        Action::PatchTemplates { .. }
        | Action::SetRetention { .. }
        | Action::SetFinalizers { .. }
        | Action::Release { .. }
        | Action::RestoreSpec { .. }
        | Action::RestoreOwnership { .. } => match patch_of(action) {
            Some((guard, change)) => patch(client, &Address::set(set), guard, change).await,
            // Each of these actions has a patch.
            None => Ok(Outcome::NotFound),
        },
    }
}

async fn update_journal(environment: &Environment, journal: &Journal, guard: &Guard) -> Result<Outcome<Value>, Error> {
    let address = CONFIG_MAPS.of(&environment.namespace, journal.name());
    let mut object = journal.encode(&environment.namespace).map_err(|error| unfit(&address, "update", &error))?;
    object["metadata"]["uid"] = json!(guard.uid.as_str());
    object["metadata"]["resourceVersion"] = json!(guard.resource_version);
    environment.client.replace(&address, &object, Run::Real).await
}

async fn delete(client: &Client, object: &Address, guard: &Guard) -> Result<Outcome<Value>, Error> {
    client.delete(object, Dependents::Background, &precondition(guard), Run::Real).await
}

/// Sends a merge patch that the server accepts only for this object in this state.
async fn patch(client: &Client, object: &Address, guard: &Guard, change: Value) -> Result<Outcome<Value>, Error> {
    client.patch(object, &Patch::Merge(guarded(guard, change)), Run::Real).await
}

fn guarded(guard: &Guard, change: Value) -> Value {
    let mut body = change;
    if let Some(metadata) = guarded_patch(guard)["metadata"].as_object() {
        for (key, value) in metadata {
            body["metadata"][key] = value.clone();
        }
    }
    body
}

/// Frees the name. The watch is opened first: its DELETED event reports the last state of the StatefulSet, including an
/// edit that arrived between the check of the resourceVersion and the removal (hazard 4).
async fn release(environment: &Environment, set: &SetName, guard: &Guard, finalizers: &[String]) -> Acted {
    let events = watch(environment, set, &guard.resource_version, FAREWELL).await;
    let change = json!({ "metadata": { "finalizers": finalizers } });
    let sent = Instant::now();
    let answer = patch(&environment.client, &Address::set(set), guard, change).await;
    match (answer, events) {
        (Ok(Outcome::Done(_)), Ok(events)) if finalizers.is_empty() => {
            Acted::Released { last: last_in(events, &guard.uid, "", FAREWELL).await, sent }
        }
        (answer, _) => judge(answer),
    }
}

fn judge(answer: Result<Outcome<Value>, Error>) -> Acted {
    match answer {
        Ok(Outcome::Done(object)) => Acted::Done(object),
        Ok(Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists) => Acted::Moved,
        Err(error) => match error.class() {
            Class::Permanent => Acted::Refused(chain(&error)),
            Class::Retry { after } => Acted::Busy(after.unwrap_or_default()),
            Class::Unknown => Acted::Unknown(chain(&error)),
        },
    }
}

/// The error for a journal that cannot be encoded, for example because it is too large. Nothing is sent.
fn unfit(address: &Address, verb: &'static str, error: &crate::recreate::journal::JournalError) -> Error {
    Error::Unsent {
        call: super::client::Call {
            verb,
            resource: address.resource.plural.to_owned(),
            object: address.to_string(),
            effect: super::client::Effect::Reads,
        },
        message: chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recreate::journal::JournalError;

    #[test]
    fn a_journal_that_does_not_fit_is_not_reported_as_the_answer_of_the_api_server() {
        let address = CONFIG_MAPS.of("rso-system", "rso-journal-1");
        let Acted::Refused(told) = judge(Err(unfit(&address, "update", &JournalError::TooLarge(1_000_000)))) else {
            panic!("nothing was sent, so nothing is unknown");
        };
        assert!(told.starts_with("failed to update configmaps rso-system/rso-journal-1: failed to pack"), "{told}");
        assert!(told.ends_with("; nothing was sent") && !told.contains("API server"), "{told}");
    }
}
