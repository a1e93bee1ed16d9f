//! What the tests of this folder share: images made of a word, and a containerd that holds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::oci::{Blob, Descriptor, Digest, media_type};
use crate::source::SourceError;
use crate::source::containerd::{Change, Holdings, Stored};

/// The descriptor of a layer with this text.
pub fn layer(text: &str) -> Descriptor {
    Descriptor::of("application/vnd.oci.image.layer.v1.tar", text.as_bytes())
}

/// A manifest of these layers, which differs from others by its name.
pub fn manifest(name: &str, layers: &[&str]) -> Blob {
    let config = entry(&Descriptor::of("application/vnd.oci.image.config.v1+json", name.as_bytes()));
    let layers: Vec<String> = layers.iter().map(|text| entry(&layer(text))).collect();
    document(media_type::IMAGE_MANIFEST, &format!(r#""config":{config},"layers":[{}]"#, layers.join(",")))
}

/// A config and a manifest of these layers, each of which unpacks to itself.
pub fn image_of(name: &str, layers: &[&str]) -> (Blob, Blob) {
    let diff_ids: Vec<String> = layers.iter().map(|text| format!("\"{}\"", layer(text).digest)).collect();
    let config = format!(r#"{{"author":"{name}","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, diff_ids.join(","));
    let config = Blob::of("application/vnd.oci.image.config.v1+json", config.into_bytes());
    let layers: Vec<String> = layers.iter().map(|text| entry(&layer(text))).collect();
    let body = format!(r#""config":{},"layers":[{}]"#, entry(config.descriptor()), layers.join(","));
    let manifest = document(media_type::IMAGE_MANIFEST, &body);
    (config, manifest)
}

/// An index of these manifests.
pub fn index(manifests: &[&Blob]) -> Blob {
    let entries: Vec<String> = manifests.iter().map(|blob| entry(blob.descriptor())).collect();
    document(media_type::IMAGE_INDEX, &format!(r#""manifests":[{}]"#, entries.join(",")))
}

/// A signature manifest for this subject.
pub fn signature(subject: &Blob, envelope: &Descriptor) -> Blob {
    let (config, subject) = (entry(&Descriptor::of(media_type::NOTARY_SIGNATURE, b"{}")), entry(subject.descriptor()));
    let envelope = entry(envelope);
    let body = format!(r#""config":{config},"layers":[{envelope}],"subject":{subject}"#);
    document(media_type::IMAGE_MANIFEST, &body)
}

fn entry(descriptor: &Descriptor) -> String {
    serde_json::to_string(descriptor).unwrap()
}

fn document(media_type: &str, body: &str) -> Blob {
    Blob::of(media_type, format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{body}}}"#).into_bytes())
}

/// A blob, and what clients wrote about it.
struct Held {
    bytes: Vec<u8>,
    labels: HashMap<String, String>,
}

/// What a containerd holds that was made up.
#[derive(Default)]
pub struct Store {
    held: Mutex<BTreeMap<(String, Digest), Held>>,
    names: Mutex<Vec<(String, String, Digest)>>,
    /// How often all blobs were listed.
    pub lists: AtomicUsize,
    /// How many bytes were read.
    pub read: AtomicUsize,
    /// Whether nobody answers.
    pub is_down: AtomicBool,
    changes: Mutex<Vec<Change>>,
}

impl Store {
    /// Puts a blob there.
    pub fn hold(&self, namespace: &str, blob: &Blob) {
        self.hold_labelled(namespace, blob, &[]);
    }

    /// Puts other bytes in the place of a blob's.
    pub fn spoil(&self, namespace: &str, blob: &Blob) {
        let key = (namespace.to_owned(), blob.descriptor().digest.clone());
        self.held.lock().unwrap().get_mut(&key).unwrap().bytes.reverse();
    }

    /// Puts a blob there with labels.
    pub fn hold_labelled(&self, namespace: &str, blob: &Blob, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let key = (namespace.to_owned(), blob.descriptor().digest.clone());
        self.held.lock().unwrap().insert(key, Held { bytes: blob.bytes().to_vec(), labels });
    }

    /// Gives a blob a name.
    pub fn name(&self, namespace: &str, name: &str, target: &Blob) {
        let target = target.descriptor().digest.clone();
        self.names.lock().unwrap().push((namespace.to_owned(), name.to_owned(), target));
    }

    /// Has this happen after the next subscription.
    pub fn happens(&self, change: Change) {
        self.changes.lock().unwrap().push(change);
    }

    fn answers(&self) -> Result<(), SourceError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(SourceError::ContainerdUnreachable { socket: "/c.sock".into(), fault: "refused".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Holdings for Store {
    async fn namespaces(&self) -> Result<Vec<String>, SourceError> {
        self.answers()?;
        let mut namespaces: Vec<String> = self.held.lock().unwrap().keys().map(|(name, _)| name.clone()).collect();
        namespaces.dedup();
        Ok(namespaces)
    }

    async fn blobs(&self, namespace: &str) -> Result<Vec<Stored>, SourceError> {
        self.answers()?;
        self.lists.fetch_add(1, Ordering::Relaxed);
        let held = self.held.lock().unwrap();
        let within = held.iter().filter(|((name, _), _)| name == namespace);
        let stored = within.map(|((_, digest), held)| Stored {
            digest: digest.clone(),
            size: held.bytes.len() as u64,
            labels: held.labels.clone(),
        });
        Ok(stored.collect())
    }

    async fn blob(&self, namespace: &str, digest: &Digest) -> Result<Option<Stored>, SourceError> {
        Ok(self.blobs(namespace).await?.into_iter().find(|stored| stored.digest == *digest))
    }

    async fn read(&self, namespace: &str, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        self.answers()?;
        let held = self.held.lock().unwrap();
        let missing = || SourceError::NotFound { what: digest.to_string(), place: "the test".into() };
        let held = held.get(&(namespace.to_owned(), digest.clone())).ok_or_else(missing)?;
        let bytes: Vec<u8> = held.bytes.iter().copied().take(usize::try_from(limit).unwrap()).collect();
        self.read.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes)
    }

    async fn names(&self, namespace: &str, targets: &[Digest]) -> Result<Vec<String>, SourceError> {
        self.answers()?;
        let names = self.names.lock().unwrap();
        let meant = names.iter().filter(|(within, _, target)| within == namespace && targets.contains(target));
        Ok(meant.map(|(_, name, _)| name.clone()).collect())
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, SourceError> {
        self.answers()?;
        Ok(stream::iter(std::mem::take(&mut *self.changes.lock().unwrap())).chain(stream::pending()).boxed())
    }
}
