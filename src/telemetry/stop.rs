//! When is it time to go?

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Says when the process is to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Ends the process from within. Dropping it does the same.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// It is time.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// A stop that somebody in the process decides on.
    pub fn by_hand() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// Stops on SIGTERM (the kubelet) and SIGINT (a person). A second signal ends the process at once.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
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
            tracing::warn!(signal = second, "stopping at once");
            std::process::exit(1);
        });
        Ok(stop)
    }

    /// Whether it is time.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is time.
    pub async fn wait(&self) {
        // An error means that nobody is left who could stop us otherwise.
        let _ = self.0.clone().wait_for(|set| *set).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_the_stop_also_those_who_come_late() {
        let (stopper, stop) = Stop::by_hand();
        assert!(!stop.is_set());
        stopper.stop();
        stop.wait().await;
        stop.clone().wait().await;
        assert!(stop.is_set());
    }
}
