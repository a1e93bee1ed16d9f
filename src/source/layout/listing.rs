//! What hangs on a manifest of a layout: its signatures, or everything.
//!
//! A layout has no list of it, so whatever can be reached from `index.json` is looked at. It hangs on the subject if it says so
//! itself, or if it says nothing and stands in the index under the subject's fallback tag.

use std::collections::HashSet;

use super::walk::{Found, Walk};
use super::{Layout, REF_NAME, entries};
use crate::oci::{Blob, Descriptor, Digest, Index, Links, MAX_MANIFEST_SIZE, SignatureManifest, media_type};
use crate::source::{Referrers, SourceError};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// Signatures. What is there and cannot be read may be one: it stays in the list, so that it leaves the question open
    /// instead of looking like an image without signatures.
    Signatures,
    /// Everything that refers to the subject, described by its own words. What cannot be read is an error.
    Everything,
}

/// The subject in question.
struct Subject<'a> {
    digest: &'a Digest,
    /// What stands in the index under its fallback tag.
    attached: HashSet<Digest>,
}

impl Layout {
    /// What hangs on the subject, in the order of the indexes, at most `limit` of it.
    pub(super) async fn hanging(
        &self,
        subject: &Digest,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        let index = self.index().await?;
        let subject = Subject { digest: subject, attached: self.attached(&index, subject).await };
        let mut walk = Walk::new(self, index);
        let mut referrers = Referrers::default();
        while let Some(found) = walk.next().await? {
            let entry = match wanted {
                Wanted::Signatures => self.signature(found, &subject).await,
                Wanted::Everything => self.referrer(found, &subject).await?,
            };
            let Some(entry) = entry else { continue };
            if referrers.descriptors.len() == limit {
                referrers.truncated = true;
                break;
            }
            referrers.descriptors.push(entry);
        }
        Ok(referrers)
    }

    async fn signature(&self, found: Found, subject: &Subject<'_>) -> Option<Descriptor> {
        let Found { descriptor, unread } = found;
        let may_be = [media_type::IMAGE_MANIFEST, media_type::ARTIFACT_MANIFEST].contains(&&*descriptor.media_type);
        if unread.is_some() || !may_be {
            return unread.map(|_| descriptor);
        }
        let hangs = match self.there(&descriptor).await {
            Ok(None) => false,
            Ok(Some(manifest)) => SignatureManifest::subject_of(&descriptor.media_type, manifest.bytes())
                .is_ok_and(|named| subject.is_of(&descriptor, named.as_ref())),
            Err(_) => true,
        };
        hangs.then_some(descriptor)
    }

    async fn referrer(&self, found: Found, subject: &Subject<'_>) -> Result<Option<Descriptor>, SourceError> {
        let Found { descriptor, unread } = found;
        if let Some(error) = unread {
            return Err(error);
        }
        if !media_type::is_manifest(&descriptor.media_type) {
            return Ok(None);
        }
        let Some(manifest) = self.there(&descriptor.bare()).await? else { return Ok(None) };
        // What is no manifest refers to nothing.
        let Ok(links) = Links::parse(&descriptor.media_type, manifest.bytes()) else { return Ok(None) };
        let hangs = subject.is_of(&descriptor, links.subject.as_ref());
        let Links { artifact_type, annotations, .. } = links;
        Ok(hangs.then(|| Descriptor { artifact_type, annotations, ..descriptor.bare() }))
    }

    /// A manifest, where it is there.
    async fn there(&self, descriptor: &Descriptor) -> Result<Option<Blob>, SourceError> {
        match self.content(descriptor, MAX_MANIFEST_SIZE).await {
            Err(SourceError::NotFound { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// What the index under the subject's fallback tag lists: it hangs on the subject, even where it does not say so
    /// itself. An index that cannot be read comes up again when the layout is walked.
    async fn attached(&self, index: &Index, subject: &Digest) -> HashSet<Digest> {
        let tag = subject.fallback_tag();
        let is_named = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(&tag);
        let named = index.manifests.iter().map(|(entry, _)| entry).filter(is_named);
        let mut attached = HashSet::new();
        for entry in named.filter(|entry| media_type::is_index(&entry.media_type)) {
            if let Ok(list) = self.nested(entry).await {
                attached.extend(entries(list).map(|entry| entry.digest));
            }
        }
        attached
    }
}

impl Subject<'_> {
    /// Whether a manifest that names this subject, or none, hangs on it.
    fn is_of(&self, manifest: &Descriptor, named: Option<&Descriptor>) -> bool {
        named.map_or_else(|| self.attached.contains(&manifest.digest), |named| named.digest == *self.digest)
    }
}
