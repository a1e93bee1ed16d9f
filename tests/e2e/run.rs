//! Is every container asked about before it is started, and is what it is made of the image that was admitted?

use std::process::Command;

use crate::archive::Layout;
use crate::containerd::Client;
use crate::node::Image;
use crate::scene::{Refusal, Scene};
use crate::tools::{layout, run, succeed, text};

const UNSIGNED: Refusal<'_> = Refusal::Denied("no-signature");

fn ctr(scene: &Scene, arguments: &[&str]) -> Result<String, String> {
    let output = run(scene.ctr().args(arguments));
    let (written, said) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(written) } else { Err(written + &said) }
}

fn refused(result: Result<String, String>, code: &str) {
    let message = result.expect_err("the container is refused");
    assert!(message.contains(&format!("[{code}]")), "expected [{code}]: {message}");
    assert!(message.contains("OCI runtime create failed: pratique: "), "{message}");
}

#[test]
fn an_admitted_image_runs_with_either_snapshotter_and_its_evil_twin_does_not() {
    let scene = Scene::guarded("");
    let good = scene.signed("app", "app");
    let evil = Layout::copy(&scene, &layout("app", &[]), "evil").with_other_config("evil");
    let evil = scene.push_layout(evil.path(), "evil");
    scene.admits_and_runs(&good, "app");
    for snapshotter in ["overlayfs", "native"] {
        for image in [&good, &evil] {
            let pull = ["images", "pull", "--local", "--plain-http", "--snapshotter", snapshotter, &image.reference];
            ctr(&scene, &pull).expect("every layer is an admitted image's");
        }
        let start = |image: &Image| scene.try_run("default", &["--snapshotter", snapshotter, &image.reference]);
        assert_eq!(start(&good).as_deref(), Ok("app"), "{snapshotter}");
        let message = start(&evil).expect_err("another config");
        UNSIGNED.stands_in(&message, &evil);
    }
}

#[test]
fn what_is_not_an_image_does_not_run_unless_that_is_allowed() {
    for (settings, is_allowed) in [("", false), ("[run]\nwithout_image = 'allow'\n", true)] {
        let scene = Scene::guarded(settings);
        let root = scene.folder().join("rootfs");
        succeed(Command::new("mkdir").arg("-p").arg(root.join("bin")));
        succeed(Command::new("cp").arg(crate::tools::tool("busybox")).arg(root.join("bin/echo")));
        let id = scene.container_id();
        let mut command = scene.ctr();
        command.args(["run", "--rm", "--runc-root"]).arg(scene.dir().join("runc"));
        command.arg("--fifo-dir").arg(scene.dir().join("fifo")).arg("--rootfs").arg(&root);
        let output = run(command.args([&id, "/bin/echo", "anything"]));
        let (written, said) = (text(&output.stdout), text(&output.stderr));
        if is_allowed {
            assert_eq!(written.trim_end(), "anything", "{said}");
        } else {
            refused(Err(said), "container-without-image");
        }
    }
}

#[test]
fn a_daemon_that_is_down_starts_nothing_and_forgets_nothing() {
    let mut scene = Scene::guarded("");
    let image = scene.signed("app", "app");
    scene.admits_to(Client::Ctr, &image);
    scene.daemon.kill();
    refused(scene.try_run("default", &[&image.reference]), "daemon-unreachable");
    scene.daemon.start_again();
    assert_eq!(scene.run("default", &image), "app");
}
