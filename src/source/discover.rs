//! Everything that an image is made of and that hangs on it, as a tree: its manifests for each platform, what refers to any of
//! them, what refers to that, and what cosign keeps under tags.
//!
//! A tree is for looking at. So what is listed and is not there, or cannot be read as a manifest, has its place in it and a word
//! about it; only where the place itself gives no answer is there no tree.

use std::collections::{HashMap, VecDeque};

use super::limits::{MAX_COPY_REFERRERS, MAX_TREE_DEPTH, MAX_TREE_MANIFESTS, MAX_TREE_SIZE};
use super::{Images, Referrers, SourceError};
use crate::oci::{Descriptor, Digest, Links, Platform, Reference, Repository, Tag, media_type};

/// What cosign adds to the tag of a digest, for a signature, for attestations and for an SBOM.
const COSIGN_TAGS: [&str; 3] = ["sig", "att", "sbom"];

/// An image and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The image first, then whatever is above others before them.
    pub manifests: Vec<Found>,
    /// Whether there is more than is looked at.
    pub truncated: bool,
}

/// A manifest in a tree.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is; its type of artifact and its annotations are those of the manifest itself where that could be read.
    pub descriptor: Descriptor,
    /// The one above it, by its place in [`Tree::manifests`]; none for the image.
    pub parent: Option<usize>,
    /// How it belongs to the one above it.
    pub relation: Relation,
    /// What became of reading it.
    pub state: State,
    /// How many are above it.
    depth: usize,
}

/// How a manifest belongs to the one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is what was asked for.
    Image,
    /// It is listed in the one above it, for this platform.
    Part(Option<Platform>),
    /// It refers to the one above it.
    Referrer,
    /// It has this tag, which cosign makes of the digest of the one above it.
    Cosign(Tag),
}

/// What became of reading a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was read.
    Read,
    /// It is listed and is not there.
    Missing,
    /// What is there is no manifest, or not what its digest says.
    Unreadable,
    /// It stands in the tree before, with everything that hangs on it.
    Repeated,
}

impl Tree {
    /// What is directly below the manifest with this place in [`Tree::manifests`], each with its own place.
    pub fn below(&self, parent: usize) -> impl Iterator<Item = (usize, &Found)> {
        self.manifests.iter().enumerate().filter(move |(_, found)| found.parent == Some(parent))
    }
}

/// The tree of the image `root`, which the place has just resolved, or which is known by its digest alone.
pub async fn discover(place: &dyn Images, repository: &Repository, root: &Descriptor) -> Result<Tree, SourceError> {
    let mut search =
        Search { place, repository, tree: Tree::default(), seen: HashMap::new(), due: VecDeque::new(), size: 0 };
    search.find(root.bare(), None, Relation::Image, 0);
    while let Some(due) = search.due.pop_front() {
        search.look_at(due).await?;
    }
    Ok(search.tree)
}

struct Search<'a> {
    place: &'a dyn Images,
    repository: &'a Repository,
    tree: Tree,
    seen: HashMap<Digest, usize>,
    due: VecDeque<usize>,
    size: u64,
}

impl Search<'_> {
    /// Gives a manifest its place in the tree.
    fn find(&mut self, descriptor: Descriptor, parent: Option<usize>, relation: Relation, depth: usize) {
        let own = self.tree.manifests.len();
        if own == MAX_TREE_MANIFESTS || depth > MAX_TREE_DEPTH {
            self.tree.truncated = true;
            return;
        }
        let state = if self.seen.contains_key(&descriptor.digest) { State::Repeated } else { State::Read };
        if state == State::Read {
            self.seen.insert(descriptor.digest.clone(), own);
            self.due.push_back(own);
        }
        self.tree.manifests.push(Found { descriptor, parent, relation, state, depth });
    }

    async fn look_at(&mut self, own: usize) -> Result<(), SourceError> {
        let Some(found) = self.tree.manifests.get(own) else { return Ok(()) };
        let (descriptor, depth) = (found.descriptor.clone(), found.depth);
        self.size = self.size.saturating_add(descriptor.size);
        if self.size > MAX_TREE_SIZE {
            self.tree.truncated = true;
            return Ok(());
        }
        let read = self.read(&descriptor).await?;
        if let Some(found) = self.tree.manifests.get_mut(own) {
            match &read {
                Ok(links) => {
                    found.descriptor.artifact_type.clone_from(&links.artifact_type);
                    found.descriptor.annotations.clone_from(&links.annotations);
                }
                Err(state) => found.state = *state,
            }
        }
        for (part, platform) in read.map(|links| links.manifests).unwrap_or_default() {
            self.find(part.bare(), Some(own), Relation::Part(platform), depth + 1);
        }
        // Also of what is gone: that is how what is left of it is found.
        let hanging = attached(self.place, self.repository, &descriptor).await?;
        self.tree.truncated |= hanging.truncated;
        for referrer in hanging.descriptors {
            self.find(Descriptor { annotations: [].into(), ..referrer }, Some(own), Relation::Referrer, depth + 1);
        }
        for (tag, reference) in cosign_tags(self.repository, &descriptor.digest) {
            if let Some(tagged) = there(self.place.resolve(&reference).await)? {
                self.find(tagged.bare(), Some(own), Relation::Cosign(tag), depth + 1);
            }
        }
        Ok(())
    }

    /// What a manifest points to; or why that is not known, where the place did answer.
    async fn read(&self, descriptor: &Descriptor) -> Result<Result<Links, State>, SourceError> {
        if !media_type::is_manifest(&descriptor.media_type) {
            return Ok(Err(State::Unreadable));
        }
        let blob = match self.place.manifest(self.repository, descriptor).await {
            Err(SourceError::NotFound { .. }) => return Ok(Err(State::Missing)),
            Err(error) if error.is_about_content() => return Ok(Err(State::Unreadable)),
            blob => blob?,
        };
        Ok(Links::parse(&descriptor.media_type, blob.bytes()).map_err(|_| State::Unreadable))
    }
}

/// What refers to a manifest. A place that knows nothing of the manifest knows nothing that refers to it.
pub(super) async fn attached(
    place: &dyn Images,
    repository: &Repository,
    subject: &Descriptor,
) -> Result<Referrers, SourceError> {
    Ok(there(place.referrers(repository, subject, MAX_COPY_REFERRERS).await)?.unwrap_or_default())
}

/// The tags under which cosign keeps what belongs to this digest.
pub(super) fn cosign_tags(repository: &Repository, digest: &Digest) -> impl Iterator<Item = (Tag, Reference)> {
    let tags = COSIGN_TAGS.into_iter().map(|suffix| format!("{}.{suffix}", digest.fallback_tag()));
    let tags = tags.filter_map(|tag| tag.parse::<Tag>().ok());
    tags.map(|tag| (tag.clone(), repository.tagged(tag)))
}

fn there<T>(answer: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match answer {
        Err(SourceError::NotFound { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
