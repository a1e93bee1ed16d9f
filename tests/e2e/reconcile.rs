//! Is what comes past the gates found afterwards?

use std::time::Duration;

use crate::containerd::{Client, Inventory};
use crate::node::Image;
use crate::scene::Scene;
use crate::tools::{run, succeed, text, tool, wait_until};

/// Events come within milliseconds; the machine may be busy.
const FOUND_LIMIT: Duration = Duration::from_secs(20);

/// Waits for a line of the daemon's log with all of these.
fn found(scene: &Scene, parts: &[&str]) {
    wait_until("it is found", FOUND_LIMIT, || {
        let log = scene.daemon.log();
        let is_it = |line: &&str| line.contains("stage=\"reconcile\"") && parts.iter().all(|part| line.contains(part));
        log.lines().find(is_it).map(drop)
    });
}

/// Brings the content of an image and its name in, without unpacking it: nobody is asked about that.
fn fetch(scene: &Scene, image: &Image) {
    succeed(scene.ctr().args(["content", "fetch", "--plain-http", &image.reference]));
}

fn is_named(scene: &Scene, image: &Image) -> bool {
    Inventory::of(scene).images.contains(&format!("default/{}", image.reference))
}

#[test]
fn a_name_for_an_image_that_nobody_admits_is_found_and_removed_where_that_is_wanted() {
    for (settings, stays) in [("", true), ("reconcile = 'remove'\n", false)] {
        let scene = Scene::guarded(settings);
        let (good, bad) = (scene.signed("app", "signed"), scene.push("other", "unsigned"));
        fetch(&scene, &good);
        fetch(&scene, &bad);
        found(&scene, &[&bad.digest, "[no-signature]", if stays { "found: denied" } else { "found and removed" }]);
        wait_until("the record is as it should be", FOUND_LIMIT, || (is_named(&scene, &bad) == stays).then_some(()));
        assert!(is_named(&scene, &good), "an admitted image keeps its name");
        assert!(!scene.daemon.log().lines().any(|line| line.contains("reconcile") && line.contains(&good.digest)));
    }
}

#[test]
fn what_happened_while_the_daemon_was_down_is_found_when_it_is_back() {
    let mut scene = Scene::guarded("");
    let bad = scene.push("other", "unsigned");
    scene.daemon.stop();
    fetch(&scene, &bad);
    scene.daemon.start_again();
    found(&scene, &[&bad.digest, "[no-signature]"]);
}

#[test]
fn content_that_is_committed_under_the_name_of_layers_is_found() {
    let scene = Scene::guarded("");
    let chain = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image = scene.signed("app", "app");
    scene.admits_to(Client::Ctr, &image);
    succeed(scene.ctr().args(["snapshots", "prepare", "poison"]));
    succeed(scene.ctr().args(["snapshots", "commit", &chain, "poison"]));
    // What happened before it has been looked at by then.
    found(&scene, &["[snapshot-not-gated]", &chain]);
    let ungated = scene.daemon.log().lines().filter(|line| line.contains("[snapshot-not-gated]")).count();
    assert_eq!(ungated, 1, "the layers of an admitted image were unpacked through the gate");
}

#[test]
fn a_container_that_is_started_by_another_runtime_is_found() {
    let scene = Scene::guarded("");
    let image = scene.signed("app", "app");
    scene.admits_and_runs(&image, "app");
    let runc = tool("runc").display().to_string();
    let id = scene.container_id();
    let mut command = scene.ctr();
    command.args(["run", "--rm", "--runc-binary", &runc, "--runc-root"]).arg(scene.dir().join("runc"));
    let output = run(command.arg("--fifo-dir").arg(scene.dir().join("fifo")).args([&image.reference, &id]));
    assert!(output.status.success(), "a named way round the gate: {}", text(&output.stderr));
    found(&scene, &["[task-not-asked]", &id]);
    let unasked = scene.daemon.log().lines().filter(|line| line.contains("[task-not-asked]")).count();
    assert_eq!(unasked, 1, "those that were started before it had been asked about");
}
