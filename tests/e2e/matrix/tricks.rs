//! What only the gate before run can see: everything that was unpacked is admitted, and still something else would start.
//!
//! Each of these has the same container without the trick beside it, which runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_client::connect;
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::snapshots::MountsRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    ApplyRequest, CreateTaskRequest, GetContainerRequest, UpdateContainerRequest, WriteAction, WriteContentRequest,
};
use containerd_client::tonic::{Request, Status};
use containerd_client::types::{Descriptor, Mount};
use containerd_client::with_namespace;
use pratique::oci::Digest;
use prost_types::FieldMask;
use serde_json::Value;

use super::{Cast, Gate, settings};
use crate::archive::chain_ids;
use crate::node::{Node, read_printed};
use crate::scene::Scene;
use crate::tools::{layout, runtime, succeed, tool};

const NAMESPACE: &str = "default";

/// What would start in the place of the admitted image's command.
pub(super) const FORGED: &str = "forged";

fn scene() -> Scene {
    Scene::guarded_on(Node::start(), settings)
}

/// The gate before run has refused, with this code.
fn refused(answer: Result<String, String>, code: &str) {
    let message = answer.expect_err("the gate before run refuses");
    assert!(message.contains(Gate::Run.introduction()), "{message}");
    assert!(message.contains("denied: ") && message.contains(&format!("[{code}]")), "expected [{code}]: {message}");
}

#[test]
fn a_tag_that_moves_between_create_and_start_moves_nothing_in() {
    let scene = scene();
    let cast = Cast::new(&scene, "moved");
    let [app, evil] = [&cast.admitted.image, &cast.evil.image];
    for image in [app, evil] {
        let pull = ["images", "pull", "--local", "--plain-http", &image.reference];
        scene.try_ctr(NAMESPACE, &pull).expect("its layers are admitted");
    }
    let name = &format!("{}/demo/moving:v1", scene.registry());
    let tag = |image: &str| {
        scene.try_ctr(NAMESPACE, &["images", "tag", "--force", image, name]).expect("the image is there");
    };
    tag(&app.reference);
    let [early, late] = [create(&scene, name), create(&scene, name)];
    assert_eq!(start(&scene, &early).as_deref(), Ok("moved-admitted"));
    tag(&evil.reference);
    refused(start(&scene, &late), "no-signature");
    tag(&app.reference);
    assert_eq!(start(&scene, &late).as_deref(), Ok("moved-admitted"));
}

#[test]
fn a_folder_is_no_image() {
    let scene = scene();
    let folder = forged_root(&scene).display().to_string();
    refused(scene.try_run_command(NAMESPACE, &["--rootfs", &folder], &["/bin/echo"]), "container-without-image");
}

#[test]
fn a_task_with_other_mounts_than_its_snapshot_does_not_start() {
    let scene = scene();
    let image = scene.signed("app", "app");
    scene.try_ctr(NAMESPACE, &["images", "pull", "--plain-http", &image.reference]).expect("the image is signed");
    let id = create(&scene, &image.reference);
    refused(create_task(&scene, &id, vec![bind(&forged_root(&scene))]), "rootfs-differs");
    // Its own snapshot, with something else over one of its directories.
    let within = Mount { target: "bin".into(), ..bind(&forged_root(&scene)) };
    let covered = [snapshot_mounts(&scene, &id), vec![within]].concat();
    refused(create_task(&scene, &id, covered), "rootfs-differs");
    // The twin: the same container on its own snapshot, as containerd would mount it.
    create_task(&scene, &id, snapshot_mounts(&scene, &id)).expect("the snapshot of an admitted image");
}

#[test]
fn a_container_whose_root_is_not_where_its_snapshot_is_mounted_does_not_start() {
    let scene = scene();
    let image = scene.signed("app", "app");
    scene.try_ctr(NAMESPACE, &["images", "pull", "--plain-http", &image.reference]).expect("the image is signed");
    let id = create(&scene, &image.reference);
    let own = change_specification(&scene, &id, "/root/path", &forged_root(&scene).display().to_string());
    refused(start(&scene, &id), "rootfs-differs");
    // The twin: the same container with the root that it had.
    change_specification(&scene, &id, "/root/path", &own);
    assert_eq!(start(&scene, &id).as_deref(), Ok("app"));
}

