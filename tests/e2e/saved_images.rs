//! Archives as docker and containerd write them: what lies in them is what a registry has, and they take it back signed.

use std::path::Path;
use std::process::Command;

use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::tools::{own, succeed, tool};

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
    // Without the transfer service: through it ctr may end before the last bytes are in the file.
    let export = ["images", "export", "--local", &containerd, &image.reference];
    node.try_ctr("moby", &export).expect("containerd exports it");
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
fn what_docker_has_saved_is_signed_where_it_lies_and_everybody_still_takes_it() {
    let (node, notation) = with_docker();
    let image = node.push("saved", "saved");
    node.try_docker(&["pull", "--quiet", &image.reference]).expect("docker pulls it");
    let [signed, _] = saved(&node, &image);
    let location = format!("docker-archive:{signed}:{}", image.reference);
    pratique(&notation, &["sign", "--key", KEY, &location]);
    let verified = pratique(&notation, &["verify", "--scope", image.repository(), &location]);
    assert!(verified.contains(&image.digest), "{verified}");
    let destination = Image { reference: format!("{}/demo/copied:v1", node.registry()), digest: image.digest.clone() };
    pratique(&notation, &["copy", "--verify", &location, &destination.reference]);
    let by_notation = notation.verify_with_notation(&destination, &[]);
    assert!(by_notation.status.success(), "{}", crate::tools::text(&by_notation.stderr));
    // oras reads the archive itself.
    let mut oras = Command::new(tool("oras"));
    oras.args(["discover", "--oci-layout", "--format", "json", &format!("{signed}@{}", image.digest)]);
    let discovered = succeed(&mut oras);
    assert!(discovered.contains("application/vnd.cncf.notary.signature"), "{discovered}");
    // And notation, once it is unpacked.
    let unpacked = tempfile::tempdir().expect("a folder can be made");
    succeed(Command::new("tar").arg("-xf").arg(&signed).arg("-C").arg(unpacked.path()));
    let home = notation.dir().parent().expect("it lies in a folder").to_owned();
    let mut verify = Command::new(tool("notation"));
    verify.env("XDG_CONFIG_HOME", &home).env("XDG_CACHE_HOME", &home).env("NOTATION_EXPERIMENTAL", "1");
    verify.args(["verify", "--oci-layout", "--scope", image.repository()]);
    succeed(verify.arg(format!("{}@{}", unpacked.path().display(), image.digest)));
    node.try_docker(&["rmi", &image.reference]).expect("it is there");
    let loaded = node.try_docker(&["load", "--input", &signed]).expect("docker loads it");
    assert!(loaded.contains(&image.reference), "{loaded}");
    let described = pratique_at(&node, &notation, &["descriptor", &format!("containerd:moby/{}", image.reference)]);
    assert!(described.contains(&image.digest), "{described}");
}

/// What it leaves behind is the signature: no name leads to it.
#[test]
fn containerd_imports_a_signed_archive_as_it_would_the_unsigned_one() {
    let (node, notation) = with_docker();
    let image = node.push("saved", "saved");
    node.try_docker(&["pull", "--quiet", &image.reference]).expect("docker pulls it");
    let [_, signed] = saved(&node, &image);
    pratique(&notation, &["sign", "--key", KEY, &format!("oci-archive:{signed}")]);
    node.try_ctr("imported", &["images", "import", "--local", "--no-unpack", &signed]).expect("containerd imports it");
    let described = pratique_at(&node, &notation, &["descriptor", &format!("containerd:imported/{}", image.reference)]);
    assert!(described.contains(&image.digest), "{described}");
}

/// `pratique`, on this node's containerd.
fn pratique_at(node: &Node, notation: &Notation, arguments: &[&str]) -> String {
    let mut pratique = Command::new(own("pratique"));
    pratique.env("PRATIQUE_NOTATION_DIR", notation.dir()).env("CONTAINERD_ADDRESS", node.socket());
    succeed(pratique.args(arguments))
}
