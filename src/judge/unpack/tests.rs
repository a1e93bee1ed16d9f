//! The gate before unpack over a containerd and a registry that do as they are told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use super::super::testing::{self, Store, index, layer, manifest};
use super::*;
use crate::oci::{Blob, Reference};
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
    places: Places::Everywhere,
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
        if from.registry() == "gone.example" {
            return Err(SourceError::Timeout { host: "gone.example".into(), limit: Duration::from_secs(1) });
        }
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
        let store = Arc::new(Store::default());
        let inventory = Arc::new(Inventory::new(Arc::clone(&store) as Arc<dyn crate::source::containerd::Holdings>));
        let judge = testing::judge(policy, Arc::new(Empty));
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
    for name in [digest.as_str(), &format!("import-2026-11-21@{digest}"), "app:v1", "", "moby-dangling", "NO NAME"] {
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
async fn a_registry_that_is_not_to_be_asked_leaves_a_denial_that_says_what_is_missing() {
    let policy = POLICY.replace("registry.example/shut", "gone.example/shut");
    let on_this_node = UnpackOptions { places: Places::ThisNode, ..UNNAMED };
    for (options, answer, code) in
        [(UNNAMED, Answer::Inconclusive, "registry-timeout"), (on_this_node.clone(), Answer::Deny, "no-signature")]
    {
        let scene = Scene::under(&policy, options);
        scene.named("image", "gone.example/shut:v1");
        scene.expect("image", answer, code).await;
    }
    // What the image verifier has found in the registry a moment ago counts all the same.
    let scene = Scene::new(on_this_node);
    let image = manifest("image", &["image"]);
    scene.store.hold(NS, &image);
    let open: Repository = OPEN.parse().unwrap();
    let asked = question_under(&open, image.descriptor(), Places::Everywhere);
    assert_eq!(scene.judge.judge(asked).await.verdict.answer(), Answer::Admit);
    scene.gate.remember(&image.descriptor().digest, &open);
    let answered = scene.ask(Some(NS), "image").await.answered;
    assert_eq!((answered.verdict.answer(), answered.cached), (Answer::Admit, true));
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
