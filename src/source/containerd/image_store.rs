//! The images of one containerd namespace: found by name or digest, read, and given signatures.
//!
//! containerd has no list of what refers to a manifest, so every small document of the namespace is read for it, and what is
//! not what its digest says speaks for nothing. A signature that is written here is held by a label on the manifest that it
//! signs, under the name that containerd itself has for this since 2.2, and the older versions follow it too: garbage
//! collection keeps the signature as long as the image, and takes it with the image.

use std::collections::HashMap;

use async_trait::async_trait;
use containerd_client::services::v1::{Info, UpdateRequest, WriteAction, WriteContentRequest};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use prost_types::FieldMask;
use tokio::sync::{Mutex, OnceCell};
use tonic::{Code, Status};

use super::content::REFERRER_LABEL;
use super::images::Hanging;
use super::lease::held_by;
use super::{Containerd, Containers, Holdings, ImageRecord, Stored, document, within};
use crate::oci::{
    Blob, Descriptor, Digest, MAX_MANIFEST_SIZE, Manifest, Reference, Repository, SignatureManifest, media_type_of,
};
use crate::remedy::printable;
use crate::source::limits::CONTAINERD_READS_AT_ONCE;
use crate::source::{Referrers, Sink, Source, SourceError};

/// What the labels begin with by which containerd's garbage collection goes from one blob to another (containerd,
/// `docs/garbage-collection.md`).
const REFERS: &str = "containerd.io/gc.ref.content";
/// How many digits of a digest stand in a label's name: as many as containerd writes there.
const LABEL_DIGITS: usize = 12;

/// The images of one containerd namespace.
pub struct ImageStore {
    pub(super) containerd: Containerd,
    pub(super) namespace: String,
    /// What refers to what, once that was asked.
    pub(super) hanging: OnceCell<Hanging>,
    until: Timestamp,
    /// The lease that holds what was written and nothing refers to yet.
    lease: Mutex<Option<String>>,
}

