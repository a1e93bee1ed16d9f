//! Signatures into a layout that is packed into an archive: all of them at once, for the whole file is written anew.

use super::files::Files;
use super::reading::{INDEX_FILE, blob_file};
use super::{Layout, LayoutFault, index};
use crate::oci::Blob;
use crate::source::archive::{ArchiveFault, Rewriting, check_rewritable};
use crate::source::limits::MAX_LAYOUT_INDEX;
use crate::source::{Attachment, SourceError};

impl Layout {
    /// Whether it lies in an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self.files, Files::Archive(_))
    }

    /// An error where no signature could be put into it, as far as that is known before there is one.
    pub async fn check_takes_signatures(&self) -> Result<(), SourceError> {
        match &self.files {
            Files::Directory => Ok(()),
            Files::Archive(archive) if archive.is_packed() => Err(self.unread(ArchiveFault::Packed)),
            Files::Archive(_) => check_rewritable(&self.path).await.map_err(|fault| self.unread(fault)),
        }
    }

    /// Has the archive hold these, too. What was opened before goes on showing the archive that it was.
    pub(super) async fn put_into_archive(&self, attachments: &[Attachment<'_>]) -> Result<(), SourceError> {
        let rewriting = Rewriting::begin(&self.path).await.map_err(|fault| self.unread(fault))?;
        let now = Self { files: Files::Archive(rewriting.archive().clone()), ..self.clone() };
        let (mut members, mut listed) = (Vec::new(), Vec::new());
        for Attachment { subject, content, manifest, artifact_type } in attachments {
            if !now.holds(subject).await? {
                // It was there when it was signed.
                return Err(self.unread(ArchiveFault::Changed));
            }
            for blob in content.iter().chain([manifest]) {
                let name = blob_file(&blob.descriptor().digest);
                let is_added = members.iter().any(|(added, _)| *added == name);
                if !is_added && !now.has_whole(blob).await? {
                    members.push((name, blob.bytes().to_vec()));
                }
            }
            listed.push(index::entry_of(manifest, artifact_type));
        }
        let bytes = now.file(INDEX_FILE, MAX_LAYOUT_INDEX).await?;
        let bytes = bytes.ok_or_else(|| self.fault(LayoutFault::Missing(INDEX_FILE)))?;
        let changed = now.changed_index(&bytes, |entries| index::list_all(entries, &listed))?;
        if changed.is_none() && members.is_empty() {
            return Ok(());
        }
        rewriting.finish(changed.unwrap_or(bytes), members).await.map_err(|fault| self.unread(fault))
    }

    /// Whether this content is there. Something else in its place cannot be replaced.
    async fn has_whole(&self, blob: &Blob) -> Result<bool, SourceError> {
        match self.content(blob.descriptor(), blob.descriptor().size).await {
            Err(SourceError::NotFound { .. }) => Ok(false),
            content => content.map(|_| true),
        }
    }
}
