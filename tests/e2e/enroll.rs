//! Can what was unpacked before pratique was there be started, once it is shown to be what it should be?

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use containerd_client::connect;
use containerd_client::services::v1::ListRequest;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::tonic::Request;
use containerd_client::with_namespace;

use crate::archive::Layout;
use crate::containerd::Inventory;
use crate::node::Image;
use crate::scene::{RELEASE, Scene};
use crate::tools::{layout, own, run, runtime, succeed, text, wait_until};

/// What the keys of the daemon's own snapshots and leases begin with.
const SCRATCH: &str = "pratique-enroll-";
/// How long a small layer's lease lasts, and how long containerd takes to collect what has ended, with room to spare.
const LEASE_LIMIT: Duration = Duration::from_secs(120);
/// For `timeout`: much longer than it takes.
const PROGRAM_SECONDS: &str = "60";
/// Until a layer of some 200 MB is being unpacked, on a busy machine.
const UNPACK_LIMIT: Duration = Duration::from_secs(30);
/// So long that it is still being unpacked or compared when somebody looks.
const LONG_LAYER: usize = 192 * 1024 * 1024;

/// A node on which images are unpacked unwatched.
fn before() -> Scene {
    Scene::new()
}

/// Has containerd ask from now on.
fn install(scene: &mut Scene) {
    scene.node.gate();
    scene.gate_starts();
}

fn ctr(scene: &Scene, namespace: &str, arguments: &[&str]) {
    succeed(scene.ctr().args(["--namespace", namespace]).args(arguments));
}

/// Pulls an image past the image verifier.
fn unpack(scene: &Scene, namespace: &str, snapshotter: &str, image: &Image) {
    let pull = ["images", "pull", "--local", "--plain-http", "--snapshotter", snapshotter, &image.reference];
    ctr(scene, namespace, &pull);
}

fn start(scene: &Scene, namespace: &str, snapshotter: &str, image: &Image) -> Result<String, String> {
    scene.try_run(namespace, &["--snapshotter", snapshotter, &image.reference])
}

fn is_refused(scene: &Scene, namespace: &str, snapshotter: &str, image: &Image, code: &str) {
    let message = start(scene, namespace, snapshotter, image).expect_err("the container is refused");
    assert!(message.contains(&format!("[{code}]")), "expected [{code}]: {message}");
}

/// Exit status and everything that was said.
fn enroll(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String) {
    let mut pratique = Command::new(own("pratique"));
    pratique.arg("enroll").arg("--socket").arg(scene.folder().join("run/pratiqued.sock")).args(arguments);
    let output = run(&mut pratique);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn enrolls(scene: &Scene, arguments: &[&str], code: &str) -> String {
    let (status, said) = enroll(scene, arguments);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("[{code}]")), "expected [{code}]: {said}");
    said
}

fn does_not_enroll(scene: &Scene, arguments: &[&str], status: i32, code: &str) -> String {
    let (exit, said) = enroll(scene, arguments);
    assert_eq!(exit, Some(status), "{said}");
    assert!(said.contains(&format!("[{code}]")), "expected [{code}]: {said}");
    said
}

/// The only file of this path in the directories of a snapshotter.
fn file(scene: &Scene, snapshotter: &str, path: &str) -> PathBuf {
    let snapshots = scene.dir().join(format!("root/io.containerd.snapshotter.v1.{snapshotter}/snapshots"));
    let below = if snapshotter == "overlayfs" { "fs" } else { "" };
    let directories = fs::read_dir(snapshots).expect("the snapshotter has a directory");
    let all = directories.map(|entry| entry.expect("an entry").path().join(below).join(path));
    let found: Vec<PathBuf> = all.filter(|path| path.symlink_metadata().is_ok()).collect();
    let [only] = found.as_slice() else { panic!("{path} is there {} times", found.len()) };
    only.clone()
}

