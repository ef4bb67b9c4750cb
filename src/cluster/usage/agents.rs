//! What do the agents in the pods say?

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::http_get::{UsageError, Query, connect, get};
use super::backoff::Backoff;
use super::slots::Slots;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{AgentVolume, MAX_AGENT_BODY, read_agent};

/// An agent answers within milliseconds; one whose filesystem hangs does not answer at all.
const AGENT_DEADLINE: Duration = Duration::from_secs(2);

/// Asks agents.
#[derive(Debug, Default)]
pub struct Agents {
    slots: Slots,
    backoff: Mutex<Backoff<SocketAddr>>,
}

impl Agents {
    /// Asks the agent at the address of a pod that we know, of that namespace.
    ///
    /// # Errors
    /// When it does not answer well, or failed a moment ago.
    pub async fn query(&self, namespace: &str, agent: SocketAddr) -> Result<Vec<AgentVolume>, UsageError> {
        if self.backoff().is_backing_off(&agent, since_boot()) {
            return Err(UsageError::BackingOff);
        }
        let failing = self.backoff().has_failed(&agent);
        // The time in the queue does not count against the agent.
        let _slot = self.slots.take(namespace, failing).await;
        let answer = tokio::time::timeout(AGENT_DEADLINE, exchange(agent)).await;
        let answer = answer.unwrap_or(Err(UsageError::Slow(AGENT_DEADLINE)));
        match &answer {
            Ok(_) => self.backoff().succeeded(&agent),
            Err(_) => self.backoff().failed(&agent, since_boot()),
        }
        answer
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff<SocketAddr>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(agent: SocketAddr) -> Result<Vec<AgentVolume>, UsageError> {
    let query = Query {
        path: "/disk",
        token: None,
        // 500: some volume could not be read; the answer says which, and the others are good.
        accepts: |code| matches!(code, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR),
        largest: MAX_AGENT_BODY,
    };
    // When it was asked: what it says may be newer, never older.
    let at = now();
    let body = get(connect(agent).await?, agent, &query).await?;
    Ok(read_agent(&body, at)?)
}
