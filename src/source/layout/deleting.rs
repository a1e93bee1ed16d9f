//! Taking manifests out of a layout, and with them the content that nothing else in it needs.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::reading::blob_file;
use super::{Layout, LayoutFault, REF_NAME, entries, index};
use crate::oci::{Blob, Descriptor, Digest, InvalidManifest, Links, MAX_MANIFEST_SIZE, media_type, parse_json};
use crate::source::SourceError;
use crate::source::limits::MAX_LAYOUT_CONTENT;

impl Layout {
    /// Takes a manifest away: out of `index.json` first, then its bytes and those of the content that it alone pointed to.
    pub(super) async fn delete(&self, manifest: &Descriptor) -> Result<(), SourceError> {
        let within = self.within(vec![manifest.bare()]).await?;
        let gone = manifest.clone();
        self.change_index(move |entries| {
            let before = entries.len();
            entries.retain(|entry| !index::is_of(entry, &gone));
            entries.len() != before
        })
        .await?;
        let needed = self.within(entries(self.index().await?).collect()).await?;
        for digest in within.difference(&needed) {
            self.remove(digest).await?;
        }
        Ok(())
    }

    /// Takes a manifest out of the list under the fallback tag, where tools keep one in a layout.
    pub(super) async fn unlist(&self, subject: &Digest, manifest: &Descriptor) -> Result<(), SourceError> {
        let tag = subject.fallback_tag();
        let index = self.index().await?;
        let is_named = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(&tag);
        let lists: Vec<Descriptor> = index.manifests.iter().map(|(entry, _)| entry).filter(is_named).cloned().collect();
        for list in lists.iter().filter(|list| media_type::is_index(&list.media_type)) {
            let old = self.content(&list.bare(), MAX_MANIFEST_SIZE).await?;
            let Some(new) = self.without(list, old.bytes(), manifest)? else { continue };
            let new = Blob::of(&list.media_type, new);
            self.store(&new).await?;
            let (old, annotations) = (list.clone(), list.annotations.clone());
            let new = Descriptor { annotations, ..new.descriptor().clone() };
            self.change_index(move |entries| {
                entries.retain(|entry| !index::is_of(entry, &old));
                entries.extend(serde_json::to_value(&new));
                true
            })
            .await?;
        }
        Ok(())
    }

    /// The list without the manifest; none where it is not in it.
    fn without(&self, list: &Descriptor, bytes: &[u8], manifest: &Descriptor) -> Result<Option<Vec<u8>>, SourceError> {
        let bad = |source| self.fault(LayoutFault::Index { file: list.digest.to_string(), source });
        let mut index: Map<String, Value> = parse_json(bytes).map_err(|error| bad(InvalidManifest::Json(error)))?;
        let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else { return Ok(None) };
        let before = entries.len();
        entries.retain(|entry| !index::is_of(entry, manifest));
        Ok((entries.len() != before).then(|| serde_json::to_vec(&index).unwrap_or_default()))
    }

    /// These manifests and everything within them. Content that is not there has nothing within it.
    async fn within(&self, manifests: Vec<Descriptor>) -> Result<HashSet<Digest>, SourceError> {
        let (mut pending, mut within) = (manifests, HashSet::new());
        while let Some(descriptor) = pending.pop() {
            if !within.insert(descriptor.digest.clone()) || !media_type::is_manifest(&descriptor.media_type) {
                continue;
            }
            if within.len() > MAX_LAYOUT_CONTENT {
                return Err(self.fault(LayoutFault::TooManyManifests));
            }
            let content = match self.content(&descriptor.bare(), MAX_MANIFEST_SIZE).await {
                Err(SourceError::NotFound { .. }) => continue,
                content => content?,
            };
            let bad = |source| self.fault(LayoutFault::Index { file: descriptor.digest.to_string(), source });
            let links = Links::parse(&descriptor.media_type, content.bytes()).map_err(bad)?;
            pending.extend(links.manifests.into_iter().map(|(manifest, _)| manifest));
            within.extend(links.blobs.into_iter().map(|blob| blob.digest));
        }
        Ok(within)
    }

    async fn remove(&self, digest: &Digest) -> Result<(), SourceError> {
        self.check_writable()?;
        let name = blob_file(digest);
        match tokio::fs::remove_file(self.path.join(&name)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.unwritable(&name, error)),
            _ => Ok(()),
        }
    }
}
