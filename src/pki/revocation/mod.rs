//! What an issuer says about certificates after it has issued them: OCSP responses and revocation lists, as data.
//!
//! Nothing is fetched here, and no response or list is believed until the issuer of the certificate has vouched for it: a
//! [`Reading`] comes out of bytes only with the certificate, its issuer and the time at hand. Which of several answers counts
//! is for the verifier to say.

mod crl;
mod crl_entries;
mod crl_extensions;
mod ocsp;
mod ocsp_fault;
mod ocsp_request;
mod signed_data;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

pub use crl::{Crl, InvalidCrl, MAX_CRL_SIZE, UsableCrl, crls_in};
pub use ocsp::{MAX_OCSP_RESPONSE_SIZE, OcspResponse, VouchedResponse};
pub use ocsp_fault::InvalidOcspResponse;
pub use ocsp_request::ocsp_request;

/// How far the clocks of an issuer and of this machine may be apart. Responders sign at the second in which they are
/// asked; five minutes is what OpenSSL's `ocsp` command grants, too.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What an issuer says about one certificate, in words that it vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not been revoked.
    Good,
    /// It has been revoked, at this time.
    Revoked {
        /// When, by the issuer's word.
        at: Timestamp,
    },
    /// The issuer does not know.
    Unknown,
}

/// A status, and how long it may be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What is said.
    pub status: Status,
    /// The last instant at which the answer is not too old.
    pub until: Timestamp,
}

/// The moments that matter when an answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time at which the verdict is made.
    pub now: Timestamp,
    /// The time of signing, where somebody else than the signer vouches for it: a revocation that took effect after it
    /// does not touch the signature.
    pub authentic_signing_time: Option<Timestamp>,
}

impl Moment {
    /// Whether a certificate that was invalid only from `invalid_from` on was still valid when it signed (Notary trust
    /// policy specification, "Certificate Revocation Evaluation"). The time in question is the entry's `invalidityDate`,
    /// never its `revocationDate`: an issuer revokes after it has heard.
    fn precedes(self, invalid_from: Option<Timestamp>) -> bool {
        match (self.authentic_signing_time, invalid_from) {
            (Some(signed), Some(invalid_from)) => signed < invalid_from,
            _ => false,
        }
    }

    /// Whether an instant lies in the future, beyond what differing clocks explain.
    fn is_before(self, this_update: Timestamp) -> bool {
        self.now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) < this_update
    }
}
