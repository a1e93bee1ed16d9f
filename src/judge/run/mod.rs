//! May this container be started?
//!
//! Yes, if the image that its record names is admitted now, and if what it will see as its root is that image and
//! nothing else. The first is a verdict like any other, under the image record's name alone; the second is what
//! [`rootfs`](crate::rootfs) decides, from what containerd says, what is mounted, and what the ledger holds. Both come
//! from this machine wherever they can: signatures that admitted an image once are kept.
//!
//! What names no image, a pod's sandbox, and images mounted beside a container's own have a switch each.

mod claim;
mod problem;
mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub(super) use self::problem::Problem;
use self::snapshot::{Below, Own};
use super::inventory::Inventory;
use super::local::LocalImages;
use super::names::{digest_of, question_under, repository_of};
use super::{Answered, Judge, Places, Question};
use crate::clock;
use crate::ledger::Ledger;
use crate::oci::{Descriptor, Digest, media_type};
use crate::policy::{ImageVolumes, SandboxImage, WithoutImage};
use crate::remedy::{Code, excerpt};
use crate::rootfs::{DOCKER, Found, Layers};
use crate::source::SourceError;
use crate::source::containerd::{Container, Containers, ImageRecord, Place, Snapshots};
use crate::verify::{self, Answer, Check, Verdict, VerdictInput};

/// The containerd namespace of CRI's containers.
const KUBERNETES: &str = "k8s.io";

/// What is asked of containerd about a container.
pub trait Made: Containers + Snapshots {}

impl<T: Containers + Snapshots> Made for T {}

/// How starts are judged.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How images are judged that came from no registry.
    pub local: LocalImages,
    /// Where the signatures of the others are looked for.
    pub places: Places,
    /// What becomes of a container that names no image.
    pub without_image: WithoutImage,
    /// The containerd namespaces in which the steps of builds run, which name no image.
    pub builder_namespaces: Vec<String>,
    /// What becomes of a pod's sandbox.
    pub sandbox: SandboxImage,
    /// What becomes of images that are mounted into a container.
    pub image_volumes: ImageVolumes,
}

/// A container that is about to be started.
#[derive(Clone, Debug)]
pub struct StartQuestion {
    /// The containerd namespace.
    pub namespace: String,
    /// The container's identifier.
    pub container: String,
    /// Whether CRI says that it is a pod's sandbox.
    pub is_sandbox: bool,
    /// The socket of the containerd whose shim asks; empty where nobody says.
    pub containerd: String,
    /// What it will see as its root.
    pub root: Directory,
    /// The images that are mounted into it beside its own, where CRI has mounted them. Their paths are also the keys of
    /// their snapshots.
    pub volumes: Vec<Directory>,
}

/// A directory that a container will see.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its path.
    pub path: String,
    /// What is found there.
    pub found: Found,
}

/// What becomes of a start.
#[derive(Clone, Debug)]
pub struct StartAnswer {
    /// The verdict that decided.
    pub answered: Answered,
    /// The name of the image record; empty where the container names none.
    pub image: String,
}

/// The images that a container can have been made on, and what lies below it.
struct Images {
    below: Below,
    made_on: Vec<Image>,
}

struct Image {
    record: ImageRecord,
    layers: Layers,
}

/// Answers questions about starts.
pub struct RunGate {
    containerd: Arc<dyn Made>,
    inventory: Arc<Inventory>,
    ledger: Arc<Ledger>,
    options: RunOptions,
    /// The layers of manifests that were read.
    known: Mutex<HashMap<Digest, Layers>>,
}

impl RunGate {
    /// A gate over what containerd says and what the ledger holds.
    pub fn new(containerd: Arc<dyn Made>, inventory: Arc<Inventory>, ledger: Arc<Ledger>, options: RunOptions) -> Self {
        Self { containerd, inventory, ledger, options, known: Mutex::default() }
    }

