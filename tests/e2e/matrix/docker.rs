//! The ways of docker, with its images in containerd's store. It unpacks by itself and asks no image verifier.

use std::fs;
use std::process::Command;

use super::Fate::{Refused, Runs};
use super::Gate::{Run, Unpack};
use super::{Cast, Deviations, Fate, Kind, Role, settings};
use crate::node::{Image, Node};
use crate::scene::{RELEASE, Scene};
use crate::tools::{attempt, own};

/// How an image comes to docker, which then runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Pull,
    /// `docker load`, which calls it a success when the image could not be unpacked; running it unpacks it.
    Load,
    /// `docker run` alone.
    Run,
}

/// What becomes of the admitted, the unsigned and the evil image.
const TABLE: [(Way, [Fate; 3]); 3] = [
    (Way::Pull, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::Load, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::Run, [Runs, Refused(Unpack), Refused(Run)]),
];

/// A node with docker.
pub(super) fn scene() -> Scene {
    let mut node = Node::start();
    node.start_docker();
    Scene::guarded_on(node, settings)
}

#[test]
fn every_way_of_docker() {
    let scene = scene();
    let mut deviations = Deviations::default();
    for (way, fates) in TABLE {
        // docker has one namespace, so each row needs layers of its own.
        let cast = Cast::new(&scene, &format!("{way:?}").to_lowercase());
        for (kind, expected) in Kind::ALL.into_iter().zip(fates) {
            let role = cast.role(kind);
            let answer = take(&scene, way, role).and_then(|()| run(&scene, &role.image.reference)).map(Some);
            deviations.compare(&format!("{way:?} of {}", kind.name()), expected, role, &answer);
        }
    }
    deviations.none();
    let left = scene.try_docker(&["ps", "--all", "--quiet"]).expect("docker lists its containers");
    assert_eq!(left, "");
}

fn take(scene: &Scene, way: Way, role: &Role) -> Result<(), String> {
    let reference = &role.image.reference;
    match way {
        Way::Pull => scene.try_docker(&["pull", "--quiet", reference]).map(|_| ()),
        Way::Load => {
            let archive = role.archive.named(reference).archive();
            scene.try_docker(&["load", "--input", archive.to_str().expect("plain characters")]).map(|_| ())
        }
        Way::Run => Ok(()),
    }
}

pub(super) fn run(scene: &Scene, reference: &str) -> Result<String, String> {
    run_with(scene, &[], reference, &[])
}

/// `docker run` with these options, and this command in the place of the image's.
pub(super) fn run_with(scene: &Scene, options: &[&str], reference: &str, command: &[&str]) -> Result<String, String> {
    let run: &[&str] = &["run", "--rm", "--quiet", "--network", "none"];
    let printed = scene.try_docker(&[run, options, &[reference], command].concat());
    printed.map(|printed| printed.trim_end().to_owned())
}

/// Pushes an image that docker has made, and signs it in the registry.
pub(super) fn push_and_sign(scene: &Scene, reference: &str) {
    scene.try_docker(&["push", "--quiet", reference]).expect("the image is there");
    let listed = scene.try_ctr("moby", &["images", "ls", &format!("name=={reference}")]).expect("the image is there");
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest").to_owned();
    scene.notation.sign(&Image { reference: reference.to_owned(), digest }, RELEASE, &[]);
}

/// Has docker build an image under this name in the registry.
fn build(scene: &Scene, name: &str, lines: &[&str]) -> Result<String, String> {
    let context = scene.folder().join(format!("build-{name}"));
    fs::create_dir_all(&context).expect("the folder can be made");
    fs::write(context.join("Dockerfile"), lines.join("\n")).expect("the folder can be written");
    let reference = format!("{}/demo/{name}:v1", scene.registry());
    let context = context.to_str().expect("a path of plain characters");
    scene.try_docker(&["build", "--quiet", "--network", "none", "--tag", &reference, context]).map(|_| reference)
}

#[test]
fn nothing_is_built_from_an_image_without_signature() {
    let scene = scene();
    let unsigned = scene.push("other", "unsigned");
    let from = format!("FROM {}", unsigned.reference);
    let message = build(&scene, "built", &[&from, "RUN /bin/true"]).expect_err("nobody has signed the base");
    assert!(message.contains("could not tell: ") && message.contains(&unsigned.digest), "{message}");
}

#[test]
fn what_was_built_from_an_evil_image_does_not_run() {
    let scene = scene();
    let Cast { admitted, evil, .. } = Cast::new(&scene, "base");
    for role in [&admitted, &evil] {
        take(&scene, Way::Pull, role).expect("its layers are those of the admitted image");
    }
    // No layer is new, so nothing is unpacked and nobody is asked before a start.
    let from = format!("FROM {}", evil.image.reference);
    let reference = build(&scene, "built", &[&from, "CMD [\"/bin/echo\", \"built\"]"]).expect("nothing is unpacked");
    let message = run(&scene, &reference).expect_err("nobody has signed what was built");
    assert!(message.contains(Run.introduction()) && message.contains("[no-signature]"), "{message}");
}

#[test]
fn what_was_built_from_an_admitted_image_runs_when_it_is_signed_and_not_before() {
    let scene = scene();
    let app = scene.signed("app", "app");
    let from = format!("FROM {}", app.reference);
    let lines = [&*from, "RUN /bin/touch /built", "CMD [\"/bin/ls\", \"/built\"]"];
    // The build itself goes through; what it has made is refused when docker unpacks it.
    let message = build(&scene, "built", &lines).expect_err("nobody has signed what was built");
    assert!(message.contains("[no-signature]") && message.contains("demo/built@"), "{message}");
    let reference = format!("{}/demo/built:v1", scene.registry());
    let message = run(&scene, &reference).expect_err("nobody has signed what was built");
    assert!(message.contains("[no-signature]"), "{message}");

    push_and_sign(&scene, &reference);
    assert_eq!(run(&scene, &reference).as_deref(), Ok("/built"));
}

#[test]
fn what_was_built_runs_once_it_is_signed_on_this_node_and_no_registry_has_it() {
    let scene = scene();
    let app = scene.signed("app", "app");
    let lines = [&*format!("FROM {}", app.reference), "RUN /bin/touch /built", "CMD [\"/bin/ls\", \"/built\"]"];
    build(&scene, "built", &lines).expect_err("nobody has signed what was built");
    let reference = format!("{}/demo/built:v1", scene.registry());
    let message = run(&scene, &reference).expect_err("nobody has signed what was built");
    assert!(message.contains("[no-signature]"), "{message}");

    let mut sign = Command::new(own("pratique"));
    sign.env("PRATIQUE_NOTATION_DIR", scene.notation.dir()).env("CONTAINERD_ADDRESS", scene.socket());
    attempt(sign.args(["sign", "--key", RELEASE, &format!("containerd:moby/{reference}")])).expect("it is signed");
    assert_eq!(run(&scene, &reference).as_deref(), Ok("/built"));
}
