//! What else in the repository needs what is to go.
//!
//! Every other tag is looked at, and in a layout every entry. Where one cannot be looked at, that is no proof that it needs
//! nothing: then it is not known, and why is kept.

use std::collections::{HashMap, HashSet, VecDeque};

use futures_util::{StreamExt as _, stream};

use crate::oci::{Descriptor, Digest, Links, Location, Repository, Tag, media_type};
use crate::source::discover::{Relation, State, Tree};
use crate::source::limits::{MAX_TRANSFERS, MAX_USING_MANIFESTS, MAX_USING_TAGS};
use crate::source::{ImageSink, SourceError};

/// Which names need which manifests.
#[derive(Default)]
pub(super) struct Uses {
    of: HashMap<Digest, Vec<String>>,
    /// Why there may be more of them.
    pub(super) unknown: Option<SourceError>,
}

impl Uses {
    /// What needs any of `wanted`, beside the image itself and the lists of what hangs on it.
    pub(super) async fn of(
        place: &dyn ImageSink,
        repository: &Repository,
        image: &Location,
        tree: &Tree,
        wanted: HashSet<Digest>,
    ) -> Result<Self, SourceError> {
        let Some(root) = tree.manifests.first().map(|root| &root.descriptor.digest) else { return Ok(Self::default()) };
        let tags = match place.tags(repository, MAX_USING_TAGS).await {
            // A registry that has an image has a list of tags: this one does not give it.
            Err(error @ SourceError::NotFound { .. }) => {
                return Ok(Self { unknown: Some(error), ..Self::default() });
            }
            tags => tags?,
        };
        if tags.truncated {
            let (what, place) = ("the list of tags".to_owned(), repository.to_string());
            let limit = MAX_USING_TAGS as u64;
            return Err(SourceError::TooManyParts { what, place, depth: 0, size: limit + 1, limit });
        }
        let mut search = Search { place, repository, root, wanted, read: HashMap::new(), uses: Self::default() };
        let own = image.tag();
        let others = tags.names.into_iter().filter(|tag| Some(tag) != own.as_ref() && !belongs_to(tag, tree));
        let asked = others.map(async |tag| {
            let pointed = place.resolve(&repository.tagged(tag.clone())).await;
            (tag, pointed)
        });
        let mut answers = std::pin::pin!(stream::iter(asked).buffered(MAX_TRANSFERS));
        while let Some((tag, pointed)) = answers.next().await {
            match pointed {
                // Moved or gone since.
                Err(SourceError::NotFound { .. }) => {}
                Err(error) if error.is_about_content() => search.uses.unknown = Some(error),
                // Who names no image of a layout means its only one, whatever it is called.
                Ok(pointed) if is_only(image) && pointed.digest == *root => {}
                // The list of what hangs on something else: whoever removes one of these by its digest means that.
                Ok(pointed) => search.used(tag.as_str(), pointed, digest_of(&tag).is_some()).await?,
                Err(error) => return Err(error),
            }
        }
        for (name, entry) in tags.untagged {
            let is_image = is_only(image) && entry.digest == *root;
            // A layout lists what refers to an image beside the image, without a name.
            if is_image || name.is_none() && hangs_in(tree, &entry.digest) {
                continue;
            }
            let name = name.unwrap_or_else(|| entry.digest.to_string());
            search.used(&name, entry, false).await?;
        }
        Ok(search.uses)
    }

    /// The names of what needs a manifest.
    pub(super) fn users(&self, digest: &Digest) -> &[String] {
        self.of.get(digest).map(Vec::as_slice).unwrap_or_default()
    }
}

fn is_only(image: &Location) -> bool {
    matches!(image, Location::OciLayout { image: None, .. })
}

/// Whether the tag is that of a list of what hangs on one of these, or what cosign has put there. That goes with it.
fn belongs_to(tag: &Tag, tree: &Tree) -> bool {
    let has = |digest: Digest| {
        tree.manifests.iter().any(|found| found.descriptor.digest == digest && found.state != State::Foreign)
    };
    digest_of(tag).is_some_and(has)
}

/// The digest in a tag that a client or cosign has made of one.
fn digest_of(tag: &Tag) -> Option<Digest> {
    let hex = tag.as_str().split('.').next()?.strip_prefix("sha256-")?;
    format!("sha256:{hex}").parse().ok()
}

/// Whether it is in the tree as something other than a part of an image.
fn hangs_in(tree: &Tree, digest: &Digest) -> bool {
    let mut places = tree.manifests.iter().filter(|found| found.descriptor.digest == *digest).peekable();
    places.peek().is_some() && places.all(|found| !matches!(found.relation, Relation::Part(_)))
}

struct Search<'a> {
    place: &'a dyn ImageSink,
    repository: &'a Repository,
    root: &'a Digest,
    wanted: HashSet<Digest>,
    /// What each index lists.
    read: HashMap<Digest, Vec<Descriptor>>,
    uses: Uses,
}

impl Search<'_> {
    /// Takes down what is needed under this name: a manifest and everything that it lists, but for what is below the image that
    /// is going, and for the image itself where the name is that of a list.
    async fn used(&mut self, name: &str, pointed: Descriptor, is_list: bool) -> Result<(), SourceError> {
        let (mut within, mut due) = (HashSet::new(), VecDeque::from([pointed]));
        while let Some(manifest) = due.pop_front() {
            let is_new = within.insert(manifest.digest.clone());
            if is_new && manifest.digest != *self.root && media_type::is_index(&manifest.media_type) {
                due.extend(self.parts(&manifest).await?);
            }
        }
        for digest in within {
            if self.wanted.contains(&digest) && !(is_list && digest == *self.root) {
                self.uses.of.entry(digest).or_default().push(name.to_owned());
            }
        }
        Ok(())
    }

    /// What an index lists; nothing, where it is not there. Each is read once.
    async fn parts(&mut self, index: &Descriptor) -> Result<Vec<Descriptor>, SourceError> {
        if let Some(known) = self.read.get(&index.digest) {
            return Ok(known.clone());
        }
        let (what, place) = (index.digest.to_string(), self.repository.to_string());
        if self.read.len() == MAX_USING_MANIFESTS {
            let limit = MAX_USING_MANIFESTS as u64;
            return Err(SourceError::TooManyParts { what, place, depth: 0, size: limit + 1, limit });
        }
        let links = match self.place.manifest(self.repository, index).await {
            Err(SourceError::NotFound { .. }) => Ok(Links::default()),
            Err(error) if error.is_about_content() => Err(error),
            bytes => Links::parse(&index.media_type, bytes?.bytes()).map_err(|source| SourceError::Manifest {
                what,
                place,
                source,
            }),
        };
        let links = links.unwrap_or_else(|error| {
            self.uses.unknown = Some(error);
            Links::default()
        });
        let parts: Vec<Descriptor> = links.manifests.into_iter().map(|(part, _)| part.bare()).collect();
        self.read.insert(index.digest.clone(), parts.clone());
        Ok(parts)
    }
}
