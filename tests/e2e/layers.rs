//! Is every layer asked about before it is unpacked, whichever way it came in?

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use containerd_client::connect;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::snapshots::PrepareSnapshotRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::{ApplyRequest, WriteAction, WriteContentRequest};
use containerd_client::tonic::{Code, Request, Status};
use containerd_client::types::Descriptor;
use containerd_client::with_namespace;
use pratique::oci::Digest;
use tokio_stream::iter;

use crate::archive::Layout;
use crate::containerd::{Client, Inventory};
use crate::node::Image;
use crate::scene::{RELEASE, Refusal, Scene};
use crate::tools::{layout, runtime, succeed, wait_until};

const UNSIGNED: Refusal<'_> = Refusal::Denied("no-signature");
const WITHOUT_STATEMENT: Refusal<'_> = Refusal::Denied("no-local-statement");
/// Images without a registry are judged as images of a repository that does not exist.
const LOCAL_SCOPE: &str = "[local_images]\nscope = 'local.example/images'\n";

/// containerd's longest pause between two attempts to connect is 3 seconds.
const RECONNECT_LIMIT: Duration = Duration::from_secs(20);

/// `ctr` in a namespace, and what it said where it failed.
fn ctr(scene: &Scene, namespace: &str, arguments: &[&str]) -> Result<(), String> {
    scene.try_ctr(namespace, arguments).map(|_| ())
}

fn pull_local(scene: &Scene, namespace: &str, image: &Image) -> Result<(), String> {
    ctr(scene, namespace, &["images", "pull", "--local", "--plain-http", &image.reference])
}

/// Both ways to import; the second is the client's own.
const IMPORTS: [&[&str]; 2] = [&["images", "import"], &["images", "import", "--local"]];

fn import(scene: &Scene, namespace: &str, way: &[&str], layout: &Layout) -> Result<(), String> {
    let archive = layout.archive();
    let archive = archive.to_str().expect("a path of plain characters");
    ctr(scene, namespace, &[way, &["--base-name", "local.example/images", archive]].concat())
}

/// The snapshots in the namespaces of both clients.
fn snapshots(scene: &Scene) -> usize {
    Inventory::of(scene).snapshots.len()
}

fn refused(result: Result<(), String>, refusal: Refusal<'_>, digest: &str) {
    let message = result.expect_err("the layer is refused");
    refusal.stands_in(&message, &Image { reference: String::new(), digest: digest.to_owned() });
}

#[test]
fn an_admitted_image_is_unpacked_by_every_way_in() {
    let scene = Scene::gated("");
    let image = scene.signed("app", "app");
    scene.admits_and_runs(&image, "app");
    for (namespace, snapshotter) in [("one", "overlayfs"), ("two", "native")] {
        let pull = ["images", "pull", "--local", "--plain-http", "--snapshotter", snapshotter, &image.reference];
        ctr(&scene, namespace, &pull).expect("a client that unpacks itself");
    }
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native", &image.reference];
    ctr(&scene, "three", &pull).expect("containerd unpacks with another snapshotter");
    ctr(&scene, "four", &["content", "fetch", "--plain-http", &image.reference]).expect("fetching unpacks nothing");
    ctr(&scene, "four", &["snapshots", "unpack", &image.digest]).expect("unpacking what was fetched");
}

#[test]
fn an_image_without_signature_is_not_unpacked_by_any_way_in() {
    let scene = Scene::gated("");
    let image = scene.push("app", "unsigned");
    scene.refuses(&image, UNSIGNED);
    refused(pull_local(&scene, "default", &image), UNSIGNED, &image.digest);
    ctr(&scene, "k8s.io", &["content", "fetch", "--plain-http", &image.reference]).expect("fetching unpacks nothing");
    let unpack = ctr(&scene, "k8s.io", &["snapshots", "unpack", &image.digest]);
    refused(unpack, UNSIGNED, &image.digest);
    let mount = ["images", "mount", &image.reference, scene.folder().to_str().unwrap()];
    refused(ctr(&scene, "default", &mount), UNSIGNED, &image.digest);
    assert_eq!(snapshots(&scene), 0);

    scene.notation.sign(&image, RELEASE, &[]);
    let twin = scene.signed("app", "signed");
    pull_local(&scene, "default", &twin).expect("signed");
}

