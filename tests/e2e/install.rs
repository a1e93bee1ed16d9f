//! `pratique install` puts the gates in front of a containerd that has none, and `uninstall` takes exactly that back.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::containerd::Client;
use crate::node::{Image, Node, Version};
use crate::scene::{Refusal, Scene};
use crate::tools::{own, run, succeed, text, tool, tools, wait_until};

#[test]
fn install_puts_every_gate_up_and_uninstall_takes_exactly_that_back() {
    let mut scene = without_gate();
    let before = files(&scene.dir());
    let unsigned = scene.push("app", "unsigned");
    let signed = scene.signed("app", "signed");

    let shown = succeed(&mut install(&scene, &["--dry-run"]));
    assert!(shown.contains("+  differ = \"pratique-transfer\"") && shown.contains("BinaryName = "), "{shown}");
    assert_eq!(files(&scene.dir()), before, "a dry run changes nothing");

    let changed = succeed(&mut install(&scene, &[]));
    assert!(changed.contains("+  max_verifiers = 10") && changed.contains("restart containerd"), "{changed}");
    scene.node.restart();
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    let pulled_by_the_client = pull_local(&scene, &unsigned).expect_err("the layer is refused");
    Refusal::Denied("no-signature").stands_in(&pulled_by_the_client, &unsigned);
    scene.admits_and_runs(&signed, "app");
    assert!(scene.daemon.log().contains("stage=\"run\""), "the runtime is called through our link");

    let again = succeed(&mut install(&scene, &[]));
    assert!(again.contains("nothing to change"), "{again}");
    succeed(pratique_for("uninstall", &scene).arg("--dry-run"));
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    succeed(&mut pratique_for("uninstall", &scene));
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
    assert!(pull_local(&scene, &signed).is_err(), "without a daemon nothing is unpacked");
    scene.daemon.start_again();
    wait_until("containerd has connected to the daemon again", RECONNECT_LIMIT, || pull_local(&scene, &signed).ok());
    scene.admits(&signed);
}

#[test]
fn containerd_1_7_asks_before_it_unpacks_and_before_it_runs() {
    let mut scene = without_gate_on(Version::V1_7);
    let before = files(&scene.dir());
    let unsigned = scene.push("other", "unsigned");
    let signed = scene.signed("app", "signed");
    let changed = succeed(&mut install(&scene, &[]));
    assert!(changed.contains("+      BinaryName = ") && changed.contains("has no image verifiers"), "{changed}");
    scene.node.restart();
    let refused = pull_local(&scene, &unsigned).expect_err("the layer is refused");
    Refusal::Denied("no-signature").stands_in(&refused, &unsigned);
    assert!(!Client::Cri.pull(&scene, &unsigned).succeeded);
    for client in Client::ALL {
        let pull = client.pull(&scene, &signed);
        assert!(pull.succeeded, "{client:?}: {}", pull.message);
    }
    assert_eq!(scene.run("default", &signed), "app");
    assert!(scene.daemon.log().contains("stage=\"run\""), "the runtime is called through our link");
    assert!(succeed(&mut install(&scene, &[])).contains("nothing to change"));
    succeed(&mut pratique_for("uninstall", &scene));
    assert_eq!(files(&scene.dir()), before, "what was installed is gone, and nothing else");
}

#[test]
fn what_containerd_would_read_otherwise_is_not_put_in_place() {
    let scene = without_gate();
    let later = scene.dir().join("conf.d/99-z.toml");
    let differs =
        |list: &str| format!("version = 3\n[plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = {list}\n");
    fs::write(&later, differs("['walking']")).expect("the folder can be written");
    let before = files(&scene.dir());
    let refused = run(&mut install(&scene, &[]));
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(3) && said.contains("[install-not-as-meant]"), "{said}");
    assert_eq!(files(&scene.dir()), before);
    fs::write(&later, differs("['pratique', 'walking']")).expect("the folder can be written");
    succeed(&mut install(&scene, &[]));
}

#[test]
fn a_snapshotter_that_is_gone_leaves_a_containerd_that_starts_and_pulls_nothing() {
    let mut scene = without_gate();
    let signed = scene.signed("app", "signed");
    succeed(&mut install(&scene, &[]));
    scene.node.restart();
    scene.admits(&signed);
    let drop_in = scene.dir().join("conf.d/99-pratique.toml");
    let text = fs::read_to_string(&drop_in).expect("it was installed");
    fs::write(&drop_in, text.replace("\"native\"", "\"blockfile\"")).expect("the folder can be written");
    scene.node.restart();
    for client in Client::ALL {
        assert!(!client.pull(&scene, &signed).succeeded, "{client:?}");
    }
    let unsigned = scene.push("other", "unsigned");
    assert!(pull_local(&scene, &unsigned).is_err(), "the other gates stand");
}

