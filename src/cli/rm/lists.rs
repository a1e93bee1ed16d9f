//! The lists of what hangs on an image, under fallback tags.
//!
//! Anybody who may push decides where such a tag points. So a list goes only where it is one, lists nothing but what went, and
//! nothing else needs it.

use std::collections::HashSet;

use super::uses::Uses;
use crate::oci::{Descriptor, Digest, Links, Repository, Tag, media_type};
use crate::source::discover::{Relation, Tree};
use crate::source::{ImageSink, SourceError};

/// What the fallback tag of a manifest points to.
pub(super) struct List {
    pub(super) subject: Digest,
    pub(super) tag: Tag,
    pub(super) descriptor: Descriptor,
    /// What it lists; none where it is no list, or cannot be read.
    entries: Option<Vec<Digest>>,
}

impl List {
    /// Whether it goes with what it lists.
    pub(super) fn goes(&self, going: &HashSet<&Digest>, uses: &Uses) -> bool {
        let lists_no_other = |entries: &Vec<Digest>| entries.iter().all(|entry| going.contains(entry));
        uses.users(&self.descriptor.digest).is_empty() && self.entries.as_ref().is_some_and(lists_no_other)
    }
}

/// The lists of everything in the tree that something refers to.
pub(super) async fn lists(
    place: &dyn ImageSink,
    repository: &Repository,
    tree: &Tree,
) -> Result<Vec<List>, SourceError> {
    let mut lists = Vec::new();
    for (number, found) in tree.manifests.iter().enumerate() {
        let subject = &found.descriptor.digest;
        let has_referrers = tree.below(number).any(|(_, below)| below.relation == Relation::Referrer);
        let Some(tag) = subject.fallback_tag().parse::<Tag>().ok().filter(|_| has_referrers) else { continue };
        let descriptor = match place.resolve(&repository.tagged(tag.clone())).await {
            Err(SourceError::NotFound { .. }) => continue,
            // What it is cannot be told: it stays.
            Err(error) if error.is_about_content() => continue,
            descriptor => descriptor?,
        };
        let entries = entries(place, repository, &descriptor).await?;
        lists.push(List { subject: subject.clone(), tag, descriptor, entries });
    }
    Ok(lists)
}

async fn entries(
    place: &dyn ImageSink,
    repository: &Repository,
    list: &Descriptor,
) -> Result<Option<Vec<Digest>>, SourceError> {
    if !media_type::is_index(&list.media_type) {
        return Ok(None);
    }
    let bytes = match place.manifest(repository, list).await {
        Err(SourceError::NotFound { .. }) => return Ok(None),
        Err(error) if error.is_about_content() => return Ok(None),
        bytes => bytes?,
    };
    let links = Links::parse(&list.media_type, bytes.bytes()).ok();
    Ok(links.map(|links| links.manifests.into_iter().map(|(entry, _)| entry.digest).collect()))
}
