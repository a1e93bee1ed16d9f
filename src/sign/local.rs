//! A key that is already in memory.

use jiff::Timestamp;

use super::{SignError, Signer};
use crate::pki::{Certificate, Chain, InvalidChain, PrivateKey, SignatureAlgorithm};
use crate::remedy::{Code, Remedy};

/// A private key with the chain that its signatures carry. Whoever holds one knows that they belong together.
#[derive(Debug)]
pub struct LocalKey {
    key: PrivateKey,
    chain: Chain,
}

/// Why a key and certificates do not make a signer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyMismatch {
    /// The certificates are not a chain of Notary's profile.
    #[error("the certificates cannot be used for signing")]
    Chain(#[source] InvalidChain),
    /// The leaf is another key's.
    #[error("the certificate `{0}` does not belong to the private key")]
    OtherKey(String),
}

impl Remedy for KeyMismatch {
    fn code(&self) -> Code {
        match self {
            Self::Chain(error) => error.code(),
            Self::OtherKey(_) => Code("key-certificate-mismatch"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Chain(error) => error.remedy(),
            Self::OtherKey(_) => Some("put the leaf certificate of this key first in the certificate file".into()),
        }
    }
}

impl LocalKey {
    /// A signer from a key and its certificates, leaf first and up to the root.
    pub fn new(key: PrivateKey, certificates: Vec<Certificate>) -> Result<Self, KeyMismatch> {
        let chain = Chain::code_signing(certificates).map_err(KeyMismatch::Chain)?;
        if *chain.leaf_key() != key.public_key() {
            return Err(KeyMismatch::OtherKey(chain.leaf().subject().to_string()));
        }
        Ok(Self { key, chain })
    }
}

impl Signer for LocalKey {
    fn chain(&self) -> &[Certificate] {
        self.chain.certificates()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.spec().signature_algorithm()
    }

    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign(to_be_signed).map_err(SignError::Key)
    }

    fn check_validity(&self, at: Timestamp) -> Result<(), SignError> {
        self.chain.check_validity(at).map_err(|error| SignError::NotValidNow(error.to_string()))
    }
}
