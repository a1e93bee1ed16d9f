//! May this layer be unpacked?
//!
//! Yes, if an admitted image lists it: then its bytes are vouched for, whichever image it is being unpacked for. What a
//! layer does not tell is the image's name, which chooses the statement of the policy. It is taken from where somebody
//! wrote it down: the image verifier's question, the image record, the labels of its origin. Several names are each
//! judged and one admission is enough, since nothing runs for it: the name that is run is judged on its own. Clients
//! write names, so a name can choose which statement governs, and none can choose that no statement does: an image
//! without any is judged by the statement for local images, and denied where there is none.
//!
//! The signatures on an index admit the manifests that it lists, so an image is asked about under all of them.

mod unanswered;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt};

use self::unanswered::{about_it, about_layer, no_local_statement, too_many, unavailable, unlisted};
use super::inventory::Inventory;
use super::layers::{Listing, MAX_IMAGES};
use super::local::LocalImages;
use super::names::{Names, question_under, repository_of};
use super::{Answered, Judge, Places, Question};
use crate::oci::{Descriptor, Digest, Repository};
use crate::policy::{OrphanLayers, Statement};
use crate::source::SourceError;
use crate::verify::{Answer, Problem};

/// How many images that share a layer are judged for it, the latest first, and under how many names in total. The image
/// that is being unpacked is among the latest; more are judged only while none is admitted.
const MAX_JUDGED: usize = 64;
/// How many are judged at once.
const JUDGED_AT_ONCE: usize = 8;

/// How layers are judged.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// What becomes of a layer that no manifest lists.
    pub orphan_layers: OrphanLayers,
    /// How images are judged that came from no registry.
    pub local: LocalImages,
    /// Where the signatures of the others are looked for.
    pub places: Places,
    /// Registries with their port: where a label names one of these hosts, it may mean this port.
    pub registries: Vec<String>,
}

/// A layer that is to be unpacked.
#[derive(Clone, Debug)]
pub struct LayerQuestion {
    /// The containerd namespace, where the asker says it. Without it, all are searched.
    pub namespace: Option<String>,
    /// The layer.
    pub layer: Descriptor,
    /// The name of the image that it is unpacked for, where the asker says it.
    pub image: Option<String>,
}

/// What becomes of a layer.
#[derive(Clone, Debug)]
pub struct LayerAnswer {
    /// The verdict that decided: about an image that lists the layer, or about the layer where there is none.
    pub answered: Answered,
    /// The containerd namespace in which the image is; none where there is none.
    pub namespace: Option<String>,
    /// The manifest that lists the layer, where an image decided.
    pub manifest: Option<Descriptor>,
}

/// Answers questions about layers.
pub struct UnpackGate {
    inventory: Arc<Inventory>,
    names: Mutex<Names>,
    options: UnpackOptions,
}

/// One question about an image, and where it lies.
struct Asked {
    namespace: String,
    manifest: Descriptor,
    question: Question,
}

impl UnpackGate {
    /// A gate over what containerd holds.
    pub fn new(inventory: Arc<Inventory>, options: UnpackOptions) -> Self {
        Self { inventory, names: Mutex::default(), options }
    }

