//! What the scripted registry holds.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use pratique::oci::Digest;
use serde_json::{Value, json};

use super::Fault;
use super::mood::Mood;

/// What is stored, by repository and then by digest or tag.
#[derive(Default)]
pub(super) struct Store {
    pub manifests: HashMap<(String, String), (String, Bytes)>,
    /// In the order of their arrival: the referrers of a subject.
    pub referrers: HashMap<(String, String), Vec<Value>>,
    pub tags: HashMap<(String, String), String>,
    pub blobs: HashMap<(String, String), Bytes>,
    pub faults: Vec<(String, Fault, usize)>,
    /// Faults that begin after a request: with a part of that one, and a part of those that meet them.
    pub later: Vec<(String, String, Fault)>,
    /// How many writes to a tag are confirmed, but overwritten at once.
    pub lost_tag_writes: usize,
    /// Faults at random, beside those that are scripted.
    pub mood: Option<Mood>,
    /// Those in force.
    pub tokens: HashSet<String>,
    pub tokens_given: usize,
    /// How many requests are still answered before no token is in force any more, if that is to come.
    pub revoked_after: Option<usize>,
    pub uploads: usize,
}

impl Store {
    pub fn put_manifest(&mut self, repository: &str, tag: Option<&str>, media_type: &str, bytes: Bytes) -> Digest {
        let digest = Digest::sha256(&bytes);
        let at = |name: &str| (repository.to_owned(), name.to_owned());
        if let Some(tag) = tag {
            self.tags.insert(at(tag), digest.to_string());
        }
        if let Some(subject) = subject_of(&bytes) {
            let entry = referrer(media_type, &digest, &bytes);
            let listed = self.referrers.entry(at(&subject)).or_default();
            if !listed.contains(&entry) {
                listed.push(entry);
            }
        }
        self.manifests.insert(at(digest.as_str()), (media_type.to_owned(), bytes));
        digest
    }

    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, String, Bytes)> {
        let at = |name: &str| (repository.to_owned(), name.to_owned());
        let digest = self.tags.get(&at(name)).cloned().unwrap_or_else(|| name.to_owned());
        let (media_type, bytes) = self.manifests.get(&at(&digest))?.clone();
        Some((digest, media_type, bytes))
    }

    /// Takes a manifest away, with its tags and from the list of referrers; whether it was there.
    pub fn delete_manifest(&mut self, repository: &str, name: &str) -> bool {
        let at = |name: &str| (repository.to_owned(), name.to_owned());
        if self.manifests.remove(&at(name)).is_none() {
            return false;
        }
        self.tags.retain(|(within, _), digest| within != repository || digest != name);
        for ((within, _), entries) in &mut self.referrers {
            entries.retain(|entry| within != repository || entry.get("digest").and_then(Value::as_str) != Some(name));
        }
        true
    }

    pub fn tags_of(&self, repository: &str) -> Vec<String> {
        let mut tags: Vec<_> =
            self.tags.keys().filter(|(within, _)| within == repository).map(|(_, tag)| tag.clone()).collect();
        tags.sort();
        tags
    }

    pub fn knows(&self, repository: &str) -> bool {
        self.manifests.keys().chain(self.blobs.keys()).any(|(known, _)| known == repository)
    }

    /// Whether a request with this token is answered.
    pub fn accepts(&mut self, token: &str) -> bool {
        if self.revoked_after == Some(0) {
            self.tokens.clear();
        }
        self.revoked_after = self.revoked_after.and_then(|requests| requests.checked_sub(1));
        self.tokens.contains(token)
    }

    /// The fault for a request, one time less.
    pub fn take_fault(&mut self, line: &str) -> Option<Fault> {
        let begin = self.later.extract_if(.., |(after, ..)| line.contains(&*after));
        self.faults.extend(begin.map(|(_, part, fault)| (part, fault, usize::MAX)));
        let (_, fault, times) = self.faults.iter_mut().find(|(part, _, times)| *times > 0 && line.contains(part))?;
        *times = times.saturating_sub(usize::from(*times != usize::MAX));
        Some(fault.clone())
    }
}

pub(super) fn subject_of(bytes: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    Some(manifest.get("subject")?.get("digest")?.as_str()?.to_owned())
}

/// The entry of a list of referrers (distribution specification, "Listing Referrers").
fn referrer(media_type: &str, digest: &Digest, bytes: &[u8]) -> Value {
    let manifest: Value = serde_json::from_slice(bytes).unwrap();
    let artifact_type = manifest.get("artifactType").or_else(|| manifest.get("config")?.get("mediaType"));
    let mut entry = json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()});
    for (name, value) in [("artifactType", artifact_type), ("annotations", manifest.get("annotations"))] {
        if let Some(value) = value {
            entry[name] = value.clone();
        }
    }
    entry
}
