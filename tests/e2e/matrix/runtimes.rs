//! The gate before run stands before any OCI runtime: it is called by the runtime's name and starts the next of that name.

use std::os::unix::fs::symlink;

use super::tricks::{change_specification, create_with, start};
use super::{Cast, Gate, settings};
use crate::node::Node;
use crate::scene::Scene;
use crate::tools::own;

#[test]
fn another_runtime_is_asked_about_under_its_own_name() {
    let scene = Scene::guarded_on(Node::start(), settings);
    symlink(own("pratique-runtime"), scene.dir().join("opt/bin/crun")).expect("the folder can be written");
    let cast = Cast::new(&scene, "crun");
    for role in [&cast.admitted, &cast.evil] {
        let pull = ["images", "pull", "--local", "--plain-http", &role.image.reference];
        scene.try_ctr("default", &pull).expect("every layer is the admitted image's");
    }
    let run = |reference: &str| {
        let id = create_with(&scene, &["--runc-binary", "crun"], reference);
        // The crun that Debian 12 has knows no later one, and containerd asks for its own.
        change_specification(&scene, &id, "/ociVersion", "1.0.2");
        start(&scene, &id)
    };
    match run(&cast.admitted.image.reference) {
        Ok(printed) => assert_eq!(printed, "crun-admitted"),
        // On a machine with both versions of cgroups crun says so and ends: it was started, which is all that matters.
        Err(message) => assert!(message.contains("cgroups in hybrid mode not supported"), "{message}"),
    }
    let message = run(&cast.evil.image.reference).expect_err("nobody has signed it");
    assert_eq!(cast.evil.refusal(&message), Some(Gate::Run), "{message}");
}
