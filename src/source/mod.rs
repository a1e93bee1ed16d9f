//! Where images and their signatures lie, and how they are read and written.
//!
//! A source answers what it was asked and believes nothing: content comes back as a [`Blob`], whose bytes are what the
//! descriptor says, and "there is none" is an answer that never stands for "could not look".

pub mod containerd;
pub mod directory;
pub mod layout;
pub mod limits;
pub mod registry;
pub mod tree;

use async_trait::async_trait;

use crate::oci::{Blob, Descriptor, Reference, Repository};
pub use error::SourceError;
pub use fault::{NetworkFault, RegistryWords, TargetFault};

mod error;
mod fault;

/// Manifests that refer to a subject, in the source's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// Their descriptors.
    pub descriptors: Vec<Descriptor>,
    /// Whether the source had more than were asked for.
    pub truncated: bool,
}

/// A place to read images and signatures from.
#[async_trait]
pub trait Source: Send + Sync {
    /// What the reference points to now.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError>;

    /// The Notary signature manifests that hang on the subject, at most `limit` of them. Only the subject's digest
    /// matters, so whoever asks by digest may ask this before, or beside, [`Source::resolve`].
    async fn signatures(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError>;

    /// A manifest, whole and checked.
    async fn manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError>;

    /// A blob of at most `limit` bytes, whole and checked.
    async fn blob(&self, repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError>;
}

/// A place on this machine where the signatures are kept by which images were admitted.
pub trait Keep: Send + Sync {
    /// Keeps a signature manifest and its envelope. What is kept already stays. Waits for the disk.
    fn keep(&self, subject: &Descriptor, signature: &Blob, envelope: &Blob) -> Result<(), SourceError>;
}

/// A place to write signatures to.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Stores a blob, unless it is there already.
    async fn push_blob(&self, repository: &Repository, blob: &Blob) -> Result<(), SourceError>;

    /// Stores a manifest that refers to `subject`, and makes it findable as its referrer: by the referrers API where
    /// there is one, by the fallback tag where there is none.
    async fn push_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Blob,
        artifact_type: &str,
    ) -> Result<(), SourceError>;
}