#[test]
fn an_installation_killed_at_any_moment_leaves_a_containerd_that_starts() {
    let mut scene = without_gate();
    let before = files(&scene.dir());
    let signed = scene.signed("app", "signed");
    let unsigned = scene.push("app", "unsigned");
    for direction in ["install", "uninstall"] {
        let whole = Instant::now();
        succeed(&mut command(direction, &scene));
        let whole = whole.elapsed();
        succeed(&mut command(if direction == "install" { "uninstall" } else { "install" }, &scene));
        for moment in 0..KILLS {
            killed_after(&mut command(direction, &scene), whole * moment / KILLS);
            // It reads its whole configuration, and would refuse what it cannot start with.
            succeed(Command::new(tool("containerd")).arg("--config").arg(config(&scene)).args(["config", "dump"]));
            if moment % 10 == 5 {
                scene.node.restart();
            }
        }
        succeed(&mut command(direction, &scene));
        if direction == "install" {
            scene.node.restart();
            scene.refuses_to(Client::Ctr, &unsigned, Refusal::Denied("no-signature"));
            scene.admits_and_runs(&signed, "app");
        }
    }
    assert_eq!(files(&scene.dir()), before, "nothing is left, not half of a file either");
}

/// containerd's longest pause between two attempts to connect is 3 seconds.
const RECONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How often each direction is killed, at moments spread over the time that it takes.
const KILLS: u32 = 40;

fn command(direction: &str, scene: &Scene) -> Command {
    if direction == "install" { install(scene, &[]) } else { pratique_for("uninstall", scene) }
}

/// Kills it after this time with a signal that it cannot hear of.
fn killed_after(command: &mut Command, time: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let until = Instant::now() + time;
    // The moment is what is tried here: there is no condition to wait for.
    while let Some(rest) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(rest);
    }
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
}

/// A node whose containerd asks nobody.
pub fn without_gate() -> Scene {
    without_gate_on(Version::V2_1)
}

pub fn without_gate_on(version: Version) -> Scene {
    let scene = Scene::plain_on(Node::start_with(version));
    fs::remove_file(scene.dir().join("verifiers/00-pratique")).expect("the node has a verifier");
    scene
}

pub fn install(scene: &Scene, options: &[&str]) -> Command {
    let mut command = pratique_for("install", scene);
    command.arg("--containerd").arg(scene.own_tool("containerd"));
    command.arg("--verifier").arg(own("pratique-verifier")).arg("--runtime").arg(own("pratique-runtime"));
    command.arg("--socket").arg(scene.folder().join("run/hook.sock")).args(options);
    command
}

pub fn pratique_for(direction: &str, scene: &Scene) -> Command {
    let mut command = Command::new(own("pratique"));
    command.arg(direction).arg("--state-dir").arg(scene.folder().join("state"));
    command.arg("--containerd-config").arg(config(scene));
    // Where the real runtime is.
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [tools().join("bin")].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(directories).expect("plain paths"));
    command
}

fn config(scene: &Scene) -> PathBuf {
    scene.dir().join("containerd.toml")
}

/// `ctr` pulls by itself, into a namespace of its own.
fn pull_local(scene: &Scene, image: &Image) -> Result<(), String> {
    let mut ctr = scene.ctr();
    let output = run(ctr.args(["--namespace", "local", "images", "pull", "--local", "--plain-http", &image.reference]));
    output.status.success().then_some(()).ok_or_else(|| text(&output.stdout) + &text(&output.stderr))
}

/// Everything that an installation may touch, and what it might leave there: configuration, drop-ins, verifiers, links.
fn files(node: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<PathBuf> = ["conf.d", "verifiers", "opt"].map(|folder| node.join(folder)).into();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("the node's folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.insert(path.clone(), Vec::new());
                pending.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    let beside = fs::read_dir(node).expect("the node's folder can be read");
    let names = beside.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    found.extend(names.map(|path| (path.clone(), fs::read(&path).expect("a file"))));
    found
}
