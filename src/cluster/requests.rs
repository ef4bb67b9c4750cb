//! The write that removes fulfilled requests from the `requested` annotation, which the webhook writes.

use serde_json::{Value, json};

use super::client::{Address, Client, Error, Outcome, Patch, Run};
use super::lease::Leadership;
use crate::api::annotations::REQUESTED;
use crate::workload::statefulset::StatefulSetView;

/// How an attempt to shorten the annotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortened {
    /// Nothing is left to do.
    Settled,
    /// The StatefulSet changed since it was read: reconcile again.
    Conflict,
    /// Nothing was written: admission would change the spec with it, and restart Pods. The annotation stays, and has no
    /// effect.
    Changed,
}

/// Writes what is left, with the resourceVersion of the StatefulSet that was read as the precondition.
///
/// # Errors
/// If the request fails, or the API server refuses it.
pub async fn shorten(
    client: &Client,
    leadership: &Leadership,
    set: &StatefulSetView,
    left: Option<&str>,
) -> Result<Shortened, Error> {
    let Some(permit) = leadership.permit() else { return Ok(Shortened::Settled) };
    let (client, object, patch) = (permit.client(client), Address::set(&set.name), Patch::Merge(patch_of(set, left)));
    // A change of an annotation does not change the generation, unless admission changes the spec with it.
    if let Outcome::Done(answer) = client.patch(&object, &patch, Run::Dry).await?
        && answer["metadata"]["generation"].as_i64() != Some(set.generation)
    {
        return Ok(Shortened::Changed);
    }
    Ok(match client.patch(&object, &patch, Run::Real).await? {
        Outcome::Done(_) | Outcome::NotFound => Shortened::Settled,
        Outcome::Conflict(_) | Outcome::AlreadyExists => Shortened::Conflict,
    })
}

fn patch_of(set: &StatefulSetView, left: Option<&str>) -> Value {
    json!({
        "metadata": {
            "uid": set.uid.as_str(),
            "resourceVersion": set.resource_version,
            "annotations": { REQUESTED: left },
        },
    })
}
