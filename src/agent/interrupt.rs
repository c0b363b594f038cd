//! The person's wish that a turn end.

use tokio::sync::watch;

/// Can be fired from anywhere in the event loop while the turn runs.
#[derive(Debug)]
pub struct Interrupt(watch::Sender<bool>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Interrupt {
    /// Says that the turn is to end.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }

    /// Becomes ready once it was fired.
    pub async fn fired(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = receiver.wait_for(|fired| *fired).await;
    }
}
