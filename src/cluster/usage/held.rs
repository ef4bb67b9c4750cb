//! Held requests to agents: the agent answers when a volume reaches a share or changes its size, or after the wait.
//!
//! An agent that does not hold the request (it is older, or broken) is polled instead, and is asked to hold one again later,
//! with the pauses of [`super::backoff`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::agents::{AGENT_DEADLINE, Agents};
use super::http_get::{Query, UsageError, get};
use crate::api::held::HeldQuery;
use crate::cluster::clock::{now, since_boot};
use crate::policy::usage::{AgentVolume, HeldAnswer, MAX_AGENT_BODY, read_held};

/// An answer before this time is early. A few volumes that fill fast cause some in a row.
const EARLY: Duration = Duration::from_secs(1);
/// The number of early answers in a row after which the agent is polled instead.
const MAX_EARLY: u32 = 5;
/// The wait of the first request: whether the agent holds it is known soon.
const FIRST_WAIT: u32 = 5;
/// The longest wait. With [`AGENT_DEADLINE`], a silent agent is noticed within a minute.
const MAX_WAIT: u32 = 58;
/// The wait is shortened by up to this: agents that were first asked together are not all asked together forever.
const WAIT_SPREAD: u32 = 6;
/// The shortest time between the starts of two requests to an agent.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Why an agent is polled instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheld {
    /// It ignores the query and answers at once: it is older.
    Older,
    /// It answers at once again and again.
    AtOnce,
    /// It does not answer.
    Silent,
    /// It closes the connection without an answer.
    Closed,
    /// It holds as many requests as it can.
    Busy,
    /// Its answer is an error, or cannot be parsed.
    Refused,
}

impl Unheld {
    /// The label in the metrics, and the field in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::AtOnce => "at-once",
            Self::Silent => "silent",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::Refused => "refused",
        }
    }

    fn of(error: &UsageError) -> Self {
        match error {
            UsageError::Status(StatusCode::SERVICE_UNAVAILABLE) => Self::Busy,
            UsageError::Status(_) | UsageError::TooLong(_) | UsageError::Read(_) => Self::Refused,
            UsageError::Http(error) if error.is_parse() => Self::Refused,
            UsageError::Http(_) => Self::Closed,
            UsageError::Address(_)
            | UsageError::BackingOff
            | UsageError::Connect(..)
            | UsageError::Tls(..)
            | UsageError::Slow(_)
            | UsageError::Token(..)
            | UsageError::NoAccount(_)
            | UsageError::Certificates(_)
            | UsageError::Node(_)
            | UsageError::NoAddress(_) => Self::Silent,
        }
    }
}

/// The outcome of a held request to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The agent answered as it should.
    Held(Vec<AgentVolume>),
    /// It did not; an older agent has volumes all the same.
    Unheld(Unheld, Vec<AgentVolume>),
}

impl Agents {
    /// Whether a request may be held at this agent now.
    pub(super) fn may_hold(&self, agent: &SocketAddr) -> bool {
        !self.unheld().is_backing_off(agent, since_boot())
    }

    /// The agent is polled for a while.
    pub(super) fn poll_instead(&self, agent: &SocketAddr) {
        self.unheld().failed(agent, since_boot());
    }

    /// Asks an agent to hold a request.
    pub(super) async fn hold(&self, agent: SocketAddr, query: HeldQuery) -> Outcome {
        let (at, began) = (now(), since_boot());
        let deadline = Duration::from_secs(u64::from(query.wait)) + AGENT_DEADLINE;
        let answer = tokio::time::timeout(deadline, self.exchange_held(agent, query)).await;
        let body = answer.unwrap_or(Err(UsageError::Slow(deadline)));
        let took = since_boot().saturating_sub(began);
        match body.and_then(|body| Ok(read_held(&body, at, took)?)) {
            Ok(HeldAnswer { is_held: true, volumes }) => {
                if took >= EARLY {
                    self.unheld().succeeded(&agent);
                }
                Outcome::Held(volumes)
            }
            Ok(HeldAnswer { is_held: false, volumes }) => {
                self.poll_instead(&agent);
                Outcome::Unheld(Unheld::Older, volumes)
            }
            Err(error) => {
                self.poll_instead(&agent);
                Outcome::Unheld(Unheld::of(&error), Vec::new())
            }
        }
    }

    async fn exchange_held(&self, agent: SocketAddr, query: HeldQuery) -> Result<hyper::body::Bytes, UsageError> {
        let path = format!("/disk?{query}");
        let send = async {
            let mut stream = self.connect(agent).await?;
            let head = format!("GET {path} HTTP/1.1\r\nconnection: close\r\nhost: {agent}\r\n\r\n");
            let sent = stream.write_all(head.as_bytes()).await;
            sent.map(|()| stream).map_err(|source| UsageError::Connect(agent, source))
        };
        let stream = tokio::time::timeout(AGENT_DEADLINE, send).await;
        let stream = stream.unwrap_or(Err(UsageError::Slow(AGENT_DEADLINE)))?;
        // It has an answer, or ends.
        stream.readable().await.map_err(|source| UsageError::Connect(agent, source))?;
        let query = Query {
            path: &path,
            token: None,
            accepts: |code| matches!(code, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR),
            largest: MAX_AGENT_BODY,
        };
        // On the heap: it would be most of the memory of a request that waits.
        Box::pin(get(Sent { stream, is_written: false, reader: None }, agent, &query)).await
    }
}

/// A connection on which the request was sent already. For a connection that waits, hyper reserves 16 KiB; so it gets the
/// connection only when there is an answer. It rejects what it reads before it has written, so it reads nothing until then.
struct Sent {
    stream: TcpStream,
    is_written: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Sent {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_written {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Sent {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_written = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// When the next request is sent to an agent, and how long it waits. Pure: the times are arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    has_held: bool,
    early: u32,
}

impl Pace {
    /// The wait of the next request, seconds. `spread`: any number, which differs between agents and requests.
    pub const fn wait(&self, spread: u64) -> u32 {
        // The remainder fits.
        #[allow(clippy::cast_possible_truncation, reason = "a remainder below 7")]
        let shorter = (spread % (WAIT_SPREAD as u64 + 1)) as u32;
        if self.has_held { MAX_WAIT - shorter } else { FIRST_WAIT }
    }

    /// The pause after an answer that took so long; `None`: the agent answers at once again and again.
    pub fn after(&mut self, took: Duration) -> Option<Duration> {
        self.early = if took < EARLY { self.early + 1 } else { 0 };
        self.has_held |= took >= EARLY;
        (self.early < MAX_EARLY).then(|| pause_after(took))
    }
}

/// The pause after a request that took so long.
pub fn pause_after(took: Duration) -> Duration {
    MIN_INTERVAL.saturating_sub(took)
}

#[cfg(test)]
mod tests;
