//! The environment of a recreation: what it reads from and writes to.

use std::sync::Arc;

use super::client::Client;
use super::departures::Departures;
use crate::recreate::observed::Rules;

/// Where a recreation runs.
#[derive(Clone)]
pub struct Environment {
    /// The client of the API server.
    pub client: Client,
    /// The operator's own namespace, which has the journals.
    pub namespace: String,
    /// The numbers.
    pub rules: Rules,
    /// How StatefulSets that are gone were deleted.
    pub departures: Arc<Departures>,
}
