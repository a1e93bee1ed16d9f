//! Is the signature still within the time that its signer gave it?

use jiff::Timestamp;

use super::outcome::{Problem, State};
use crate::envelope::SignedAttributes;

/// A signature is no longer good from its expiry on (Notary signature specification, "Signed Attributes": `expiry`).
pub(super) fn check(attributes: &SignedAttributes, now: Timestamp) -> State {
    match attributes.expiry {
        Some(expiry) if now >= expiry => {
            let message = format!("the signature expired at {expiry}");
            State::Failed { problem: Problem::new("signature-expired", &message, "sign again") }
        }
        _ => State::Passed,
    }
}
