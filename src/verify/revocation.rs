//! Is the signer still trusted today?
//!
//! Whoever can block a CRL server must not be able to bring a revoked key back to life, so "could not tell" is an answer
//! of its own, and the statement says what it means. Asking OCSP responders and reading CRLs is not there yet: a chain
//! that names one cannot be told apart from a revoked one.
//!
//! Follows the Notary trust policy specification, "Certificate Revocation Evaluation".

use super::outcome::{Problem, State};
use crate::pki::{Certificate, Chain};
use crate::policy::{Action, Statement, Validation};

pub(super) fn check(chain: &Chain, statement: &Statement) -> State {
    if statement.action(Validation::Revocation) == Action::Skip {
        return State::Skipped;
    }
    // The last certificate is the root: nobody above it could revoke it.
    let revocable = chain.certificates().split_last().map(|(_, rest)| rest).unwrap_or_default();
    match revocable.iter().find(|certificate| certificate.names_revocation_source()) {
        // A certificate that names neither OCSP nor CRL counts as one that its issuer never revokes.
        None => State::Passed,
        Some(certificate) => {
            let message = format!("whether `{}` was revoked could not be found out", certificate.subject());
            let remedy = "this version asks no OCSP or CRL server: override `revocation` with `log` or `skip` in the statement if that is acceptable";
            State::Inconclusive { problem: Problem::new("revocation-unchecked", &message, remedy) }
        }
    }
}

/// Was a time-stamp authority revoked? Asked whatever the statement says about the signer: the answer is part of the authentic
/// time-stamp, since a stamp made with a stolen key vouches for nothing (Notary trust policy specification, "Authentic
/// Timestamp"). The chain is that of a verified stamp, so it leads to one of our anchors.
pub(super) fn check_authority(chain: &[Certificate]) -> State {
    let revocable = chain.split_last().map(|(_, rest)| rest).unwrap_or_default();
    match revocable.iter().find(|certificate| certificate.names_revocation_source()) {
        None => State::Passed,
        Some(certificate) => {
            let message = format!(
                "whether the time-stamp authority `{}` was revoked could not be found out",
                certificate.subject()
            );
            let remedy = "this version asks no OCSP or CRL server: override `authenticTimestamp` with `log`, or take the `tsa` store out of the statement, if that is acceptable";
            State::Inconclusive { problem: Problem::new("timestamp-authority-unchecked", &message, remedy) }
        }
    }
}
