//! Everything that an image is made of and that hangs on it, read before anything is written.

use std::collections::{HashMap, HashSet, VecDeque};

use super::patience::patiently;
use super::{CopyOptions, End};
use crate::oci::{Blob, Descriptor, Digest, Links, Tag};
use crate::source::discover::{attached, cosign_tags};
use crate::source::limits::{MAX_COPY_DEPTH, MAX_COPY_MANIFESTS, MAX_COPY_MANIFESTS_SIZE, MAX_COPY_REFERRERS};
use crate::source::{Images, SourceError};

/// What is to be written, in an order in which nothing points to what is not there.
pub(super) struct Plan {
    pub(super) root: Blob,
    /// Manifests in steps: those of one step point only to those of the steps before.
    pub(super) steps: Vec<Vec<Blob>>,
    /// What refers to others, after what it refers to.
    pub(super) referrers: Vec<Referrer>,
    /// Manifests with names of their own.
    pub(super) tagged: Vec<(Tag, Blob)>,
    /// Content that is no manifest, each once.
    pub(super) blobs: Vec<Descriptor>,
}

pub(super) struct Referrer {
    pub(super) subject: Descriptor,
    pub(super) manifest: Blob,
    pub(super) artifact_type: String,
}

/// A manifest that has been read.
struct Read {
    blob: Blob,
    links: Links,
}

/// A manifest that is to be read.
struct Due {
    descriptor: Descriptor,
    /// How many manifests are above it.
    depth: usize,
    /// Whether what hangs on it goes too.
    with_referrers: bool,
}

pub(super) struct Planner<'a> {
    from: &'a End<'a, dyn Images>,
    options: &'a CopyOptions,
    read: HashMap<Digest, Read>,
    order: Vec<Digest>,
    due: VecDeque<Due>,
    referrers: Vec<(Descriptor, Digest)>,
    tagged: Vec<(Tag, Digest)>,
    size: u64,
}

impl<'a> Planner<'a> {
    pub(super) fn new(from: &'a End<'a, dyn Images>, options: &'a CopyOptions) -> Self {
        Self {
            from,
            options,
            read: HashMap::new(),
            order: Vec::new(),
            due: VecDeque::new(),
            referrers: Vec::new(),
            tagged: Vec::new(),
            size: 0,
        }
    }

    pub(super) async fn plan(mut self, root: &Descriptor) -> Result<Plan, SourceError> {
        self.due.push_back(Due { descriptor: root.bare(), depth: 0, with_referrers: !self.options.alone });
        while let Some(due) = self.due.pop_front() {
            if !self.read.contains_key(&due.descriptor.digest) {
                self.read(due).await?;
            }
        }
        self.arranged(root)
    }

    async fn read(&mut self, due: Due) -> Result<(), SourceError> {
        let Due { descriptor, depth, with_referrers } = due;
        let what = descriptor.digest.to_string();
        let place = self.from.repository.to_string();
        if depth > MAX_COPY_DEPTH || self.read.len() == MAX_COPY_MANIFESTS {
            let (size, limit) = (self.read.len() as u64 + 1, MAX_COPY_MANIFESTS as u64);
            return Err(SourceError::TooManyParts { what, place, depth, size, limit });
        }
        self.size = self.size.saturating_add(descriptor.size);
        if self.size > MAX_COPY_MANIFESTS_SIZE {
            let (size, limit) = (self.size, MAX_COPY_MANIFESTS_SIZE);
            return Err(SourceError::TooLarge { what: format!("everything down to {what}"), place, size, limit });
        }
        let End { place: source, repository } = self.from;
        let blob = patiently(self.options.first_pause, || source.manifest(repository, &descriptor)).await?;
        let links = Links::parse(&descriptor.media_type, blob.bytes()).map_err(|source| SourceError::Manifest {
            what,
            place,
            source,
        })?;
        for (manifest, _) in &links.manifests {
            self.due.push_back(Due { descriptor: manifest.bare(), depth: depth + 1, with_referrers });
        }
        self.order.push(descriptor.digest.clone());
        self.read.insert(descriptor.digest.clone(), Read { blob, links });
        if with_referrers { self.attached(&descriptor, depth).await } else { Ok(()) }
    }

    /// What hangs on a manifest: by its subject, and by cosign's tags.
    async fn attached(&mut self, subject: &Descriptor, depth: usize) -> Result<(), SourceError> {
        let End { place, repository } = self.from;
        let found = patiently(self.options.first_pause, || attached(*place, repository, subject)).await?;
        if found.truncated {
            let (what, place) = (format!("what refers to {}", subject.digest), repository.to_string());
            let (size, limit) = (MAX_COPY_REFERRERS as u64 + 1, MAX_COPY_REFERRERS as u64);
            return Err(SourceError::TooManyParts { what, place, depth, size, limit });
        }
        let with_referrers = self.options.recursive;
        for referrer in found.descriptors {
            self.referrers.push((subject.clone(), referrer.digest.clone()));
            self.due.push_back(Due { descriptor: referrer.bare(), depth: depth + 1, with_referrers });
        }
        for (tag, reference) in cosign_tags(repository, &subject.digest) {
            let found = match patiently(self.options.first_pause, || place.resolve(&reference)).await {
                Err(SourceError::NotFound { .. }) => continue,
                found => found?,
            };
            self.tagged.push((tag, found.digest.clone()));
            self.due.push_back(Due { descriptor: found, depth: depth + 1, with_referrers });
        }
        Ok(())
    }

    fn arranged(self, root: &Descriptor) -> Result<Plan, SourceError> {
        let lost = || SourceError::NotFound { what: root.digest.to_string(), place: self.from.repository.to_string() };
        let blob = |digest: &Digest| self.read.get(digest).map(|read| read.blob.clone());
        let referrers = self.referrers.iter().filter_map(|(subject, digest)| {
            let Read { blob, links } = self.read.get(digest)?;
            let artifact_type = links.artifact_type.clone().unwrap_or_default();
            Some(Referrer { subject: subject.clone(), manifest: blob.clone(), artifact_type })
        });
        Ok(Plan {
            root: blob(&root.digest).ok_or_else(lost)?,
            steps: self.steps(),
            referrers: referrers.collect(),
            tagged: self.tagged.iter().filter_map(|(tag, digest)| Some((tag.clone(), blob(digest)?))).collect(),
            blobs: self.blobs(),
        })
    }

    /// Manifests by how much is below them. What has a digest cannot be below itself.
    fn steps(&self) -> Vec<Vec<Blob>> {
        let mut steps = Vec::new();
        let mut placed: HashSet<&Digest> = HashSet::new();
        let mut left: Vec<&Digest> = self.order.iter().collect();
        while !left.is_empty() {
            let is_ready = |digest: &&Digest| {
                let parts = self.read.get(*digest).into_iter().flat_map(|read| &read.links.manifests);
                parts.map(|(part, _)| &part.digest).all(|part| placed.contains(part))
            };
            let (ready, rest): (Vec<&Digest>, Vec<&Digest>) = left.into_iter().partition(is_ready);
            if ready.is_empty() {
                break;
            }
            steps.push(ready.iter().filter_map(|digest| Some(self.read.get(*digest)?.blob.clone())).collect());
            placed.extend(ready);
            left = rest;
        }
        steps
    }

    fn blobs(&self) -> Vec<Descriptor> {
        let mut seen = HashSet::new();
        let all = self.order.iter().filter_map(|digest| self.read.get(digest)).flat_map(|read| &read.links.blobs);
        all.filter(|blob| seen.insert(&blob.digest)).map(Descriptor::bare).collect()
    }
}