impl ImageStore {
    /// The images of this namespace. What is written is given up by containerd at this instant if nothing refers to it then.
    pub fn new(containerd: Containerd, namespace: String, until: Timestamp) -> Self {
        Self { containerd, namespace, hanging: OnceCell::new(), until, lease: Mutex::default() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The image of this name: an image record whose name this is to the letter, or else one whose name this stands for under
    /// docker's rules, or what has this digest. The target is described by its own bytes, for records are written by clients.
    pub async fn find(&self, name: &str) -> Result<Option<ImageRecord>, SourceError> {
        if let Some(record) = self.record(name).await? {
            return Ok(Some(record));
        }
        if let Ok(digest) = name.parse::<Digest>() {
            return self.held(name, &digest).await;
        }
        let Ok(reference) = name.parse::<Reference>() else { return Ok(None) };
        match reference.digest() {
            Some(digest) => self.held(&reference.to_string(), digest).await,
            None => self.record(&reference.to_string()).await,
        }
    }

    async fn record(&self, name: &str) -> Result<Option<ImageRecord>, SourceError> {
        let Some(record) = self.containerd.image(&self.namespace, name).await? else { return Ok(None) };
        let held = self.held(name, &record.target.digest).await?;
        // A record may outlive its content, and then there is nothing to sign or verify.
        held.map(Some).ok_or_else(|| self.lacks(&format!("the content {} of the image {name}", record.target.digest)))
    }

    /// What has this digest, if it is a manifest or an index.
    async fn held(&self, name: &str, digest: &Digest) -> Result<Option<ImageRecord>, SourceError> {
        let Some(Stored { size, .. }) = Holdings::blob(&self.containerd, &self.namespace, digest).await? else {
            return Ok(None);
        };
        let document = document(&self.containerd, &self.namespace, digest, size).await?;
        let described = document.map(|document| self.described(&document)).transpose()?.flatten();
        Ok(described.map(|target| ImageRecord { name: name.to_owned(), target }))
    }

    fn described(&self, document: &Blob) -> Result<Option<Descriptor>, SourceError> {
        let Descriptor { digest, size, .. } = document.descriptor();
        let media_type = media_type_of(document.bytes()).map_err(|source| SourceError::Manifest {
            what: digest.to_string(),
            place: self.place(),
            source,
        })?;
        Ok(media_type.map(|media_type| Descriptor::new(media_type, digest.clone(), *size)))
    }

    /// What `wanted` finds in the small documents of the namespace.
    pub(super) async fn documents<T>(&self, wanted: impl Fn(&Blob) -> Option<T> + Send) -> Result<Vec<T>, SourceError> {
        let blobs = self.containerd.blobs(&self.namespace).await?;
        let documents = blobs.into_iter().filter(|blob| blob.size <= MAX_MANIFEST_SIZE).map(|blob| async move {
            match document(&self.containerd, &self.namespace, &blob.digest, blob.size).await {
                // Gone since, or spoilt.
                Err(SourceError::NotFound { .. } | SourceError::WrongContent { .. }) => Ok(None),
                answer => answer,
            }
        });
        let mut documents = std::pin::pin!(stream::iter(documents).buffered(CONTAINERD_READS_AT_ONCE));
        let mut found = Vec::new();
        while let Some(document) = documents.try_next().await? {
            found.extend(document.and_then(|document| wanted(&document)));
        }
        Ok(found)
    }

    /// Content of at most `limit` bytes, whole and checked.
    async fn content(&self, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let (what, place) = (descriptor.digest.to_string(), self.place());
        if descriptor.size > limit {
            return Err(SourceError::TooLarge { what, place, size: descriptor.size, limit });
        }
        let bytes = self.containerd.read(&self.namespace, &descriptor.digest, limit).await?;
        Blob::check(descriptor.clone(), bytes).map_err(|source| SourceError::WrongContent { place, source })
    }

    /// Writes a blob, unless it is there already; either way the lease holds it.
    async fn write(&self, blob: &Blob) -> Result<(), SourceError> {
        let lease = self.lease().await?;
        let Descriptor { digest, size, .. } = blob.descriptor();
        let whole = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: format!("{lease}-{}", digest.hex()),
            total: i64::try_from(*size).unwrap_or(i64::MAX),
            expected: digest.to_string(),
            data: blob.bytes().to_vec(),
            ..WriteContentRequest::default()
        };
        let request = held_by(within(&self.namespace, stream::iter([whole]))?, &lease)?;
        let written = async {
            let mut answers = self.containerd.content().write(request).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<(), Status>(())
        };
        match written.await {
            Err(status) if status.code() != Code::AlreadyExists => {
                Err(self.containerd.failed(&format!("writing {digest}"), &status))
            }
            _ => Ok(()),
        }
    }

    /// Labels a blob with what it refers to, and leaves its other labels as they are.
    async fn refer(&self, from: &Digest, to: Vec<(String, Digest)>) -> Result<(), SourceError> {
        let paths = to.iter().map(|(label, _)| format!("labels.{label}")).collect();
        let labels: HashMap<_, _> = to.into_iter().map(|(label, digest)| (label, digest.to_string())).collect();
        let info = Info { digest: from.to_string(), labels, ..Info::default() };
        let request = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        let updated = self.containerd.content().update(within(&self.namespace, request)?).await;
        updated.map(|_| ()).map_err(|status| self.containerd.failed(&format!("the labels of {from}"), &status))
    }

    async fn lease(&self) -> Result<String, SourceError> {
        let mut lease = self.lease.lock().await;
        if let Some(id) = &*lease {
            return Ok(id.clone());
        }
        let id = format!("pratique-sign-{}-{}", std::process::id(), self.until.as_nanosecond());
        self.containerd.begin_lease(&self.namespace, &id, self.until).await?;
        Ok(lease.insert(id).clone())
    }

    async fn end_lease(&self) -> Result<(), SourceError> {
        match self.lease.lock().await.take() {
            Some(id) => self.containerd.end_lease(&self.namespace, &id, false).await,
            None => Ok(()),
        }
    }

    pub(super) fn place(&self) -> String {
        format!("containerd's namespace `{}`", printable(&self.namespace))
    }

    fn lacks(&self, what: &str) -> SourceError {
        SourceError::NotFound { what: printable(what), place: self.place() }
    }
}

/// The descriptor of a document that is a signature over this subject.
fn signs(document: &Blob, subject: &Digest) -> Option<Descriptor> {
    let media_type = media_type_of(document.bytes()).ok()??;
    let named = SignatureManifest::subject_of(&media_type, document.bytes()).ok()??;
    let Descriptor { digest, size, .. } = document.descriptor();
    (named.digest == *subject).then(|| Descriptor::new(media_type, digest.clone(), *size))
}

/// What a signature manifest points to, as containerd's clients label it.
fn parts(manifest: &Manifest) -> Vec<(String, Digest)> {
    let layers = manifest.layers.iter().enumerate();
    let layers = layers.map(|(number, layer)| (format!("{REFERS}.l.{number}"), layer.digest.clone()));
    let config = (format!("{REFERS}.config"), manifest.config.digest.clone());
    std::iter::once(config).chain(layers).collect()
}

/// The label by which a subject holds what refers to it: one for each, so that no signer overwrites another one's.
fn referrer_label(referrer: &Digest) -> String {
    let digits: String = referrer.hex().chars().take(LABEL_DIGITS).collect();
    format!("{REFERRER_LABEL}.{}.{digits}", referrer.algorithm().as_str())
}

#[async_trait]
impl Source for ImageStore {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        let name = reference.to_string();
        self.find(&name).await?.map(|record| record.target).ok_or_else(|| self.lacks(&name))
    }

