//! The write that removes fulfilled requests from the `requested` annotation, which the webhook writes.

use super::act::act;
use super::client::{Client, Error, Outcome};
use super::lease::Leadership;
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
    let write = set.requested_left(left);
    // A change of an annotation does not change the generation, unless admission changes the spec with it.
    if let Outcome::Done(answer) = client.dry_run(&write).await?
        && answer["metadata"]["generation"].as_i64() != Some(set.generation)
    {
        return Ok(Shortened::Changed);
    }
    Ok(match act(client, leadership, &write).await? {
        None | Some(Outcome::Done(_) | Outcome::NotFound) => Shortened::Settled,
        Some(Outcome::Conflict(_) | Outcome::AlreadyExists) => Shortened::Conflict,
    })
}
