//! The trust policy of this machine, asked on the way by commands that do something else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exit::Failure;
use super::place::Place;
use crate::clock;
use crate::config::{LoadError, NotationDir};
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::judge::{Bounds, Places, Question, Witnesses, examine};
use crate::oci::{Descriptor, Location, Repository};
use crate::policy::Trust;
use crate::verify::{Check, Verdict};

/// How many signatures are examined at most, and how long that may take: what `pratique verify` does unless told otherwise.
const MAX_SIGNATURES: usize = 100;
const TIMEOUT: Duration = Duration::from_secs(30);

/// The policy as it was when the command began, and who may know more about a signature.
pub(super) struct Court<'a> {
    trust: Trust,
    witnesses: Witnesses<'a>,
}

impl<'a> Court<'a> {
    pub(super) fn open(directory: &NotationDir, witnesses: Witnesses<'a>) -> Result<Self, LoadError> {
        Ok(Self { trust: directory.load_trust()?, witnesses })
    }

    /// Whether the statement for the repository `scope` admits the image, by the signatures that it has in this place.
    pub(super) async fn judge(
        &self,
        place: &Place,
        location: &Location,
        scope: &Repository,
        artifact: &Descriptor,
    ) -> Verdict {
        let question = Question {
            reference: location.to_string(),
            repository: scope.clone(),
            artifact: artifact.clone(),
            user_metadata: BTreeMap::new(),
            places: Places::default(),
        };
        let bounds =
            Bounds { total_timeout: TIMEOUT, max_signatures: MAX_SIGNATURES, envelope_size: DEFAULT_ENVELOPE_SIZE };
        examine(place.source(), self.witnesses, &self.trust, &question, bounds, clock::now()).await
    }
}

/// Why nothing can be judged.
pub(super) fn unjudged(error: &LoadError) -> Failure {
    Failure::of(error).about(Check::Policy)
}
