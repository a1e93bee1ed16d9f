//! Nothing goes through when pratique cannot tell: neither it nor the registry need be up for the gate to hold.

use std::thread;

use crate::containerd::{Client, Inventory};
use crate::faults::{Answers, FaultyRegistry};
use crate::notation::trusting;
use crate::scene::{RELEASE, Refusal, Scene};

const UNREACHABLE: Refusal<'_> = Refusal::CouldNotTell(&["daemon-unreachable"]);

#[test]
fn a_registry_that_answers_500_is_no_reason_to_admit() {
    let scene = Scene::new();
    let registry = FaultyRegistry::start(scene.registry(), Answers::ServerError);
    let image = scene.signed("app", "app").at(&registry.host());
    scene.refuses(&image, Refusal::CouldNotTell(&["registry-server-error"]));
    registry.now_answers(Answers::Truly);
    scene.admits(&image);
}

#[test]
fn a_registry_that_never_answers_is_no_reason_to_admit() {
    let scene = Scene::prepared("1s", |notation| notation.set_policy(&trusting(RELEASE)));
    let registry = FaultyRegistry::start(scene.registry(), Answers::Never);
    let image = scene.signed("app", "app").at(&registry.host());
    scene.refuses(&image, Refusal::CouldNotTell(&["registry-timeout", "timed-out"]));
    registry.now_answers(Answers::Truly);
    scene.admits(&image);
}

#[test]
fn a_daemon_that_was_stopped_is_no_reason_to_admit() {
    let mut scene = Scene::new();
    let image = scene.signed("app", "app");
    scene.daemon.stop();
    scene.refuses(&image, UNREACHABLE);
    scene.daemon.start_again();
    scene.admits(&image);
}

#[test]
fn a_containerd_that_was_restarted_still_asks() {
    let mut scene = Scene::new();
    let signed = scene.signed("app", "signed");
    let unsigned = scene.push("app", "unsigned");
    scene.node.restart();
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    scene.admits_and_runs(&signed, "app");
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_pull_is_no_reason_to_admit() {
    for client in Client::ALL {
        let mut scene = Scene::new();
        let registry = FaultyRegistry::start(scene.registry(), Answers::Never);
        let image = scene.signed("app", "app").at(&registry.host());
        let before = Inventory::of(&scene);
        let Scene { daemon, node, .. } = &mut scene;
        let pull = thread::scope(|scope| {
            let pull = scope.spawn(|| client.pull(node, &image));
            // The daemon has the question and waits for the registry: this is the middle.
            registry.wait_for_question();
            daemon.kill();
            pull.join().expect("the pull ends")
        });
        assert!(!pull.succeeded, "{client:?}: pulled although the daemon was killed");
        UNREACHABLE.stands_in(&pull.message, &image);
        assert_eq!(Inventory::of(&scene), before, "{client:?}: the refused pull left something");

        registry.now_answers(Answers::Truly);
        scene.daemon.start_again();
        scene.admits_to(client, &image);
    }
}
