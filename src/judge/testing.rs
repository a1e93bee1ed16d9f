//! What tests of the gates share: a judge that opens one repository, images made of a word, and a containerd that holds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{Bounds, CacheOptions, Judge};
use crate::oci::{Blob, Descriptor, Digest, Reference, Repository, media_type};
use crate::policy::{Policy, Trust};
use crate::source::containerd::{Change, Holdings, Stored};
use crate::source::{Referrers, Source, SourceError};

/// An image that is admitted without a signature under [`OPENS`], and one for which that policy says nothing.
pub const OPEN: &str = "registry.example/open:v1";
pub const SHUT: &str = "registry.example/shut:v1";
/// A policy that opens one repository.
pub const OPENS: &str = r#"{"version": "1.0", "trustPolicies": [
    {"name": "open", "registryScopes": ["registry.example/open"], "signatureVerification": {"level": "skip"}}]}"#;

/// A judge under this policy, whose store `ca:acme` is there and holds nobody.
pub fn judge(policy: &str, source: Arc<dyn Source>) -> Judge {
    let stores = BTreeMap::from([("ca:acme".parse().unwrap(), Ok(Vec::new()))]);
    let trust = Trust::new(Policy::parse(policy.as_bytes()).unwrap(), stores, "test".into());
    let minute = Duration::from_secs(60);
    let bounds = Bounds { total_timeout: minute, max_signatures: 10, envelope_size: 1024 * 1024 };
    let cache = CacheOptions { max_age: minute, denied_for: minute, capacity: 100 };
    Judge::new(Arc::new(trust), source, bounds, cache)
}

/// A registry without signatures, and without anything else.
pub struct NoSignatures;

#[async_trait]
impl Source for NoSignatures {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        Err(not_found(reference.to_string()))
    }

    async fn signatures(&self, _: &Repository, _: &Descriptor, _: usize) -> Result<Referrers, SourceError> {
        Ok(Referrers::default())
    }

    async fn manifest(&self, _: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        Err(not_found(descriptor.digest.to_string()))
    }

    async fn blob(&self, _: &Repository, descriptor: &Descriptor, _: u64) -> Result<Blob, SourceError> {
        Err(not_found(descriptor.digest.to_string()))
    }
}

fn not_found(what: String) -> SourceError {
    SourceError::NotFound { what, place: "the test".into() }
}

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
        let held = held.get(&(namespace.to_owned(), digest.clone())).ok_or_else(|| not_found(digest.to_string()))?;
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
