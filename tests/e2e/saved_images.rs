//! Archives as docker and containerd write them: what lies in them is what a registry has, and they take it back signed.

use std::path::Path;
use std::process::Command;

use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::tools::{own, succeed};

const KEY: &str = "release";

/// A node with docker, which takes every image, and somebody who signs.
fn with_docker() -> (Node, Notation) {
    let mut node = Node::start();
    node.without_verifier();
    node.start_docker();
    let notation = Notation::new(&node.folder().join("config"));
    notation.generate(KEY);
    notation.set_policy(&trusting(KEY));
    (node, notation)
}

fn pratique(notation: &Notation, arguments: &[&str]) -> String {
    let mut pratique = Command::new(own("pratique"));
    succeed(pratique.env("PRATIQUE_NOTATION_DIR", notation.dir()).args(arguments))
}

/// The image in an archive of docker's and in one of containerd's.
fn saved(node: &Node, image: &Image) -> [String; 2] {
    let [docker, containerd] = ["docker.tar", "containerd.tar"].map(|name| text(&node.folder().join(name)));
    node.try_docker(&["save", "--output", &docker, &image.reference]).expect("docker saves it");
    node.try_ctr("moby", &["images", "export", &containerd, &image.reference]).expect("containerd exports it");
    [docker, containerd]
}

fn text(path: &Path) -> String {
    path.to_str().expect("plain characters").to_owned()
}

#[test]
fn what_docker_and_containerd_have_saved_has_the_digest_that_the_registry_knows() {
    let (node, notation) = with_docker();
    for image in [node.push("saved", "saved"), node.push_index("saved", "several")] {
        node.try_docker(&["pull", "--quiet", &image.reference]).expect("docker pulls it");
        for archive in saved(&node, &image) {
            for location in [format!("docker-archive:{archive}:{}", image.reference), format!("oci-archive:{archive}")]
            {
                let described = pratique(&notation, &["descriptor", &location]);
                assert!(described.contains(&image.digest), "{location}: {described}");
            }
        }
    }
}

#[test]
fn a_signed_archive_is_admitted_and_docker_and_containerd_still_take_it() {
    let (node, notation) = with_docker();
    let image = node.push("saved", "saved");
    node.try_docker(&["pull", "--quiet", &image.reference]).expect("docker pulls it");
    let [archive, _] = saved(&node, &image);
    let layout = node.folder().join("layout");
    std::fs::create_dir(&layout).expect("the folder can be written");
    succeed(Command::new("tar").arg("-C").arg(&layout).args(["-xf", &archive]));
    pratique(&notation, &["sign", "--key", KEY, &format!("oci-layout:{}", layout.display())]);
    let signed = text(&node.folder().join("signed.tar"));
    succeed(Command::new("tar").arg("-C").arg(&layout).args(["-cf", &signed, "."]));
    let location = format!("docker-archive:{signed}:{}", image.reference);
    let verified = pratique(&notation, &["verify", "--scope", image.repository(), &location]);
    assert!(verified.contains(&image.digest), "{verified}");
    let destination = Image { reference: format!("{}/demo/copied:v1", node.registry()), digest: image.digest.clone() };
    pratique(&notation, &["copy", "--verify", &location, &destination.reference]);
    let by_notation = notation.verify_with_notation(&destination, &[]);
    assert!(by_notation.status.success(), "{}", crate::tools::text(&by_notation.stderr));
    node.try_docker(&["rmi", &image.reference]).expect("it is there");
    let loaded = node.try_docker(&["load", "--input", &signed]).expect("docker loads it");
    assert!(loaded.contains(&image.reference), "{loaded}");
    node.try_ctr("imported", &["images", "import", "--local", "--no-unpack", &signed]).expect("containerd imports it");
    let listed = node.try_ctr("imported", &["images", "ls"]).expect("containerd answers");
    assert!(listed.contains(&image.digest), "{listed}");
}
