//! Content addresses (OCI image specification, "Descriptors", section "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::remedy::{Code, Remedy, excerpt};

/// A content address of good form: a known algorithm and exactly its number of lowercase hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String); // private field: `FromStr` and the hashing functions are the only doors

/// The hash functions that a [`Digest`] may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256, the one that every registry knows.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// The name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hex digits a digest of this algorithm has.
    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    /// The bare hash of these bytes.
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// The digest of these bytes.
    pub fn of(self, bytes: &[u8]) -> Digest {
        Digest(format!("{}:{}", self.as_str(), hex::encode(self.hash(bytes))))
    }
}

/// The hash of bytes that pass by piece by piece.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// Of SHA-256.
    Sha256(Sha256),
    /// Of SHA-384.
    Sha384(Sha384),
    /// Of SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// The hash of nothing yet.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Sha384 => Self::Sha384(Sha384::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(piece),
            Self::Sha384(hash) => hash.update(piece),
            Self::Sha512(hash) => hash.update(piece),
        }
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self {
            Self::Sha256(hash) => (DigestAlgorithm::Sha256, hash.finalize().to_vec()),
            Self::Sha384(hash) => (DigestAlgorithm::Sha384, hash.finalize().to_vec()),
            Self::Sha512(hash) => (DigestAlgorithm::Sha512, hash.finalize().to_vec()),
        };
        Digest(format!("{}:{}", algorithm.as_str(), hex::encode(hash)))
    }
}

impl Digest {
    /// The SHA-256 digest of these bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        DigestAlgorithm::Sha256.of(bytes)
    }

    /// `algorithm:hex`, as it stands in descriptors and references.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash function of this digest.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.0.split_once(':') {
            Some(("sha384", _)) => DigestAlgorithm::Sha384,
            Some(("sha512", _)) => DigestAlgorithm::Sha512,
            _ => DigestAlgorithm::Sha256,
        }
    }

    /// The hex digits alone.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hex digits with the algorithm: enough for a person to recognise it by.
    pub fn short(&self) -> String {
        format!("{}:{}", self.algorithm().as_str(), self.hex().get(..12).unwrap_or_default())
    }

    /// The tag of the list of referrers of this content, where there is no API for it (distribution specification,
    /// "Referrers Tag Schema": at most 32 and 64 characters of the two parts of the digest).
    pub fn fallback_tag(&self) -> String {
        let hex: String = self.hex().chars().take(64).collect();
        format!("{}-{hex}", self.algorithm().as_str())
    }

    /// Whether these bytes are what this digest is the address of.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.algorithm().of(bytes) == *self
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDigest {
    /// There is no colon.
    #[error("a digest is written `algorithm:hex`")]
    NoAlgorithm,
    /// The algorithm is not one of those that pratique knows.
    #[error("the digest algorithm `{0}` is not one of sha256, sha384, sha512")]
    Unsupported(String),
    /// What follows the colon is not exactly the right number of lowercase hex digits.
    #[error("a {algorithm} digest has exactly {digits} lowercase hex digits")]
    NotHex {
        /// The algorithm named.
        algorithm: &'static str,
        /// How many digits it has.
        digits: usize,
    },
}

impl Remedy for InvalidDigest {
    fn code(&self) -> Code {
        Code("invalid-digest")
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(s: &str) -> Result<Self, InvalidDigest> {
        let (name, hex) = s.split_once(':').ok_or(InvalidDigest::NoAlgorithm)?;
        let algorithm = match name {
            "sha256" => DigestAlgorithm::Sha256,
            "sha384" => DigestAlgorithm::Sha384,
            "sha512" => DigestAlgorithm::Sha512,
            other => return Err(InvalidDigest::Unsupported(excerpt(other))),
        };
        let is_hex = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != algorithm.digits() || !hex.bytes().all(is_hex) {
            return Err(InvalidDigest::NotHex { algorithm: algorithm.as_str(), digits: algorithm.digits() });
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_a_known_algorithm_and_exactly_its_digits() {
        let good = format!("sha256:{}", "a".repeat(64));
        assert_eq!(good.parse::<Digest>().unwrap().as_str(), good);
        for (text, expected) in [
            ("a".repeat(64), InvalidDigest::NoAlgorithm),
            (format!("md5:{}", "a".repeat(32)), InvalidDigest::Unsupported("md5".into())),
            (format!("sha256:{}", "a".repeat(63)), InvalidDigest::NotHex { algorithm: "sha256", digits: 64 }),
            (format!("sha256:{}", "A".repeat(64)), InvalidDigest::NotHex { algorithm: "sha256", digits: 64 }),
            ("sha256:../../etc/passwd".into(), InvalidDigest::NotHex { algorithm: "sha256", digits: 64 }),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_fallback_tag_is_never_longer_than_a_tag_may_be() {
        let sha256 = Digest::sha256(b"cargo");
        assert_eq!(sha256.fallback_tag(), format!("sha256-{}", sha256.hex()));
        assert_eq!(DigestAlgorithm::Sha512.of(b"cargo").fallback_tag().len(), "sha512-".len() + 64);
    }

    #[test]
    fn bytes_match_the_digest_of_their_own_and_no_other() {
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512] {
            let digest = algorithm.of(b"cargo");
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            assert!(digest.matches(b"cargo"));
            assert!(!digest.matches(b"cargp"));
            let mut hasher = Hasher::new(algorithm);
            for piece in [b"ca".as_slice(), b"", b"rgo"] {
                hasher.update(piece);
            }
            assert_eq!(hasher.finish(), digest);
        }
    }
}
