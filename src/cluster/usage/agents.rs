//! The client of the agents in the Pods.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpStream;

use super::backoff::Backoff;
use super::http_get::{Query, UsageError, connect, get, is_allowed};
use super::slots::Slots;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{AgentVolume, MAX_AGENT_BODY, read_agent};

/// The deadline of an agent. It responds within milliseconds; one whose filesystem hangs does not respond at all.
pub(super) const AGENT_DEADLINE: Duration = Duration::from_secs(2);

/// Queries agents.
#[derive(Debug)]
pub struct Agents {
    slots: Slots,
    backoff: Mutex<Backoff<SocketAddr>>,
    /// Those that are polled because they do not hold a request.
    unheld: Mutex<Backoff<SocketAddr>>,
    /// Which addresses an agent can have.
    is_allowed: fn(IpAddr) -> bool,
}

impl Default for Agents {
    fn default() -> Self {
        Self::at(is_allowed)
    }
}

impl Agents {
    /// The agents at the addresses that `is_allowed` accepts.
    pub(super) fn at(is_allowed: fn(IpAddr) -> bool) -> Self {
        Self { slots: Slots::default(), backoff: Mutex::default(), unheld: Mutex::default(), is_allowed }
    }

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
        let response = tokio::time::timeout(AGENT_DEADLINE, self.exchange(agent)).await;
        let response = response.unwrap_or(Err(UsageError::Slow(AGENT_DEADLINE)));
        match &response {
            Ok(_) => self.backoff().succeeded(&agent),
            Err(_) => self.backoff().failed(&agent, since_boot()),
        }
        response
    }

    async fn exchange(&self, agent: SocketAddr) -> Result<Vec<AgentVolume>, UsageError> {
        let query = Query {
            path: "/disk",
            token: None,
            // 500: a volume could not be measured; the response names it, and the others are valid.
            accepts: |code| matches!(code, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR),
            largest: MAX_AGENT_BODY,
        };
        // The time of the request: the values may be newer, never older.
        let at = now();
        let body = get(self.connect(agent).await?, agent, &query).await?;
        Ok(read_agent(&body, at)?)
    }

    pub(super) async fn connect(&self, agent: SocketAddr) -> Result<TcpStream, UsageError> {
        connect(agent, self.is_allowed).await
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff<SocketAddr>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unheld(&self) -> std::sync::MutexGuard<'_, Backoff<SocketAddr>> {
        self.unheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
