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
                let names = self.names_of(&artifact.digest).into_iter().map(|name| named(&name, artifact));
                for question in names.chain(self.options.local.question(artifact)) {
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
                    outermost_first.flat_map(|artifact| names.iter().map(|name| named(name, artifact))).collect()
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

fn named(repository: &Repository, artifact: &Descriptor) -> Question {
    question_under(repository, artifact, Places::Everywhere)
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
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::super::testing::{Store, index, layer, manifest};
    use super::super::{Bounds, CacheOptions};
    use super::*;
    use crate::oci::{Blob, Reference};
    use crate::policy::{Policy, Trust};
    use crate::source::{Referrers, Source};

    const NS: &str = "default";
    /// A repository whose images are admitted without a signature, and one whose images need one and have none.
    const OPEN: &str = "registry.example:5000/open";
    const SHUT: &str = "registry.example/shut";
    const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [
        {"name": "open", "registryScopes": ["registry.example:5000/open"], "signatureVerification": {"level": "skip"}},
        {"name": "shut", "registryScopes": ["registry.example/shut"], "signatureVerification": {"level": "strict"},
         "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#;
    const UNNAMED: UnpackOptions = UnpackOptions {
        orphan_layers: OrphanLayers::Defer,
        local: LocalImages { scope: None, places: Places::ThisNode },
        registries: Vec::new(),
    };

    /// A registry without signatures, which must not be asked about images that came from none.
    struct Empty;

    #[async_trait]
    impl Source for Empty {
        async fn resolve(&self, _: &Reference) -> Result<Descriptor, SourceError> {
            panic!("a layer's image is never resolved")
        }
        async fn signatures(&self, from: &Repository, _: &Descriptor, _: usize) -> Result<Referrers, SourceError> {
            assert_ne!(from.registry(), "local.example");
            Ok(Referrers::default())
        }
        async fn manifest(&self, _: &Repository, _: &Descriptor) -> Result<Blob, SourceError> {
            panic!("there is none")
        }
        async fn blob(&self, _: &Repository, _: &Descriptor, _: u64) -> Result<Blob, SourceError> {
            panic!("there is none")
        }
    }

    struct Scene {
        store: Arc<Store>,
        judge: Judge,
        gate: UnpackGate,
    }

    impl Scene {
        fn new(options: UnpackOptions) -> Self {
            Self::under(POLICY, options)
        }

        fn under(policy: &str, options: UnpackOptions) -> Self {
            let stores = BTreeMap::from([("ca:acme".parse().unwrap(), Ok(Vec::new()))]);
            let trust = Trust::new(Policy::parse(policy.as_bytes()).unwrap(), stores, "test".into());
            let minute = Duration::from_secs(60);
            let bounds = Bounds { total_timeout: minute, max_signatures: 10, envelope_size: 1024 };
            let cache = CacheOptions { max_age: minute, denied_for: minute, capacity: 100 };
            let store = Arc::new(Store::default());
            let inventory =
                Arc::new(Inventory::new(Arc::clone(&store) as Arc<dyn crate::source::containerd::Holdings>));
            let judge = Judge::new(Arc::new(trust), Arc::new(Empty), bounds, cache);
            let judge = judge.looking_first_in(vec![Arc::clone(&inventory) as Arc<dyn Source>]);
            Self { store, judge, gate: UnpackGate::new(inventory, options) }
        }

        /// An image of one layer, with this name.
        fn named(&self, text: &str, name: &str) -> Blob {
            let image = manifest(text, &["base", text]);
            self.store.hold(NS, &image);
            self.store.name(NS, name, &image);
            image
        }

        async fn ask(&self, namespace: Option<&str>, text: &str) -> LayerAnswer {
            let namespace = namespace.map(ToOwned::to_owned);
            self.gate.judge(&self.judge, &LayerQuestion { namespace, layer: layer(text), image: None }).await
        }

        async fn expect(&self, text: &str, answer: Answer, code: &str) {
            let verdict = self.ask(Some(NS), text).await.answered.verdict;
            assert_eq!((verdict.answer(), verdict.code.as_str()), (answer, code), "{}", verdict.one_line());
        }
    }

    fn local(scope: &str) -> UnpackOptions {
        UnpackOptions { local: LocalImages { scope: Some(scope.parse().unwrap()), ..UNNAMED.local }, ..UNNAMED }
    }

    #[tokio::test]
    async fn a_layer_is_unpacked_for_an_admitted_image_and_not_for_a_denied_one() {
        let scene = Scene::new(UNNAMED);
        scene.named("good", &format!("{OPEN}:v1"));
        scene.named("bad", &format!("{SHUT}:v1"));
        scene.expect("good", Answer::Admit, "verification-skipped").await;
        scene.expect("bad", Answer::Deny, "no-signature").await;
        // Both list the base: its bytes are the good image's.
        scene.expect("base", Answer::Admit, "verification-skipped").await;
    }

    #[tokio::test]
    async fn what_speaks_for_an_index_speaks_for_the_manifests_in_it() {
        let scene = Scene::new(UNNAMED);
        let image = manifest("image", &["image"]);
        let outer = index(&[&index(&[&image])]);
        scene.store.hold(NS, &image);
        scene.expect("image", Answer::Deny, "no-local-statement").await;
        scene.store.hold(NS, &index(&[&image]));
        scene.store.hold(NS, &outer);
        scene.store.name(NS, &format!("{OPEN}:v1"), &outer);
        scene.expect("image", Answer::Admit, "verification-skipped").await;
    }

    #[tokio::test]
    async fn the_second_layer_of_an_image_is_answered_without_a_look_at_the_store() {
        let scene = Scene::new(UNNAMED);
        scene.named("good", &format!("{OPEN}:v1"));
        scene.expect("good", Answer::Admit, "verification-skipped").await;
        let lists = scene.store.lists.load(Ordering::Relaxed);
        scene.store.is_down.store(true, Ordering::Relaxed);
        scene.expect("base", Answer::Admit, "verification-skipped").await;
        assert_eq!(scene.store.lists.load(Ordering::Relaxed), lists);
    }

    #[tokio::test]
    async fn the_name_that_the_image_verifier_heard_is_remembered() {
        let scene = Scene::new(UNNAMED);
        let image = manifest("image", &["image"]);
        scene.store.hold(NS, &image);
        scene.expect("image", Answer::Deny, "no-local-statement").await;
        scene.gate.remember(&image.descriptor().digest, &OPEN.parse().unwrap());
        scene.expect("image", Answer::Admit, "verification-skipped").await;
    }

    #[tokio::test]
    async fn labels_tell_the_origin_where_nothing_else_does_and_the_port_is_found_in_the_policy() {
        let scene = Scene::new(UNNAMED);
        for (text, label, path) in [
            ("open", "containerd.io/distribution.source.registry.example", "other,open"),
            ("shut", "containerd.io/distribution.source.registry.example", "shut"),
            ("odd", "containerd.io/distribution.source.registry.example", "UPPER"),
        ] {
            scene.store.hold_labelled(NS, &manifest(text, &[text]), &[(label, path)]);
        }
        scene.expect("open", Answer::Admit, "verification-skipped").await;
        scene.expect("shut", Answer::Deny, "no-signature").await;
        scene.expect("odd", Answer::Deny, "no-local-statement").await;
    }

    #[tokio::test]
    async fn names_of_clients_own_making_are_no_origin() {
        let digest = Digest::sha256(b"x");
        for name in [digest.as_str(), &format!("import-2026-11-21@{digest}"), "app:v1", "", "moby-dangling", "NO NAME"]
        {
            let scene = Scene::new(UNNAMED);
            scene.named("image", name);
            scene.expect("image", Answer::Deny, "no-local-statement").await;
        }
    }

    #[tokio::test]
    async fn an_image_without_origin_is_judged_by_the_statement_for_local_images() {
        let scene = Scene::new(local(OPEN));
        scene.store.hold(NS, &manifest("image", &["image"]));
        scene.expect("image", Answer::Admit, "verification-skipped").await;
        // One with an origin is not: its name chooses.
        scene.named("named", &format!("{SHUT}:v1"));
        scene.expect("named", Answer::Deny, "no-signature").await;

        let policy = POLICY.replace("registry.example/shut", "local.example/images");
        let scene = Scene::under(&policy, local("local.example/images"));
        scene.store.hold(NS, &manifest("image", &["image"]));
        scene.expect("image", Answer::Deny, "no-signature").await;

        let scene = Scene::new(local("local.example/images"));
        scene.store.hold(NS, &manifest("image", &["image"]));
        scene.expect("image", Answer::Deny, "no-policy-statement").await;
    }

    #[tokio::test]
    async fn a_layer_of_no_image_is_deferred_or_denied_as_the_operator_says() {
        let scene = Scene::new(UNNAMED);
        scene.expect("orphan", Answer::Admit, "orphan-layer-deferred").await;
        let scene = Scene::new(UnpackOptions { orphan_layers: OrphanLayers::Deny, ..UNNAMED });
        scene.expect("orphan", Answer::Deny, "orphan-layer").await;
    }

    #[tokio::test]
    async fn a_layer_that_an_unreadable_manifest_lists_is_no_orphan() {
        let digest = layer("image").digest;
        let unreadable = Blob::of("any", b"{\"Layers\": 1}".to_vec());
        for (label, is_claim) in [
            ("containerd.io/gc.ref.content.l.0", true),
            ("containerd.io/gc.ref.content.7", true),
            ("containerd.io/gc.ref.content.config", false),
            ("containerd.io/gc.ref.snapshot.overlayfs", false),
        ] {
            let scene = Scene::new(UNNAMED);
            scene.store.hold_labelled(NS, &unreadable, &[(label, digest.as_str())]);
            let (answer, code) =
                if is_claim { (Answer::Deny, "manifest-unreadable") } else { (Answer::Admit, "orphan-layer-deferred") };
            scene.expect("image", answer, code).await;
        }
    }

    #[tokio::test]
    async fn without_a_namespace_all_are_searched_and_with_one_no_other_is() {
        let scene = Scene::new(UNNAMED);
        scene.named("image", &format!("{OPEN}:v1"));
        let answer = scene.ask(None, "image").await;
        assert_eq!((answer.answered.verdict.answer(), answer.namespace.as_deref()), (Answer::Admit, Some(NS)));
        let answer = scene.ask(Some("moby"), "image").await;
        assert_eq!(answer.answered.verdict.code.as_str(), "orphan-layer-deferred");
    }

    #[tokio::test]
    async fn a_containerd_that_is_away_is_no_reason_to_unpack() {
        let scene = Scene::new(UNNAMED);
        scene.store.is_down.store(true, Ordering::Relaxed);
        scene.expect("image", Answer::Inconclusive, "containerd-unreachable").await;
        scene.store.is_down.store(false, Ordering::Relaxed);
        scene.named("image", &format!("{OPEN}:v1"));
        scene.expect("image", Answer::Admit, "verification-skipped").await;
    }

    #[tokio::test]
    async fn a_layer_that_too_many_denied_images_share_is_left_open() {
        let scene = Scene::new(UNNAMED);
        for number in 0..=MAX_JUDGED {
            scene.named(&number.to_string(), &format!("{SHUT}:v{number}"));
        }
        scene.expect("0", Answer::Deny, "no-signature").await;
        scene.expect("base", Answer::Inconclusive, "too-many-images").await;
    }

    #[tokio::test]
    async fn a_known_layer_is_answered_within_a_millisecond_at_three_thousand_blobs() {
        let scene = Scene::new(UNNAMED);
        for number in 0..1000 {
            let image = scene.named(&format!("image-{number}"), &format!("{OPEN}:v{number}"));
            scene.store.hold(NS, &Blob::of("config", format!("config-{number}").into_bytes()));
            scene.store.hold(NS, &Blob::of("layer", format!("layer-{number}").into_bytes()));
            scene.gate.remember(&image.descriptor().digest, &OPEN.parse().unwrap());
        }
        scene.expect("image-500", Answer::Admit, "verification-skipped").await;
        let mut took: Vec<Duration> = Vec::new();
        for _ in 0..101 {
            let began = std::time::Instant::now();
            scene.expect("image-500", Answer::Admit, "verification-skipped").await;
            took.push(began.elapsed());
        }
        took.sort();
        assert!(took[50] < Duration::from_millis(1), "{took:?}");
    }
}
