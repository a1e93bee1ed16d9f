//! Putting signatures into a registry so that they are found again.
//!
//! A registry that knows the referrers API lists a manifest by its `subject` alone, and says so with `OCI-Subject`. For
//! any other the signer keeps the list: an index under the fallback tag, read, extended and written back. Nothing locks
//! that tag, so a signer looks afterwards whether its entry is still there, and writes again where another signer
//! overwrote it.
//!
//! Follows the distribution specification 1.1, "Pushing blobs", "Pushing Manifests with Subject" and "Referrers Tag
//! Schema".

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use reqwest::header::{HeaderName, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Registry;
use super::answer::Answer;
use super::auth::Access;
use super::transport::{Ask, Call};
use crate::oci::{Blob, Descriptor, Digest, Links, MAX_MANIFEST_SIZE, Repository, media_type, parse_json};
use crate::source::limits::{MAX_ERROR_BODY, MAX_TAG_ROUNDS};
use crate::source::{Sink, SourceError, TargetFault};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Whose turn it is to read a fallback tag and to write it anew, so that signers in this process do not overwrite each
/// other. Those of other tags do not wait.
#[derive(Default)]
pub(super) struct Turns(std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Turns {
    /// Waits for the others at this tag. The turn is over when the guard is dropped.
    async fn take(&self, tag: String) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(tag).or_default())
        };
        turn.lock_owned().await
    }
}

#[async_trait]
impl Sink for Registry {
    async fn push_blob(&self, repository: &Repository, blob: &Blob) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Push)?;
        call.in_time(call.upload(blob)).await
    }

    async fn push_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Blob,
        artifact_type: &str,
    ) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Push)?;
        call.in_time(call.refer(subject, manifest, artifact_type)).await
    }

    async fn push_referrers(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        referrers: &[(&Blob, &str)],
    ) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Push)?;
        if call.in_time(call.lists_by_itself(&subject.digest)).await? {
            for (manifest, artifact_type) in referrers {
                self.push_referrer(repository, subject, manifest, artifact_type).await?;
            }
            return Ok(());
        }
        let entry = |(manifest, artifact_type): &(&Blob, &str)| call.entry(manifest, artifact_type);
        let entries = referrers.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        call.in_time(call.list_by_tag(&subject.digest, &entries)).await
    }
}

