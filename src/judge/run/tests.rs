use std::fs;

use super::super::testing::{OPEN, SHUT, image_of, index, layer};
use super::testing::{NS, OPTIONS, Scene, Unpacked, bind, shown};
use super::*;
use crate::rootfs;
use crate::source::directory;

const STARTS: &str = "verification-skipped";

#[tokio::test]
async fn a_container_of_an_admitted_image_starts_and_of_another_one_does_not() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    assert_eq!(scene.code(&question).await, STARTS);
    let scene = Scene::new();
    let (_, question) = scene.ready(SHUT);
    assert_eq!(scene.code(&question).await, "no-policy-statement");
}

#[tokio::test]
async fn another_config_over_the_same_layers_is_another_image() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    let evil = scene.image(NS, "evil", &["base", "top"]);
    scene.name(NS, SHUT, &evil);
    scene.container(NS, "c1", SHUT);
    assert_eq!(scene.code(&question).await, "no-policy-statement");
}

#[tokio::test]
async fn an_index_is_followed_to_the_manifest_that_the_container_was_made_of() {
    let scene = Scene::new();
    let (image, question) = scene.ready(OPEN);
    let other = scene.image(NS, "arm", &["arm"]);
    let absent = image_of("absent", &["absent"]).1;
    let list = index(&[&absent, &other.manifest, &image.manifest]);
    scene.store.hold(NS, &list);
    let list = Unpacked { manifest: list, chain: image.chain };
    scene.name(NS, OPEN, &list);
    assert_eq!(scene.code(&question).await, STARTS);
    let without = index(&[&absent, &other.manifest]);
    scene.store.hold(NS, &without);
    scene.name(NS, OPEN, &Unpacked { manifest: without, chain: Vec::new() });
    assert_eq!(scene.code(&question).await, "rootfs-other-image");
}

#[tokio::test]
async fn a_name_that_has_moved_and_one_that_is_gone_start_nothing() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    let next = scene.image(NS, "next", &["base", "next"]);
    scene.name(NS, OPEN, &next);
    assert_eq!(scene.code(&question).await, "rootfs-other-image");
    scene.say(|said| said.images.clear());
    assert_eq!(scene.code(&question).await, "image-record-missing");
}

#[tokio::test]
async fn content_under_a_trusted_chain_id_is_not_the_images() {
    let scene = Scene::new();
    let image = scene.image(NS, "app", &["base", "top"]);
    scene.name(NS, OPEN, &image);
    scene.commit(&image);
    scene.container(NS, "c1", OPEN);
    let question = scene.start(NS, "c1", &image.chain);
    assert_eq!(scene.code(&question).await, "rootfs-not-recorded");
    scene.unpack(&image, &["base", "other"]);
    assert_eq!(scene.code(&question).await, "rootfs-other-layer");
}

#[tokio::test]
async fn other_mounts_than_the_snapshots_start_nothing() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    let other = StartQuestion { root: shown("/run/rootfs", "ext4", "rw"), ..question.clone() };
    assert_eq!(scene.code(&other).await, "rootfs-differs");
    scene.say(|said| drop(said.snapshots.remove("c1")));
    assert_eq!(scene.code(&question).await, "snapshot-missing");
}

#[tokio::test]
async fn copied_snapshots_are_followed_one_by_one() {
    let scene = Scene::new();
    let (image, mut question) = scene.ready(OPEN);
    let own = scene.directory("c1");
    scene.say(|said| said.snapshots.get_mut("c1").unwrap().1 = vec![bind(&own)]);
    question.root.found.identity = directory::identity(&own).unwrap();
    assert_eq!(scene.code(&question).await, STARTS);
    let top = image.chain[1].clone();
    scene.say(|said| said.snapshots.get_mut(&top).unwrap().0 = "another".into());
    assert_eq!(scene.code(&question).await, "rootfs-other-image");
}

#[tokio::test]
async fn a_container_that_containerd_does_not_know_is_not_started() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    for (namespace, container) in [("", "c1"), ("other", "c1"), (NS, "c2")] {
        let question = StartQuestion { namespace: namespace.into(), container: container.into(), ..question.clone() };
        assert_eq!(scene.code(&question).await, "container-unknown");
    }
    scene.say(|said| said.is_down = true);
    assert_eq!(scene.code(&question).await, "containerd-unreachable");
}

