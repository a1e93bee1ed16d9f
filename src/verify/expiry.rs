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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::envelope::SigningScheme;

    #[test]
    fn a_signature_is_good_until_its_expiry_and_not_at_it() {
        let expiry: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let attributes = |expiry| SignedAttributes {
            scheme: SigningScheme::X509,
            signing_time: "2026-01-01T00:00:00Z".parse().unwrap(),
            expiry,
            plugin: None,
            extended: Vec::new(),
        };
        assert_eq!(check(&attributes(Some(expiry)), expiry - SignedDuration::from_secs(1)), State::Passed);
        assert!(matches!(check(&attributes(Some(expiry)), expiry), State::Failed { .. }));
        assert_eq!(check(&attributes(None), Timestamp::MAX), State::Passed);
    }
}