/// An image with a layer of everything that a layer can do to those below it.
fn intricate(scene: &Scene) -> Image {
    let folder = scene.folder().join("intricate");
    for directory in ["bin", "etc/deep", "opaque"] {
        fs::create_dir_all(folder.join(directory)).unwrap();
    }
    fs::write(folder.join("etc/deep/file"), "content").unwrap();
    fs::hard_link(folder.join("etc/deep/file"), folder.join("etc/again")).unwrap();
    symlink("/etc/deep/file", folder.join("etc/link")).unwrap();
    fs::write(folder.join("bin/.wh.touch"), "").unwrap();
    fs::write(folder.join("opaque/.wh..wh..opq"), "").unwrap();
    fs::write(folder.join("opaque/new"), "new").unwrap();
    succeed(Command::new("mkfifo").arg(folder.join("etc/pipe")));
    succeed(Command::new("chown").args(["7:8"]).arg(folder.join("etc/deep")));
    succeed(Command::new("chmod").args(["4711"]).arg(folder.join("etc/deep/file")));
    let below = scene.folder().join("below");
    fs::create_dir_all(below.join("opaque")).unwrap();
    fs::write(below.join("opaque/old"), "old").unwrap();
    let layout = Layout::copy(scene, &layout("intricate", &[]), "intricate").with_layer(&below).with_layer(&folder);
    let image = scene.push_layout(layout.path(), "intricate");
    scene.notation.sign(&image, RELEASE, &[]);
    image
}

#[test]
fn what_was_there_before_runs_once_it_is_enrolled() {
    let mut scene = before();
    let image = intricate(&scene);
    let places = [("default", "overlayfs"), ("default", "native"), ("moby", "overlayfs")];
    for (namespace, snapshotter) in places {
        unpack(&scene, namespace, snapshotter, &image);
    }
    install(&mut scene);
    for (namespace, snapshotter) in places {
        is_refused(&scene, namespace, snapshotter, &image, "rootfs-not-recorded");
    }
    let held = Inventory::of(&scene);
    let said = enrolls(&scene, &["--all"], "enrolled");
    assert!(said.contains("3 enrolled, 0 before, 0 not unpacked, 0 denied, 0 could not be told"), "{said}");
    assert_eq!(Inventory::of(&scene), held, "something was left behind");
    for (namespace, snapshotter) in places {
        assert_eq!(
            start(&scene, namespace, snapshotter, &image).as_deref(),
            Ok("intricate"),
            "{namespace} {snapshotter}"
        );
    }
    scene.daemon.kill();
    scene.daemon.start_again();
    let said = enrolls(&scene, &["--all"], "enrolled-before");
    assert!(said.contains("0 enrolled, 3 before"), "{said}");
}

