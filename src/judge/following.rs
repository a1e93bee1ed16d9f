//! How containerd is listened to for as long as the daemon runs, whatever becomes of the connection.

use std::time::Duration;

use crate::remedy::one_line;
use crate::source::SourceError;

/// The pause before containerd is asked again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// When to try again, and what to tell about it.
pub(super) struct Pace {
    what: &'static str,
    pause: Duration,
    is_reported: bool,
}

impl Pace {
    /// For listening to this.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, pause: FIRST_PAUSE, is_reported: false }
    }

    /// Waits before the next try. The last one ended well when containerd ended, and with an error when it could not be
    /// reached, which is told once.
    pub(super) async fn rest(&mut self, ended: Result<(), SourceError>) {
        let what = self.what;
        match ended {
            Ok(()) => {
                tracing::warn!(what, "containerd's events have ended; they are asked for again");
                (self.pause, self.is_reported) = (FIRST_PAUSE, false);
            }
            Err(error) if !self.is_reported => {
                let reason = one_line(&error);
                tracing::warn!(what, reason, "containerd cannot be followed; it is asked again and again");
                self.is_reported = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(self.pause).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
    }
}
