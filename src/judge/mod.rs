//! The one pipeline from a question to a verdict.
//!
//! It carries and does not decide: it brings the signatures to where they are examined, bounds the time and the number,
//! and keeps what was answered. Every verdict is made against one trust snapshot and one instant.

mod alone;
mod blob;
mod cache;
mod enroll;
mod evidence;
mod following;
mod gather;
mod inventory;
mod layers;
mod local;
mod names;
mod reconcile;
mod run;
#[cfg(test)]
pub(crate) mod testing;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::{Handle, RuntimeFlavor};

pub use alone::examine_alone;
pub use blob::{BlobQuestion, examine_blob, hash_of};
pub use cache::CacheOptions;
pub use enroll::{EnrollError, EnrollEvent, EnrollOrder, Enrolled, Enroller, LayerBegun, LayerCounts, Workshop};
pub use evidence::{Gathering, Witnesses};
pub use inventory::Inventory;
pub use layers::{Layers, Listing};
pub use local::LocalImages;
pub use names::Names;
pub use reconcile::{Court, Finding, FindingKind, Observed, Reconciler, Report};
pub use run::{Directory, Made, RunGate, RunOptions, StartAnswer, StartQuestion};
pub use unpack::{LayerAnswer, LayerQuestion, UnpackGate, UnpackOptions};

use self::cache::Verdicts;
use self::gather::{Fetched, Gathered, Search};
use crate::clock;
use crate::oci::{Blob, Descriptor, Digest, Repository};
use crate::plugin::{NoPlugins, Plugins};
use crate::policy::Trust;
use crate::remedy::one_line;
use crate::revocation::{Nobody, Responders};
use crate::source::{Keep, Source};
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
    /// What this node holds, in the order in which it is asked.
    this_node: Vec<Arc<dyn Source>>,
    keeper: Option<Arc<dyn Keep>>,
    boot_floor: BTreeSet<Digest>,
    bounds: Bounds,
    responders: Arc<dyn Responders>,
    plugins: Arc<dyn Plugins>,
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
        Self {
            trust: ArcSwap::new(trust),
            source,
            this_node: Vec::new(),
            keeper: None,
            boot_floor: BTreeSet::new(),
            bounds,
            responders: Arc::new(Nobody),
            plugins: Arc::new(NoPlugins),
            verdicts: Verdicts::new(cache),
        }
    }

    /// The same judge, which looks for signatures in these places on this node, in this order, before it asks anybody
    /// else.
    #[must_use]
    pub fn looking_first_in(self, this_node: Vec<Arc<dyn Source>>) -> Self {
        Self { this_node, ..self }
    }

    /// The same judge, which keeps the signatures by which images are admitted.
    #[must_use]
    pub fn keeping_in(self, keeper: Arc<dyn Keep>) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// The same judge, which admits these images without looking at anything: what a node needs to start before it
    /// reaches any registry, as its operator has pinned it.
    #[must_use]
    pub fn with_boot_floor(self, boot_floor: BTreeSet<Digest>) -> Self {
        Self { boot_floor, ..self }
    }

    /// The same judge, which asks these about revocation. Without them it asks nobody, and where a policy enforces
    /// revocation the question stays open.
    #[must_use]
    pub fn asking(self, responders: Arc<dyn Responders>) -> Self {
        Self { responders, ..self }
    }

    /// The same judge, which has these verification plugins. Without them, a signature that demands one is refused.
    #[must_use]
    pub fn consulting(self, plugins: Arc<dyn Plugins>) -> Self {
        Self { plugins, ..self }
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
        if let Some(answered) = self.on_boot_floor(&question.reference, &question.artifact) {
            return answered;
        }
        let trust = self.trust();
        let key = self.key(&question, &trust);
        let (sources, bounds) = (self.sources(question.places), self.bounds);
        let (keeper, now) = (self.keeper.clone(), clock::now());
        let (responders, plugins) = (Arc::clone(&self.responders), Arc::clone(&self.plugins));
        let examination = async move {
            let sources: Vec<&dyn Source> = sources.iter().map(AsRef::as_ref).collect();
            let witnesses = Witnesses { responders: responders.as_ref(), plugins: plugins.as_ref() };
            let examined = Box::pin(examine_in(&sources, witnesses, &trust, &question, bounds, now));
            let (verdict, good) = examined.await;
            if let (Some(keeper), Some(good)) = (keeper, good) {
                keep(keeper.as_ref(), &question.artifact, &good);
            }
            Arc::new(verdict)
        };
        self.verdicts.get_or_make(key, now, examination).await
    }

    /// The admission of an image that is pinned.
    fn on_boot_floor(&self, reference: &str, artifact: &Descriptor) -> Option<Answered> {
        if !self.boot_floor.contains(&artifact.digest) {
            return None;
        }
        let trust = self.trust();
        let verdict = Verdict::pinned(VerdictInput { reference, artifact, trust: &trust, now: clock::now() });
        Some(Answered { verdict: Arc::new(verdict), cached: true })
    }

    /// The admission of this image, if it is known and still good. Asks nobody.
    pub async fn known_admission(&self, question: &Question) -> Option<Answered> {
        let verdict = self.verdicts.known(&self.key(question, &self.trust()), clock::now()).await?;
        (verdict.answer() == Answer::Admit).then_some(Answered { verdict, cached: true })
    }

    fn key(&self, question: &Question, trust: &Trust) -> cache::Key {
        cache::Key::of(question, trust, aside(|| self.responders.edition()))
    }

    /// In the order in which they are asked.
    fn sources(&self, places: Places) -> Vec<Arc<dyn Source>> {
        let elsewhere = (places == Places::Everywhere).then_some(&self.source);
        self.this_node.iter().chain(elsewhere).map(Arc::clone).collect()
    }
}

