//! Everything that can be reached from `index.json`, once, in the order in which the indexes list it.

use std::collections::HashSet;

use super::{Layout, LayoutFault, entries};
use crate::oci::{Descriptor, Digest, Index, media_type};
use crate::source::SourceError;
use crate::source::limits::{MAX_LAYOUT_DEPTH, MAX_LAYOUT_MANIFESTS};

/// A walk through a layout. An index comes before what it lists.
pub(super) struct Walk<'a> {
    layout: &'a Layout,
    /// The next one last, each with the number of indexes above it.
    pending: Vec<(Descriptor, usize)>,
    seen: HashSet<Digest>,
}

/// An entry of an index.
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    /// Why it could not be walked into, where it is an index. One that is not there at all is no failure: a layout may
    /// leave out what it lists (image specification, "Blobs").
    pub(super) unread: Option<SourceError>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(layout: &'a Layout, index: Index) -> Self {
        let mut walk = Self { layout, pending: Vec::new(), seen: HashSet::new() };
        walk.push(index, 1);
        walk
    }

    pub(super) async fn next(&mut self) -> Result<Option<Found>, SourceError> {
        while let Some((descriptor, depth)) = self.pending.pop() {
            if !self.seen.insert(descriptor.digest.clone()) {
                continue;
            }
            if self.seen.len() > MAX_LAYOUT_MANIFESTS {
                return Err(self.layout.fault(LayoutFault::TooManyManifests));
            }
            let unread =
                if media_type::is_index(&descriptor.media_type) { self.enter(&descriptor, depth).await? } else { None };
            return Ok(Some(Found { descriptor, unread }));
        }
        Ok(None)
    }

    async fn enter(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<SourceError>, SourceError> {
        if depth == MAX_LAYOUT_DEPTH {
            return Err(self.layout.fault(LayoutFault::TooDeep));
        }
        match self.layout.nested(descriptor).await {
            Ok(index) => self.push(index, depth + 1),
            Err(SourceError::NotFound { .. }) => {}
            Err(error) => return Ok(Some(error)),
        }
        Ok(None)
    }

    fn push(&mut self, index: Index, depth: usize) {
        let first = self.pending.len();
        self.pending.extend(entries(index).map(|entry| (entry, depth)));
        if let Some(added) = self.pending.get_mut(first..) {
            added.reverse();
        }
    }
}