    async fn signatures(&self, _: &Repository, subject: &Descriptor, limit: usize) -> Result<Referrers, SourceError> {
        let mut descriptors = self.documents(|document| signs(document, &subject.digest)).await?;
        if let Some(held) = Holdings::blob(&self.containerd, &self.namespace, &subject.digest).await? {
            descriptors.sort_by_key(|descriptor| !held.holds(&descriptor.digest));
        }
        let truncated = descriptors.len() > limit;
        descriptors.truncate(limit);
        Ok(Referrers { descriptors, truncated })
    }

    async fn manifest(&self, _: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.content(descriptor, MAX_MANIFEST_SIZE).await
    }

    async fn blob(&self, _: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.content(descriptor, limit).await
    }
}

#[async_trait]
impl Sink for ImageStore {
    async fn push_blob(&self, _: &Repository, blob: &Blob) -> Result<(), SourceError> {
        self.write(blob).await
    }

    /// The subject must be there: what nothing refers to goes with the next garbage collection.
    async fn push_referrer(
        &self,
        _: &Repository,
        subject: &Descriptor,
        manifest: &Blob,
        _artifact_type: &str,
    ) -> Result<(), SourceError> {
        let own = &manifest.descriptor().digest;
        let parsed = Manifest::parse(manifest.bytes()).map_err(|source| SourceError::Manifest {
            what: own.to_string(),
            place: self.place(),
            source,
        })?;
        self.write(manifest).await?;
        self.refer(own, parts(&parsed)).await?;
        self.refer(&subject.digest, vec![(referrer_label(own), own.clone())]).await?;
        self.end_lease().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    #[test]
    fn labels_are_those_of_containerd_and_one_for_each_referrer() {
        let digest = Digest::sha256(b"signature");
        assert_eq!(
            referrer_label(&digest),
            format!("containerd.io/gc.ref.content.referrer.sha256.{}", &digest.hex()[..12])
        );
        assert_ne!(referrer_label(&digest), referrer_label(&Digest::sha256(b"another")));
    }

    #[test]
    fn a_signature_speaks_for_its_own_subject() {
        let subject = Descriptor::of(media_type::IMAGE_MANIFEST, b"image");
        let manifest = |artifact_type: &str| {
            let text = serde_json::json!({
                "schemaVersion": 2, "mediaType": media_type::IMAGE_MANIFEST, "artifactType": artifact_type,
                "config": Descriptor::of(media_type::EMPTY, b"{}"), "layers": [], "subject": subject,
            });
            Blob::of("", text.to_string().into_bytes())
        };
        let signature = manifest(media_type::NOTARY_SIGNATURE);
        assert_eq!(signs(&signature, &subject.digest).unwrap().media_type, media_type::IMAGE_MANIFEST);
        assert_eq!(signs(&signature, &Digest::sha256(b"other")), None);
        assert_eq!(signs(&manifest("application/spdx+json"), &subject.digest), None);
    }
}
