//! What docker does with its containers: it keeps them when their image's name moves on, makes images of them, mounts
//! images into them, and starts them again.

use std::path::Path;

use super::docker::{push_and_sign, run, run_with, scene};
use super::tricks::write_forgery;
use super::{Cast, Gate};
use crate::scene::Scene;

fn docker(scene: &Scene, arguments: &[&str]) -> String {
    let printed = scene.try_docker(arguments).unwrap_or_else(|message| panic!("docker {arguments:?}: {message}"));
    printed.trim_end().to_owned()
}

/// Makes a container and starts nothing.
fn create(scene: &Scene, name: &str, reference: &str) {
    docker(scene, &["create", "--quiet", "--network", "none", "--name", name, reference]);
}

#[test]
fn a_container_stays_on_its_image_when_the_name_moves_to_another() {
    let scene = scene();
    let [old, new] = ["old", "new"].map(|name| scene.signed(name, name));
    let name = &format!("{}/demo/moving:v1", scene.registry());
    for image in [&old, &new] {
        docker(&scene, &["pull", "--quiet", &image.reference]);
    }
    docker(&scene, &["tag", &old.reference, name]);
    create(&scene, "kept", name);
    docker(&scene, &["tag", &new.reference, name]);
    // Nobody has signed either of them under this name; the one was admitted under its own, and its signature is kept.
    assert_eq!(docker(&scene, &["start", "--attach", "kept"]), "old");
    assert_eq!(run(&scene, name).as_deref(), Ok("new"));
    // And once more, as after a reboot.
    assert_eq!(docker(&scene, &["start", "--attach", "kept"]), "old");
}

#[test]
fn a_name_that_moves_to_an_evil_image_takes_no_container_with_it() {
    let scene = scene();
    let Cast { admitted, evil, .. } = Cast::new(&scene, "moved");
    let name = &format!("{}/demo/moving:v1", scene.registry());
    for role in [&admitted, &evil] {
        docker(&scene, &["pull", "--quiet", &role.image.reference]);
    }
    docker(&scene, &["tag", &admitted.image.reference, name]);
    assert_eq!(run(&scene, name).as_deref(), Ok("moved-admitted"));
    docker(&scene, &["tag", &evil.image.reference, name]);
    let message = run(&scene, name).expect_err("nobody has signed it");
    assert!(message.contains(Gate::Run.introduction()) && message.contains("[no-signature]"), "{message}");
    assert!(message.contains(&evil.image.digest), "{message}");
}

#[test]
fn what_was_committed_from_a_container_runs_when_it_is_signed_and_not_before() {
    let scene = scene();
    let app = scene.signed("app", "app");
    let name = &format!("{}/demo/committed:v1", scene.registry());
    docker(&scene, &["run", "--quiet", "--network", "none", "--name", "made", &app.reference, "/bin/touch", "/made"]);
    docker(&scene, &["commit", "--change", "CMD [\"/bin/ls\", \"/made\"]", "made", name]);
    let message = run(&scene, name).expect_err("nobody has signed it");
    assert!(message.contains(Gate::Run.introduction()) && message.contains("[no-signature]"), "{message}");
    push_and_sign(&scene, name);
    assert_eq!(run(&scene, name).as_deref(), Ok("/made"));
    // docker has put its own snapshot between the layers of what was committed; so it does once more.
    docker(&scene, &["run", "--quiet", "--network", "none", "--name", "again", name, "/bin/touch", "/again"]);
    docker(&scene, &["commit", "--change", "CMD [\"/bin/ls\", \"/made\", \"/again\"]", "again", name]);
    push_and_sign(&scene, name);
    assert_eq!(run(&scene, name).as_deref(), Ok("/again\n/made"));
}

#[test]
fn dockers_own_layer_is_let_through_only_as_docker_makes_it() {
    let scene = scene();
    let app = scene.signed("app", "app");
    docker(&scene, &["pull", "--quiet", &app.reference]);
    create(&scene, "kept", &app.reference);
    assert_eq!(docker(&scene, &["start", "--attach", "kept"]), "app");
    let id = docker(&scene, &["ps", "--all", "--no-trunc", "--quiet"]);
    let mount = scene.try_ctr("moby", &["snapshots", "mounts", "/mnt", &id]).expect("the container has a snapshot");
    let (_, lower) = mount.split_once("lowerdir=").expect("an overlay");
    let own = lower.split([':', ',']).next().expect("docker's own layer comes first");
    assert!(Path::new(own).join(".dockerenv").is_file(), "{own}");
    write_forgery(&Path::new(own).join("bin"));
    let message = scene.try_docker(&["start", "--attach", "kept"]).expect_err("docker has not made that");
    assert!(message.contains("[rootfs-layer-count]"), "{message}");
}

#[test]
fn containers_go_on_while_the_daemon_is_down_and_none_starts() {
    let mut scene = scene();
    let app = scene.signed("app", "app");
    let sleep = ["run", "--quiet", "--detach", "--network", "none", "--name", "kept", &app.reference];
    docker(&scene, &[&sleep, &["/bin/sleep", "1000"][..]].concat());
    scene.daemon.kill();
    assert_eq!(docker(&scene, &["exec", "kept", "/bin/echo", "still here"]), "still here");
    docker(&scene, &["kill", "kept"]);
    for message in [run(&scene, &app.reference), scene.try_docker(&["start", "kept"])].map(Result::unwrap_err) {
        assert!(message.contains(Gate::Run.introduction()) && message.contains("[daemon-unreachable]"), "{message}");
    }
    scene.daemon.start_again();
    docker(&scene, &["start", "kept"]);
    assert_eq!(docker(&scene, &["exec", "kept", "/bin/echo", "back"]), "back");
}

#[test]
fn an_image_that_is_mounted_beside_the_containers_own_is_unpacked_only_when_it_is_signed() {
    let scene = scene();
    let app = scene.signed("app", "app");
    let mounted = |reference: &str| {
        let mount = format!("type=image,source={reference},target=/mnt");
        run_with(&scene, &["--mount", &mount], &app.reference, &["/bin/ls", "/mnt/layers"])
    };
    let volume = scene.signed("volume", "volume");
    docker(&scene, &["pull", "--quiet", &volume.reference]);
    assert_eq!(mounted(&volume.reference).as_deref(), Ok("2"));
    let unsigned = Cast::new(&scene, "mounted").unsigned;
    let archive = unsigned.archive.named(&unsigned.image.reference).archive();
    // docker calls this a success, and unpacks it when it is used.
    docker(&scene, &["load", "--input", archive.to_str().expect("a path of plain characters")]);
    let message = mounted(&unsigned.image.reference).expect_err("nobody has signed it");
    assert_eq!(unsigned.refusal(&message), Some(Gate::Unpack), "{message}");
}
