//! Who may stay on a port? As many connections as there is memory for, and a newcomer never waits for one that says nothing.
//!
//! Anybody in the cluster can connect. When all places are taken, the connection that has been a stranger for the longest
//! time is closed: a probe of the kubelet takes milliseconds, and one that only holds a place is always older than it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// After an accept that failed (no descriptor left), so that it does not spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Connections at a time.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// For those that nobody knows.
    pub unverified: usize,
    /// For those that have shown who they are.
    pub verified: usize,
}

/// Whoever is at the other end of a connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Peer(Arc<AtomicBool>);

impl Peer {
    /// It has shown who it is, and no longer makes room for strangers.
    pub fn mark_verified(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_verified(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Open {
    task: AbortHandle,
    peer: Peer,
}

/// Accepts connections for ever, and lets `converse` go on with each in a task of its own.
pub async fn accept<F>(listener: &TcpListener, limits: ConnectionLimits, handle_connection: impl Fn(TcpStream, Peer) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        open.retain(|connection| !connection.task.is_finished());
        close_oldest(&mut open, false, limits.unverified);
        close_oldest(&mut open, true, limits.verified);
        let peer = Peer::default();
        let task = tokio::spawn(handle_connection(stream, peer.clone())).abort_handle();
        open.push_back(Open { task, peer });
    }
}

/// Closes the oldest ones of a kind until there is a free place.
fn close_oldest(open: &mut VecDeque<Open>, verified: bool, limit: usize) {
    let of_the_kind = |connection: &Open| connection.peer.is_verified() == verified;
    while open.iter().filter(|connection| of_the_kind(connection)).count() >= limit.max(1) {
        let Some(oldest) = open.iter().position(of_the_kind) else { return };
        if let Some(closed) = open.remove(oldest) {
            closed.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Says a byte for each byte it hears; one that hears `k` is known.
    async fn echo(mut stream: TcpStream, peer: Peer) {
        while let Ok(byte) = stream.read_u8().await {
            if byte == b'k' {
                peer.mark_verified();
            }
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    }

    async fn answers(stream: &mut TcpStream, byte: u8) -> bool {
        stream.write_all(&[byte]).await.is_ok() && stream.read_u8().await.is_ok()
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_oldest_stranger_and_of_nobody_who_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { accept(&listener, ConnectionLimits { unverified: 3, verified: 2 }, echo).await });
        let connect = async || TcpStream::connect(address).await.unwrap();
        let mut known = connect().await;
        assert!(answers(&mut known, b'k').await);
        let mut strangers = Vec::new();
        for _ in 0..10 {
            strangers.push(connect().await);
            assert!(answers(strangers.last_mut().unwrap(), b's').await, "a newcomer waits");
        }
        let mut alive = Vec::new();
        for stranger in &mut strangers {
            alive.push(answers(stranger, b's').await);
        }
        assert_eq!(alive.iter().position(|alive| *alive), Some(7), "{alive:?}");
        assert!(answers(&mut known, b's').await, "one that is known was closed");
    }
}