#[test]
fn an_index_is_enrolled_by_its_name_and_in_json() {
    let mut scene = before();
    let image = scene.push_index("both", "both");
    scene.notation.sign(&image, RELEASE, &[]);
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
    let (status, said) = enroll(&scene, &["--output", "json", "--namespace", "default", &image.reference]);
    assert_eq!(status, Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["images"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(report["images"][0]["code"], "enrolled", "{said}");
    assert_eq!(report["images"][0]["layers"]["compared"], 2, "{said}");
    assert_eq!(start(&scene, "default", "overlayfs", &image).as_deref(), Ok("both"));
    does_not_enroll(&scene, &["registry.example/nobody:v1"], 3, "image-unknown");
    does_not_enroll(&scene, &["--all", "--snapshotter", "none"], 3, "snapshotter-unknown");
}

#[test]
fn an_image_that_is_not_admitted_is_not_enrolled_and_its_signed_twin_is() {
    let mut scene = before();
    let (unsigned, signed) = (scene.push("unsigned", "unsigned"), scene.signed("signed", "signed"));
    for image in [&unsigned, &signed] {
        unpack(&scene, "default", "overlayfs", image);
    }
    install(&mut scene);
    let said = does_not_enroll(&scene, &["--all"], 1, "no-signature");
    assert!(said.contains("[enrolled]") && said.contains("1 denied"), "{said}");
    assert_eq!(start(&scene, "default", "overlayfs", &signed).as_deref(), Ok("signed"));
    is_refused(&scene, "default", "overlayfs", &unsigned, "no-signature");
    // Its own layer was not recorded, although the base that both have is.
    scene.notation.sign(&unsigned, RELEASE, &[]);
    wait_until("the denial is forgotten", UNPACK_LIMIT, || {
        let (_, said) = enroll(&scene, &["--dry-run", &unsigned.reference]);
        said.contains("1 would be enrolled").then_some(())
    });
    is_refused(&scene, "default", "overlayfs", &unsigned, "rootfs-not-recorded");
}

#[test]
fn a_directory_that_was_written_to_is_not_enrolled_and_its_twin_is() {
    let mut scene = before();
    let twin = scene.signed("twin", "twin");
    let folder = scene.folder().join("marked");
    fs::create_dir_all(folder.join("etc")).unwrap();
    fs::write(folder.join("etc/marked"), "as it was").unwrap();
    let marked = Layout::copy(&scene, &layout("marked", &[]), "marked").with_layer(&folder);
    let marked = scene.push_layout(marked.path(), "marked");
    scene.notation.sign(&marked, RELEASE, &[]);
    let snapshotters = ["overlayfs", "native"];
    for snapshotter in snapshotters {
        unpack(&scene, "default", snapshotter, &twin);
        unpack(&scene, "default", snapshotter, &marked);
    }
    install(&mut scene);
    for snapshotter in snapshotters {
        let path = file(&scene, snapshotter, "etc/marked");
        let only = ["--snapshotter", snapshotter];
        fs::write(&path, "evil thing").unwrap();
        let said = does_not_enroll(&scene, &[&["--all"], only.as_slice()].concat(), 1, "layer-differs");
        assert!(said.contains("`/etc/marked` has another content"), "{said}");
        assert!(said.contains("1 enrolled") && said.contains("1 denied"), "{said}");
        is_refused(&scene, "default", snapshotter, &marked, "rootfs-not-recorded");
        assert_eq!(start(&scene, "default", snapshotter, &twin).as_deref(), Ok("twin"));
        // The same bytes again, and the same instant.
        fs::write(&path, "as it was").unwrap();
        succeed(Command::new("touch").arg("--reference").arg(folder.join("etc/marked")).arg(&path));
        enrolls(&scene, &[&[marked.reference.as_str()], only.as_slice()].concat(), "enrolled");
        assert_eq!(start(&scene, "default", snapshotter, &marked).as_deref(), Ok("marked"));
    }
}

#[test]
fn a_layer_that_is_gone_is_recorded_only_for_who_vouches_for_it() {
    let mut scene = before();
    let image = scene.signed("app", "app");
    unpack(&scene, "default", "overlayfs", &image);
    let layers = Layout::copy(&scene, &layout("app", &[]), "app").layers();
    ctr(&scene, "default", &["content", "rm", layers.last().unwrap()]);
    install(&mut scene);
    let said = does_not_enroll(&scene, &["--all"], 3, "layer-missing");
    assert!(said.contains("cannot be re-hashed"), "{said}");
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
    enrolls(&scene, &["--all", "--unverified", "--dry-run"], "enrolled-unverified");
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
    let said = enrolls(&scene, &["--all", "--unverified"], "enrolled-unverified");
    assert!(said.contains("1 layers NOT VERIFIED"), "{said}");
    assert!(scene.daemon.log().contains("UNVERIFIED"));
    assert_eq!(start(&scene, "default", "overlayfs", &image).as_deref(), Ok("app"));
}

#[test]
fn a_layer_that_was_exchanged_in_the_content_store_proves_nothing() {
    let mut scene = before();
    let image = scene.signed("app", "app");
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    let stored = |digest: &str| {
        let hex = digest.strip_prefix("sha256:").unwrap();
        scene.dir().join("root/io.containerd.content.v1.content/blobs/sha256").join(hex)
    };
    let layers = Layout::copy(&scene, &layout("app", &[]), "app").layers();
    let [base, top] = layers.as_slice() else { panic!("two layers") };
    let good = fs::read(stored(top)).unwrap();
    fs::write(stored(top), fs::read(stored(base)).unwrap()).unwrap();
    does_not_enroll(&scene, &["--all", "--unverified"], 1, "layer-altered");
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
    fs::write(stored(top), good).unwrap();
    enrolls(&scene, &["--all"], "enrolled");
    assert_eq!(start(&scene, "default", "overlayfs", &image).as_deref(), Ok("app"));
}

#[test]
fn a_dry_run_compares_and_records_nothing() {
    let mut scene = before();
    let image = scene.signed("app", "app");
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    let said = enrolls(&scene, &["--all", "--dry-run"], "enrolled");
    assert!(said.contains("would be enrolled") && said.contains("2 layers compared"), "{said}");
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
}

/// A signed image whose last layer takes a while.
fn long(scene: &Scene) -> Image {
    let folder = scene.folder().join("long");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("long"), vec![7; LONG_LAYER]).unwrap();
    let layout = Layout::copy(scene, &layout("long", &[]), "long").with_layer(&folder);
    let image = scene.push_layout(layout.path(), "long");
    scene.notation.sign(&image, RELEASE, &[]);
    image
}

fn scratches(scene: &Scene) -> Vec<String> {
    let Inventory { snapshots, leases, .. } = Inventory::of(scene);
    snapshots.into_iter().chain(leases).filter(|name| name.contains(SCRATCH)).collect()
}

/// Somebody who enrolls, at a moment when the daemon has made something in containerd that it means to take away again.
fn in_the_middle(scene: &Scene) -> Child {
    let mut pratique = Command::new("timeout");
    pratique.arg(PROGRAM_SECONDS).arg(own("pratique")).args(["enroll", "--all", "--socket"]);
    pratique.arg(scene.folder().join("run/pratiqued.sock")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let enrolling = pratique.spawn().expect("timeout starts");
    wait_until("a layer is unpacked once more", UNPACK_LIMIT, || (scratches(scene).len() > 1).then_some(()));
    enrolling
}

fn is_told(enrolling: Child, code: &str) {
    let output = enrolling.wait_with_output().expect("a child can be waited for");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("[{code}]")), "expected [{code}]: {said}");
}

