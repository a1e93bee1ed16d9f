//! Does the Notary Project's own tool accept what pratique signs, and the reverse?

use std::fs;
use std::path::Path;

use pratique::config::NotationDir;

use crate::authority::TimestampAuthority;
use crate::node::{Image, Node};
use crate::notation::{Notation, trusting, trusting_stamped};
use crate::tools::text;

const KEY_TYPES: [&str; 6] = ["rsa-2048", "rsa-3072", "rsa-4096", "ec-256", "ec-384", "ec-521"];
const FORMATS: [&str; 2] = ["jws", "cose"];
/// A key that signs nothing here.
const STRANGER: &str = "stranger";

#[test]
fn notation_accepts_what_pratique_signs_with_every_key_in_both_formats() {
    let (node, notation) = signers();
    for (key, format) in every_kind() {
        let image = node.push("app", &format!("ours-{key}-{format}"));
        let options = ["--signature-format", format, "--user-metadata", "build=7", "--expiry", "1h"];
        notation.sign(&image, key, &options);
        notation.set_policy(&trusting(key));
        accepted_by_notation(&notation, &image, &["-m", "build=7"]);
        assert_eq!(notation.verdict(&image), "admitted", "{key} {format}");
        notation.set_policy(&trusting(STRANGER));
        refused_by_notation(&notation, &image, &[]);
        assert_eq!(notation.verdict(&image), "untrusted-signer", "{key} {format}");
    }
}

#[test]
fn pratique_accepts_what_notation_signs_with_every_key_in_both_formats() {
    let (node, notation) = signers();
    for (key, format) in every_kind() {
        let image = node.push("app", &format!("theirs-{key}-{format}"));
        notation.sign_with_notation(&image, key, &["--signature-format", format, "-m", "build=7", "--expiry", "1h"]);
        notation.set_policy(&trusting(key));
        assert_eq!(notation.verdict(&image), "admitted", "{key} {format}");
        accepted_by_notation(&notation, &image, &[]);
        notation.set_policy(&trusting(STRANGER));
        assert_eq!(notation.verdict(&image), "untrusted-signer", "{key} {format}");
    }
}

#[test]
fn notation_accepts_a_chain_with_an_intermediate_that_pratique_signed() {
    let (node, notation) = signers();
    for chain in ["p384", "rsa2048"] {
        trust_chain(&notation, chain);
        let image = node.push("app", &format!("chain-{chain}"));
        notation.sign(&image, chain, &[]);
        notation.set_policy(&trusting(chain));
        accepted_by_notation(&notation, &image, &[]);
        assert_eq!(notation.verdict(&image), "admitted", "{chain}");
    }
}

#[test]
fn signatures_of_both_tools_stand_side_by_side() {
    let (node, notation) = signers();
    let image = node.push("app", "both");
    notation.sign(&image, "ec-256", &[]);
    notation.sign_with_notation(&image, "ec-384", &[]);
    notation.sign(&image, "rsa-2048", &["--signature-format", "cose"]);
    for key in ["ec-256", "ec-384", "rsa-2048"] {
        notation.set_policy(&trusting(key));
        accepted_by_notation(&notation, &image, &[]);
        assert_eq!(notation.verdict(&image), "admitted", "{key}");
    }
}

#[test]
fn time_stamps_that_either_tool_has_asked_for_are_believed_by_both() {
    let (node, notation) = signers();
    let (authority, other) = (TimestampAuthority::start(), TimestampAuthority::with("accuracy = secs:1"));
    notation.trust_authority("clocks", &authority.root());
    notation.trust_authority("others", &other.root());
    let (url, root) = (authority.url(), authority.root().display().to_string());
    let stamping = ["--timestamp-url", &url, "--timestamp-root-cert", &root];
    for (key, format) in [("rsa-2048", "jws"), ("rsa-3072", "cose"), ("ec-384", "jws"), ("ec-521", "cose")] {
        let options = [&["--signature-format", format][..], &stamping].concat();
        let (ours, theirs) = (node.push("app", &format!("ours-{key}")), node.push("app", &format!("theirs-{key}")));
        notation.sign(&ours, key, &options);
        notation.sign_with_notation(&theirs, key, &options);
        for image in [ours, theirs] {
            notation.set_policy(&trusting_stamped(key, "clocks"));
            accepted_by_notation(&notation, &image, &[]);
            assert_eq!(notation.verdict(&image), "admitted", "{key} {format}");
            notation.set_policy(&trusting_stamped(key, "others"));
            refused_by_notation(&notation, &image, &[]);
            assert_eq!(notation.verdict(&image), "timestamp-authority-untrusted", "{key} {format}");
        }
    }
    let bare = node.push("app", "without-time-stamp");
    notation.sign(&bare, "ec-256", &[]);
    notation.set_policy(&trusting_stamped("ec-256", "clocks"));
    refused_by_notation(&notation, &bare, &[]);
    assert_eq!(notation.verdict(&bare), "timestamp-missing");
}

/// A registry, and a folder with a key of every type.
fn signers() -> (Node, Notation) {
    let node = Node::start();
    let notation = Notation::new(&node.folder().join("config"));
    for key_type in KEY_TYPES {
        notation.generate_key(key_type, key_type);
    }
    notation.generate(STRANGER);
    (node, notation)
}

/// Every kind of key in both formats, one after the other.
pub fn every_kind() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEY_TYPES.into_iter().flat_map(|key| FORMATS.map(|format| (key, format)))
}

/// Makes a chain of the vectors a signing key, and its root a trust anchor, all under the chain's name.
fn trust_chain(notation: &Notation, name: &str) {
    let chain = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/chains").join(name);
    let (key, certificates) = (chain.join("leaf.key"), chain.join("chain.pem"));
    let directory = NotationDir::new(notation.dir());
    directory.add_signing_key(name, &key, &certificates, false).expect("the key can be added");
    let pem = fs::read_to_string(&certificates).expect("the chain is there");
    let root = pem.rfind("-----BEGIN CERTIFICATE-----").expect("the chain has certificates");
    let store = notation.dir().join("truststore/x509/ca").join(name);
    fs::create_dir_all(&store).expect("the trust store can be made");
    fs::write(store.join("root.pem"), &pem[root..]).expect("the trust store can be written");
}

fn accepted_by_notation(notation: &Notation, image: &Image, options: &[&str]) {
    let output = notation.verify_with_notation(image, options);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "notation refuses {}: {said}", image.reference);
}

fn refused_by_notation(notation: &Notation, image: &Image, options: &[&str]) {
    let output = notation.verify_with_notation(image, options);
    assert!(!output.status.success(), "notation accepts {}: {}", image.reference, text(&output.stdout));
}
