//! An OCI image layout: images and signatures in a directory, as `oras`, `skopeo` and `notation` write them, or in an
//! archive of one, as `docker save` and `ctr images export` do.
//!
//! A layout may come from a stranger. Its files are bounded in size and number ([`limits`](crate::source::limits)), file
//! names are made of parsed digests alone, and content is believed only when it hashes to the digest it lies under. For
//! the same reason links are followed, which build systems make layouts of: a link can only lead to content whose
//! digest the layout knows already.
//!
//! A layout has no name and no referrers API. The repository in a question is not looked at: whoever asks says which
//! statement is to govern. Signatures are the manifests that can be reached from `index.json` and refer to the subject,
//! in the order of the indexes.
//!
//! Follows the OCI image specification 1.1, "OCI Image Layout Specification".

mod deleting;
mod docker;
mod fault;
mod files;
mod holding;
mod images;
mod index;
mod into_archive;
mod listing;
mod new_archive;
mod reading;
mod store;
#[cfg(test)]
mod tests;
mod walk;
mod writing;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

pub use fault::LayoutFault;
pub use new_archive::NewArchive;
pub use store::SignatureStore;

use self::files::Files;
use self::holding::Hold;
use self::listing::Wanted;
use self::walk::Walk;
use super::archive::Archive;
use super::limits::{MAX_LAYOUT_MANIFESTS, MAX_LAYOUT_VERSION};
use super::{Referrers, Source, SourceError};
use crate::oci::{
    Blob, Descriptor, Digest, Index, LayoutName, MAX_MANIFEST_SIZE, Manifest, Reference, Repository, Tag, parse_json,
};
use crate::remedy::excerpt;

/// The one version of the layout that exists.
const VERSION: &str = "1.0.0";
const VERSION_FILE: &str = "oci-layout";
/// The annotation that gives an entry of `index.json` its tag (image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout. In a directory, `index.json` is read anew for each question.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
    files: Files,
    hold: Arc<Hold>,
}

/// The file `oci-layout`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionFile {
    image_layout_version: String,
}

impl Layout {
    /// The layout in this directory, whose version is one that can be read.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let layout = Self::at(path.into(), Files::Directory);
        layout.check_version().await?;
        Ok(layout)
    }

    /// The layout in this archive, as it is now.
    pub async fn open_archive(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let path = path.into();
        let opened = Archive::open(path.clone()).await;
        let opened = opened.map_err(|source| {
            let source = LayoutFault::Archive { source };
            SourceError::Layout { path: path.clone(), source }
        })?;
        let layout = Self::at(path, Files::Archive(opened));
        layout.check_version().await?;
        Ok(layout)
    }

    async fn check_version(&self) -> Result<(), SourceError> {
        let Some(bytes) = self.file(VERSION_FILE, MAX_LAYOUT_VERSION).await? else { return Err(self.no_layout()?) };
        let file: VersionFile =
            parse_json(&bytes).map_err(|source| self.fault(LayoutFault::Version { file: VERSION_FILE, source }))?;
        match file.image_layout_version.as_str() {
            VERSION => Ok(()),
            other => Err(self.fault(LayoutFault::UnknownVersion(excerpt(other)))),
        }
    }

    /// The layout in this directory, which is made where there is none: to be written to. Nobody deletes from it until it is
    /// dropped.
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let layout = Self::at(path.into(), Files::Directory);
        layout.prepare().await?;
        layout.check_version().await?;
        Ok(layout)
    }

    fn at(path: PathBuf, files: Files) -> Self {
        Self { path, files, hold: Arc::default() }
    }

    /// The directory or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest or index of this name, without what the layout says about it. It must be there: what a layout names and
    /// does not hold is not in it.
    pub async fn named(&self, name: &LayoutName) -> Result<Descriptor, SourceError> {
        let entry = match name {
            LayoutName::Tag(tag) => self.by_tag(tag).await?,
            LayoutName::Digest(digest) => self.by_digest(digest).await?,
        };
        let descriptor = entry.bare();
        self.content(&descriptor, MAX_MANIFEST_SIZE).await?;
        Ok(descriptor)
    }

    /// The one image of a layout that holds no other. What refers to an image, such as its signatures, is none.
    pub async fn only(&self) -> Result<Descriptor, SourceError> {
        let mut only: Option<Descriptor> = None;
        for entry in entries(self.index().await?).filter(|entry| !is_fallback(entry)).take(MAX_LAYOUT_MANIFESTS) {
            let manifest = self.content(&entry.bare(), MAX_MANIFEST_SIZE).await?;
            if has_subject(&manifest) {
                continue;
            }
            match &only {
                Some(image) if image.digest != entry.digest => return Err(self.fault(LayoutFault::SeveralImages)),
                _ => only = Some(entry.bare()),
            }
        }
        only.ok_or_else(|| self.lacks("an image"))
    }

    /// The entry with this tag. Two entries may share it when they are the same.
    async fn by_tag(&self, tag: &Tag) -> Result<Descriptor, SourceError> {
        let is_named = |entry: &Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag.as_str());
        self.one(tag.as_str(), is_named).await
    }

    /// The entry of `index.json` that the name means.
    async fn one(&self, name: &str, is_named: impl Fn(&Descriptor) -> bool) -> Result<Descriptor, SourceError> {
        let mut named = entries(self.index().await?).filter(|entry| is_named(entry));
        let entry = named.next().ok_or_else(|| self.lacks(name))?;
        if named.all(|other| other.same_content(&entry)) {
            return Ok(entry);
        }
        Err(self.fault(LayoutFault::AmbiguousTag(name.to_owned())))
    }

    /// The first entry with this digest, in any index. An index that cannot be read might have had it.
    async fn by_digest(&self, digest: &Digest) -> Result<Descriptor, SourceError> {
        let mut walk = Walk::new(self, self.index().await?);
        let mut unread = None;
        while let Some(found) = walk.next().await? {
            if found.descriptor.digest == *digest {
                return Ok(found.descriptor);
            }
            unread = unread.or(found.unread);
        }
        Err(unread.unwrap_or_else(|| self.lacks(digest.as_str())))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_archive() { "archive" } else { "OCI layout" };
        write!(f, "the {kind} {}", self.path.display())
    }
}

/// Whether this is the list of an image's referrers under its fallback tag.
fn is_fallback(entry: &Descriptor) -> bool {
    let tag = entry.annotations.get(REF_NAME).and_then(|name| name.strip_prefix("sha256-"));
    tag.is_some_and(|hex| format!("sha256:{hex}").parse::<Digest>().is_ok())
}

/// Whether a manifest refers to another one. An unreadable one counts as an image, so that nothing is overlooked.
fn has_subject(manifest: &Blob) -> bool {
    Manifest::parse(manifest.bytes()).is_ok_and(|manifest| manifest.subject.is_some())
}

fn entries(index: Index) -> impl Iterator<Item = Descriptor> {
    index.manifests.into_iter().map(|(entry, _)| entry)
}

#[async_trait]
impl Source for Layout {
    /// By digest, or else by tag.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => self.named(&LayoutName::Digest(digest.clone())).await,
            (None, Some(tag)) => self.named(&LayoutName::Tag(tag.clone())).await,
            (None, None) => Err(self.lacks("a manifest without a name")),
        }
    }

    async fn signatures(
        &self,
        _repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        self.hanging(&subject.digest, Wanted::Signatures, limit).await
    }

    async fn manifest(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.content(descriptor, MAX_MANIFEST_SIZE).await
    }

    async fn blob(&self, _repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.content(descriptor, limit).await
    }
}
