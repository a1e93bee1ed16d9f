//! `pratique install` puts the gate in front of a containerd that has none, and `uninstall` takes exactly that back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::containerd::Client;
use crate::scene::{Refusal, Scene};
use crate::tools::{own, succeed};

#[test]
fn install_puts_the_gate_before_every_pull_and_uninstall_takes_exactly_that_back() {
    let mut scene = without_gate();
    let before = files(&scene.dir());
    let unsigned = scene.push("app", "unsigned");
    let signed = scene.signed("app", "signed");

    succeed(&mut install(&scene, &["--dry-run"]));
    assert_eq!(files(&scene.dir()), before, "a dry run changes nothing");

    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    scene.admits(&signed);

    let again = succeed(&mut install(&scene, &[]));
    assert!(again.contains("nothing to change"), "{again}");

    succeed(pratique("uninstall", &scene).arg("--dry-run"));
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    succeed(&mut pratique("uninstall", &scene));
    assert_eq!(files(&scene.dir()), before, "what was installed is gone, and nothing else");
    scene.node.restart();
    scene.admits(&unsigned);
}

#[test]
fn a_containerd_that_was_installed_into_refuses_pulls_while_the_daemon_is_down() {
    let mut scene = without_gate();
    let signed = scene.signed("app", "signed");
    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    scene.daemon.stop();
    scene.refuses_to(Client::Ctr, &signed, Refusal::CouldNotTell(&["daemon-unreachable"]));
    scene.daemon.start_again();
    scene.admits(&signed);
}

/// A node whose containerd asks nobody.
fn without_gate() -> Scene {
    let scene = Scene::new();
    fs::remove_file(scene.dir().join("verifiers/00-pratique")).expect("the node has a verifier");
    scene
}

fn install(scene: &Scene, options: &[&str]) -> Command {
    let mut command = pratique("install", scene);
    command.arg("--verifier").arg(own("pratique-verifier")).args(options);
    command.arg("--socket").arg(scene.folder().join("run/hook.sock"));
    command
}

fn pratique(direction: &str, scene: &Scene) -> Command {
    let mut command = Command::new(own("pratique"));
    command.arg(direction).arg("--containerd-config").arg(scene.dir().join("containerd.toml"));
    command.arg("--state-dir").arg(scene.folder().join("state"));
    command
}

/// Everything that an installation may touch: the configuration, its drop-ins, the verifiers.
fn files(node: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let in_folders = ["conf.d", "verifiers"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(node.join(folder)).expect("the node's folder can be read");
        entries.map(|entry| entry.expect("an entry").path())
    });
    let all = in_folders.chain([node.join("containerd.toml")]);
    all.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}
