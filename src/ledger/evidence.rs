//! The signatures by which images were admitted, so that they can be admitted again without the registry.
//!
//! A source like any other: what it gives is examined anew against the policy in force. So a policy that changes is
//! applied to what is known, a node can start without its network, and nothing that somebody writes here admits
//! anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::oci::{Blob, BlobMismatch, Descriptor, Digest, MAX_MANIFEST_SIZE, Reference, Repository};
use crate::remedy::one_line;
use crate::source::{Keep, Referrers, Source, SourceError};

/// From a subject's digest to its [`Subject`] in JSON.
const SUBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("subjects");
/// The subjects in the order in which they came.
const ORDER: TableDefinition<'_, u64, &str> = TableDefinition::new("order");
/// Signature manifests and envelopes, by digest.
const BLOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blobs");

/// Of how many images signatures are kept; the oldest go first. A node with a thousand images sees some ten thousand in
/// its life, with 5 KiB each.
const MAX_SUBJECTS: u64 = 20_000;
/// How many signatures of one image are kept: one admits, and another policy may want another one.
const MAX_SIGNATURES: usize = 4;

/// What is kept about an image.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Subject {
    /// The signature manifests, the latest first, each with the digest of its envelope.
    signatures: Vec<(Descriptor, Digest)>,
}

/// The signatures in a ledger.
#[derive(Clone, Debug)]
pub struct Evidence {
    ledger: Arc<Ledger>,
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(SUBJECTS)?;
    transaction.open_table(ORDER)?;
    transaction.open_table(BLOBS)?;
    Ok(())
}

impl Evidence {
    /// The signatures in this ledger.
    pub fn of(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }

    fn subject(&self, digest: &Digest) -> Result<Subject, LedgerError> {
        self.ledger.read("read", |transaction| {
            let table = transaction.open_table(SUBJECTS)?;
            let value = table.get(digest.as_str())?;
            Ok(value.and_then(|value| serde_json::from_slice(value.value()).ok()).unwrap_or_default())
        })
    }

    fn content(&self, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let what = descriptor.digest.to_string();
        if descriptor.size > limit {
            let place = PLACE.to_owned();
            return Err(SourceError::TooLarge { what, place, size: descriptor.size, limit });
        }
        let bytes = self.ledger.read("read", |transaction| {
            let table = transaction.open_table(BLOBS)?;
            let value = table.get(descriptor.digest.as_str())?;
            Ok(value.map(|value| value.value().to_vec()))
        });
        let bytes = bytes.map_err(|error| unreadable(&error))?;
        let bytes = bytes.ok_or_else(|| SourceError::NotFound { what, place: PLACE.to_owned() })?;
        Blob::check(descriptor.clone(), bytes).map_err(wrong)
    }
}

const PLACE: &str = "the ledger";

fn unreadable(error: &LedgerError) -> SourceError {
    SourceError::Store { place: PLACE.to_owned(), fault: one_line(error) }
}

fn wrong(source: BlobMismatch) -> SourceError {
    SourceError::WrongContent { place: PLACE.to_owned(), source }
}

impl Keep for Evidence {
    fn keep(&self, subject: &Descriptor, signature: &Blob, envelope: &Blob) -> Result<(), SourceError> {
        let (key, new) = (subject.digest.as_str(), signature.descriptor());
        let is_kept = |known: &Subject| known.signatures.iter().any(|(known, _)| known.digest == new.digest);
        // Seldom anything new, and then nothing is to be written.
        if is_kept(&self.subject(&subject.digest).map_err(|error| unreadable(&error))?) {
            return Ok(());
        }
        let written = self.ledger.write("write to", |transaction| {
            // Strangers choose these bytes, and must not be able to choose a checksum with them.
            transaction.set_two_phase_commit(true);
            make_room(transaction, MAX_SUBJECTS)?;
            let (mut subjects, mut order) = (transaction.open_table(SUBJECTS)?, transaction.open_table(ORDER)?);
            let mut blobs = transaction.open_table(BLOBS)?;
            let known = subjects.get(key)?.and_then(|json| serde_json::from_slice(json.value()).ok());
            let mut kept: Subject = known.unwrap_or_default();
            if is_kept(&kept) {
                return Ok(());
            }
            if kept.signatures.is_empty() {
                let next = order.last()?.map_or(0, |(number, _)| number.value() + 1);
                order.insert(next, key)?;
            }
            kept.signatures.insert(0, (new.bare(), envelope.descriptor().digest.clone()));
            let dropped: Vec<_> = kept.signatures.drain(MAX_SIGNATURES.min(kept.signatures.len())..).collect();
            for blob in [signature, envelope] {
                blobs.insert(blob.descriptor().digest.as_str(), blob.bytes())?;
            }
            subjects.insert(key, serde_json::to_vec(&kept).unwrap_or_default().as_slice())?;
            remove_unreferenced(dropped, &subjects, &mut blobs)
        });
        written.map_err(|error| unreadable(&error))
    }
}

