//! Is every container asked about before it is started, and is what it is made of the image that was admitted?

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::archive::Layout;
use crate::containerd::Client;
use crate::node::Image;
use crate::scene::{RELEASE, Refusal, Scene};
use crate::tools::{layout, run, succeed, text, tool, wait_until};

const UNSIGNED: Refusal<'_> = Refusal::Denied("no-signature");

/// "No signature" is kept for ten seconds.
const SIGNED_LIMIT: Duration = Duration::from_secs(30);

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
        succeed(Command::new("cp").arg(tool("busybox")).arg(root.join("bin/echo")));
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

/// Takes a repository out of the registry: from now on it knows neither the image nor its signatures.
fn forget(scene: &Scene, name: &str) {
    let repository = scene.dir().join("registry/docker/registry/v2/repositories/demo").join(name);
    fs::remove_dir_all(repository).expect("the registry's folder can be written");
}

#[test]
fn an_image_that_was_admitted_once_starts_without_its_registry_and_one_that_was_not_does_not() {
    let mut scene = Scene::guarded("");
    let (seen, unseen) = (scene.signed("app", "seen"), scene.signed("other", "unseen"));
    scene.admits_to(Client::Ctr, &seen);
    scene.daemon.kill();
    // While nobody is there to look at its name.
    ctr(&scene, &["content", "fetch", "--plain-http", &unseen.reference]).expect("fetching asks nobody");
    for name in ["seen", "unseen"] {
        forget(&scene, name);
    }
    scene.daemon.start_again();
    assert_eq!(scene.run("default", &seen), "app");
    UNSIGNED.stands_in(&scene.try_run("default", &[&unseen.reference]).expect_err("nobody has its signature"), &unseen);
}

#[test]
fn a_pinned_image_starts_without_signature_and_without_registry() {
    let mut scene = Scene::guarded("");
    let (pinned, other) = (scene.push("app", "pinned"), scene.push("other", "other"));
    for image in [&pinned, &other] {
        ctr(&scene, &["content", "fetch", "--plain-http", &image.reference]).expect("fetching asks nobody");
        forget(&scene, image.repository().rsplit_once('/').expect("a path").1);
    }
    scene.daemon.stop();
    scene.daemon.configure(&format!("boot_floor = ['{}']\n", pinned.digest));
    scene.daemon.start_again();
    assert_eq!(scene.run("default", &pinned), "app");
    assert!(scene.daemon.log().contains("[boot-floor]"));
    assert!(scene.try_run("default", &[&other.reference]).is_err(), "its twin is not pinned");
}

#[test]
fn a_local_image_starts_by_the_signatures_in_the_nodes_own_store() {
    let scene = Scene::guarded("[local_images]\nscope = 'local.example/images'\n");
    let signed = scene.signed("app", "app");
    let plain = Layout::copy(&scene, &layout("app", &[]), "plain");
    assert_eq!(plain.digest(), signed.digest, "the same image, which brings no signature");
    let import = ["images", "import", "--no-unpack", "--base-name", "images"];
    let archive = plain.archive().display().to_string();
    ctr(&scene, &[&import[..], &[&archive]].concat()).expect("nothing is unpacked");
    let name = ctr(&scene, &["images", "ls", "-q"]).expect("images").trim().to_owned();
    UNSIGNED.stands_in(&scene.try_run("default", &[&name]).expect_err("no signature is here"), &signed);
    let mut oras = Command::new(tool("oras"));
    oras.args(["cp", "--no-tty", "--recursive", "--from-plain-http", "--to-oci-layout", &signed.reference]);
    succeed(oras.arg(format!("{}:v1", scene.folder().join("state/signatures").display())));
    assert_eq!(scene.try_run("default", &[&name]).as_deref(), Ok("app"));
}

#[test]
fn an_image_whose_layers_are_another_ones_packed_anew_starts_from_the_same_directories() {
    let scene = Scene::guarded("");
    let first = scene.signed("app", "first");
    let anew = Layout::copy(&scene, &layout("app", &[]), "anew").compressed_otherwise();
    let anew = scene.push_layout(anew.path(), "anew");
    scene.admits_and_runs(&first, "app");
    // Nothing of it is unpacked: its snapshots are there.
    ctr(&scene, &["images", "pull", "--local", "--plain-http", &anew.reference]).expect("nothing is unpacked");
    UNSIGNED.stands_in(&scene.try_run("default", &[&anew.reference]).expect_err("it has no signature"), &anew);
    scene.notation.sign(&anew, RELEASE, &[]);
    wait_until("it is seen that it is signed", SIGNED_LIMIT, || scene.try_run("default", &[&anew.reference]).ok());
}
