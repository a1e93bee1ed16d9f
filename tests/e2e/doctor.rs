//! `pratique doctor` looks at a real containerd: one that was installed into, and one that was not.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::containerd::Inventory;
use crate::install::{install, pratique_for, without_gate, without_gate_on};
use crate::node::Version;
use crate::scene::Scene;
use crate::tools::{run, succeed, text, tool};

#[test]
fn a_node_is_well_once_installed_and_each_thing_taken_away_is_named() {
    let mut scene = without_gate();
    let before = codes(&scene);
    for code in
        ["verifier-not-installed", "differ-missing", "differ-order", "snapshotter-unasked", "runtime-link-missing"]
    {
        assert!(before.contains(&code.to_owned()), "{code} is missing among {before:?}");
    }
    succeed(&mut install(&scene, &[]));
    assert_eq!(codes(&scene), ["containerd-restart-due", "containerd-restart-due"]);
    scene.node.restart();
    let output = run(&mut doctor(&scene, &[]));
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.starts_with("all gates are up (containerd 2.1)"), "{printed}");

    scene.daemon.stop();
    assert_eq!(codes(&scene), ["daemon-down"]);
    scene.daemon.start_again();
    fs::remove_file(scene.dir().join("opt/bin/runc")).expect("it was installed");
    assert_eq!(codes(&scene), ["runtime-link-missing", "handler-runtime-missing"]);
    succeed(&mut install(&scene, &[]));
    assert_eq!(codes(&scene), [""; 0]);
}

#[test]
fn a_canary_gets_through_where_a_gate_is_open_and_nowhere_once_all_are_up() {
    let mut scene = without_gate();
    let signed = scene.signed("app", "signed");
    let before = Inventory::of(&scene);
    assert_eq!(let_in(&scene, &[]), ["pull", "import", "unpack", "run"]);

    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    let output = run(&mut doctor(&scene, &["--canary", "--canary-image", &signed.reference]));
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.starts_with("all gates are up"), "{printed}");
    assert!(printed.contains("canary   an unsigned image was refused: pull, import, unpack, run\n"), "{printed}");
    assert!(printed.contains("canary   the signed image was let in: pull and unpack"), "{printed}");
    assert!(printed.lines().count() <= 24, "it fits one screen: {printed}");

    let other = scene.push("other", "unsigned");
    assert!(tried(&scene, &["--canary-image", &other.reference], "canary-refused"), "an image that has to be let in");
    // Somebody puts the real one back.
    let link = scene.dir().join("opt/bin/runc");
    fs::remove_file(&link).expect("it was installed");
    symlink(tool("runc"), &link).expect("the folder can be written");
    assert_eq!(let_in(&scene, &[]), ["run"]);
    assert_eq!(codes(&scene), ["runtime-link-foreign", "handler-runtime-foreign"]);

    assert_eq!(Inventory::of(&scene), before, "nothing is left");
    let namespaces = succeed(scene.ctr().args(["namespaces", "ls", "-q"]));
    assert!(!namespaces.contains("pratique-canary"), "{namespaces}");
}

#[test]
fn containerd_1_7_has_one_way_in_that_cannot_be_gated() {
    let mut scene = without_gate_on(Version::V1_7);
    assert_eq!(let_in(&scene, &[]), ["unpack", "run"]);
    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    let output = run(&mut doctor(&scene, &["--canary"]));
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("canary   an unsigned image was refused: unpack, run"), "{printed}");
    assert_eq!(codes(&scene), ["transfer-unasked"]);
    assert_eq!(run(&mut doctor(&scene, &["--strict"])).status.code(), Some(1));
}

#[test]
fn a_canary_without_a_daemon_is_refused_by_every_gate_that_asks_it() {
    let mut scene = without_gate();
    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    scene.daemon.stop();
    let printed = json(&scene, &["--canary"]);
    let ended = |what: &str| {
        let attempts = printed["attempts"].as_array().expect("a list");
        attempts.iter().find(|attempt| attempt["what"] == what).expect("it was tried")["ended"].clone()
    };
    assert_eq!((ended("pull"), ended("run")), ("refused".into(), "refused".into()));
    // containerd itself says that nobody listens: nothing gets through, and it is not our line.
    assert_eq!((ended("import"), ended("unpack")), ("failed".into(), "failed".into()));
}

/// The ways in by which a canary got through.
fn let_in(scene: &Scene, options: &[&str]) -> Vec<String> {
    let printed = json(scene, &[&["--canary"], options].concat());
    let attempts = printed["attempts"].as_array().expect("a list").iter();
    let through = attempts.filter(|attempt| attempt["ended"] == "admitted");
    through.map(|attempt| attempt["what"].as_str().expect("a word").to_owned()).collect()
}

/// Whether a canary brings this finding.
fn tried(scene: &Scene, options: &[&str], code: &str) -> bool {
    let printed = json(scene, &[&["--canary"], options].concat());
    printed["findings"].as_array().expect("a list").iter().any(|finding| finding["code"] == code)
}

fn json(scene: &Scene, options: &[&str]) -> Value {
    let output = run(doctor(scene, &["--output", "json"]).args(options));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// What calls for somebody. The node's own containerd is root's alone; docker's socket is none of its business.
fn codes(scene: &Scene) -> Vec<String> {
    let printed = json(scene, &[]);
    assert_eq!(printed["unknown"], Value::Array(Vec::new()));
    let findings = printed["findings"].as_array().expect("a list");
    let calls = findings.iter().filter(|finding| finding["severity"] != "note");
    calls.map(|finding| finding["code"].as_str().expect("a code").to_owned()).collect()
}

fn doctor(scene: &Scene, options: &[&str]) -> Command {
    let mut command = pratique_for("doctor", scene);
    command.arg("--containerd").arg(scene.own_tool("containerd"));
    command.arg("--config").arg(scene.folder().join("config.toml")).args(options);
    command
}