#[tokio::test]
async fn what_names_no_image_is_started_in_a_builders_namespace_or_where_that_is_allowed() {
    for (options, code) in [
        (OPTIONS, "container-without-image"),
        (RunOptions { without_image: WithoutImage::Allow, ..OPTIONS }, "container-without-image-allowed"),
        (RunOptions { builder_namespaces: vec![NS.into()], ..OPTIONS }, "build-step"),
        (RunOptions { builder_namespaces: vec!["buildkit".into()], ..OPTIONS }, "container-without-image"),
    ] {
        let scene = Scene::with(options);
        let (_, question) = scene.ready(OPEN);
        scene.container(NS, "c1", "");
        assert_eq!(scene.code(&question).await, code);
    }
}

#[tokio::test]
async fn a_sandbox_may_be_let_through_where_it_is_nothing_but_its_image() {
    for (sandbox, namespace, code) in [
        (SandboxImage::Verify, KUBERNETES, "no-policy-statement"),
        (SandboxImage::Allow, KUBERNETES, "sandbox-allowed"),
        (SandboxImage::Allow, NS, "no-policy-statement"),
    ] {
        let scene = Scene::with(RunOptions { sandbox, ..OPTIONS });
        let image = scene.image(namespace, "pause", &["pause"]);
        scene.name(namespace, SHUT, &image);
        scene.unpack(&image, &["pause"]);
        scene.container(namespace, "c1", SHUT);
        let question = StartQuestion { is_sandbox: true, ..scene.start(namespace, "c1", &image.chain) };
        assert_eq!(scene.code(&question).await, code);
        scene.unpack(&image, &["other"]);
        let code = if code == "sandbox-allowed" { "rootfs-mixed" } else { code };
        assert_eq!(scene.code(&question).await, code);
    }
}

#[tokio::test]
async fn an_image_that_is_mounted_into_a_container_is_judged_like_its_own() {
    for (image_volumes, name, code) in [
        (ImageVolumes::Verify, "registry.example/open:data", STARTS),
        (ImageVolumes::Verify, SHUT, "image-volume-not-admitted"),
        (ImageVolumes::Deny, "registry.example/open:data", "image-volume-denied"),
        (ImageVolumes::Allow, SHUT, STARTS),
    ] {
        let scene = Scene::with(RunOptions { image_volumes, ..OPTIONS });
        let (_, mut question) = scene.ready(OPEN);
        let data = scene.image(NS, "data", &["data"]);
        scene.name(NS, name, &data);
        scene.unpack(&data, &["data"]);
        let path = format!("/run/image-volumes/{}", data.manifest.descriptor().digest.hex());
        let root = scene.start(NS, &path, &data.chain).root;
        question.volumes = vec![Directory { path: path.clone(), ..root }];
        assert_eq!(scene.code(&question).await, code, "{name}");
        if code == STARTS && image_volumes == ImageVolumes::Verify {
            question.volumes[0].found.mount = None;
            assert_eq!(scene.code(&question).await, "rootfs-differs");
            question.volumes[0].path = "/run/image-volumes/other".into();
            assert_eq!(scene.code(&question).await, "image-volume-unknown");
        }
    }
}

/// A container as dockerd makes it: its record names no snapshot, and a layer lies between.
fn dockers(scene: &Scene) -> (Unpacked, StartQuestion) {
    let image = scene.image(DOCKER, "app", &["base", "top"]);
    scene.name(DOCKER, OPEN, &image);
    scene.unpack(&image, &["base", "top"]);
    scene.container(DOCKER, "d1", OPEN);
    let key = (DOCKER.to_owned(), "d1".to_owned());
    scene.say(|said| {
        let container = said.containers.get_mut(&key).unwrap();
        (container.snapshotter, container.snapshot_key) = (String::new(), String::new());
    });
    let init = "d1-init".to_owned();
    let below = [image.chain.as_slice(), std::slice::from_ref(&init)].concat();
    let mut question = scene.start(DOCKER, "d1", &below);
    question.root.path = "/var/lib/docker/rootfs/overlayfs/d1".into();
    let top = image.chain[1].clone();
    scene.say(|said| drop(said.snapshots.insert(init, (top, Vec::new()))));
    fs::create_dir_all(scene.directory("d1-init").join("etc")).unwrap();
    fs::write(scene.directory("d1-init").join("etc/hosts"), "").unwrap();
    (image, question)
}

#[tokio::test]
async fn dockers_container_starts_when_what_lies_between_holds_nothing() {
    let scene = Scene::new();
    let (_, question) = dockers(&scene);
    assert_eq!(scene.code(&question).await, STARTS);
    let elsewhere = Directory { path: "/elsewhere/d1".into(), ..question.root.clone() };
    assert_eq!(scene.code(&StartQuestion { root: elsewhere, ..question.clone() }).await, "snapshot-missing");
    fs::write(scene.directory("d1-init").join("etc/hosts"), "6.6.6.6 registry.example").unwrap();
    assert_eq!(scene.code(&question).await, "rootfs-layer-count");
}