    /// The answer about a start, within the judge's total time.
    pub async fn judge(&self, judge: &Judge, question: &StartQuestion) -> StartAnswer {
        let limit = judge.bounds().total_timeout;
        let stopped = |problem: &Problem| StartAnswer {
            answered: refuse(judge, &for_people(question), None, problem),
            image: String::new(),
        };
        match tokio::time::timeout(limit, self.decide(judge, question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => stopped(&Problem::Source(error)),
            Err(_) => stopped(&Problem::TimedOut(limit)),
        }
    }

    async fn decide(&self, judge: &Judge, question: &StartQuestion) -> Result<StartAnswer, SourceError> {
        let container = match question.namespace.as_str() {
            "" => None,
            namespace => self.containerd.container(namespace, &question.container).await?,
        };
        let Some(container) = container else {
            let problem = Problem::UnknownContainer { asked_by: question.containerd.clone() };
            let answered = refuse(judge, &for_people(question), None, &problem);
            return Ok(StartAnswer { answered, image: String::new() });
        };
        let answered = match container.image.as_str() {
            "" => self.without_image(judge, question),
            _ => self.judge_container(judge, question, &container).await,
        };
        Ok(StartAnswer { answered, image: container.image })
    }

    /// A container that names no image. In a builder's namespace it is a step of a build, whose result is judged as an
    /// image when that is run.
    fn without_image(&self, judge: &Judge, question: &StartQuestion) -> Answered {
        let deferred = |code, reason| {
            let (reference, artifact, trust) = (for_people(question), nothing(), judge.trust());
            let input = VerdictInput { reference: &reference, artifact: &artifact, trust: &trust, now: clock::now() };
            Answered { verdict: Arc::new(Verdict::deferred(input, code, reason)), cached: false }
        };
        if self.options.builder_namespaces.contains(&question.namespace) {
            return deferred(Code("build-step"), "it is a step of a build; what is built is judged when it runs");
        }
        match self.options.without_image {
            WithoutImage::Allow => deferred(
                Code("container-without-image-allowed"),
                "it names no image, and `run.without_image` allows that",
            ),
            WithoutImage::Deny => refuse(judge, &for_people(question), None, &Problem::NoImage),
        }
    }

    /// The verdict about the image of a container; or why the container is not made of it.
    async fn judge_container(&self, judge: &Judge, question: &StartQuestion, container: &Container) -> Answered {
        let own = Own::of(question, container);
        let images = match self.images_of(own, container).await {
            Ok(images) => images,
            Err(problem) => return refuse(judge, &for_people(question), None, &problem),
        };
        let is_allowed = self.options.sandbox == SandboxImage::Allow && is_sandbox(question);
        let mut admission = None;
        for image in &images.made_on {
            let answered = self.judge_image(judge, own.place.namespace, &image.record).await;
            if answered.verdict.answer() == Answer::Admit {
                admission = Some(answered);
            } else if !is_allowed {
                return answered;
            }
        }
        let Some(image) = images.made_on.first() else {
            return refuse(judge, &for_people(question), None, &Problem::NoImage);
        };
        let checked = async {
            self.check_mounted(judge, own, &images.below, image, &question.root.found).await?;
            self.check_volumes(judge, own.place, question).await
        };
        match (checked.await, admission) {
            (Err(problem), _) => refuse(judge, &image_for_people(&image.record), Some(&image.record.target), &problem),
            (Ok(()), Some(admission)) => admission,
            (Ok(()), None) => allowed_sandbox(judge, &image.record),
        }
    }

    /// The image that the container's record names, if the container was made on it.
    ///
    /// In docker's namespace a name may have moved since: a container stays on the image that it was made of, and is
    /// started again from it under its old name. There it is every image that the container can have been made on, and
    /// all of them must be admitted: nothing tells two images with the same layers apart.
    async fn images_of(&self, own: Own<'_>, container: &Container) -> Result<Images, Problem> {
        let namespace = own.place.namespace;
        let missing = || Problem::NoSnapshot { key: excerpt(own.key) };
        let below = self.below(own).await?.ok_or_else(missing)?;
        let record = self.containerd.image(namespace, &container.image).await?;
        let layers = match &record {
            Some(record) => self.layers_below(namespace, &record.target, &below.parent).await,
            None => Err(Problem::NoImageRecord { name: excerpt(&container.image) }),
        };
        let made_on = match (record, layers) {
            (Some(record), Ok(layers)) => vec![Image { record, layers }],
            (_, Err(problem)) if namespace == DOCKER => {
                let images = self.images_below(namespace, &below.parent).await?;
                if images.is_empty() {
                    return Err(problem);
                }
                let named = |target| ImageRecord { name: container.image.clone(), target };
                let images = images.into_iter();
                images.map(|(record, layers)| Image { record: named(record.target), layers }).collect()
            }
            (_, Err(problem)) => return Err(problem),
            (None, Ok(_)) => Vec::new(),
        };
        Ok(Images { below, made_on })
    }

    /// The verdict about what an image record points to, under its name.
    pub(in crate::judge) async fn judge_image(&self, judge: &Judge, namespace: &str, record: &ImageRecord) -> Answered {
        if let Some(named) = digest_of(&record.name).filter(|named| *named != record.target.digest) {
            let problem = Problem::OtherDigest { named };
            return refuse(judge, &image_for_people(record), Some(&record.target), &problem);
        }
        let mut last = None;
        for question in self.questions(namespace, record).await {
            let answered = judge.judge(question).await;
            if answered.verdict.answer() == Answer::Admit {
                return answered;
            }
            last = last.or(Some(answered));
        }
        last.unwrap_or_else(|| refuse(judge, &image_for_people(record), Some(&record.target), &Problem::NoStatement))
    }

    /// One, under the record's own name. A record whose name names no repository, such as CRI's by the config's digest,
    /// stands beside others that do; only where none does, the image came from no registry.
    async fn questions(&self, namespace: &str, record: &ImageRecord) -> Vec<Question> {
        let target = &record.target;
        let named = |repository| question_under(&repository, target, self.options.places);
        if let Some(repository) = repository_of(&record.name) {
            return vec![named(repository)];
        }
        let others = self.inventory.recorded(namespace, std::slice::from_ref(&target.digest)).await;
        match others.unwrap_or_default() {
            others if others.is_empty() => self.options.local.question(target).into_iter().collect(),
            others => others.into_iter().map(named).collect(),
        }
    }

    /// The images that are mounted beside the container's own: each must be admitted, and be what is mounted.
    async fn check_volumes(&self, judge: &Judge, place: Place<'_>, question: &StartQuestion) -> Result<(), Problem> {
        if self.options.image_volumes == ImageVolumes::Allow {
            return Ok(());
        }
        let Some(first) = question.volumes.first() else { return Ok(()) };
        if self.options.image_volumes == ImageVolumes::Deny {
            return Err(Problem::VolumesDenied { at: excerpt(&first.path) });
        }
        let records = self.containerd.images(place.namespace).await?;
        for volume in &question.volumes {
            let digest = image_at(&volume.path);
            let named = records.iter().filter(|record| Some(&record.target.digest) == digest.as_ref());
            self.check_volume(judge, place, volume, &named.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// One of them, which has these names. Nobody says by which of them the pod has asked for it: one that is admitted is
    /// enough.
    async fn check_volume(
        &self,
        judge: &Judge,
        place: Place<'_>,
        volume: &Directory,
        named: &[&ImageRecord],
    ) -> Result<(), Problem> {
        let at = excerpt(&volume.path);
        let mut refused = None;
        for record in named {
            let answered = self.judge_image(judge, place.namespace, record).await;
            if answered.verdict.answer() != Answer::Admit {
                refused = refused.or(Some(answered.verdict));
                continue;
            }
            let own = Own { place, key: &volume.path };
            let below = self.below(own).await?.ok_or(Problem::NoSnapshot { key: at })?;
            let layers = self.layers_below(place.namespace, &record.target, &below.parent).await?;
            let image = Image { record: (*record).clone(), layers };
            return self.check_mounted(judge, own, &below, &image, &volume.found).await;
        }
        Err(refused.map_or(Problem::VolumeUnknown { at: at.clone() }, |verdict| Problem::Volume { at, verdict }))
    }
}

/// The digest of the image that CRI has mounted at this place, which is named by it.
fn image_at(place: &str) -> Option<Digest> {
    let (_, hex) = place.rsplit_once('/')?;
    format!("sha256:{hex}").parse().ok()
}

fn is_sandbox(question: &StartQuestion) -> bool {
    question.is_sandbox && question.namespace == KUBERNETES
}

fn allowed_sandbox(judge: &Judge, record: &ImageRecord) -> Answered {
    let (reference, trust) = (image_for_people(record), judge.trust());
    let input = VerdictInput { reference: &reference, artifact: &record.target, trust: &trust, now: clock::now() };
    let reason = "it is a pod's sandbox, and `run.sandbox` allows those";
    Answered { verdict: Arc::new(Verdict::deferred(input, Code("sandbox-allowed"), reason)), cached: false }
}

/// The verdict about something that did not come as far as its signatures, or whose signatures are not enough.
fn refuse(judge: &Judge, reference: &str, artifact: Option<&Descriptor>, problem: &Problem) -> Answered {
    let trust = judge.trust();
    let nothing = nothing();
    let artifact = artifact.unwrap_or(&nothing);
    let input = VerdictInput { reference, artifact, trust: &trust, now: clock::now() };
    let stated = verify::Problem::of(problem);
    let verdict = match problem.answer() {
        Answer::Deny => Verdict::refused_unseen(input, Check::RootFilesystem, stated),
        _ => Verdict::unavailable(input, None, stated),
    };
    Answered { verdict: Arc::new(verdict), cached: false }
}

/// What stands for an image where there is none: the image specification's empty descriptor.
fn nothing() -> Descriptor {
    Descriptor::of(media_type::EMPTY, b"{}")
}

fn for_people(question: &StartQuestion) -> String {
    format!("container {}", excerpt(&question.container))
}

pub(super) fn image_for_people(record: &ImageRecord) -> String {
    let name = excerpt(&record.name);
    if name.contains('@') { name } else { format!("{name}@{}", record.target.digest) }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
