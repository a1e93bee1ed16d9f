//! Does the Notary Project's own tool accept what `pratique attach` has attached, and does oras see it?
//!
//! The external signing service is the Notary Project's own tool: it signs the same build in another repository, and what it
//! made there is what comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::signature::{Signature, platforms};
use crate::tools::{own, run, succeed, text, tool};

const KEY: &str = "release";

#[test]
fn notation_accepts_what_was_attached_and_oras_sees_it() {
    let node = Node::start();
    let notation = Notation::new(&node.folder().join("config"));
    notation.generate(KEY);
    notation.set_policy(&trusting(KEY));
    let (built, released) = (node.push_index("app", "built"), node.push_index("app", "released"));
    let directory = node.folder().join("payloads");
    generate(&notation, &node, &released, &directory);
    for (image, format) in with_platforms(&built).iter().zip(["cose", "jws", "cose"]) {
        notation.sign_with_notation(image, KEY, &["--signature-format", format]);
        let envelope = Signature::of(&node, image).envelope;
        fs::write(envelope_file(&directory, image, format), envelope).expect("the envelope can be written");
    }
    let manifests = with_platforms(&released);
    for image in &manifests {
        assert!(!notation.verify_with_notation(image, &[]).status.success(), "{} is signed already", image.digest);
    }
    let attached = attach(&notation, &directory);
    assert_eq!((&attached["attached"], &attached["failed"]), (&3.into(), &0.into()), "{attached}");
    for image in &manifests {
        let verified = notation.verify_with_notation(image, &[]);
        let said = text(&verified.stdout) + &text(&verified.stderr);
        assert!(verified.status.success(), "notation refuses {}: {said}", image.by_digest());
        assert_eq!(notation.verdict(image), "admitted");
        let line = line_of(&attached, image);
        assert_eq!(discovered(image), [line["signature"].as_str().expect("it has a signature")]);
        assert_eq!(Signature::of(&node, image).envelope_digest(), line["envelope"], "the very envelope");
    }
    let again = attach(&notation, &directory);
    assert_eq!((&again["attached"], &again["present"]), (&0.into(), &3.into()), "{again}");
}

/// Payloads of an index and its platforms, from a list with one reference.
fn generate(notation: &Notation, node: &Node, image: &Image, directory: &Path) {
    let list = node.folder().join("images.txt");
    fs::write(&list, image.by_digest()).expect("the list can be written");
    let mut generate = pratique(notation, &["payload", "generate", "--output", "json"]);
    let written = succeed(generate.arg("--image-info").arg(list).arg("--output-dir").arg(directory));
    let written: Value = serde_json::from_str(&written).expect("the report is JSON");
    assert_eq!((&written["indexes"], &written["manifests"]), (&1.into(), &2.into()), "{written}");
}

fn attach(notation: &Notation, directory: &Path) -> Value {
    let trusted = format!("ca:{KEY}");
    let mut attach = pratique(notation, &["attach", "--output", "json", "--trust-store", &trusted]);
    let output = run(attach.arg("--payload-dir").arg(directory));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn with_platforms(index: &Image) -> Vec<Image> {
    [index.asked_by_digest()].into_iter().chain(platforms(index)).collect()
}

fn envelope_file(directory: &Path, image: &Image, format: &str) -> PathBuf {
    directory.join(format!("{}.{format}", image.digest.replace(':', "-")))
}

fn line_of<'a>(report: &'a Value, image: &Image) -> &'a Value {
    let lines = report["signatures"].as_array().expect("the report has signatures");
    lines.iter().find(|line| line["reference"] == image.by_digest()).expect("every image is reported")
}

/// The digests of the signatures that oras finds.
fn discovered(image: &Image) -> Vec<String> {
    let mut oras = Command::new(tool("oras"));
    let found = succeed(oras.args(["discover", "--plain-http", "--format", "json"]).arg(image.by_digest()));
    let found: Value = serde_json::from_str(&found).expect("oras writes JSON");
    let referrers = found["referrers"].as_array().or_else(|| found["manifests"].as_array());
    let referrers = referrers.unwrap_or_else(|| panic!("oras lists no referrers: {found}"));
    let signatures = referrers.iter().filter(|r| r["artifactType"] == "application/vnd.cncf.notary.signature");
    signatures.map(|signature| signature["digest"].as_str().expect("a descriptor has a digest").to_owned()).collect()
}

fn pratique(notation: &Notation, arguments: &[&str]) -> Command {
    let mut pratique = Command::new(own("pratique"));
    pratique.args(arguments).arg("--notation-dir").arg(notation.dir());
    pratique
}