#[test]
fn an_index_without_signature_is_not_unpacked_and_its_signed_twin_is() {
    let scene = Scene::gated("");
    let image = scene.push_index("both", "unsigned");
    refused(pull_local(&scene, "default", &image), UNSIGNED, &image.digest);
    assert_eq!(snapshots(&scene), 0);
    let twin = scene.push_index("other", "signed");
    scene.notation.sign(&twin, RELEASE, &[]);
    pull_local(&scene, "default", &twin).expect("the index is signed");
    scene.admits_and_runs(&twin, "other");
}

#[test]
fn pulls_are_stopped_before_unpack_where_no_image_verifier_is_asked() {
    // All that is left of the name is a label without the port.
    let scene = Scene::gated_with(|node| {
        node.without_verifier();
        format!("[registry]\ninsecure = ['{}']\nhost_timeout = '2s'\n", node.registry())
    });
    let good = scene.signed("app", "signed");
    scene.admits_and_runs(&good, "app");
    for client in Client::ALL {
        let bad = scene.push("other", "unsigned");
        let before = snapshots(&scene);
        let pull = client.pull(&scene, &bad);
        assert!(!pull.succeeded, "{client:?} has unpacked an image without signature");
        assert!(pull.message.contains("demo/unsigned@"), "{client:?}: {}", pull.message);
        assert_eq!(snapshots(&scene), before);
    }
}

#[test]
fn an_import_is_denied_without_a_statement_for_local_images() {
    let scene = Scene::gated("");
    let layout = Layout::copy(&scene, &layout("app", &[]), "app");
    for way in IMPORTS {
        // The client's own import writes the image record first: then that is the name.
        let refusal =
            if way.contains(&"--local") { Refusal::CouldNotTell(&["registry-unreachable"]) } else { WITHOUT_STATEMENT };
        refused(import(&scene, "default", way, &layout), refusal, &layout.digest());
    }
    assert_eq!(snapshots(&scene), 0);
}

#[test]
fn an_import_is_admitted_by_the_signatures_in_its_archive() {
    let scene = Scene::gated(LOCAL_SCOPE);
    let unsigned = Layout::copy(&scene, &layout("app", &[]), "unsigned");
    refused(import(&scene, "default", IMPORTS[0], &unsigned), UNSIGNED, &unsigned.digest());
    assert_eq!(snapshots(&scene), 0);
    let image = scene.signed("app", "app");
    let signed = Layout::with_signatures(&scene, &image, "signed");
    for (namespace, way) in ["one", "two"].into_iter().zip(IMPORTS) {
        import(&scene, namespace, way, &signed).expect("its signature is in the archive");
    }
}

#[test]
fn known_layers_under_another_config_are_unpacked() {
    let scene = Scene::gated("");
    let good = scene.signed("app", "app");
    let evil = Layout::copy(&scene, &layout("app", &[]), "evil").with_other_config("evil");
    let evil = scene.push_layout(evil.path(), "evil");
    // Nothing vouches for the layers where the good image is not.
    refused(pull_local(&scene, "default", &evil), UNSIGNED, &evil.digest);
    scene.admits_to(Client::Ctr, &good);
    let pull = ["images", "pull", "--local", "--plain-http", "--snapshotter", "native", &evil.reference];
    ctr(&scene, "default", &pull).expect("every byte of the layers is the good image's");
    scene.refuses_to(Client::Ctr, &evil, UNSIGNED);
}

#[test]
fn a_manifest_that_only_containerd_can_read_is_no_way_round() {
    let scene = Scene::gated("");
    let odd = Layout::copy(&scene, &layout("app", &[]), "odd").with_odd_manifest();
    for way in IMPORTS {
        let message = import(&scene, "default", way, &odd).expect_err("refused");
        assert!(message.contains("[manifest-unreadable]"), "{message}");
    }
    assert_eq!(snapshots(&scene), 0);
}

