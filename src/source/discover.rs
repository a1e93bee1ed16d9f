//! Everything that an image is made of and that hangs on it, as a tree: its manifests for each platform, what refers to any of
//! them, what refers to that, and what cosign keeps under tags.
//!
//! A tree is for looking at. So what is listed and is not there, or cannot be read as a manifest, has its place in it and a word
//! about it; only where the place itself gives no answer is there no tree.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::limits::{MAX_COPY_REFERRERS, MAX_TRANSFERS, MAX_TREE_DEPTH, MAX_TREE_MANIFESTS, MAX_TREE_SIZE};
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
    /// It belongs to something else by its own words, whoever lists it here. What hangs on it is not looked for.
    Foreign,
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
    let mut search = Search::default();
    search.find(root.bare(), None, Relation::Image, 0);
    while !search.due.is_empty() {
        let due: Vec<(usize, Descriptor)> = search.due.drain(..).collect();
        let look = |(own, descriptor): (usize, Descriptor)| async move {
            Ok::<_, SourceError>((own, Around::of(place, repository, &descriptor).await?))
        };
        let mut looks = std::pin::pin!(stream::iter(due).map(look).buffered(MAX_TRANSFERS));
        // In the order of the tree, whichever answer comes first.
        while let Some((own, around)) = looks.try_next().await? {
            search.take_in(own, around);
        }
    }
    Ok(search.tree)
}

/// What is directly around a manifest.
struct Around {
    read: Result<Links, State>,
    hanging: Referrers,
    tagged: Vec<(Tag, Descriptor)>,
}

impl Around {
    async fn of(place: &dyn Images, repository: &Repository, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let read = read(place, repository, descriptor).await?;
        // Also of what is gone: that is how what is left of it is found.
        let hanging = attached(place, repository, descriptor).await?;
        let mut tagged = Vec::new();
        for (tag, reference) in cosign_tags(repository, &descriptor.digest) {
            tagged.extend(there(place.resolve(&reference).await)?.map(|found| (tag, found)));
        }
        Ok(Self { read, hanging, tagged })
    }
}

/// What a manifest points to; or why that is not known, where the place did answer.
async fn read(
    place: &dyn Images,
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<Result<Links, State>, SourceError> {
    if !media_type::is_manifest(&descriptor.media_type) {
        return Ok(Err(State::Unreadable));
    }
    let blob = match place.manifest(repository, descriptor).await {
        Err(SourceError::NotFound { .. }) => return Ok(Err(State::Missing)),
        Err(error) if error.is_about_content() => return Ok(Err(State::Unreadable)),
        blob => blob?,
    };
    Ok(Links::parse(&descriptor.media_type, blob.bytes()).map_err(|_| State::Unreadable))
}

#[derive(Default)]
struct Search {
    tree: Tree,
    seen: HashSet<Digest>,
    due: Vec<(usize, Descriptor)>,
    size: u64,
}

impl Search {
    /// Gives a manifest its place in the tree.
    fn find(&mut self, descriptor: Descriptor, parent: Option<usize>, relation: Relation, depth: usize) {
        let own = self.tree.manifests.len();
        let size = self.size.saturating_add(descriptor.size);
        if own == MAX_TREE_MANIFESTS || depth > MAX_TREE_DEPTH || size > MAX_TREE_SIZE {
            self.tree.truncated = true;
            return;
        }
        self.size = size;
        let is_new = self.seen.insert(descriptor.digest.clone());
        if is_new {
            self.due.push((own, descriptor.bare()));
        }
        let state = if is_new { State::Read } else { State::Repeated };
        self.tree.manifests.push(Found { descriptor, parent, relation, state, depth });
    }

    fn take_in(&mut self, own: usize, around: Around) {
        let Around { read, hanging, tagged } = around;
        let is_foreign = read.as_ref().is_ok_and(|links| self.is_foreign(own, links));
        let Some(found) = self.tree.manifests.get_mut(own) else { return };
        let below = found.depth + 1;
        let parts = match read {
            Ok(links) => {
                found.descriptor.artifact_type = links.artifact_type;
                found.descriptor.annotations = links.annotations;
                links.manifests
            }
            Err(state) => {
                found.state = state;
                Vec::new()
            }
        };
        if is_foreign {
            self.set_aside(own);
            return;
        }
        for (part, platform) in parts {
            self.find(part.bare(), Some(own), Relation::Part(platform), below);
        }
        self.tree.truncated |= hanging.truncated;
        for referrer in hanging.descriptors {
            self.find(Descriptor { annotations: [].into(), ..referrer }, Some(own), Relation::Referrer, below);
        }
        for (tag, found) in tagged {
            self.find(found.bare(), Some(own), Relation::Cosign(tag), below);
        }
    }

    /// Whether a manifest says that it belongs to something other than what it was found by. Whoever may push writes the lists
    /// of referrers and the tags, and a manifest says itself what it refers to.
    fn is_foreign(&self, own: usize, links: &Links) -> bool {
        let Some(found) = self.tree.manifests.get(own) else { return false };
        let Some(parent) = found.parent.and_then(|parent| self.tree.manifests.get(parent)) else { return false };
        let subject = links.subject.as_ref().map(|subject| &subject.digest);
        match found.relation {
            Relation::Image => false,
            Relation::Referrer => subject != Some(&parent.descriptor.digest),
            Relation::Cosign(_) => subject.is_some_and(|subject| *subject != parent.descriptor.digest),
            // An attestation that is listed beside the image that it is about.
            Relation::Part(_) => subject.is_some_and(|subject| !self.seen.contains(subject)),
        }
    }

    /// Has a manifest that is foreign where it stands be looked at where else it was found.
    fn set_aside(&mut self, own: usize) {
        let Some(found) = self.tree.manifests.get_mut(own) else { return };
        found.state = State::Foreign;
        let digest = found.descriptor.digest.clone();
        let is_again = |found: &Found| found.state == State::Repeated && found.descriptor.digest == digest;
        self.seen.remove(&digest);
        if let Some(next) = self.tree.manifests.iter().position(is_again)
            && let Some(found) = self.tree.manifests.get_mut(next)
        {
            found.state = State::Read;
            self.due.push((next, found.descriptor.clone()));
            self.seen.insert(digest);
        }
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
