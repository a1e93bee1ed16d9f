//! `index.json`, written anew: one writer at a time, and whole or not at all.
//!
//! Members and entries that others wrote stay as they are. The lock is on `oci-layout`, the one file that is never
//! replaced; tools that know no locks are not kept out by it, and each of theirs reads one whole file or the other.

use std::io::{self, Read as _};

use serde_json::{Map, Value, json};

use super::reading::INDEX_FILE;
use super::{Layout, LayoutFault, REF_NAME, VERSION_FILE};
use crate::files::{Directory, Existing, is_link, write_whole};
use crate::oci::{Blob, Descriptor, InvalidJson, InvalidManifest, Tag, media_type, parse_json};
use crate::source::SourceError;
use crate::source::limits::{MAX_LAYOUT_INDEX, MAX_LAYOUT_MANIFESTS};

/// An `index.json` without entries.
pub(super) fn empty() -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []})
}

impl Layout {
    /// Has the entries changed by `change`, which says whether it did.
    pub(super) async fn change_index(
        &self,
        change: impl FnOnce(&mut Vec<Value>) -> bool + Send + 'static,
    ) -> Result<(), SourceError> {
        self.check_writable()?;
        let layout = self.clone();
        let changing = tokio::task::spawn_blocking(move || layout.change_index_now(change));
        changing.await.unwrap_or_else(|error| Err(self.unwritable(INDEX_FILE, io::Error::other(error))))
    }

    fn change_index_now(&self, change: impl FnOnce(&mut Vec<Value>) -> bool) -> Result<(), SourceError> {
        let unwritable = |source| self.unwritable(INDEX_FILE, source);
        let directory = Directory::open(&self.path).map_err(unwritable)?;
        let lock = directory.file(VERSION_FILE).map_err(|source| self.unwritable(VERSION_FILE, source))?;
        // Let go of when the file is closed.
        lock.lock().map_err(unwritable)?;
        let (mut bytes, file) = (Vec::new(), directory.file(INDEX_FILE).map_err(unwritable)?);
        file.take(MAX_LAYOUT_INDEX + 1).read_to_end(&mut bytes).map_err(unwritable)?;
        match self.changed_index(&bytes, change)? {
            None => Ok(()),
            Some(bytes) => write_whole(&self.path.join(INDEX_FILE), &bytes, Existing::Replace).map_err(unwritable),
        }
    }

    /// The bytes of `index.json` with its entries changed by `change`; none where it says that it did not.
    pub(super) fn changed_index(
        &self,
        bytes: &[u8],
        change: impl FnOnce(&mut Vec<Value>) -> bool,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        self.within_limit(bytes)?;
        let bad = |source| self.fault(LayoutFault::Index { file: INDEX_FILE.into(), source });
        let mut index: Map<String, Value> = parse_json(bytes).map_err(|error| bad(InvalidManifest::Json(error)))?;
        let entries = index.entry("manifests").or_insert_with(|| Value::Array(Vec::new()));
        if entries.is_null() {
            *entries = Value::Array(Vec::new());
        }
        let no_list = || bad(InvalidManifest::Json(InvalidJson::Malformed("its manifests are no list".to_owned())));
        let entries = entries.as_array_mut().ok_or_else(no_list)?;
        if !change(entries) {
            return Ok(None);
        }
        if entries.len() > MAX_LAYOUT_MANIFESTS {
            return Err(self.fault(LayoutFault::TooManyManifests));
        }
        let bytes = serde_json::to_vec(&index);
        let bytes = bytes.map_err(|error| self.unwritable(INDEX_FILE, io::Error::other(error)))?;
        self.within_limit(&bytes)?;
        Ok(Some(bytes))
    }

    fn within_limit(&self, bytes: &[u8]) -> Result<(), SourceError> {
        let size = bytes.len() as u64;
        if size > MAX_LAYOUT_INDEX { Err(self.too_large(INDEX_FILE, size, MAX_LAYOUT_INDEX)) } else { Ok(()) }
    }

    pub(super) fn unwritable(&self, file: &str, source: io::Error) -> SourceError {
        self.fault(not_written(file, source))
    }
}

/// Why something was not written or deleted.
pub(super) fn not_written(file: &str, source: io::Error) -> LayoutFault {
    let file = file.to_owned();
    if is_link(&source) { LayoutFault::Linked(file) } else { LayoutFault::Unwritable { file, source } }
}

/// The entry of a manifest that refers to another one. Of its annotations none is in it, for one of them would be a tag.
pub(super) fn entry_of(manifest: &Blob, artifact_type: &str) -> Descriptor {
    Descriptor { artifact_type: Some(artifact_type.to_owned()), ..manifest.descriptor().bare() }
}

/// Adds entries for all of these, but for those that there are.
pub(super) fn list_all(entries: &mut Vec<Value>, listed: &[Descriptor]) -> bool {
    listed.iter().fold(false, |did, entry| list(entries, entry) | did)
}

/// Adds an entry for this content, unless there is one.
pub(super) fn list(entries: &mut Vec<Value>, descriptor: &Descriptor) -> bool {
    if entries.iter().any(|entry| is_of(entry, descriptor)) {
        return false;
    }
    entries.extend(serde_json::to_value(descriptor));
    true
}

/// Gives the tag to this content, and takes it from any other, which stays without a name.
pub(super) fn tag(entries: &mut Vec<Value>, descriptor: &Descriptor, tag: &Tag) -> bool {
    let is_tagged = |entry: &Value| ref_name(entry) == Some(tag.as_str());
    if entries.iter().filter(|entry| is_tagged(entry)).count() == 1
        && entries.iter().any(|entry| is_tagged(entry) && is_of(entry, descriptor))
    {
        return false;
    }
    for entry in entries.iter_mut().filter(|entry| is_tagged(entry)) {
        if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(REF_NAME);
        }
    }
    // The same content under no name needs no entry beside the one with a name.
    entries.retain(|entry| ref_name(entry).is_some() || !is_of(entry, descriptor));
    let mut entry = descriptor.clone();
    entry.annotations.insert(REF_NAME.to_owned(), tag.as_str().to_owned());
    entries.extend(serde_json::to_value(entry));
    true
}

/// Whether the entry is of this content.
pub(super) fn is_of(entry: &Value, descriptor: &Descriptor) -> bool {
    entry.get("digest").and_then(Value::as_str) == Some(descriptor.digest.as_str())
}

fn ref_name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(entries: &[Value]) -> Vec<(&str, Option<&str>)> {
        entries.iter().map(|entry| (entry["mediaType"].as_str().unwrap(), ref_name(entry))).collect()
    }

    #[test]
    fn content_is_listed_once_and_a_tag_is_given_once() {
        let (one, two) = (Descriptor::of("one", b"one"), Descriptor::of("two", b"two"));
        let (v1, v2): (Tag, Tag) = ("v1".parse().unwrap(), "v2".parse().unwrap());
        let mut entries = Vec::new();
        assert!(list(&mut entries, &one));
        assert!(!list(&mut entries, &one));
        assert!(tag(&mut entries, &one, &v1));
        assert!(!tag(&mut entries, &one, &v1));
        assert_eq!(tags(&entries), [("one", Some("v1"))]);
        assert!(tag(&mut entries, &one, &v2));
        assert!(tag(&mut entries, &two, &v1));
        assert_eq!(tags(&entries), [("one", None), ("one", Some("v2")), ("two", Some("v1"))]);
        assert!(!list(&mut entries, &two));
    }
}
