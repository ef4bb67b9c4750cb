//! The one way in which the operator changes an object: with the permission of the leader, once.
//!
//! A write is a value ([`Write`]), no write is repeated, and the permit limits how long it may take, so no write outlives
//! the leadership. Only two writes need no permission: the Lease, which the permission comes from, and Events, which every
//! replica may record.

use serde_json::Value;

use super::client::{Client, Error, Outcome};
use super::lease::Leadership;
use crate::api::write::Write;

/// Sends a write if this replica leads. `None`: it does not, and nothing was sent.
///
/// # Errors
/// If the request fails, or the API server refuses it. After an error of class
/// [`Unknown`](super::client::Class::Unknown), the write may or may not have been done.
pub async fn act(client: &Client, leadership: &Leadership, write: &Write) -> Result<Option<Outcome<Value>>, Error> {
    let Some(permit) = leadership.permit() else { return Ok(None) };
    permit.client(client).write(write).await.map(Some)
}
