//! Descriptors (OCI image specification, "Descriptors"), and bytes that are what a descriptor says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::remedy::{Code, Remedy};

/// What identifies content: its media type, its digest and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// What the artifact is, where the descriptor points to an artifact's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// BuildKit's mark on entries of an index that are no images but statements about one (BuildKit, `docs/attestations`).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const ATTESTATION: &str = "attestation-manifest";

impl Descriptor {
    /// The descriptor that says what content is, and nothing else. `size` is in bytes.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.into(), digest, size, artifact_type: None, annotations: BTreeMap::new() }
    }

    /// The descriptor of these bytes under SHA-256.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// The same content, without what this descriptor says beside it.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::new(self.media_type.as_str(), self.digest.clone(), self.size)
    }

    /// Whether this entry of an index is no image but what a builder states about one: provenance, or an SBOM.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION)
    }

    /// Whether both point to the same content as the same thing: media type, digest and size are equal. Annotations do
    /// not matter (Notary signature specification, "Signature verification").
    pub fn same_content(&self, other: &Self) -> bool {
        self.media_type == other.media_type && self.digest == other.digest && self.size == other.size
    }
}

/// Bytes that hash to the digest of the descriptor they were asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

/// Why bytes are not what a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobMismatch {
    /// Another length.
    #[error("{digest} should have {expected} bytes and has {got}")]
    Size {
        /// The digest asked for.
        digest: Digest,
        /// The size in its descriptor.
        expected: u64,
        /// The size received.
        got: u64,
    },
    /// The right length, but other bytes.
    #[error("the bytes served for {digest} hash to something else")]
    Digest {
        /// The digest asked for.
        digest: Digest,
    },
}

impl Remedy for BlobMismatch {
    fn code(&self) -> Code {
        Code("content-mismatch")
    }

    fn remedy(&self) -> Option<String> {
        Some("the registry, or something between it and this machine, serves other bytes than it was asked for".into())
    }
}

impl Blob {
    /// Believes the bytes if their length and their hash are those of the descriptor.
    pub fn check(descriptor: Descriptor, bytes: Vec<u8>) -> Result<Self, BlobMismatch> {
        let got = bytes.len() as u64;
        if got != descriptor.size {
            return Err(BlobMismatch::Size { digest: descriptor.digest, expected: descriptor.size, got });
        }
        if !descriptor.digest.matches(&bytes) {
            return Err(BlobMismatch::Digest { digest: descriptor.digest });
        }
        Ok(Self { descriptor, bytes })
    }

    /// Own bytes, with the descriptor made from them.
    pub fn of(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// What the bytes were asked for by.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_blob_only_when_length_and_hash_agree() {
        let descriptor = Descriptor::of("text/plain", b"cargo");
        assert!(Blob::check(descriptor.clone(), b"cargo".to_vec()).is_ok());
        assert!(matches!(Blob::check(descriptor.clone(), b"cargp".to_vec()), Err(BlobMismatch::Digest { .. })));
        assert!(matches!(Blob::check(descriptor, b"cargo!".to_vec()), Err(BlobMismatch::Size { got: 6, .. })));
    }
}
