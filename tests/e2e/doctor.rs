//! `pratique doctor` looks at a real containerd: one that was installed into, and one that was not.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::install::{install, pratique_for, without_gate};
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
    assert_eq!(codes(&scene), ["daemon-down"; 4]);
    scene.daemon.start_again();
    fs::remove_file(scene.dir().join("opt/bin/runc")).expect("it was installed");
    assert_eq!(codes(&scene), ["runtime-link-missing", "handler-runtime-missing"]);
    succeed(&mut install(&scene, &[]));
    assert_eq!(codes(&scene), [""; 0]);
}

/// What calls for somebody. The node's own containerd is root's alone; docker's socket is none of its business.
fn codes(scene: &Scene) -> Vec<String> {
    let output = run(&mut doctor(scene, &["--output", "json"]));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(printed["unknown"], Value::Array(Vec::new()));
    let findings = printed["findings"].as_array().expect("a list");
    let calls = findings.iter().filter(|finding| finding["severity"] != "note");
    calls.map(|finding| finding["code"].as_str().expect("a code").to_owned()).collect()
}

pub fn doctor(scene: &Scene, options: &[&str]) -> Command {
    let mut command = pratique_for("doctor", scene);
    command.arg("--containerd").arg(tool("containerd"));
    command.arg("--config").arg(scene.folder().join("config.toml")).args(options);
    command
}
