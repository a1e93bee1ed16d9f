//! Taking content out of a registry so that no list points to nothing.
//!
//! Where the list of referrers is kept by clients, an entry goes before its manifest: a manifest that is in no list harms
//! nobody, and an entry without a manifest keeps every verifier from telling. The list is written back with what others
//! wrote, and looked at afterwards, as when something is added. A registry that will not delete gets the entry back.
//!
//! Follows the distribution specification 1.1, "Deleting Manifests" and "Referrers Tag Schema".

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use super::answer::Answer;
use super::push::entries_of;
use super::transport::{Ask, Call};
use crate::oci::{Descriptor, Digest, media_type, parse_json};
use crate::source::SourceError;
use crate::source::limits::{MAX_ERROR_BODY, MAX_TAG_ROUNDS};

/// A list that somebody was taken out of.
struct Unlisted {
    /// The entry, where it can be read.
    entry: Option<Descriptor>,
    /// The index without it.
    rest: Vec<u8>,
}

impl Call<'_> {
    pub async fn delete(&self, manifest: &Descriptor) -> Result<(), SourceError> {
        let what = manifest.digest.as_str();
        let answer =
            self.ask(&Ask::new(Method::DELETE, self.url(&format!("manifests/{what}")), MAX_ERROR_BODY)).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(Answer::not_found(what, &self.repository.to_string())),
            // "Deletion is disabled" (distribution specification, "Deleting Manifests"), and how older ones say it.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => Err(SourceError::DeleteRefused {
                host: self.host.endpoint.name.clone(),
                what: what.to_owned(),
                words: answer.words(),
            }),
            _ => Err(answer.unexpected(what)),
        }
    }

    pub async fn delete_referrer(&self, subject: &Digest, manifest: &Descriptor) -> Result<(), SourceError> {
        let taken = if self.has_referrers(subject).await? { None } else { self.unlist(subject, manifest).await? };
        match (self.delete(manifest).await, taken) {
            (Err(SourceError::NotFound { .. }), _) => Ok(()),
            (Err(error @ SourceError::DeleteRefused { .. }), Some(entry)) => {
                self.list_by_tag(subject, &[entry]).await?;
                Err(error)
            }
            (answer, _) => answer,
        }
    }

    /// Takes a manifest out of the list under the fallback tag, and looks whether it stays out. Gives its entry.
    async fn unlist(&self, subject: &Digest, manifest: &Descriptor) -> Result<Option<Descriptor>, SourceError> {
        let (tag, mut taken) = (subject.fallback_tag(), None);
        let _turn = self.turn_at(&tag).await;
        for _ in 0..=MAX_TAG_ROUNDS {
            let Some(current) = self.fallback_index(subject).await? else { return Ok(taken) };
            let Some(Unlisted { entry, rest }) = self.without(&current, manifest)? else { return Ok(taken) };
            taken = entry.or(taken);
            self.put_manifest(&tag, media_type::IMAGE_INDEX, rest).await?;
        }
        Err(SourceError::TagContended { tag, place: self.repository.to_string() })
    }

    /// The list without the manifest; none where it is not in it.
    fn without(&self, current: &[u8], manifest: &Descriptor) -> Result<Option<Unlisted>, SourceError> {
        let bad = || self.malformed("the fallback tag is no image index");
        let mut index: Map<String, Value> = parse_json(current).map_err(|_| bad())?;
        let entries = entries_of(&mut index).ok_or_else(bad)?;
        let is_meant = |entry: &Value| entry.get("digest").and_then(Value::as_str) == Some(manifest.digest.as_str());
        let Some(entry) = entries.iter().find(|entry| is_meant(entry)).cloned() else { return Ok(None) };
        entries.retain(|entry| !is_meant(entry));
        let rest = serde_json::to_vec(&index).map_err(|_| bad())?;
        Ok(Some(Unlisted { entry: serde_json::from_value(entry).ok(), rest }))
    }
}
