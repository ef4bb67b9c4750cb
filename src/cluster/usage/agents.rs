//! What do the agents in the pods say?

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::http_get::{AskError, Question, ask, connect};
use super::backoff::Resting;
use super::slots::Slots;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{AgentVolume, MAX_AGENT_BODY, read_agent};

/// An agent answers within milliseconds; one whose filesystem hangs does not answer at all.
const DEADLINE: Duration = Duration::from_secs(2);

/// Asks agents.
#[derive(Debug, Default)]
pub struct Agents {
    slots: Slots,
    resting: Mutex<Resting<SocketAddr>>,
}

impl Agents {
    /// Asks the agent at the address of a pod that we know, of that namespace.
    ///
    /// # Errors
    /// When it does not answer well, or failed a moment ago.
    pub async fn ask(&self, namespace: &str, agent: SocketAddr) -> Result<Vec<AgentVolume>, AskError> {
        if self.resting().rests(&agent, since_boot()) {
            return Err(AskError::Resting);
        }
        let doubtful = self.resting().is_doubtful(&agent);
        // The time in the queue does not count against the agent.
        let _slot = self.slots.take(namespace, doubtful).await;
        let answer = tokio::time::timeout(DEADLINE, exchange(agent)).await;
        let answer = answer.unwrap_or(Err(AskError::Slow(DEADLINE)));
        match &answer {
            Ok(_) => self.resting().answered(&agent),
            Err(_) => self.resting().failed(&agent, since_boot()),
        }
        answer
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Resting<SocketAddr>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(agent: SocketAddr) -> Result<Vec<AgentVolume>, AskError> {
    let question = Question {
        path: "/disk",
        token: None,
        // 500: some volume could not be read; the answer says which, and the others are good.
        accepts: |code| matches!(code, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR),
        largest: MAX_AGENT_BODY,
    };
    // When it was asked: what it says may be newer, never older.
    let at = now();
    let body = ask(connect(agent).await?, agent, &question).await?;
    Ok(read_agent(&body, at)?)
}
