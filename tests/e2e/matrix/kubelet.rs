//! The ways of the kubelet: a pull, a pod's sandbox, its containers, and images as volumes.

use super::Fate::{Refused, Runs};
use super::Gate::{Run, Unpack, Verifier};
use super::{Cast, Deviations, Fate, Kind, Role, leaves_nothing, settings};
use crate::cri::{self, Pod};
use crate::node::{Image, Node};
use crate::scene::{RELEASE, Scene};
use crate::tools::layout;

/// The namespace that containerd keeps the kubelet's images in.
const NAMESPACE: &str = "k8s.io";

/// How an image comes to the node before the kubelet asks for a container of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The kubelet's own pull.
    Pull,
    /// `ctr images pull --local` into the kubelet's namespace.
    SideLoaded,
    /// `ctr images import --no-unpack` into the kubelet's namespace: unpacked when the container is created.
    ImportOnly,
}

/// A row: the way, and what becomes of the admitted, the unsigned and the evil image.
pub(super) type Row = (Way, [Fate; 3]);

const TABLE: [Row; 3] = [
    (Way::Pull, [Runs, Refused(Verifier), Refused(Verifier)]),
    (Way::SideLoaded, [Runs, Refused(Unpack), Refused(Run)]),
    (Way::ImportOnly, [Runs, Refused(Unpack), Refused(Run)]),
];

#[test]
fn every_way_of_the_kubelet() {
    hold(&Scene::guarded_on(Node::start(), settings), &TABLE);
}

/// Every cell of the table is as it says, and nothing is left of pods that have gone.
pub(super) fn hold(scene: &Scene, table: &[Row]) {
    scene.signed_pause();
    let mut deviations = Deviations::default();
    {
        let pod = Pod::start(scene, "pod").expect("the sandbox's image is admitted");
        for (way, fates) in table {
            // All in one namespace, so each row needs layers of its own.
            let cast = Cast::new(scene, &format!("{way:?}").to_lowercase());
            for (kind, expected) in [Kind::Unsigned, Kind::Admitted, Kind::Evil].map(|kind| (kind, fate(*fates, kind)))
            {
                let role = cast.role(kind);
                let answer = take(scene, *way, role).and_then(|()| run(&pod, role));
                deviations.compare(&format!("{way:?} of {}", kind.name()), expected, role, &answer);
            }
        }
    }
    deviations.none();
    leaves_nothing(scene, &[NAMESPACE.to_owned()]);
}

/// The column of a kind of image. The rows here are not taken in the order of the columns: the evil image comes last.
fn fate(fates: [Fate; 3], kind: Kind) -> Fate {
    let [admitted, unsigned, evil] = fates;
    match kind {
        Kind::Admitted => admitted,
        Kind::Unsigned => unsigned,
        Kind::Evil => evil,
    }
}

fn take(scene: &Scene, way: Way, role: &Role) -> Result<(), String> {
    let archive = role.archive.archive();
    let archive = archive.to_str().expect("a path of plain characters");
    let reference = &role.image.reference;
    let done = match way {
        Way::Pull => return cri::pull(scene, reference).map(|_| ()).map_err(|status| status.message().to_owned()),
        Way::SideLoaded => scene.try_ctr(NAMESPACE, &["images", "pull", "--local", "--plain-http", reference]),
        Way::ImportOnly => {
            let base = role.image.repository();
            scene.try_ctr(NAMESPACE, &["images", "import", "--no-unpack", "--base-name", base, archive])
        }
    };
    done.map(|_| ())?;
    cri::identifier(scene, reference);
    Ok(())
}

fn run(pod: &Pod<'_>, role: &Role) -> Result<Option<String>, String> {
    pod.run(&role.prints, &role.image).map(Some).map_err(|status| status.message().to_owned())
}

#[test]
fn a_container_that_is_asked_for_by_the_images_identifier_is_judged_by_its_name() {
    let scene = Scene::guarded_on(Node::start(), settings);
    scene.signed_pause();
    let Cast { admitted, evil, .. } = Cast::new(&scene, "known");
    let pod = Pod::start(&scene, "pod").expect("the sandbox's image is signed");
    // What a pull answers with is what the kubelet asks for afterwards: the digest of the image's config.
    let identifier = cri::pull(&scene, &admitted.image.reference).expect("the image is signed");
    assert!(identifier.starts_with("sha256:"), "{identifier}");
    let asked_for = Image { reference: identifier, ..admitted.image };
    assert_eq!(pod.run("admitted", &asked_for).expect("the image is signed"), admitted.prints);
    take(&scene, Way::SideLoaded, &evil).expect("its layers are those of the admitted image");
    let identifier = cri::identifier(&scene, &evil.image.reference);
    let asked_for = Image { reference: identifier, ..evil.image.clone() };
    let message = pod.run("evil", &asked_for).expect_err("nobody has signed it").message().to_owned();
    assert_eq!(evil.refusal(&message), Some(Run), "{message}");
}