#[tokio::test]
async fn dockers_container_starts_again_from_its_image_when_the_tag_has_moved() {
    let scene = Scene::new();
    let (image, question) = dockers(&scene);
    let next = scene.image(DOCKER, "next", &["base", "next"]);
    scene.name(DOCKER, OPEN, &next);
    assert_eq!(scene.code(&question).await, "rootfs-other-image");
    scene.name(DOCKER, "moby-dangling@sha256:0", &image);
    assert_eq!(scene.code(&question).await, STARTS);
    // The name that the container goes by is what is judged.
    let key = (DOCKER.to_owned(), "d1".to_owned());
    scene.say(|said| said.containers.get_mut(&key).unwrap().image = SHUT.into());
    assert_eq!(scene.code(&question).await, "no-policy-statement");
}

#[tokio::test]
async fn a_pinned_image_starts_whatever_the_policy_says_and_only_if_it_is_what_is_mounted() {
    let mut scene = Scene::new();
    let (image, question) = scene.ready(SHUT);
    let floor = [image.manifest.descriptor().digest.clone()].into_iter().collect();
    scene.judge = scene.judge.with_boot_floor(floor);
    assert_eq!(scene.code(&question).await, "boot-floor");
    let other = StartQuestion { root: shown("/run/rootfs", "ext4", "rw"), ..question };
    assert_eq!(scene.code(&other).await, "rootfs-differs");
}

#[tokio::test]
async fn a_layer_that_was_unpacked_into_the_containers_own_directory_starts_nothing() {
    let scene = Scene::new();
    let (_, question) = scene.ready(OPEN);
    let orphan = rootfs::Unpacked { layer: layer("orphan").digest, diff_id: None, vouched_by: None };
    assert_eq!(scene.code(&question).await, STARTS);
    scene.ledger.record(&scene.directory("c1"), &orphan).unwrap();
    assert_eq!(scene.code(&question).await, "rootfs-unpacked-into");
}

#[tokio::test]
async fn a_name_that_pins_a_digest_is_held_to_it() {
    let scene = Scene::new();
    let (image, question) = scene.ready(OPEN);
    let digest = |text: &str| Digest::sha256(text.as_bytes());
    for (pinned, code) in [(image.manifest.descriptor().digest.clone(), STARTS), (digest("another"), "digest-mismatch")]
    {
        let name = format!("registry.example/open@{pinned}");
        scene.name(NS, &name, &image);
        scene.container(NS, "c1", &name);
        assert_eq!(scene.code(&question).await, code);
    }
}

#[tokio::test]
async fn what_an_image_says_of_a_layer_counts_where_the_image_is_admitted_under_the_name_that_is_run() {
    let scene = Scene::new();
    let (image, question) = scene.ready(OPEN);
    let packed_anew = |vouched_by: Option<Descriptor>| {
        let top = scene.directory(&image.chain[1]);
        fs::remove_dir_all(&top).unwrap();
        let unpacked =
            rootfs::Unpacked { layer: layer("packed anew").digest, diff_id: Some(layer("top").digest), vouched_by };
        scene.ledger.record(&scene.directory(&image.chain[1]), &unpacked).unwrap();
    };
    // From the bytes, and from an image that the statement for this name admits.
    for vouched_by in [None, Some(image_of("voucher", &["top"]).1.descriptor().clone())] {
        packed_anew(vouched_by);
        assert_eq!(scene.code(&question).await, STARTS);
    }
    // The same word of an image that is admitted elsewhere: this name needs a pin, and the voucher has none.
    let mut scene = Scene::new();
    let (image, question) = scene.ready(SHUT);
    scene.judge = scene.judge.with_boot_floor([image.manifest.descriptor().digest.clone()].into_iter().collect());
    assert_eq!(scene.code(&question).await, "boot-floor");
    let top = scene.directory(&image.chain[1]);
    fs::remove_dir_all(&top).unwrap();
    let liar = image_of("liar", &["evil"]).1.descriptor().clone();
    let unpacked =
        rootfs::Unpacked { layer: layer("evil").digest, diff_id: Some(layer("top").digest), vouched_by: Some(liar) };
    scene.ledger.record(&scene.directory(&image.chain[1]), &unpacked).unwrap();
    assert_eq!(scene.code(&question).await, "rootfs-other-layer");
}
