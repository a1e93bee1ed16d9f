//! Where images and their signatures lie, and how they are read and written.
//!
//! A source answers what it was asked and believes nothing: content comes back as a [`Blob`], whose bytes are what the
//! descriptor says, and "there is none" is an answer that never stands for "could not look".

pub mod archive;
pub mod containerd;
pub mod copy;
pub mod directory;
pub mod discover;
pub mod file;
pub mod layout;
pub mod limits;
pub mod registry;
mod stream;
pub mod tree;

use async_trait::async_trait;

use crate::oci::{Blob, Descriptor, Reference, Repository, Tag};
pub use error::SourceError;
pub use fault::{NetworkFault, RegistryWords, TargetFault};
pub use stream::BlobStream;

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

/// What those hosts of a source list that were not needed at first.
#[derive(Debug, Default)]
pub struct Further {
    /// What is listed.
    pub referrers: Referrers,
    /// Why there may be more: a host that could not be asked.
    pub unanswered: Option<SourceError>,
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

    /// What further hosts of the source list beside `known`, the answer of [`Source::signatures`], at most `limit` of it: for
    /// whoever found nothing good there. Nothing, where a source has one place alone.
    async fn further_signatures(
        &self,
        _repository: &Repository,
        _subject: &Descriptor,
        _known: &[Descriptor],
        _limit: usize,
    ) -> Result<Further, SourceError> {
        Ok(Further::default())
    }

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

/// A manifest that refers to another one, with the content that it points to.
#[derive(Clone, Debug)]
pub struct Attachment<'a> {
    /// What it refers to.
    pub subject: &'a Descriptor,
    /// What it points to.
    pub content: Vec<&'a Blob>,
    /// The manifest.
    pub manifest: &'a Blob,
    /// Its type of artifact.
    pub artifact_type: &'a str,
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

    /// The same for several manifests with their types of artifact, which are stored already. A place whose list of referrers
    /// is kept by its clients has it written once.
    async fn push_referrers(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        referrers: &[(&Blob, &str)],
    ) -> Result<(), SourceError> {
        for (manifest, artifact_type) in referrers {
            self.push_referrer(repository, subject, manifest, artifact_type).await?;
        }
        Ok(())
    }

    /// Stores manifests that refer to others, each after its content, and makes them findable. A place that can only be
    /// written as a whole is written once.
    async fn attach(&self, repository: &Repository, attachments: &[Attachment<'_>]) -> Result<(), SourceError> {
        attach_each(self, repository, attachments).await
    }
}

/// Attaches one after the other.
async fn attach_each<S: Sink + ?Sized>(
    sink: &S,
    repository: &Repository,
    attachments: &[Attachment<'_>],
) -> Result<(), SourceError> {
    for Attachment { subject, content, manifest, artifact_type } in attachments {
        for blob in content {
            sink.push_blob(repository, blob).await?;
        }
        sink.push_referrer(repository, subject, manifest, artifact_type).await?;
    }
    Ok(())
}

/// The tags of a repository, in the source's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Those that are of good form.
    pub names: Vec<Tag>,
    /// What is listed under no tag, with its name where it has one: in a layout, whose names may have any form.
    pub untagged: Vec<(Option<String>, Descriptor)>,
    /// Whether the source had more than were asked for.
    pub truncated: bool,
}

/// A place to read whole images from: content of any size, and everything that hangs on them.
#[async_trait]
pub trait Images: Source {
    /// Every manifest that refers to the subject, whatever it is, at most `limit` of them. The subject itself need not be
    /// there.
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError>;

    /// The tags of a repository, at most `limit` of them.
    async fn tags(&self, repository: &Repository, limit: usize) -> Result<Tags, SourceError>;

    /// A blob of any size, which is checked while it passes.
    async fn open_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<BlobStream, SourceError>;

    /// Whether the blob is there.
    async fn has_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError>;

    /// Whether the manifest is there.
    async fn has_manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError>;
}

/// A place to write whole images to, and to take them away from.
///
/// Nothing here looks whether what a manifest points to is there: content first, then the manifest, then its name.
#[async_trait]
pub trait ImageSink: Images + Sink {
    /// Stores a blob of any size. Does not look whether it is there already: see [`Images::has_blob`].
    async fn push_stream(&self, repository: &Repository, blob: BlobStream) -> Result<(), SourceError>;

    /// Has the place take a blob over from another repository of its own; `false` where it cannot, or will not.
    async fn mount(&self, repository: &Repository, from: &Repository, blob: &Descriptor) -> Result<bool, SourceError>;

    /// Stores a manifest under its digest, as a part of others: to be found, it must be listed in one, refer to one
    /// ([`Sink::push_referrer`]), or be given a name ([`ImageSink::name`]).
    async fn push_manifest(&self, repository: &Repository, manifest: &Blob) -> Result<(), SourceError>;

    /// Has a manifest that is stored be found by this tag, or without one as an image of its own.
    async fn name(&self, repository: &Repository, manifest: &Blob, tag: Option<&Tag>) -> Result<(), SourceError>;

    /// Takes a manifest away, and with it every tag that points to it. One that is not there is
    /// [`SourceError::NotFound`].
    async fn delete_manifest(&self, repository: &Repository, manifest: &Descriptor) -> Result<(), SourceError>;

    /// Takes a manifest away that refers to `subject`, out of the list under the fallback tag too where there is one. That
    /// a manifest is gone already is no error, as long as it is not listed afterwards.
    async fn delete_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Descriptor,
    ) -> Result<(), SourceError>;
}