fn kill_in_the_middle(scene: &mut Scene) {
    let enrolling = in_the_middle(scene);
    scene.daemon.kill();
    is_told(enrolling, "daemon-unreachable");
    assert!(!scratches(scene).is_empty(), "nothing was left: it was not killed in the middle");
    scene.daemon.start_again();
}

#[test]
fn who_breaks_it_off_leaves_nothing_behind() {
    let mut scene = before();
    let image = long(&scene);
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    let enrolling = in_the_middle(&scene);
    scene.daemon.stop();
    is_told(enrolling, "enroll-stopped");
    assert_eq!(scratches(&scene), Vec::<String>::new());

    scene.daemon.start_again();
    let mut enrolling = in_the_middle(&scene);
    succeed(Command::new("kill").arg(enrolling.id().to_string()));
    enrolling.wait().expect("a child can be waited for");
    wait_until("the daemon has noticed", UNPACK_LIMIT, || scratches(&scene).is_empty().then_some(()));
    is_refused(&scene, "default", "overlayfs", &image, "rootfs-not-recorded");
    enrolls(&scene, &["--all"], "enrolled");
}

#[test]
fn a_daemon_that_was_killed_in_the_middle_goes_on_and_cleans_up() {
    let mut scene = before();
    let image = long(&scene);
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    kill_in_the_middle(&mut scene);
    enrolls(&scene, &["--all"], "enrolled");
    assert_eq!(scratches(&scene), Vec::<String>::new());
    assert_eq!(start(&scene, "default", "overlayfs", &image).as_deref(), Ok("long"));
}