    /// Keeps under which name an image was let through.
    pub fn remember(&self, image: &Digest, repository: &Repository) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remember(image, repository);
    }

    /// The answer about a layer, within the judge's total time.
    pub async fn judge(&self, judge: &Judge, question: &LayerQuestion) -> LayerAnswer {
        let limit = judge.bounds().total_timeout;
        match tokio::time::timeout(limit, self.decide(judge, question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => about_layer(judge, question, |input| unavailable(input, Problem::of(&error))),
            Err(_) => about_layer(judge, question, |input| unavailable(input, super::timed_out(limit))),
        }
    }

    async fn decide(&self, judge: &Judge, question: &LayerQuestion) -> Result<LayerAnswer, SourceError> {
        let (namespace, layer) = (question.namespace.as_deref(), &question.layer.digest);
        let known = self.inventory.listing(namespace, layer);
        if let Some(answer) = self.known_admission(judge, &known).await {
            return Ok(answer);
        }
        // What is known admits nothing. Before that is said, everything there is must be known.
        let seen = self.inventory.look(namespace, Some(layer)).await?;
        let images = self.inventory.listing(namespace, layer);
        if images.is_empty() {
            let orphans = self.options.orphan_layers;
            return Ok(about_layer(judge, question, |input| unlisted(input, &seen.unreadable, orphans)));
        }
        if let Some(answer) = self.known_admission(judge, &images).await {
            return Ok(answer);
        }
        let is_cut = images.len() > MAX_JUDGED || images.len() >= MAX_IMAGES;
        let latest = images.first().map(|image| image.manifest.clone());
        let asked = self.questions(judge, images, question.image.as_deref()).await?;
        let is_cut = is_cut || asked.len() > MAX_JUDGED;
        let answers = self.ask(judge, asked).await;
        Ok(match closest(answers) {
            Some(answer) if is_cut && answer.answered.verdict.answer() != Answer::Admit => {
                about_layer(judge, question, |input| unavailable(input, too_many(&answer.answered.verdict)))
            }
            Some(answer) => answer,
            None => {
                let about = LayerQuestion { layer: latest.unwrap_or(question.layer.clone()), ..question.clone() };
                about_it(judge, &about, "local image", no_local_statement)
            }
        })
    }

    /// An admission that is known for one of these images, whichever name it was made under. Asks nobody.
    async fn known_admission(&self, judge: &Judge, images: &[Listing]) -> Option<LayerAnswer> {
        for image in images {
            for artifact in family(image) {
                if let Some(answered) = judge.on_boot_floor(&format!("image {}", artifact.digest), artifact) {
                    return Some(of_image(image, answered));
                }
                let names = self.names_of(&artifact.digest);
                let asked = names.iter().flat_map(|name| self.known_under(name, artifact));
                for question in asked.chain(self.options.local.question(artifact)) {
                    if let Some(answered) = judge.known_admission(&question).await {
                        return Some(of_image(image, answered));
                    }
                }
            }
        }
        None
    }

    /// The questions that these images raise, each under every name it has.
    async fn questions(
        &self,
        judge: &Judge,
        images: Vec<Listing>,
        said: Option<&str>,
    ) -> Result<Vec<Asked>, SourceError> {
        let mut asked = Vec::new();
        for image in images.into_iter().take(MAX_JUDGED) {
            let names = self.names(judge, &image, said).await?;
            let questions: Vec<Question> = match names.as_slice() {
                [] => family(&image).filter_map(|artifact| self.options.local.question(artifact)).collect(),
                // What people named is the index, where there is one: its answer is the one to tell.
                names => {
                    let artifacts: Vec<&Descriptor> = family(&image).collect();
                    let outermost_first = artifacts.into_iter().rev();
                    let under = |name, artifact| question_under(name, artifact, self.options.places);
                    outermost_first.flat_map(|artifact| names.iter().map(move |name| under(name, artifact))).collect()
                }
            };
            let manifest = || image.manifest.clone();
            let asking = |question| Asked { namespace: image.namespace.clone(), manifest: manifest(), question };
            asked.extend(questions.into_iter().map(asking));
        }
        Ok(asked)
    }

    /// The repositories that an image is known to come from, under itself or an index that lists it: as it was let
    /// through, as image records have it, and as the asker says; else as labels have it.
    async fn names(&self, judge: &Judge, image: &Listing, said: Option<&str>) -> Result<Vec<Repository>, SourceError> {
        let digests: Vec<Digest> = family(image).map(|artifact| artifact.digest.clone()).collect();
        let mut names: Vec<Repository> = digests.iter().flat_map(|digest| self.names_of(digest)).collect();
        names.extend(self.inventory.recorded(&image.namespace, &digests).await?);
        names.extend(said.and_then(repository_of));
        if names.is_empty() {
            let origins = self.inventory.labelled(&image.namespace, &digests).await?;
            let registries = self.registries(judge);
            names.extend(origins.iter().flat_map(|(host, path)| origin(host, path, &registries)));
        }
        Ok(without_repeats(names))
    }

    /// The registries that are known with a port: from the configuration, and from the scopes of the trust policy.
    fn registries(&self, judge: &Judge) -> Vec<String> {
        let trust = judge.trust();
        let scopes = trust.policy().statements().iter().flat_map(Statement::scopes).map(ToString::to_string);
        let in_policy = scopes.filter_map(|scope| scope.split_once('/').map(|(registry, _)| registry.to_owned()));
        let mut registries: Vec<String> = self.options.registries.iter().cloned().chain(in_policy).collect();
        registries.sort();
        registries.dedup();
        registries
    }

    /// The questions under a name to which the answer may be known: this gate's own, and those of whoever asked with the
    /// registry at hand, such as the image verifier. An admission is one wherever its signature lay.
    fn known_under(&self, repository: &Repository, artifact: &Descriptor) -> Vec<Question> {
        let mut places = vec![Places::Everywhere, self.options.places];
        places.dedup();
        places.into_iter().map(|places| question_under(repository, artifact, places)).collect()
    }

    fn names_of(&self, image: &Digest) -> Vec<Repository> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).of(image).to_vec()
    }

    /// The answers in the order of the questions, up to the first admission to come.
    async fn ask(&self, judge: &Judge, asked: Vec<Asked>) -> Vec<LayerAnswer> {
        let asked = asked.into_iter().take(MAX_JUDGED).enumerate();
        let judged = asked.map(|(place, Asked { namespace, manifest, question })| async move {
            let (digest, repository) = (question.artifact.digest.clone(), question.repository.clone());
            let is_named = self.options.local.scope.as_ref() != Some(&repository);
            let answered = judge.judge(question).await;
            if is_named && answered.verdict.answer() == Answer::Admit {
                self.remember(&digest, &repository);
            }
            (place, LayerAnswer { answered, namespace: Some(namespace), manifest: Some(manifest) })
        });
        let mut judged = stream::iter(judged).buffer_unordered(JUDGED_AT_ONCE);
        let mut answers = BTreeMap::new();
        while let Some((place, answer)) = judged.next().await {
            if answer.answered.verdict.answer() == Answer::Admit {
                return vec![answer];
            }
            answers.insert(place, answer);
        }
        answers.into_values().collect()
    }
}

