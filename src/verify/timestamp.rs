//! Were the certificates valid when the signature was made?
//!
//! Follows the Notary trust policy specification, "Authentic Timestamp". Under `notary.x509` the signer's own time counts
//! for nothing: either a time-stamp authority vouches for another, or every certificate must be valid now. Checking a
//! time-stamp token is not there yet; where it is due, the answer is "could not tell".

use jiff::Timestamp;

use super::outcome::{Problem, State};
use crate::envelope::{Envelope, SigningScheme};
use crate::pki::Chain;
use crate::policy::{Statement, StoreKind, VerifyTimestamp};

pub(super) fn check(chain: &Chain, envelope: &Envelope, statement: &Statement, now: Timestamp) -> State {
    let attributes = envelope.signed_attributes();
    match attributes.scheme {
        SigningScheme::SigningAuthority => valid_at(chain, attributes.signing_time, "signing-time-outside-validity"),
        SigningScheme::X509 if is_due(chain, statement, now) => token(envelope),
        SigningScheme::X509 => valid_at(chain, now, "certificate-not-valid-now"),
    }
}

/// A token is looked at when the statement names a `tsa` store, and either always or once a certificate has expired.
fn is_due(chain: &Chain, statement: &Statement, now: Timestamp) -> bool {
    let names_authority = statement.trust_stores().iter().any(|store| store.kind() == StoreKind::Tsa);
    let when = match statement.verify_timestamp() {
        VerifyTimestamp::Always => true,
        VerifyTimestamp::AfterCertExpiry => chain.earliest_not_after() < now,
    };
    names_authority && when
}

fn token(envelope: &Envelope) -> State {
    if envelope.unsigned_attributes().timestamp_signature.is_none() {
        let message = "the policy demands a time-stamp, and the signature has none";
        let remedy = "sign the image again with a time-stamp authority, or take the `tsa` store out of the statement";
        return State::Failed { problem: Problem::new("timestamp-missing", message, remedy) };
    }
    let message = "the policy demands that the time-stamp be verified, which this version cannot do";
    let remedy = "take the `tsa` store out of the statement while the signing certificates are valid";
    State::Inconclusive { problem: Problem::new("timestamp-unchecked", message, remedy) }
}

fn valid_at(chain: &Chain, at: Timestamp, code: &'static str) -> State {
    match chain.check_validity(at) {
        Ok(()) => State::Passed,
        Err(error) => State::Failed {
            problem: Problem::new(code, &error.to_string(), "sign the image again with a certificate that is valid"),
        },
    }
}