/// Changes one text in the specification of a container, and gives what stood there before.
pub(super) fn change_specification(scene: &Scene, id: &str, place: &str, text: &str) -> String {
    runtime().block_on(async {
        let mut containers = ContainersClient::new(connect(scene.socket()).await.expect("containerd listens"));
        let request = GetContainerRequest { id: id.to_owned() };
        let answer = containers.get(with_namespace!(request, NAMESPACE)).await.expect("the container is there");
        let mut container = answer.into_inner().container.expect("the container is there");
        let any = container.spec.as_mut().expect("the container has a specification");
        let mut spec: Value = serde_json::from_slice(&any.value).expect("the specification is JSON");
        let value = spec.pointer_mut(place).expect("the specification has that place");
        let before = value.as_str().expect("a text").to_owned();
        *value = text.into();
        any.value = spec.to_string().into_bytes();
        let update_mask = Some(FieldMask { paths: vec!["spec".into()] });
        let request = UpdateContainerRequest { container: Some(container), update_mask };
        containers.update(with_namespace!(request, NAMESPACE)).await.expect("containerd lets anybody change it");
        before
    })
}

#[test]
fn what_was_committed_under_a_trusted_chain_id_does_not_start() {
    let scene = scene();
    // Both have the same base, and nothing has been unpacked of the second.
    let [first, second] = ["first", "second"].map(|name| scene.signed(name, name));
    let pull = |image: &str| scene.try_ctr(NAMESPACE, &["images", "pull", "--plain-http", image]);
    pull(&first.reference).expect("the image is signed");
    let chain = chain_ids(&layout("second", &[]));
    commit_forgery(&scene, &chain[0], &chain[1]);

    // Its top layer seems to be there, so nothing is unpacked, and the gate before unpack is not asked.
    pull(&second.reference).expect("the image is signed");
    refused(scene.try_run(NAMESPACE, &[&second.reference]), "rootfs-not-recorded");
    assert_eq!(scene.run(NAMESPACE, &first), "first");
    // The twin: the same image where its layers were unpacked.
    scene.try_ctr("other", &["images", "pull", "--plain-http", &second.reference]).expect("the image is signed");
    assert_eq!(scene.run("other", &second), "second");
}

/// Commits what nobody has signed under the chain id of an admitted image's layers.
fn commit_forgery(scene: &Scene, parent: &str, chain: &str) {
    let place = scene.folder().join("forgery");
    fs::create_dir_all(&place).expect("the folder can be made");
    let snapshots = |arguments: &[&str]| {
        scene.try_ctr(NAMESPACE, &[&["snapshots"], arguments].concat()).expect("containerd lets anybody commit")
    };
    snapshots(&["prepare", "forgery", parent]);
    let mount = snapshots(&["mounts", place.to_str().expect("a path of plain characters"), "forgery"]);
    succeed(Command::new("sh").args(["-c", &mount]));
    write_forgery(&place.join("bin"));
    succeed(Command::new("umount").arg(&place));
    snapshots(&["commit", chain, "forgery"]);
}

/// A command that says so in the place of `echo`.
pub(super) fn write_forgery(folder: &Path) {
    fs::create_dir_all(folder).expect("the folder can be made");
    let echo = folder.join("echo");
    // Its place may be taken by a link.
    let _ = fs::remove_file(&echo);
    fs::write(&echo, format!("#!/bin/sh\necho {FORGED}\n")).expect("the folder can be written");
    succeed(Command::new("chmod").arg("755").arg(&echo));
}

/// A root file system that came from no image.
pub(super) fn forged_root(scene: &Scene) -> PathBuf {
    let root = scene.folder().join("forged-root");
    for folder in ["bin", "dev", "proc", "sys", "etc", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("the folder can be made");
    }
    fs::copy(tool("busybox"), root.join("bin/sh")).expect("the folder can be written");
    write_forgery(&root.join("bin"));
    root
}

/// Makes a container and starts nothing.
pub(super) fn create(scene: &Scene, reference: &str) -> String {
    create_with(scene, &[], reference)
}

