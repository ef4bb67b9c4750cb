//! The signal that the process is to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Reports that the process is to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Stops the process from within. Dropping it does the same.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Sends the signal.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// A stop that another part of the process triggers.
    pub fn by_hand() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// Stops on SIGTERM (from the kubelet) and SIGINT (from a user). A second signal ends the process immediately.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (stopper, stop) = Self::by_hand();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let first = next().await;
            tracing::info!(signal = first, "stopping");
            stopper.stop();
            let second = next().await;
            tracing::warn!(signal = second, "stopping immediately");
            std::process::exit(1);
        });
        Ok(stop)
    }

    /// Whether the signal was sent.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the signal.
    pub async fn wait(&self) {
        // An error means that the sender is gone, so the signal can no longer come.
        let _ = self.0.clone().wait_for(|set| *set).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_receives_the_stop_even_a_late_one() {
        let (stopper, stop) = Stop::by_hand();
        assert!(!stop.is_set());
        stopper.stop();
        stop.wait().await;
        stop.clone().wait().await;
        assert!(stop.is_set());
    }
}