#[test]
fn a_sandbox_starts_when_its_image_is_signed_and_not_before() {
    let scene = Scene::guarded_on(Node::start(), settings);
    let pause = scene.push_layout(&layout("pause", &["--pause"]), "pause");
    let message = Pod::start(&scene, "early").err().expect("the sandbox's image has no signature").message().to_owned();
    assert!(message.contains("[no-signature]") && message.contains(&pause.digest), "{message}");
    scene.notation.sign(&pause, RELEASE, &[]);
    Pod::start(&scene, "late").expect("the sandbox's image is signed");
}

#[test]
fn an_image_is_a_volume_when_it_is_signed_and_not_otherwise() {
    let scene = Scene::guarded_on(Node::start(), settings);
    scene.signed_pause();
    let app = scene.signed("app", "app");
    let volume = scene.signed("volume", "volume");
    let unsigned = scene.push("other", "unsigned");
    for image in [&app, &volume] {
        cri::pull(&scene, &image.reference).expect("the image is signed");
    }
    let pod = Pod::start(&scene, "pod").expect("the sandbox's image is signed");
    let listed = pod.create_with_volume("signed", &app, &volume).expect("the volume is signed");
    assert!(listed.run().expect("the volume is signed").contains("layers"));

    let fetch = ["content", "fetch", "--plain-http", &unsigned.reference];
    scene.try_ctr(NAMESPACE, &fetch).expect("fetching unpacks nothing");
    cri::identifier(&scene, &unsigned.reference);
    let refused = pod.create_with_volume("unsigned", &app, &unsigned).err().expect("the volume is not signed");
    let message = refused.message();
    assert!(message.contains("[no-signature]") && message.contains(&unsigned.digest), "{message}");
}

#[test]
fn an_evil_image_is_no_volume_and_with_none_allowed_no_other_is() {
    for (settings_for_volumes, code) in
        [("", "image-volume-not-admitted"), ("[run]\nimage_volumes = 'deny'\n", "image-volume-denied")]
    {
        let scene = Scene::guarded_on(Node::start(), |node| settings(node) + settings_for_volumes);
        scene.signed_pause();
        let Cast { admitted, evil, .. } = Cast::new(&scene, "volume");
        take(&scene, Way::Pull, &admitted).expect("the image is signed");
        take(&scene, Way::SideLoaded, &evil).expect("its layers are admitted");
        let pod = Pod::start(&scene, "pod").expect("the sandbox's image is signed");
        let container = pod.create_with_volume("evil", &admitted.image, &evil.image).expect("nothing starts yet");
        let message = container.start().expect_err("the volume is not signed").message().to_owned();
        assert!(message.contains(&format!("[{code}]")), "{message}");
        assert_eq!(pod.run("alone", &admitted.image).expect("without the volume"), admitted.prints);
    }
}

#[test]
fn a_decision_says_which_pod_it_is_about() {
    let scene = Scene::guarded_on(Node::start(), settings);
    scene.signed_pause();
    let app = scene.signed("app", "app");
    cri::pull(&scene, &app.reference).expect("the image is signed");
    let pod = Pod::start(&scene, "web-0").expect("the sandbox's image is signed");
    assert_eq!(pod.run("server", &app).expect("the image is signed"), "app");
    let log = scene.daemon.log();
    let start = log.lines().find(|line| line.contains("stage=\"run\"") && line.contains(&app.digest));
    let start = start.unwrap_or_else(|| panic!("no decision about {}: {log}", app.digest));
    for told in ["team", "web-0", "server", NAMESPACE] {
        assert!(start.contains(told), "{told}: {start}");
    }
}

#[test]
fn no_pod_starts_while_the_daemon_is_down_and_those_that_run_go_on() {
    let mut scene = Scene::guarded_on(Node::start(), settings);
    scene.signed_pause();
    let app = scene.signed("app", "app");
    cri::pull(&scene, &app.reference).expect("the image is signed");
    let Scene { daemon, node, .. } = &mut scene;
    let pod = Pod::start(node, "early").expect("the sandbox's image is signed");
    daemon.kill();
    let answers = [Pod::start(node, "late").err(), pod.run("late", &app).err(), cri::pull(node, &app.reference).err()];
    for answer in answers {
        let message = answer.expect("nobody can be asked").message().to_owned();
        assert!(message.contains("[daemon-unreachable]"), "{message}");
    }
    daemon.start_again();
    assert_eq!(pod.run("later", &app).expect("the daemon is back"), "app");
}