impl Call<'_> {
    async fn upload(&self, blob: &Blob) -> Result<(), SourceError> {
        if self.has("blobs", blob.descriptor()).await? {
            return Ok(());
        }
        let mut tried = 1;
        // An upload that broke off is not gone on with: each try begins another, and the bytes are the same.
        while let Err(error) = self.send(blob).await {
            self.wait_to_ask_again(error, tried).await?;
            tried += 1;
        }
        Ok(())
    }

    async fn send(&self, blob: &Blob) -> Result<(), SourceError> {
        let digest = &blob.descriptor().digest;
        let started = self.start_upload().await?;
        let put = Ask::new(Method::PUT, self.upload_url(&started, digest)?, MAX_ERROR_BODY);
        let stored = self.ask(&put.with_body(media_type::OCTET_STREAM, blob.bytes().to_vec())).await?;
        if stored.status == StatusCode::CREATED { Ok(()) } else { Err(self.refused(&stored, digest.as_str())) }
    }

    /// Begins an upload.
    pub async fn start_upload(&self) -> Result<Answer, SourceError> {
        // An empty body gives the request its `Content-Length: 0`, without which some registries refuse it.
        let start = Ask::new(Method::POST, self.url("blobs/uploads/"), MAX_ERROR_BODY);
        let started = self.ask(&start.with_body(media_type::OCTET_STREAM, Vec::new())).await?;
        if started.status == StatusCode::ACCEPTED { Ok(started) } else { Err(self.refused(&started, "an upload")) }
    }

    /// Where the registry says that an upload is.
    pub fn upload_location(&self, started: &Answer) -> Result<Url, SourceError> {
        let location = started.header(&LOCATION).and_then(|location| started.url.join(location).ok());
        location.ok_or_else(|| self.malformed("an upload without a `Location`"))
    }

    /// Where the registry wants the bytes. On the registry itself: the grant and the bytes go there.
    pub fn upload_url(&self, started: &Answer, digest: &Digest) -> Result<Url, SourceError> {
        let mut url = self.upload_location(started)?;
        if !self.host.endpoint.owns(&url) {
            return Err(self.host.endpoint.refuse(&url, TargetFault::OtherHost));
        }
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        Ok(url)
    }

    async fn refer(&self, subject: &Descriptor, manifest: &Blob, artifact_type: &str) -> Result<(), SourceError> {
        let entry = self.entry(manifest, artifact_type)?;
        let digest = manifest.descriptor().digest.as_str();
        let stored = self.put_manifest(digest, &manifest.descriptor().media_type, manifest.bytes().to_vec()).await?;
        let is_listed = stored.header(&OCI_SUBJECT) == Some(subject.digest.as_str());
        if is_listed && !self.registry.options.lists_by_tag || self.lists_by_itself(&subject.digest).await? {
            return Ok(());
        }
        self.list_by_tag(&subject.digest, &[entry]).await
    }

    /// Whether the registry lists what refers to the subject, and nobody has to do so for it.
    async fn lists_by_itself(&self, subject: &Digest) -> Result<bool, SourceError> {
        Ok(!self.registry.options.lists_by_tag && self.has_referrers(subject).await?)
    }

    /// The descriptor that stands for the manifest in a list of referrers, which repeats the manifest's annotations.
    fn entry(&self, manifest: &Blob, artifact_type: &str) -> Result<Descriptor, SourceError> {
        let descriptor = manifest.descriptor().clone();
        let place = self.repository.to_string();
        let parsed = Links::parse(&descriptor.media_type, manifest.bytes())
            .map_err(|source| SourceError::Manifest { what: descriptor.digest.to_string(), place, source })?;
        let artifact_type = Some(artifact_type.to_owned());
        Ok(Descriptor { artifact_type, annotations: parsed.annotations, ..descriptor })
    }

    pub async fn put_manifest(&self, name: &str, media_type: &str, bytes: Vec<u8>) -> Result<Answer, SourceError> {
        let put = Ask::new(Method::PUT, self.url(&format!("manifests/{name}")), MAX_ERROR_BODY);
        // The same bytes under the same name: made twice, it has happened once.
        let put = Ask { repeatable: true, ..put.with_body(media_type, bytes) };
        let stored = self.ask(&put).await?;
        if stored.status == StatusCode::CREATED { Ok(stored) } else { Err(self.refused(&stored, name)) }
    }

    pub fn refused(&self, answer: &Answer, what: &str) -> SourceError {
        if answer.status == StatusCode::NOT_FOUND {
            return Answer::not_found(&format!("the repository {}", self.repository.path()), &self.host.endpoint.name);
        }
        answer.unexpected(what)
    }

    /// Waits for the others in this process that write this tag anew.
    pub async fn turn_at(&self, tag: &str) -> OwnedMutexGuard<()> {
        self.registry.turns.take(format!("{}:{tag}", self.repository)).await
    }

    /// Puts the entries into the list under the fallback tag, and looks whether they stay there.
    pub async fn list_by_tag(&self, subject: &Digest, entries: &[Descriptor]) -> Result<(), SourceError> {
        let tag = subject.fallback_tag();
        let _turn = self.turn_at(&tag).await;
        for _ in 0..MAX_TAG_ROUNDS {
            let current = self.fallback_index(subject).await?;
            let Some(extended) = self.extended(current.as_deref(), entries)? else { return Ok(()) };
            let size = extended.len() as u64;
            if size > MAX_MANIFEST_SIZE {
                let (what, place) = (tag, self.repository.to_string());
                return Err(SourceError::TooLarge { what, place, size, limit: MAX_MANIFEST_SIZE });
            }
            self.put_manifest(&tag, media_type::IMAGE_INDEX, extended).await?;
        }
        match self.extended(self.fallback_index(subject).await?.as_deref(), entries)? {
            None => Ok(()),
            Some(_) => Err(SourceError::TagContended { tag, place: self.repository.to_string() }),
        }
    }

    /// The index with the entries in it; none where they are there already. What others wrote stays as it is.
    fn extended(&self, current: Option<&[u8]>, entries: &[Descriptor]) -> Result<Option<Vec<u8>>, SourceError> {
        let bad = || self.malformed("the fallback tag is no image index");
        let mut index: Map<String, Value> = match current {
            Some(bytes) => parse_json(bytes).map_err(|_| bad())?,
            None => Map::from_iter([
                ("schemaVersion".to_owned(), Value::from(2)),
                ("mediaType".to_owned(), Value::from(media_type::IMAGE_INDEX)),
            ]),
        };
        let listed = entries_of(&mut index).ok_or_else(bad)?;
        let before = listed.len();
        for entry in entries {
            let is_same = |listed: &Value| {
                let text = |name: &str| listed.get(name).and_then(Value::as_str);
                text("digest") == Some(entry.digest.as_str()) && text("artifactType") == entry.artifact_type.as_deref()
            };
            if !listed.iter().any(is_same) {
                listed.push(serde_json::to_value(entry).map_err(|_| bad())?);
            }
        }
        if listed.len() == before {
            return Ok(None);
        }
        serde_json::to_vec(&index).map(Some).map_err(|_| bad())
    }
}

/// The entries of an index, which Go writes as `null` where there are none; none where they are no list.
pub(super) fn entries_of(index: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    let entries = index.entry("manifests").or_insert_with(|| Value::Array(Vec::new()));
    if entries.is_null() {
        *entries = Value::Array(Vec::new());
    }
    entries.as_array_mut()
}
