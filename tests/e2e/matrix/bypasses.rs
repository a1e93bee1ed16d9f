//! What the gates do not stop, as the threat model says: each is somebody with containerd's socket, who is root.
//!
//! These tests hold that list to the truth. One that fails because something is stopped is good news for a user and a line
//! to be changed there.

use std::fs;
use std::path::Path;

use super::tricks::{FORGED, create, forged_root, snapshot_mounts, start, write_forgery};
use super::{Cast, settings};
use crate::node::Node;
use crate::scene::Scene;
use crate::tools::tool;

const NAMESPACE: &str = "default";

fn scene() -> (Scene, Cast) {
    let scene = Scene::guarded_on(Node::start(), settings);
    let cast = Cast::new(&scene, "named");
    for role in [&cast.admitted, &cast.evil] {
        let pull = ["images", "pull", "--local", "--plain-http", &role.image.reference];
        scene.try_ctr(NAMESPACE, &pull).expect("every layer is the admitted image's");
    }
    (scene, cast)
}

#[test]
fn a_client_that_names_another_runtime_is_not_asked_about() {
    let (scene, cast) = scene();
    let runc = tool("runc").display().to_string();
    let reference = &cast.evil.image.reference;
    assert!(scene.try_run(NAMESPACE, &[reference]).is_err(), "through the gate");
    let printed = scene.try_run(NAMESPACE, &["--runc-binary", &runc, reference]);
    assert_eq!(printed.as_deref(), Ok("named-evil"));
}

#[test]
fn what_somebody_writes_into_a_containers_own_layer_is_not_asked_about() {
    let (scene, cast) = scene();
    let id = create(&scene, &cast.admitted.image.reference);
    let mounts = snapshot_mounts(&scene, &id);
    let upper = mounts[0].options.iter().find_map(|option| option.strip_prefix("upperdir="));
    write_forgery(&Path::new(upper.expect("an overlay has an upper directory")).join("bin"));
    assert_eq!(start(&scene, &id).as_deref(), Ok(FORGED));
}

#[test]
fn a_folder_that_is_started_in_a_builders_namespace_is_a_step_of_a_build() {
    let scene = Scene::guarded_on(Node::start(), settings);
    let folder = forged_root(&scene).display().to_string();
    let started = |namespace| scene.try_run_command(namespace, &["--rootfs", &folder], &["/bin/echo"]);
    assert!(started(NAMESPACE).is_err(), "in another namespace");
    assert_eq!(started("buildkit").as_deref(), Ok(FORGED));
}

#[test]
fn what_a_client_mounts_into_an_admitted_container_is_not_asked_about() {
    let (scene, cast) = scene();
    let folder = scene.folder().join("brought");
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join("said"), "brought along").expect("the folder can be written");
    let mount = format!("type=bind,src={},dst=/tmp,options=rbind:ro", folder.display());
    let arguments = ["--mount", &mount, &cast.admitted.image.reference];
    let printed = scene.try_run_command(NAMESPACE, &arguments, &["/bin/cat", "/tmp/said"]);
    assert_eq!(printed.as_deref(), Ok("brought along"));
}