/// Has containerd unpack a layer that belongs to no image.
fn apply_orphan(scene: &Scene) -> Result<(), Status> {
    let folder = scene.folder().join("orphan");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "orphan").unwrap();
    let layer = scene.folder().join("orphan.tar");
    succeed(Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&layer).arg("file"));
    let bytes = fs::read(&layer).unwrap();
    let digest = Digest::sha256(&bytes).to_string();
    let size = i64::try_from(bytes.len()).unwrap();
    // Nothing refers to blob and snapshot: without the label they may be collected before they are used.
    let labels: HashMap<String, String> = HashMap::from([("containerd.io/gc.root".into(), "now".into())]);
    runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        let write = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: "orphan".into(),
            expected: digest.clone(),
            total: size,
            data: bytes,
            labels: labels.clone(),
            ..Default::default()
        };
        let mut content = ContentClient::new(channel.clone());
        let mut answers = content.write(with_namespace!(iter([write]), "default")).await?.into_inner();
        while answers.message().await?.is_some() {}
        let prepare = PrepareSnapshotRequest {
            snapshotter: "overlayfs".into(),
            key: "orphan".into(),
            labels,
            ..Default::default()
        };
        let mut snapshots = SnapshotsClient::new(channel.clone());
        let mounts = snapshots.prepare(with_namespace!(prepare, "default")).await?.into_inner().mounts;
        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
        let diff = Some(Descriptor { media_type, digest, size, ..Default::default() });
        let apply = ApplyRequest { diff, mounts, ..Default::default() };
        DiffClient::new(channel).apply(with_namespace!(apply, "default")).await.map(|_| ())
    })
}

#[test]
fn a_layer_of_no_image_is_left_for_later_unless_that_is_denied() {
    let scene = Scene::gated("");
    apply_orphan(&scene).expect("deferred");
    let scene = Scene::gated("[gates]\norphan_layers = 'deny'\n");
    let status = apply_orphan(&scene).expect_err("denied");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("[orphan-layer]"), "{status}");
}

#[test]
fn a_daemon_that_is_down_is_no_reason_to_unpack() {
    let mut scene = Scene::gated("");
    let image = scene.signed("app", "app");
    ctr(&scene, "default", &["content", "fetch", "--plain-http", &image.reference]).expect("nothing is unpacked");
    scene.daemon.kill();
    let message = pull_local(&scene, "default", &image).expect_err("nobody can be asked");
    assert!(message.contains("connection refused"), "{message}");
    assert_eq!(snapshots(&scene), 0);
    scene.daemon.start_again();
    // containerd waits a moment before it connects again.
    wait_until("the daemon is asked again", RECONNECT_LIMIT, || pull_local(&scene, "default", &image).ok());
    assert_eq!(scene.run("default", &image), "app");
}

#[test]
fn a_containerd_that_was_started_again_is_followed_again() {
    let mut scene = Scene::gated("");
    let image = scene.signed("app", "app");
    scene.node.restart();
    pull_local(&scene, "default", &image).expect("the daemon asks containerd again");
    let bad = scene.push("other", "unsigned");
    refused(pull_local(&scene, "default", &bad), UNSIGNED, &bad.digest);
}

#[test]
fn many_pulls_at_once_do_not_wait_for_each_other() {
    let scene = Scene::gated("");
    let images: Vec<Image> =
        (0..8).map(|number| scene.signed(&format!("app{number}"), &format!("app{number}"))).collect();
    thread::scope(|scope| {
        for (number, image) in images.iter().enumerate() {
            let scene = &scene;
            scope.spawn(move || {
                let way: &[&str] = if number % 2 == 0 { &[] } else { &["--local"] };
                let pull = [&["images", "pull"], way, &["--plain-http", &image.reference]].concat();
                ctr(scene, "default", &pull).expect("an admitted image");
            });
        }
    });
    assert!(Inventory::of(&scene).leases.is_empty());
}
