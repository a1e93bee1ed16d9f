//! Under which names an image was let through.
//!
//! A gate that sees only a layer asks here first: the image verifier was told the name a moment ago, and containerd
//! keeps it nowhere until the last layer is unpacked. Only names that were admitted are kept, so that an attempt under
//! one name does not stand in the way of another. Bounded; the oldest go first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Places, Question};
use crate::oci::{Descriptor, Digest, Reference, Repository};

/// Of how many images names are kept. A node of Kubernetes holds some hundred images; nobody pulls more at a time.
const MAX_IMAGES: usize = 4096;
/// How many names of one image are kept.
const MAX_NAMES: usize = 8;

/// The names under which images were let through.
#[derive(Debug, Default)]
pub struct Names {
    of: HashMap<Digest, Vec<Repository>>,
    oldest_first: VecDeque<Digest>,
}

impl Names {
    /// Keeps that this image was let through under this name.
    pub fn remember(&mut self, image: &Digest, repository: &Repository) {
        if let Some(names) = self.of.get_mut(image) {
            names.retain(|name| name != repository);
            names.insert(0, repository.clone());
            names.truncate(MAX_NAMES);
            return;
        }
        if self.of.len() >= MAX_IMAGES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.of.remove(&oldest);
        }
        self.oldest_first.push_back(image.clone());
        self.of.insert(image.clone(), vec![repository.clone()]);
    }

    /// The names of this image, the latest first.
    pub fn of(&self, image: &Digest) -> &[Repository] {
        self.of.get(image).map_or(&[], Vec::as_slice)
    }
}

/// The repository that an image record names. A name that is not a whole reference, with its registry, names none: clients
/// also keep content under names of their own making.
pub(super) fn repository_of(record: &str) -> Option<Repository> {
    Repository::of_whole(record)
}

/// The digest that an image record's name demands, where it is a whole reference with one.
pub(super) fn digest_of(record: &str) -> Option<Digest> {
    repository_of(record)?;
    record.parse::<Reference>().ok()?.digest().cloned()
}

/// The question about an image under a name.
pub(super) fn question_under(repository: &Repository, artifact: &Descriptor, places: Places) -> Question {
    Question {
        reference: repository.at(artifact.digest.clone()).to_string(),
        repository: repository.clone(),
        artifact: artifact.clone(),
        user_metadata: BTreeMap::new(),
        places,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        format!("registry.example/{name}").parse().unwrap()
    }

    #[test]
    fn the_latest_name_comes_first_and_each_is_kept_once() {
        let (mut names, image) = (Names::default(), Digest::sha256(b"image"));
        for name in ["a", "b", "a"] {
            names.remember(&image, &repository(name));
        }
        assert_eq!(names.of(&image), [repository("a"), repository("b")]);
        assert_eq!(names.of(&Digest::sha256(b"other")), []);
    }

    #[test]
    fn what_is_kept_is_bounded_on_both_sides() {
        let (mut names, first) = (Names::default(), Digest::sha256(b"first"));
        for number in 0..2 * MAX_NAMES {
            names.remember(&first, &repository(&number.to_string()));
        }
        assert_eq!(names.of(&first).len(), MAX_NAMES);
        for number in 0..MAX_IMAGES {
            names.remember(&Digest::sha256(number.to_string().as_bytes()), &repository("a"));
        }
        assert_eq!((names.of(&first).len(), names.of.len(), names.oldest_first.len()), (0, MAX_IMAGES, MAX_IMAGES));
    }
}
