//! How images are judged that came from no registry: imports, and what was built here.

use std::collections::BTreeMap;

use super::{Places, Question};
use crate::oci::{Descriptor, Repository};

/// Under which statement, and with signatures from where.
#[derive(Clone, Debug)]
pub struct LocalImages {
    /// The repository as which they are judged; none where nothing governs them, and they are denied.
    pub scope: Option<Repository>,
    /// Where their signatures are looked for.
    pub places: Places,
}

impl LocalImages {
    /// The question about such an image, where a statement may govern it.
    pub(super) fn question(&self, artifact: &Descriptor) -> Option<Question> {
        Some(Question {
            reference: format!("local image {}", artifact.digest),
            repository: self.scope.clone()?,
            artifact: artifact.clone(),
            user_metadata: BTreeMap::new(),
            places: self.places,
        })
    }
}
