//! Does `pratique copy` take along what oras and cosign see, and do they see the same at the other end?

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::signature::platforms;
use crate::tools::{own, succeed, text, tool};

const KEY: &str = "release";

/// An image for two platforms: it and one of them signed, with an SBOM that is signed too, and signed by cosign in both of its
/// ways.
struct Published {
    node: Node,
    notation: Notation,
    image: Image,
}

impl Published {
    fn new() -> Self {
        let node = Node::start();
        let notation = Notation::new(&node.folder().join("config"));
        notation.generate(KEY);
        notation.set_policy(&trusting(KEY));
        let image = node.push_index("app", "source").asked_by_digest();
        let platform = platforms(&image).remove(0);
        notation.sign(&image, KEY, &[]);
        notation.sign(&platform, KEY, &["--signature-format", "cose"]);
        let sbom = node.folder().join("sbom.json");
        fs::write(&sbom, r#"{"spdxVersion": "SPDX-2.3"}"#).expect("the SBOM can be written");
        let mut oras = Command::new(tool("oras"));
        oras.current_dir(node.folder());
        oras.args([
            "attach",
            "--no-tty",
            "--plain-http",
            "--artifact-type",
            "application/spdx+json",
            "--format",
            "json",
        ]);
        let attached = succeed(oras.arg(image.by_digest()).arg("sbom.json:application/spdx+json"));
        let attached: Value = serde_json::from_str(&attached).expect("oras writes JSON");
        let digest = attached["digest"].as_str().expect("oras tells the digest").to_owned();
        notation.sign(&Image { reference: format!("{}@{digest}", image.repository()), digest }, KEY, &[]);
        let published = Self { node, notation, image };
        succeed(published.cosign().args(["generate-key-pair"]));
        for bundle in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            let mut cosign = published.cosign();
            // Nobody on the internet is asked.
            cosign.args(["sign", "--yes", "--use-signing-config=false", "--tlog-upload=false", bundle]);
            succeed(cosign.args(["--allow-http-registry", "--key", "cosign.key"]).arg(published.image.by_digest()));
        }
        published
    }

    fn cosign(&self) -> Command {
        let mut cosign = Command::new(tool("cosign"));
        cosign.current_dir(self.node.folder()).env("COSIGN_PASSWORD", "of a test").env("HOME", self.node.folder());
        cosign
    }

    fn pratique(&self, arguments: &[&str]) -> String {
        let mut pratique = Command::new(own("pratique"));
        succeed(pratique.args(arguments).arg("--notation-dir").arg(self.notation.dir()))
    }

    /// The image in another repository of the registry.
    fn destination(&self, name: &str) -> Image {
        let digest = self.image.digest.clone();
        Image { reference: format!("{}/demo/{name}:v1", self.node.registry()), digest }
    }

    /// What cosign shows of an image: the digests of what it found, beside the repository's name.
    fn cosign_tree(&self, image: &Image) -> BTreeSet<String> {
        let shown = succeed(self.cosign().args(["tree", "--allow-http-registry"]).arg(image.by_digest()));
        let shown = shown.replace(image.repository(), "");
        let words = shown.split(|c: char| c.is_whitespace() || c == '@').map(str::to_owned);
        words.filter(|word| word.contains("sha256") && !word.contains(&self.image.digest)).collect()
    }

    fn is_accepted_by_notation(&self, image: &Image) {
        let verified = self.notation.verify_with_notation(image, &[]);
        let said = text(&verified.stdout) + &text(&verified.stderr);
        assert!(verified.status.success(), "notation refuses {}: {said}", image.by_digest());
    }
}

