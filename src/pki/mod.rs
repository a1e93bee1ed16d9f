//! X.509 certificates, chains under Notary's certificate profile, time-stamps, keys and distinguished names.
//!
//! Who is trusted is not decided here: a [`Chain`] is a chain of good form whose every certificate is signed by the next, and
//! says nothing about whether anybody trusts its root; a [`Stamp`] holds under the anchors that it was asked about.

mod algorithm;
mod ber;
mod bundle;
mod certificate;
mod chain;
mod encrypted_key;
mod extensions;
mod key;
mod key_material;
mod name;
mod pem;
mod private_key;
mod profile;
mod received;
mod renewal;
pub mod revocation;
mod signed;
mod subject_pattern;
#[cfg(test)]
mod testing;
mod timestamp;
mod token_uri;
#[cfg(test)]
mod wycheproof;

pub use algorithm::{KeySpec, SignatureAlgorithm};
pub use ber::BerFault;
pub use certificate::{Certificate, InvalidCertificate, MAX_CERTIFICATE_SIZE};
pub use chain::{Chain, InvalidChain, MAX_CHAIN_LENGTH, OutsideValidity};
pub use key::{InvalidSignature, PublicKey, UnsupportedKey};
pub use name::{DistinguishedName, MAX_NAME_SIZE};
pub use pem::InvalidPem;
pub use private_key::{PrivateKey, PrivateKeyError};
pub use profile::ProfileViolation;
pub use renewal::{RENEWAL_TIME, Renewal};
pub use signed::X509SignatureError;
pub use subject_pattern::{InvalidPattern, MAX_PATTERN_LENGTH, SubjectPattern};
pub use timestamp::{
    InvalidTimestamp, MAX_RESPONSE_SIZE, MAX_TOKEN_SIZE, RefusedTimestamp, Stamp, StamperViolation, TimestampInfo,
    TimestampRequest, TimestampToken,
};
pub use token_uri::{InvalidTokenUri, TokenUri};