/// Removes the oldest image's signatures where there are as many images as are kept.
fn make_room(transaction: &WriteTransaction, most: u64) -> Result<(), redb::Error> {
    let mut order = transaction.open_table(ORDER)?;
    if order.len()? < most {
        return Ok(());
    }
    let Some(oldest) = order.pop_first()?.map(|(_, key)| key.value().to_owned()) else { return Ok(()) };
    let mut subjects = transaction.open_table(SUBJECTS)?;
    let removed = subjects.remove(oldest.as_str())?.map(|value| value.value().to_vec());
    let subject: Subject = removed.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    remove_unreferenced(subject.signatures, &subjects, &mut transaction.open_table(BLOBS)?)
}

/// Removes what belonged to these signatures, except what another one needs that is kept: two manifests may have one
/// envelope. All images are looked at, which happens only when something is dropped.
fn remove_unreferenced(
    dropped: Vec<(Descriptor, Digest)>,
    subjects: &Table<'_, &str, &[u8]>,
    blobs: &mut Table<'_, &str, &[u8]>,
) -> Result<(), redb::Error> {
    let mut unreferenced: BTreeSet<Digest> = digests(dropped).collect();
    for entry in subjects.iter()? {
        if unreferenced.is_empty() {
            return Ok(());
        }
        let (_, json) = entry?;
        let subject: Subject = serde_json::from_slice(json.value()).unwrap_or_default();
        digests(subject.signatures).for_each(|digest| {
            unreferenced.remove(&digest);
        });
    }
    for digest in unreferenced {
        blobs.remove(digest.as_str())?;
    }
    Ok(())
}

/// Of the manifests, and of their envelopes.
fn digests(signatures: Vec<(Descriptor, Digest)>) -> impl Iterator<Item = Digest> {
    signatures.into_iter().flat_map(|(signature, envelope)| [signature.digest, envelope])
}