/// An answer that one of a layer's images gives.
fn of_image(image: &Listing, answered: Answered) -> LayerAnswer {
    LayerAnswer { answered, namespace: Some(image.namespace.clone()), manifest: Some(image.manifest.clone()) }
}

/// The manifest and the indexes that list it. A signature on any of them speaks for the manifest.
fn family(image: &Listing) -> impl Iterator<Item = &Descriptor> {
    std::iter::once(&image.manifest).chain(&image.indexes)
}

/// The repositories that a label can mean: its host has lost the port.
fn origin(host: &str, path: &str, registries: &[String]) -> Vec<Repository> {
    let with_port = |registry: &&String| registry.rsplit_once(':').is_some_and(|(name, _)| name == host);
    let hosts = std::iter::once(host).chain(registries.iter().filter(with_port).map(String::as_str));
    hosts
        .filter_map(|host| {
            let repository: Repository = format!("{host}/{path}").parse().ok()?;
            (repository.registry() == host).then_some(repository)
        })
        .collect()
}

fn without_repeats(names: Vec<Repository>) -> Vec<Repository> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// The admission, if there is one; else what could not be told, since it might have been one; else the denial that came
/// furthest. Of equals, the first.
fn closest(answers: Vec<LayerAnswer>) -> Option<LayerAnswer> {
    let rank = |answer: &LayerAnswer| {
        let verdict = &answer.answered.verdict;
        match verdict.answer() {
            Answer::Admit => 3,
            Answer::Inconclusive => 2,
            Answer::Deny => u8::from(!verdict.signatures.is_empty()),
        }
    };
    // `max_by_key` gives the last of equals.
    answers.into_iter().rev().max_by_key(rank)
}

#[cfg(test)]
mod tests;