/// The verdict for this image, from the source, within the bounds.
pub async fn examine<'w>(
    source: &dyn Source,
    witnesses: impl Into<Witnesses<'w>>,
    trust: &Trust,
    question: &Question,
    bounds: Bounds,
    now: Timestamp,
) -> Verdict {
    examine_in(&[source], witnesses.into(), trust, question, bounds, now).await.0
}

/// The same verdict, with the envelope of the good signature where there is one.
pub async fn examine_and_show<'w>(
    source: &dyn Source,
    witnesses: impl Into<Witnesses<'w>>,
    trust: &Trust,
    question: &Question,
    bounds: Bounds,
    now: Timestamp,
) -> (Verdict, Option<Blob>) {
    let (verdict, good) = examine_in(&[source], witnesses.into(), trust, question, bounds, now).await;
    (verdict, good.map(|fetched| fetched.envelope))
}

/// Keeps a good signature. An image that is admitted stays so where that fails; only the registry will be needed again.
fn keep(keeper: &dyn Keep, image: &Descriptor, good: &Fetched) {
    if let Err(error) = aside(|| keeper.keep(image, &good.manifest, &good.envelope)) {
        tracing::warn!(digest = %image.digest, reason = one_line(&error), "a signature was not kept");
    }
}

/// The verdict for this image, from the first source that has a good signature. What one source cannot tell, another
/// may; but "there is no good signature" is said only when every source has answered. With the good signature, if there
/// is one.
async fn examine_in(
    sources: &[&dyn Source],
    witnesses: Witnesses<'_>,
    trust: &Trust,
    question: &Question,
    bounds: Bounds,
    now: Timestamp,
) -> (Verdict, Option<Fetched>) {
    let input = VerdictInput { reference: &question.reference, artifact: &question.artifact, trust, now };
    let statement = match govern(input, &question.repository) {
        Ok(statement) => statement,
        Err(verdict) => return (*verdict, None),
    };
    let gathering = async {
        let (mut all, mut unanswered) = (Gathered::default(), None);
        let mut evidence = Gathering::from(witnesses);
        let search = Search { question, statement, trust, bounds, now };
        for source in sources {
            match search.gather(*source, &mut evidence).await {
                Ok(gathered) if gathered.has_good() => return Ok(all.and(gathered)),
                Ok(gathered) => all = all.and(gathered),
                Err(error) => unanswered = Some(error),
            }
        }
        unanswered.map_or(Ok(all), Err)
    };
    match tokio::time::timeout(bounds.total_timeout, gathering).await {
        Ok(Ok(Gathered { reports, truncated, good })) => {
            (Verdict::of_signatures(input, statement, reports, truncated), good)
        }
        Ok(Err(error)) => (Verdict::unavailable(input, Some(statement), Problem::of(&error)), None),
        Err(_) => (Verdict::unavailable(input, Some(statement), timed_out(bounds.total_timeout)), None),
    }
}

/// Does work that only computes, or waits for the disk, without keeping the other questions of a daemon waiting. Only a
/// runtime with several threads has somebody to step in.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn timed_out(after: Duration) -> Problem {
    let message = format!("the signatures could not be looked up within {} ms", after.as_millis());
    Problem::new("timed-out", &message, "see whether the registry answers from this machine, then try again")
}