#[async_trait]
impl Source for Evidence {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        Err(SourceError::NotFound { what: reference.to_string(), place: PLACE.to_owned() })
    }

    async fn signatures(&self, _: &Repository, subject: &Descriptor, limit: usize) -> Result<Referrers, SourceError> {
        let known = self.subject(&subject.digest).map_err(|error| unreadable(&error))?;
        let truncated = known.signatures.len() > limit;
        let descriptors = known.signatures.into_iter().map(|(signature, _)| signature).take(limit).collect();
        Ok(Referrers { descriptors, truncated })
    }

    async fn manifest(&self, _: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.content(descriptor, MAX_MANIFEST_SIZE)
    }

    async fn blob(&self, _: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.content(descriptor, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    fn repository() -> Repository {
        "registry.example/app".parse().unwrap()
    }

    fn image(text: &str) -> Descriptor {
        Descriptor::of(media_type::IMAGE_MANIFEST, text.as_bytes())
    }

    fn blob(text: String) -> Blob {
        Blob::of(media_type::IMAGE_MANIFEST, text.into_bytes())
    }

    fn keep(evidence: &Evidence, image: &Descriptor, name: &str) {
        evidence.keep(image, &blob(format!("signature {name}")), &blob(format!("envelope {name}"))).unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_is_found_as_it_was_also_after_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let evidence = Evidence::of(Arc::new(Ledger::open(&path).unwrap()));
        keep(&evidence, &image("a"), "1");
        keep(&evidence, &image("a"), "1");
        drop(evidence);
        let evidence = Evidence::of(Arc::new(Ledger::open(&path).unwrap()));
        let found = evidence.signatures(&repository(), &image("a"), 10).await.unwrap();
        assert_eq!((found.descriptors.len(), found.truncated), (1, false));
        let signature = evidence.manifest(&repository(), &found.descriptors[0]).await.unwrap();
        assert_eq!(signature.bytes(), b"signature 1");
        let envelope = blob("envelope 1".into());
        assert_eq!(evidence.blob(&repository(), envelope.descriptor(), 100).await.unwrap(), envelope);
        let too_large = evidence.blob(&repository(), envelope.descriptor(), 1).await;
        assert!(matches!(too_large, Err(SourceError::TooLarge { .. })));
        let other = evidence.signatures(&repository(), &image("b"), 10).await.unwrap();
        assert!(other.descriptors.is_empty());
        let absent = evidence.manifest(&repository(), &image("b")).await;
        assert!(matches!(absent, Err(SourceError::NotFound { .. })));
    }

    #[tokio::test]
    async fn of_one_image_the_latest_signatures_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence::of(Arc::new(Ledger::open(&dir.path().join("ledger.redb")).unwrap()));
        for number in 0..=MAX_SIGNATURES {
            keep(&evidence, &image("a"), &number.to_string());
        }
        let found = evidence.signatures(&repository(), &image("a"), 10).await.unwrap();
        assert_eq!(found.descriptors.len(), MAX_SIGNATURES);
        assert_eq!(found.descriptors[0], blob(format!("signature {MAX_SIGNATURES}")).descriptor().bare());
        let oldest = evidence.manifest(&repository(), blob("signature 0".into()).descriptor()).await;
        assert!(matches!(oldest, Err(SourceError::NotFound { .. })));
    }

    fn new() -> (tempfile::TempDir, Evidence) {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence::of(Arc::new(Ledger::open(&dir.path().join("ledger.redb")).unwrap()));
        (dir, evidence)
    }

    #[tokio::test]
    async fn an_envelope_stays_as_long_as_a_kept_signature_has_it() {
        let (_dir, evidence) = new();
        let (shared, own) = (blob("shared".into()), blob("envelope 0".into()));
        keep(&evidence, &image("a"), "0");
        for number in 1..=2 * MAX_SIGNATURES {
            evidence.keep(&image("a"), &blob(format!("signature {number}")), &shared).unwrap();
        }
        assert_eq!(evidence.blob(&repository(), shared.descriptor(), 100).await.unwrap(), shared);
        let gone = evidence.blob(&repository(), own.descriptor(), 100).await;
        assert!(matches!(gone, Err(SourceError::NotFound { .. })));
    }

    #[tokio::test]
    async fn the_oldest_image_goes_and_leaves_what_another_one_needs() {
        let (_dir, evidence) = new();
        let (shared, own) = (blob("shared".into()), blob("envelope 1".into()));
        keep(&evidence, &image("a"), "1");
        evidence.keep(&image("a"), &blob("signature 2".into()), &shared).unwrap();
        evidence.keep(&image("b"), &blob("signature 3".into()), &shared).unwrap();
        let make_room = |most| evidence.ledger.write("write to", |transaction| make_room(transaction, most)).unwrap();
        make_room(3);
        assert_eq!(evidence.signatures(&repository(), &image("a"), 10).await.unwrap().descriptors.len(), 2);
        make_room(2);
        assert!(evidence.signatures(&repository(), &image("a"), 10).await.unwrap().descriptors.is_empty());
        assert_eq!(evidence.signatures(&repository(), &image("b"), 10).await.unwrap().descriptors.len(), 1);
        assert_eq!(evidence.blob(&repository(), shared.descriptor(), 100).await.unwrap(), shared);
        let gone = evidence.blob(&repository(), own.descriptor(), 100).await;
        assert!(matches!(gone, Err(SourceError::NotFound { .. })));
    }
}
