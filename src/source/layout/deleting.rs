//! Taking manifests out of a layout, and with them the content that nothing else in it needs.

use std::collections::HashSet;
use std::io;

use serde_json::{Map, Value};

use super::reading::blob_file;
use super::{Layout, LayoutFault, REF_NAME, entries, index};
use crate::files::Directory;
use crate::oci::{Blob, Descriptor, Digest, InvalidManifest, Links, MAX_MANIFEST_SIZE, media_type, parse_json};
use crate::source::SourceError;
use crate::source::limits::MAX_LAYOUT_CONTENT;

impl Layout {
    /// Takes a manifest away: out of `index.json` first, then its bytes and those of the content that it alone pointed to.
    pub(super) async fn delete(&self, manifest: &Descriptor) -> Result<(), SourceError> {
        let within = self.within(vec![manifest.bare()]).await?;
        for digest in &within {
            self.may_remove(digest).await?;
        }
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
        // Apart from what is within: an image may call another one's manifest a layer, and that one is entered all the
        // same; and what is listed as two things is entered as both.
        let mut entered = HashSet::new();
        while let Some(descriptor) = pending.pop() {
            let Descriptor { media_type, digest, .. } = &descriptor;
            within.insert(digest.clone());
            if !media_type::is_manifest(media_type) || !entered.insert((digest.clone(), media_type.clone())) {
                continue;
            }
            if within.len().max(entered.len()) > MAX_LAYOUT_CONTENT {
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

    /// An error where this content lies behind a link: it would be taken from another place.
    async fn may_remove(&self, digest: &Digest) -> Result<(), SourceError> {
        self.in_folder(digest, |_, _| Ok(())).await
    }

    async fn remove(&self, digest: &Digest) -> Result<(), SourceError> {
        self.in_folder(digest, Directory::remove).await
    }

    /// Works in the directory of this content. Where nothing is, nothing is to be done.
    async fn in_folder(
        &self,
        digest: &Digest,
        work: impl FnOnce(&Directory, &str) -> io::Result<()> + Send + 'static,
    ) -> Result<(), SourceError> {
        self.check_writable()?;
        let content = digest.clone();
        let working = self.beside(move |layout| work(&layout.folder_of(&content)?, content.hex()));
        match working.await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.unwritable(&blob_file(digest), error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Repository, Tag};
    use crate::remedy::{Code, Remedy as _};
    use crate::source::{ImageSink as _, Sink as _};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn repository() -> Repository {
        "registry.example/app".parse().unwrap()
    }

    fn entry(blob: &Blob) -> Value {
        serde_json::to_value(blob.descriptor()).unwrap()
    }

    fn content(text: &str) -> Blob {
        Blob::of("layer", text.as_bytes().to_vec())
    }

    fn manifest(config: &Blob, layers: &[&Blob]) -> Blob {
        let layers: Vec<Value> = layers.iter().map(|layer| entry(layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_MANIFEST, "config": entry(config), "layers": layers});
        Blob::of(media_type::IMAGE_MANIFEST, manifest.to_string().into_bytes())
    }

    /// A layout with these images, each with a tag.
    async fn layout(path: &Path, contents: &[&Blob], images: &[(&Blob, &str)]) -> Layout {
        let layout = Layout::create(path).await.unwrap();
        for content in contents {
            layout.push_blob(&repository(), content).await.unwrap();
        }
        for (image, tag) in images {
            let tag: Tag = tag.parse().unwrap();
            layout.push_manifest(&repository(), image).await.unwrap();
            layout.name(&repository(), image, Some(&tag)).await.unwrap();
        }
        layout
    }

    #[tokio::test]
    async fn nothing_is_deleted_behind_a_link() {
        for link in ["blobs", "blobs/sha256"] {
            let place = tempfile::tempdir().unwrap();
            let (config, foreign) = (content("config"), place.path().join("foreign"));
            let image = manifest(&config, &[]);
            let layout = layout(&place.path().join("layout"), &[&config], &[(&image, "v1")]).await;
            let linked = layout.path().join(link);
            fs::rename(&linked, &foreign).unwrap();
            symlink(&foreign, &linked).unwrap();
            let index = fs::read(layout.path().join("index.json")).unwrap();
            let count = || walk(&foreign);
            let refused = layout.delete_manifest(&repository(), image.descriptor()).await.unwrap_err();
            assert_eq!((refused.code(), count()), (Code("layout-linked"), 2), "{link}");
            assert_eq!(fs::read(layout.path().join("index.json")).unwrap(), index, "{link}");
            fs::remove_file(&linked).unwrap();
            fs::rename(&foreign, &linked).unwrap();
            layout.delete_manifest(&repository(), image.descriptor()).await.unwrap();
            assert_eq!(walk(&linked), 0, "{link}");
        }
    }

    /// How many files lie in a directory and the directories in it.
    fn walk(directory: &Path) -> usize {
        let count = |entry: fs::DirEntry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 };
        fs::read_dir(directory).unwrap().map(|entry| count(entry.unwrap())).sum()
    }

    #[tokio::test]
    async fn content_is_kept_that_an_image_needs_which_another_one_calls_a_layer() {
        let place = tempfile::tempdir().unwrap();
        let (config, layer) = (content("config"), content("layer"));
        let (image, gone) = (manifest(&config, &[&layer]), manifest(&config, &[&layer, &content("other")]));
        let naming = manifest(&config, &[&image]);
        let images = [(&image, "image"), (&naming, "naming"), (&gone, "gone")];
        let layout = layout(place.path(), &[&config, &layer, &content("other")], &images).await;
        layout.delete_manifest(&repository(), gone.descriptor()).await.unwrap();
        for needed in [&config, &layer, &image, &naming] {
            assert!(layout.holds(needed.descriptor()).await.unwrap(), "{:?}", needed.descriptor());
        }
        for gone in [&gone, &content("other")] {
            assert!(!layout.holds(gone.descriptor()).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_manifest_that_is_listed_as_something_else_too_is_read_as_both() {
        let place = tempfile::tempdir().unwrap();
        let (config, layer) = (content("config"), content("layer"));
        let (image, gone) = (manifest(&config, &[&layer]), manifest(&config, &[&layer, &content("other")]));
        let layout =
            layout(place.path(), &[&config, &layer, &content("other")], &[(&image, "image"), (&gone, "gone")]).await;
        let disguised = Descriptor { media_type: media_type::IMAGE_INDEX.to_owned(), ..image.descriptor().clone() };
        layout
            .change_index(move |entries| {
                entries.push(serde_json::to_value(&disguised).unwrap());
                true
            })
            .await
            .unwrap();
        // Whether or not it is refused: what the image needs stays.
        let _ = layout.delete_manifest(&repository(), gone.descriptor()).await;
        assert!(layout.holds(layer.descriptor()).await.unwrap());
    }
}