/// Every digest that oras finds to refer to an image, to its platforms, and to what it has found.
fn discovered(image: &Image) -> BTreeSet<String> {
    fn collect(found: &Value, digests: &mut BTreeSet<String>) {
        let referrers = found["referrers"].as_array().or_else(|| found["manifests"].as_array());
        for referrer in referrers.into_iter().flatten() {
            digests.insert(referrer["digest"].as_str().expect("a descriptor has a digest").to_owned());
            collect(referrer, digests);
        }
    }
    let mut digests = BTreeSet::new();
    for image in [image.asked_by_digest()].into_iter().chain(platforms(image)) {
        let mut oras = Command::new(tool("oras"));
        let found = succeed(oras.args(["discover", "--plain-http", "--format", "json"]).arg(image.by_digest()));
        collect(&serde_json::from_str(&found).expect("oras writes JSON"), &mut digests);
    }
    digests
}

/// The same, as `pratique ls --tree` shows it.
fn shown(published: &Published, image: &Image) -> BTreeSet<String> {
    fn collect(found: &Value, digests: &mut BTreeSet<String>) {
        for referrer in found["referrers"].as_array().into_iter().flatten() {
            digests.insert(referrer["digest"].as_str().expect("a descriptor has a digest").to_owned());
            collect(referrer, digests);
        }
        found["manifests"].as_array().into_iter().flatten().for_each(|part| collect(part, digests));
    }
    let shown = published.pratique(&["ls", "--tree", "--output", "json", &image.by_digest()]);
    let mut digests = BTreeSet::new();
    collect(&serde_json::from_str(&shown).expect("pratique writes JSON"), &mut digests);
    digests
}

#[test]
fn copies_of_pratique_and_of_oras_have_the_same_referrers_and_cosign_sees_its_own() {
    let published = Published::new();
    let (ours, theirs) = (published.destination("ours"), published.destination("theirs"));
    let source = published.image.by_digest();
    published.pratique(&["copy", "--recursive-referrers", "--verify", &source, &ours.reference]);
    let mut oras = Command::new(tool("oras"));
    oras.args(["cp", "--no-tty", "--recursive", "--from-plain-http", "--to-plain-http"]);
    succeed(oras.arg(&source).arg(&theirs.reference));
    let all = discovered(&published.image);
    assert_eq!(all.len(), 5, "two signatures, an SBOM, its signature, and one of cosign: {all:?}");
    assert_eq!(discovered(&ours), all);
    assert_eq!(discovered(&theirs), all);
    assert_eq!(shown(&published, &ours), all, "as `ls --tree` shows them");
    let tree = published.cosign_tree(&published.image);
    assert!(tree.iter().any(|word| word.contains(".sig")), "{tree:?}");
    assert_eq!(published.cosign_tree(&ours), tree);
    for image in [ours.asked_by_digest()].into_iter().chain(platforms(&ours).into_iter().take(1)) {
        published.is_accepted_by_notation(&image);
        assert_eq!(published.notation.verdict(&image), "admitted");
    }
    let mut cosign = published.cosign();
    cosign.args(["verify", "--allow-http-registry", "--insecure-ignore-tlog=true", "--key", "cosign.pub"]);
    succeed(cosign.arg(ours.by_digest()));
}

#[test]
fn what_went_through_a_layout_and_an_archive_is_accepted_by_notation() {
    let published = Published::new();
    let (layout, archive) = (published.node.folder().join("layout"), published.node.folder().join("image.tar"));
    let (layout, archive) =
        (format!("oci-layout:{}:v1", layout.display()), format!("oci-archive:{}:v1", archive.display()));
    let arrived = published.destination("arrived");
    for (from, to) in [(&published.image.by_digest(), &layout), (&layout, &archive), (&layout, &arrived.reference)] {
        published.pratique(&["copy", "--recursive-referrers", from, to]);
    }
    assert_eq!(discovered(&arrived), discovered(&published.image));
    assert_eq!(published.cosign_tree(&arrived), published.cosign_tree(&published.image));
    published.is_accepted_by_notation(&arrived);
    // An archive is an image layout to others, too.
    let file = published.node.folder().join("image.tar");
    let mut oras = Command::new(tool("oras"));
    let resolved = succeed(oras.args(["resolve", "--oci-layout"]).arg(format!("{}:v1", file.display())));
    assert_eq!(resolved.trim(), published.image.digest);
}
