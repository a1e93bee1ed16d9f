//! What systemd is told (`sd_notify(3)`): when questions are answered, when the policy is read again, when it ends.
//!
//! Where there is no systemd, nobody is told.

use sd_notify::NotifyState;

use crate::policy::Trust;

/// Questions are answered, under this policy.
pub(super) fn ready(trust: &Trust) {
    let status = format!("policy {} from {}", trust.digest().short(), trust.origin());
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The policy is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// No more questions are taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(error = %error, "systemd could not be told");
    }
}
