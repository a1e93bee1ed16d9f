//! The one pipeline from a question to a verdict.
//!
//! It carries and does not decide: it brings the signatures to where they are examined, bounds the time and the number,
//! and keeps what was answered. Every verdict is made against one trust snapshot and one instant.

mod cache;
mod gather;
mod inventory;
mod layers;
mod names;
#[cfg(test)]
mod testing;
mod unpack;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use cache::CacheOptions;
pub use inventory::Inventory;
pub use layers::{Layers, Listing};
pub use names::Names;
pub use unpack::{LayerAnswer, LayerQuestion, UnpackGate, UnpackOptions};

use self::cache::Verdicts;
use self::gather::Gathered;
use crate::clock;
use crate::oci::{Descriptor, Repository};
use crate::policy::Trust;
use crate::source::Source;
use crate::verify::{Answer, Problem, Verdict, VerdictInput, govern};

/// An image that somebody wants to pull, unpack or run.
#[derive(Clone, Debug)]
pub struct Question {
    /// The image's name as it was asked for, with its digest: for people.
    pub reference: String,
    /// Where the image lies, and which statement governs it.
    pub repository: Repository,
    /// What the name was resolved to.
    pub artifact: Descriptor,
    /// Pairs that must stand in the signed metadata.
    pub user_metadata: BTreeMap<String, String>,
    /// Where signatures are looked for.
    pub places: Places,
}

/// Where the signatures of an image are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Places {
    /// On this node, then in the image's registry.
    #[default]
    Everywhere,
    /// On this node alone: the repository of the question is a name in the policy, and no place.
    ThisNode,
}

/// How much is looked at before the answer is "could not tell".
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From question to answer.
    pub total_timeout: Duration,
    /// How many signatures of one image are examined.
    pub max_signatures: usize,
    /// The largest envelope, in bytes.
    pub envelope_size: u64,
}

/// Answers questions about images.
pub struct Judge {
    trust: ArcSwap<Trust>,
    source: Arc<dyn Source>,
    this_node: Option<Arc<dyn Source>>,
    bounds: Bounds,
    verdicts: Verdicts,
}

/// A verdict, and whether it was known before the question.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The verdict.
    pub verdict: Arc<Verdict>,
    /// Whether it came from an earlier question.
    pub cached: bool,
}

impl Judge {
    /// A judge over this snapshot and this source.
    pub fn new(trust: Arc<Trust>, source: Arc<dyn Source>, bounds: Bounds, cache: CacheOptions) -> Self {
        Self { trust: ArcSwap::new(trust), source, this_node: None, bounds, verdicts: Verdicts::new(cache) }
    }

    /// The same judge, which looks for signatures in what this node holds before it asks anybody else.
    #[must_use]
    pub fn looking_first_in(self, this_node: Arc<dyn Source>) -> Self {
        Self { this_node: Some(this_node), ..self }
    }

    /// How much is looked at.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Puts another snapshot in force. Verdicts made against the old one are not found any more.
    pub fn replace_trust(&self, trust: Arc<Trust>) {
        self.trust.store(trust);
    }

    /// The snapshot in force.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    /// How many verdicts are kept.
    pub fn cached_verdicts(&self) -> u64 {
        self.verdicts.len()
    }

    /// The verdict for this image. Concurrent questions about the same image share one examination, and a known verdict
    /// is given again while it is good.
    pub async fn judge(&self, question: Question) -> Answered {
        let trust = self.trust();
        let key = cache::Key::of(&question, &trust);
        let (sources, bounds) = (self.sources(question.places), self.bounds);
        let now = clock::now();
        let examination = async move {
            let sources: Vec<&dyn Source> = sources.iter().map(AsRef::as_ref).collect();
            Arc::new(examine_in(&sources, &trust, &question, bounds, now).await)
        };
        self.verdicts.get_or_make(key, now, examination).await
    }

    /// The admission of this image, if it is known and still good. Asks nobody.
    pub async fn known_admission(&self, question: &Question) -> Option<Answered> {
        let verdict = self.verdicts.known(&cache::Key::of(question, &self.trust()), clock::now()).await?;
        (verdict.answer() == Answer::Admit).then_some(Answered { verdict, cached: true })
    }

    /// In the order in which they are asked.
    fn sources(&self, places: Places) -> Vec<Arc<dyn Source>> {
        let elsewhere = (places == Places::Everywhere).then_some(&self.source);
        self.this_node.iter().chain(elsewhere).map(Arc::clone).collect()
    }
}

/// The verdict for this image, from the source, within the bounds.
pub async fn examine(
    source: &dyn Source,
    trust: &Trust,
    question: &Question,
    bounds: Bounds,
    now: Timestamp,
) -> Verdict {
    examine_in(&[source], trust, question, bounds, now).await
}

/// The verdict for this image, from the first source that has a good signature. What one source cannot tell, another
/// may; but "there is no good signature" is said only when every source has answered.
async fn examine_in(
    sources: &[&dyn Source],
    trust: &Trust,
    question: &Question,
    bounds: Bounds,
    now: Timestamp,
) -> Verdict {
    let input = VerdictInput { reference: &question.reference, artifact: &question.artifact, trust, now };
    let statement = match govern(input, &question.repository) {
        Ok(statement) => statement,
        Err(verdict) => return *verdict,
    };
    let gathering = async {
        let (mut all, mut unanswered) = (Gathered::default(), None);
        for source in sources {
            match gather::signatures(*source, question, statement, trust, bounds, now).await {
                Ok(gathered) if gathered.has_good() => return Ok(all.and(gathered)),
                Ok(gathered) => all = all.and(gathered),
                Err(error) => unanswered = Some(error),
            }
        }
        unanswered.map_or(Ok(all), Err)
    };
    match tokio::time::timeout(bounds.total_timeout, gathering).await {
        Ok(Ok(gathered)) => Verdict::of_signatures(input, statement, gathered.reports, gathered.truncated),
        Ok(Err(error)) => Verdict::unavailable(input, Some(statement), Problem::of(&error)),
        Err(_) => Verdict::unavailable(input, Some(statement), timed_out(bounds.total_timeout)),
    }
}

fn timed_out(after: Duration) -> Problem {
    let message = format!("the signatures could not be looked up within {} ms", after.as_millis());
    Problem::new("timed-out", &message, "see whether the registry answers from this machine, then try again")
}
