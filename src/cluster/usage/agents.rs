//! The client of the agents in the Pods.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::backoff::Backoff;
use super::http_get::{Query, UsageError, connect, get};
use super::slots::Slots;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{AgentVolume, MAX_AGENT_BODY, read_agent};

/// The deadline of an agent. It responds within milliseconds; one whose filesystem hangs does not respond at all.
const AGENT_DEADLINE: Duration = Duration::from_secs(2);

/// Queries agents.
#[derive(Debug, Default)]
pub struct Agents {
    slots: Slots,
    backoff: Mutex<Backoff<SocketAddr>>,
}

impl Agents {
    /// Queries the agent at the address of a known Pod in that namespace.
    ///
    /// # Errors
    /// When it does not respond properly, or failed recently.
    pub async fn query(&self, namespace: &str, agent: SocketAddr) -> Result<Vec<AgentVolume>, UsageError> {
        if self.backoff().is_backing_off(&agent, since_boot()) {
            return Err(UsageError::BackingOff);
        }
        let failing = self.backoff().has_failed(&agent);
        // The time in the queue does not count towards the deadline.
        let _slot = self.slots.take(namespace, failing).await;
        let response = tokio::time::timeout(AGENT_DEADLINE, exchange(agent)).await;
        let response = response.unwrap_or(Err(UsageError::Slow(AGENT_DEADLINE)));
        match &response {
            Ok(_) => self.backoff().succeeded(&agent),
            Err(_) => self.backoff().failed(&agent, since_boot()),
        }
        response
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff<SocketAddr>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(agent: SocketAddr) -> Result<Vec<AgentVolume>, UsageError> {
    let query = Query {
        path: "/disk",
        token: None,
        // 500: a volume could not be measured; the response names it, and the others are valid.
        accepts: |code| matches!(code, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR),
        largest: MAX_AGENT_BODY,
    };
    // The time of the request: the values may be newer, never older.
    let at = now();
    let body = get(connect(agent).await?, agent, &query).await?;
    Ok(read_agent(&body, at)?)
}