#[test]
fn what_a_killed_daemon_has_left_goes_by_itself() {
    let mut scene = before();
    let image = long(&scene);
    unpack(&scene, "default", "overlayfs", &image);
    install(&mut scene);
    kill_in_the_middle(&mut scene);
    let leases = runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        let request = with_namespace!(ListRequest::default(), "default");
        LeasesClient::new(channel).list(request).await.expect("containerd lists leases").into_inner().leases
    });
    for lease in leases.iter().filter(|lease| lease.id.starts_with(SCRATCH)) {
        assert!(lease.labels.contains_key("containerd.io/gc.expire"), "{lease:?}");
    }
    wait_until("containerd has collected what was left", LEASE_LIMIT, || {
        // Whatever changes makes containerd collect.
        ctr(&scene, "default", &["leases", "create", "--id", "other"]);
        ctr(&scene, "default", &["leases", "delete", "--sync", "other"]);
        thread::park_timeout(Duration::from_secs(1));
        scratches(&scene).is_empty().then_some(())
    });
}

fn docker(scene: &Scene, arguments: &[&str]) -> String {
    scene.try_docker(arguments).unwrap_or_else(|message| panic!("docker {arguments:?}: {message}"))
}

/// Pushes an image that docker has made, and signs it.
fn signed_by_docker(scene: &Scene, reference: &str) {
    docker(scene, &["push", "--quiet", reference]);
    let listed = succeed(scene.ctr().args(["--namespace", "moby", "images", "ls", &format!("name=={reference}")]));
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest").to_owned();
    scene.notation.sign(&Image { reference: reference.to_owned(), digest }, RELEASE, &[]);
}

#[test]
fn what_docker_has_pulled_built_and_committed_runs_once_it_is_enrolled() {
    let mut scene = before();
    scene.node.start_docker();
    let app = scene.signed("app", "app").reference;
    let (built, committed) = (app.replace("/app:", "/built:"), app.replace("/app:", "/committed:"));
    docker(&scene, &["pull", "--quiet", &app]);
    // Files, links, a whiteout and a directory that hides the one below it, made by a container and not by unpacking.
    let changes =
        "echo x >/etc/x; ln /etc/x /etc/y; rm /bin/touch; rm -r /layers; mkdir /layers; echo new >/layers/new";
    let context = scene.folder().join("context");
    fs::create_dir_all(&context).unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM {app}\nRUN {changes}\n")).unwrap();
    let context = context.to_str().unwrap();
    docker(&scene, &["build", "--quiet", "--network", "none", "--tag", &built, context]);
    // Made within the same second, the same changes would be the same layer.
    let changes = format!("{changes}; echo z >/etc/z");
    docker(&scene, &["run", "--name", "changed", "--network", "none", &app, "sh", "-c", &changes]);
    docker(&scene, &["commit", "--change", "CMD [\"/bin/echo\",\"app\"]", "changed", &committed]);
    docker(&scene, &["rm", "changed"]);
    signed_by_docker(&scene, &built);
    signed_by_docker(&scene, &committed);

    install(&mut scene);
    let run = |image: &str| scene.try_docker(&["run", "--rm", "--network", "none", image]);
    for image in [&app, &built, &committed] {
        // That it was not signed yet is kept in mind for a moment.
        wait_until(&format!("{image} is refused for where it comes from"), UNPACK_LIMIT, || {
            let message = run(image).expect_err("nobody has seen it unpacked");
            message.contains("[rootfs-not-recorded]").then_some(())
        });
    }
    let said = enrolls(&scene, &["--all", "--namespace", "moby"], "enrolled");
    assert!(said.contains("3 enrolled, 0 before, 0 not unpacked, 0 denied, 0 could not be told"), "{said}");
    for image in [&app, &built, &committed] {
        assert_eq!(run(image).as_deref().map(str::trim_end), Ok("app"), "{image}");
    }
}

#[test]
fn who_is_asked_and_does_not_answer_is_named() {
    let mut scene = before();
    scene.daemon.kill();
    does_not_enroll(&scene, &["--all"], 3, "daemon-unreachable");
    let missing = run(Command::new(own("pratique")).arg("enroll"));
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stderr));
}
