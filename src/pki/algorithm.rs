//! The keys and signature algorithms that Notary allows, and no others.
//!
//! A key's kind and size fix its one algorithm and its one hash (Notary signature specification, "Signature
//! Algorithm Requirements"): nothing in an envelope can choose another.

use std::fmt;

use crate::oci::DigestAlgorithm;

/// A kind and size of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
    /// NIST P-256.
    EcP256,
    /// NIST P-384.
    EcP384,
    /// NIST P-521.
    EcP521,
}

/// RSASSA-PSS or ECDSA with one of three hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256 (`PS256`).
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384 (`PS384`).
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512 (`PS512`).
    RsaPssSha512,
    /// ECDSA on P-256 with SHA-256 (`ES256`).
    EcdsaSha256,
    /// ECDSA on P-384 with SHA-384 (`ES384`).
    EcdsaSha384,
    /// ECDSA on P-521 with SHA-512 (`ES512`).
    EcdsaSha512,
}

impl KeySpec {
    /// All of them, smallest first.
    pub const ALL: [Self; 6] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcP256, Self::EcP384, Self::EcP521];

    /// The one algorithm that a key of this kind signs with.
    pub fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Rsa2048 => SignatureAlgorithm::RsaPssSha256,
            Self::Rsa3072 => SignatureAlgorithm::RsaPssSha384,
            Self::Rsa4096 => SignatureAlgorithm::RsaPssSha512,
            Self::EcP256 => SignatureAlgorithm::EcdsaSha256,
            Self::EcP384 => SignatureAlgorithm::EcdsaSha384,
            Self::EcP521 => SignatureAlgorithm::EcdsaSha512,
        }
    }
}

impl SignatureAlgorithm {
    /// The hash that the algorithm is used with.
    pub fn hash(self) -> DigestAlgorithm {
        match self {
            Self::RsaPssSha256 | Self::EcdsaSha256 => DigestAlgorithm::Sha256,
            Self::RsaPssSha384 | Self::EcdsaSha384 => DigestAlgorithm::Sha384,
            Self::RsaPssSha512 | Self::EcdsaSha512 => DigestAlgorithm::Sha512,
        }
    }
}

impl fmt::Display for KeySpec {
    /// Notary's names: `RSA-2048`, `EC-256`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcP256 => "EC-256",
            Self::EcP384 => "EC-384",
            Self::EcP521 => "EC-521",
        })
    }
}

impl fmt::Display for SignatureAlgorithm {
    /// Notary's names: `RSASSA-PSS-SHA-256`, `ECDSA-SHA-384`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RsaPssSha256 => "RSASSA-PSS-SHA-256",
            Self::RsaPssSha384 => "RSASSA-PSS-SHA-384",
            Self::RsaPssSha512 => "RSASSA-PSS-SHA-512",
            Self::EcdsaSha256 => "ECDSA-SHA-256",
            Self::EcdsaSha384 => "ECDSA-SHA-384",
            Self::EcdsaSha512 => "ECDSA-SHA-512",
        })
    }
}
