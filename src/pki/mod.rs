//! X.509 certificates, chains under Notary's certificate profile, keys and distinguished names.
//!
//! No trust is decided here: a [`Chain`] is a chain of good form whose every certificate is signed by the next, and says
//! nothing about whether anybody trusts its root.

mod algorithm;
mod bundle;
mod certificate;
mod chain;
mod extensions;
mod key;
mod key_material;
mod name;
mod pem;
mod private_key;
mod profile;
mod received;
mod signed;
mod subject_pattern;
#[cfg(test)]
mod testing;

pub use algorithm::{KeySpec, SignatureAlgorithm};
pub use certificate::{Certificate, InvalidCertificate, MAX_CERTIFICATE_SIZE};
pub use chain::{Chain, InvalidChain, MAX_CHAIN_LENGTH, OutsideValidity};
pub use key::{InvalidSignature, PublicKey, UnsupportedKey};
pub use name::{DistinguishedName, MAX_NAME_SIZE};
pub use pem::InvalidPem;
pub use private_key::{PrivateKey, PrivateKeyError};
pub use profile::ProfileViolation;
pub use signed::X509SignatureError;
pub use subject_pattern::{InvalidPattern, MAX_PATTERN_LENGTH, SubjectPattern};