/// The same with these options of `ctr containers create`.
pub(super) fn create_with(scene: &Scene, options: &[&str], reference: &str) -> String {
    let id = scene.container_id();
    let root = scene.dir().join("runc").display().to_string();
    let create = ["containers", "create", "--runc-root", &root];
    scene.try_ctr(NAMESPACE, &[&create, options, &[reference, &id]].concat()).expect("nobody is asked before a start");
    id
}

/// `ctr tasks start`, and what the container printed.
pub(super) fn start(scene: &Scene, id: &str) -> Result<String, String> {
    let (printed, log_uri) = scene.log_of(id);
    let _ = fs::remove_file(&printed);
    let started = scene.try_ctr(NAMESPACE, &["tasks", "start", "--log-uri", &log_uri, id]);
    let _ = scene.try_ctr(NAMESPACE, &["tasks", "rm", id]);
    started.map(|_| read_printed(&printed))
}

/// What containerd would mount for the container of this id.
pub(super) fn snapshot_mounts(scene: &Scene, id: &str) -> Vec<Mount> {
    let request = MountsRequest { snapshotter: "overlayfs".into(), key: id.to_owned() };
    runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        let answer = SnapshotsClient::new(channel).mounts(with_namespace!(request, NAMESPACE)).await;
        answer.expect("the container has a snapshot").into_inner().mounts
    })
}

fn bind(folder: &Path) -> Mount {
    Mount {
        r#type: "bind".into(),
        source: folder.display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Default::default()
    }
}

/// Has containerd create the task of a container on these mounts, which is when the gate is asked, and removes it again.
fn create_task(scene: &Scene, id: &str, rootfs: Vec<Mount>) -> Result<String, String> {
    let request = CreateTaskRequest { container_id: id.to_owned(), rootfs, ..Default::default() };
    let answer = runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        TasksClient::new(channel).create(with_namespace!(request, NAMESPACE)).await
    });
    let _ = scene.try_ctr(NAMESPACE, &["tasks", "rm", "--force", id]);
    answer.map(|answer| answer.into_inner().container_id).map_err(|status| status.message().to_owned())
}

#[test]
fn a_layer_that_is_unpacked_into_a_containers_own_snapshot_keeps_it_from_starting() {
    let scene = scene();
    let image = scene.signed("app", "app");
    scene.try_ctr(NAMESPACE, &["images", "pull", "--plain-http", &image.reference]).expect("the image is signed");
    let id = create(&scene, &image.reference);
    apply_orphan(&scene, snapshot_mounts(&scene, &id)).expect("what no image lists is left for later");
    refused(start(&scene, &id), "rootfs-unpacked-into");
    // The twin: another container of the same image, in whose snapshot nothing was unpacked.
    scene.try_ctr(NAMESPACE, &["containers", "rm", &id]).expect("the container can be removed");
    let id = create(&scene, &image.reference);
    assert_eq!(start(&scene, &id).as_deref(), Ok("app"));
}

/// Has containerd unpack a layer that no image lists onto these mounts, by its own interface.
fn apply_orphan(scene: &Scene, mounts: Vec<Mount>) -> Result<(), Status> {
    let folder = scene.folder().join("orphan");
    write_forgery(&folder.join("bin"));
    let layer = scene.folder().join("orphan.tar");
    succeed(Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&layer).arg("bin/echo"));
    let bytes = fs::read(&layer).expect("the layer can be read");
    let digest = Digest::sha256(&bytes).to_string();
    let size = i64::try_from(bytes.len()).expect("a small layer");
    let labels = [("containerd.io/gc.root".to_owned(), "now".to_owned())].into();
    runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        let write = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: "orphan".into(),
            expected: digest.clone(),
            total: size,
            data: bytes,
            labels,
            ..Default::default()
        };
        let request = with_namespace!(tokio_stream::iter([write]), NAMESPACE);
        let mut answers = ContentClient::new(channel.clone()).write(request).await?.into_inner();
        while answers.message().await?.is_some() {}
        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
        let diff = Some(Descriptor { media_type, digest, size, ..Default::default() });
        let apply = ApplyRequest { diff, mounts, ..Default::default() };
        DiffClient::new(channel).apply(with_namespace!(apply, NAMESPACE)).await.map(drop)
    })
}
