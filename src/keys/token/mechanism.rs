//! How a token is asked to sign: with the one algorithm that Notary has for the key, in the form that envelopes carry.
//!
//! Where the token can sign a hash, the hash is made here: not every token hashes, and those that do are slow at it.

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};

use crate::oci::DigestAlgorithm;
use crate::pki::KeySpec;

/// A way to sign, and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// RSASSA-PSS or ECDSA over a hash made here.
    OfHash(KeySpec),
    /// The same over the message, which the token hashes.
    OfMessage(KeySpec),
}

impl Way {
    /// The first that the token has.
    pub(super) fn of(spec: KeySpec, available: &[MechanismType]) -> Option<Self> {
        [Self::OfHash(spec), Self::OfMessage(spec)]
            .into_iter()
            .find(|way| available.contains(&way.mechanism().mechanism_type()))
    }

    /// PKCS #11's name for what the token would need.
    pub(super) fn wanted(spec: KeySpec) -> &'static str {
        match spec {
            KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => "CKM_RSA_PKCS_PSS",
            KeySpec::EcP256 | KeySpec::EcP384 | KeySpec::EcP521 => "CKM_ECDSA",
        }
    }

    pub(super) fn mechanism(self) -> Mechanism<'static> {
        let (Self::OfHash(spec) | Self::OfMessage(spec)) = self;
        let hash = hash(spec);
        match (self, is_rsa(spec), hash) {
            (Self::OfHash(_), true, _) => Mechanism::RsaPkcsPss(pss(hash)),
            (Self::OfHash(_), false, _) => Mechanism::Ecdsa,
            (Self::OfMessage(_), true, DigestAlgorithm::Sha256) => Mechanism::Sha256RsaPkcsPss(pss(hash)),
            (Self::OfMessage(_), true, DigestAlgorithm::Sha384) => Mechanism::Sha384RsaPkcsPss(pss(hash)),
            (Self::OfMessage(_), true, DigestAlgorithm::Sha512) => Mechanism::Sha512RsaPkcsPss(pss(hash)),
            (Self::OfMessage(_), false, DigestAlgorithm::Sha256) => Mechanism::EcdsaSha256,
            (Self::OfMessage(_), false, DigestAlgorithm::Sha384) => Mechanism::EcdsaSha384,
            (Self::OfMessage(_), false, DigestAlgorithm::Sha512) => Mechanism::EcdsaSha512,
        }
    }

    /// What is handed to the token.
    pub(super) fn input(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::OfHash(spec) => hash(spec).hash(message),
            Self::OfMessage(_) => message.to_vec(),
        }
    }
}

fn hash(spec: KeySpec) -> DigestAlgorithm {
    spec.signature_algorithm().hash()
}

fn is_rsa(spec: KeySpec) -> bool {
    matches!(spec, KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096)
}

/// One hash for everything, and a salt as long as it (RFC 7518, section 3.5).
fn pss(hash: DigestAlgorithm) -> PkcsPssParams {
    let (hash_alg, mgf, length) = match hash {
        DigestAlgorithm::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32_u64),
        DigestAlgorithm::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        DigestAlgorithm::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
    };
    PkcsPssParams { hash_alg, mgf, s_len: length.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_made_here_where_the_token_signs_hashes() {
        let both = [MechanismType::RSA_PKCS_PSS, MechanismType::SHA384_RSA_PKCS_PSS, MechanismType::ECDSA];
        assert_eq!(Way::of(KeySpec::Rsa3072, &both), Some(Way::OfHash(KeySpec::Rsa3072)));
        assert_eq!(Way::of(KeySpec::Rsa3072, &both[1..]), Some(Way::OfMessage(KeySpec::Rsa3072)));
        assert_eq!(Way::of(KeySpec::Rsa2048, &both[1..]), None, "another hash than the key's is no way");
        assert_eq!(Way::of(KeySpec::EcP521, &both), Some(Way::OfHash(KeySpec::EcP521)));
        assert_eq!(Way::of(KeySpec::EcP521, &both[..2]), None);
        assert_eq!(Way::OfHash(KeySpec::EcP521).input(b"cargo").len(), 64);
        assert_eq!(Way::OfMessage(KeySpec::EcP521).input(b"cargo"), b"cargo");
    }
}
