//! A TCP listener with a limit on connections: a new connection never waits for a silent one.
//!
//! Any client in the cluster can connect. At the limit, the oldest unverified connection is closed: a probe of the
//! kubelet takes milliseconds, and a connection that only occupies a place is always older.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The delay after a failed accept (no file descriptor left), to avoid a busy loop.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The limits on concurrent connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// For unverified clients.
    pub unverified: usize,
    /// For verified clients.
    pub verified: usize,
}

/// The client of a connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Peer(Arc<AtomicBool>);

impl Peer {
    /// Marks the client as verified: its connection is no longer closed to make room for unverified ones.
    pub fn mark_verified(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the client is verified.
    pub fn is_verified(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Open {
    task: AbortHandle,
    peer: Peer,
}

/// Accepts connections forever, and handles each in a task of its own.
pub async fn accept<F>(
    listener: &TcpListener,
    limits: ConnectionLimits,
    handle_connection: impl Fn(TcpStream, Peer) -> F,
) where
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

/// Closes the oldest connections of a kind until one more is within the limit.
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

    /// Echoes each byte; a client that sends `k` is verified.
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

    async fn echoes(stream: &mut TcpStream, byte: u8) -> bool {
        stream.write_all(&[byte]).await.is_ok() && stream.read_u8().await.is_ok()
    }

    #[tokio::test]
    async fn a_new_connection_replaces_the_oldest_unverified_one_and_no_verified_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { accept(&listener, ConnectionLimits { unverified: 3, verified: 2 }, echo).await });
        let connect = async || TcpStream::connect(address).await.unwrap();
        let mut known = connect().await;
        assert!(echoes(&mut known, b'k').await);
        let mut unverified = Vec::new();
        for _ in 0..10 {
            unverified.push(connect().await);
            assert!(echoes(unverified.last_mut().unwrap(), b's').await, "a new connection waits");
        }
        let mut alive = Vec::new();
        for stream in &mut unverified {
            alive.push(echoes(stream, b's').await);
        }
        assert_eq!(alive.iter().position(|alive| *alive), Some(7), "{alive:?}");
        assert!(echoes(&mut known, b's').await, "a verified connection was closed");
    }
}
