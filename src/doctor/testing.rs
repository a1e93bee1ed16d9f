//! A node as `pratique install` leaves it, to change one fact of.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::*;
use crate::effective::{Effective, Version};

const INSTALLED: &str = r#"
[grpc]
address = "/run/containerd/containerd.sock"
[proxy_plugins.pratique]
type = "diff"
address = "/run/pratique/diff.sock"
[proxy_plugins.pratique-transfer]
type = "diff"
address = "/run/pratique/diff-transfer.sock"
[plugins."io.containerd.service.v1.diff-service"]
default = ["pratique", "walking"]
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
snapshotter = "overlayfs"
differ = "pratique-transfer"
[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "/opt/containerd/image-verifier/bin"
max_verifiers = 10
per_verifier_timeout = "10s"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options = { BinaryName = "/opt/containerd/bin/runc" }
"#;

/// A node where everything is as it should be.
pub(super) fn well() -> Facts {
    let part = |kind: &str, name: &str| Part { kind: kind.into(), name: name.into(), fault: None };
    let socket = |name: &str| Socket { path: format!("/run/pratique/{name}").into(), listener: Listener::Daemon };
    Facts {
        version: Version { major: 2, minor: 1 },
        effective: Effective::new(INSTALLED.parse().unwrap()),
        parts: Some(vec![
            part("io.containerd.differ.v1", "pratique"),
            part("io.containerd.differ.v1", "pratique-transfer"),
            part("io.containerd.snapshotter.v1", "overlayfs"),
        ]),
        verifiers: Some(VerifierDirectory {
            path: "/opt/containerd/image-verifier/bin".into(),
            programs: Some(vec![Program { name: "00-pratique".into(), is_executable: true, is_ours: true }]),
        }),
        runtimes: vec![RuntimePath { path: "/opt/containerd/bin/runc".into(), lies: Lying::Ours }],
        sockets: ["hook.sock", "diff.sock", "diff-transfer.sock", "pratiqued.sock"].map(socket).into(),
        daemon: Ok(Daemon { mode: "enforce".into(), reload_error: String::new() }),
        node: Some(Node {
            sockets: "/run/pratique".into(),
            containerd: "/run/containerd/containerd.sock".into(),
            choices: BTreeSet::new(),
            builders: Vec::new(),
            pinned: 0,
            local_scope: None,
        }),
        anchors: Vec::new(),
        permissions: vec![Permissions {
            path: "/run/containerd/containerd.sock".into(),
            mode: 0o660,
            user: 0,
            group: 0,
        }],
        attempts: Vec::new(),
        unknown: Vec::new(),
    }
}

/// The same with one thing changed.
pub(super) fn change(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = well();
    change(&mut facts);
    facts
}

/// The same, whose configuration says this besides.
pub(super) fn table(name: &str, lines: &str) -> Facts {
    let header = if name.is_empty() { String::new() } else { format!("[{name}]\n") };
    let more: Table = format!("{header}{lines}\n").parse().unwrap();
    change(|facts| {
        let mut whole = facts.effective.table().clone();
        merge(&mut whole, more);
        facts.effective = Effective::new(whole);
    })
}

/// The same, whose configuration does not say this.
pub(super) fn without(path: &[&str]) -> Facts {
    change(|facts| {
        let mut whole = facts.effective.table().clone();
        let (last, parents) = path.split_last().unwrap();
        let parent = parents.iter().fold(&mut whole, |table, key| table.get_mut(*key).unwrap().as_table_mut().unwrap());
        parent.remove(*last).unwrap();
        facts.effective = Effective::new(whole);
    })
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// A node with one thing wrong at each gate.
pub(super) fn everything_wrong() -> Facts {
    let mut facts = table("plugins.'io.containerd.cri.v1.images'", "use_local_image_pull = true");
    facts.verifiers.as_mut().unwrap().programs = None;
    facts.runtimes[0].lies = Lying::Missing;
    facts.sockets[0].listener = Listener::Absent;
    facts.sockets[1].listener = Listener::Stranger(1);
    facts.permissions[0].mode = 0o666;
    facts.node.as_mut().unwrap().choices.insert(Choice::Orphans);
    facts.anchors = vec![Anchor { store: "ca:acme".into(), subject: "CN=root".into(), days_left: None }];
    facts.attempts = vec![Attempt { what: "import", is_signed: false, ended: Ended::LetIn }];
    facts
}

pub(super) fn found(facts: &Facts) -> Vec<Finding> {
    examine(facts).findings
}

/// The codes of all that calls for somebody.
pub(super) fn codes(facts: &Facts) -> Vec<&'static str> {
    let calls = found(facts).into_iter().filter(|finding| finding.severity != Severity::Note);
    calls.map(|finding| finding.code.as_str()).collect()
}
