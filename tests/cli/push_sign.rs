//! `pratique push --sign`: nothing is attached but to what was signed, and the tag is moved last.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::node::{REPOSITORY, Ran, Scene};
use crate::registry::{Builder, Fault, ScriptedRegistry, image};

/// Far above what a push takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// An unsigned image for two platforms, with what its builder states about it, in the layout `out` of a node.
pub struct Built {
    pub scene: Scene,
    pub index: Vec<u8>,
}

impl Built {
    pub async fn new() -> Self {
        let scene = Scene::new().await;
        scene.registry.put_blob(REPOSITORY, b"{}");
        let entry = |name: &str, platform: &str| {
            let bytes = if name == "app" { scene.image.clone() } else { image(name) };
            scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &bytes);
            let mut entry = json!(Descriptor::of(media_type::IMAGE_MANIFEST, &bytes));
            let (os, architecture) = platform.split_once('/').unwrap();
            entry["platform"] = json!({"os": os, "architecture": architecture});
            entry
        };
        let mut stated = entry("stated", "unknown/unknown");
        stated["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let entries = [entry("app", "linux/amd64"), entry("other", "linux/arm64"), stated];
        let index = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries});
        let index = index.to_string().into_bytes();
        scene.registry.put_manifest(REPOSITORY, Some("all"), media_type::IMAGE_INDEX, &index);
        scene.node.run(&format!("copy {}/{REPOSITORY}:all oci-layout:out:v1", scene.registry.host())).exits(0);
        Self { scene, index }
    }

    pub fn digest(&self) -> String {
        Descriptor::of(media_type::IMAGE_INDEX, &self.index).digest.to_string()
    }

    fn push(&self, options: &str, to: &ScriptedRegistry) -> Ran {
        self.scene.node.run(&format!("push --sign -o json {options} oci-layout:out:v1 {}/new/app:v2", to.host()))
    }

    /// A registry whose tag points to an older image.
    async fn destination(&self, script: Builder) -> ScriptedRegistry {
        let to = script.start().await;
        to.put_manifest("new/app", Some("v2"), media_type::IMAGE_MANIFEST, &image("older"));
        to
    }

    /// Nothing was attached, and the tag is where it was.
    fn is_untouched(to: &ScriptedRegistry) {
        assert_eq!(to.referring_manifests("new/app"), []);
        assert_eq!(to.manifest("new/app", "v2").unwrap(), image("older"));
    }
}

/// How many signatures there are under this name.
fn signatures(scene: &Scene, image: &str) -> usize {
    scene.node.run(&format!("ls -o json {image}")).exits(0).json()["signatures"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_the_registry_signed_with_its_tag_last_and_once() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let built = Built::new().await;
        let to = built.destination(script).await;
        let first = built.push("", &to).exits(0).json();
        let told = (&first["code"], &first["made"], &first["wasThere"], &first["verdict"], &first["tag"]);
        assert_eq!(told, (&json!("pushed"), &json!(true), &json!(false), &json!("admitted"), &json!("v2")));
        assert_eq!(first["tagBefore"], Descriptor::of("m", &image("older")).digest.as_str());
        assert_eq!(first["manifests"]["total"], 4);
        assert_eq!(to.manifest("new/app", "v2").unwrap(), built.index);
        let lines = to.lines();
        let at = |line: &str| lines.iter().rposition(|one| one == line).unwrap_or_else(|| panic!("{line}: {lines:?}"));
        let manifest = |method: &str, name: &str| at(&format!("{method} /v2/new/app/manifests/{name}"));
        let (own, signature) = (built.digest(), first["signature"].as_str().unwrap().to_owned());
        assert!(manifest("PUT", &own) < manifest("GET", &own), "{lines:?}");
        assert!(manifest("GET", &own) < manifest("PUT", &signature), "{lines:?}");
        assert!(manifest("PUT", &signature) < manifest("PUT", "v2"), "{lines:?}");
        assert!(!lines[manifest("PUT", "v2") + 1..].iter().any(|line| line.starts_with('P')), "{lines:?}");
        built.scene.node.run(&format!("verify {}/new/app:v2", to.host())).exits(0);
        to.forget_requests();
        let again = built.push("", &to).exits(0).json();
        let told = (&again["made"], &again["wasThere"], &again["signature"], &again["bytes"]);
        assert_eq!(told, (&json!(false), &json!(true), &first["signature"], &json!(0)));
        let is_question = |line: &String| line.starts_with("GET") || line.starts_with("HEAD");
        assert!(to.lines().iter().all(is_question), "{:?}", to.lines());
        assert_eq!(signatures(&built.scene, "oci-layout:out:v1"), 1, "it is kept beside the image, too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_swaps_what_was_pushed_gets_no_signature_and_moves_no_tag() {
    let other = Descriptor::of("m", b"other").digest;
    for (method, fault) in [
        ("HEAD", Fault::With("docker-content-digest", other.to_string())),
        ("HEAD", Fault::With("content-type", media_type::IMAGE_MANIFEST.to_owned())),
        ("GET", Fault::OtherBytes),
        ("GET", Fault::Oversize),
    ] {
        let built = Built::new().await;
        let to = built.destination(ScriptedRegistry::builder()).await;
        let at = |method: &str| format!("{method} /v2/new/app/manifests/{}", built.digest());
        to.fault_after(&at("PUT"), &at(method), fault.clone());
        let ran = built.push("", &to).exits(1);
        assert_eq!(ran.json()["code"], "pushed-image-differs", "{fault:?}: {ran:?}");
        Built::is_untouched(&to);
        // The same with a registry that does its duty.
        let to = built.destination(ScriptedRegistry::builder()).await;
        built.push("", &to).exits(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_not_moved_to_an_image_whose_signature_is_not_seen_or_not_admitted() {
    let built = Built::new().await;
    let to = built.destination(ScriptedRegistry::builder()).await;
    let none = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []}).to_string();
    let none = Fault::Answer(200, vec![("content-type", media_type::IMAGE_INDEX.to_owned())], none);
    to.always("/referrers/", none);
    assert_eq!(built.push("", &to).exits(1).json()["code"], "pushed-signature-lost");
    assert_eq!(to.manifest("new/app", "v2").unwrap(), image("older"));
    let to = built.destination(ScriptedRegistry::builder()).await;
    built.scene.add_signer("eve");
    let ran = built.push("--key eve", &to).exits(1);
    assert_eq!(ran.json()["code"], "untrusted-signer", "{ran:?}");
    assert!(
        ran.stderr.ends_with("warning: the image and its signature were pushed, and no tag was moved\n"),
        "{ran:?}"
    );
    assert_eq!(to.manifest("new/app", "v2").unwrap(), image("older"));
    built.push("", &to).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_policy_says_that_it_judges_nothing() {
    let built = Built::new().await;
    std::fs::remove_file(built.scene.node.path("trustpolicy.json")).unwrap();
    let to = built.destination(ScriptedRegistry::builder()).await;
    let ran = built.push("", &to).exits(0);
    assert!(ran.stderr.contains("warning: there is no trust policy here"), "{ran:?}");
    assert_eq!(ran.json()["verdict"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_wish_is_another_signature_and_the_same_wish_is_not() {
    let built = Built::new().await;
    let to = built.destination(ScriptedRegistry::builder()).await;
    for (options, is_new) in [
        ("", true),
        ("-m stage=prod", true),
        ("-m stage=prod", false),
        ("--signature-format cose", true),
        ("--expiry 1h", true),
        ("--expiry 1h", false),
        ("", false),
    ] {
        assert_eq!(built.push(options, &to).exits(0).json()["made"], is_new, "{options}");
    }
    assert_eq!(signatures(&built.scene, &format!("{}/new/app:v2", to.host())), 4);
}

/// The signature is kept in the archive. Where that is packed it is not, and is found at the registry.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_an_archive_goes_too_and_a_repeat_makes_no_second_signature() {
    let built = Built::new().await;
    let to = built.destination(ScriptedRegistry::builder()).await;
    built.scene.node.run("copy oci-layout:out:v1 oci-archive:out.tar:v1").exits(0);
    let push = || {
        let command = format!("push --sign -o json oci-archive:out.tar:v1 {}/new/app:v2", to.host());
        built.scene.node.run(&command).exits(0).json()
    };
    let first = push();
    assert_eq!((&first["made"], &first["verdict"]), (&json!(true), &json!("admitted")), "{first}");
    assert_eq!(to.manifest("new/app", "v2").unwrap(), built.index);
    let again = push();
    assert_eq!((&again["made"], &again["wasThere"]), (&json!(false), &json!(true)), "{again}");
    assert_eq!((to.referring_manifests("new/app").len(), signatures(&built.scene, "oci-archive:out.tar:v1")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_platform_goes_alone() {
    let built = Built::new().await;
    let to = built.destination(ScriptedRegistry::builder()).await;
    let pushed = built.push("--platform linux/amd64", &to).exits(0).json();
    assert_eq!(pushed["artifact"]["digest"], Descriptor::of("m", &built.scene.image).digest.as_str());
    assert_eq!(to.manifest("new/app", "v2").unwrap(), built.scene.image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_needs_approval_signs_nothing_here() {
    let built = Built::new().await;
    let to = built.destination(ScriptedRegistry::builder()).await;
    let subject = |name: &str| format!("\"x509.subject: C=US, ST=WA, O=Notary, CN={name}\"");
    let people = ["bob", "carl"].map(subject).join(", ");
    for name in ["bob", "carl"] {
        built.scene.add_signer(name);
    }
    let usage = format!(
        "[keys.ann]\ncertificate = \"localkeys/ann.crt\"\napprovals = 2\nvalid_for = \"1h\"\n\
         trust_stores = [\"ca:bob\", \"ca:carl\"]\napprovers = [{people}]\nrequesters = [{people}]\n"
    );
    built.scene.node.write("keyusage.toml", usage);
    let ran = built.push("", &to);
    assert_eq!(ran.json()["code"], "approval-required", "{ran:?}");
    assert!(to.lines().iter().all(|line| line.starts_with("GET")), "{:?}", to.lines());
    std::fs::remove_file(built.scene.node.path("keyusage.toml")).unwrap();
    built.push("", &to).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_told_before_anything_is_done() {
    let built = Built::new().await;
    let node = &built.scene.node;
    let code = |arguments: &str| node.run(&format!("push -o json {arguments}")).exits(2).json()["code"].clone();
    let tag = built.scene.tag();
    built.scene.registry.forget_requests();
    assert_eq!(code(&format!("--sign {tag} registry.example/app:v1")), "push-source-not-local");
    assert_eq!(code("--sign oci-layout:out:v1"), "push-destination-missing");
    assert_eq!(code("--sign oci-layout:out:v1 oci-layout:two:v1"), "push-destination-not-registry");
    let other = format!("registry.example/app@sha256:{}", "0".repeat(64));
    assert_eq!(code(&format!("--sign oci-layout:out:v1 {other}")), "copy-digest-differs");
    for options in [
        "--key ann",
        "--expiry 1h",
        "--platform linux/amd64",
        "--passphrase-env X",
        "--crl-dir x",
        "--signature-format jws",
    ] {
        let ran = node.run(&format!("push {options} app.jws.sig {tag}")).exits(2);
        assert!(ran.stderr.contains("--sign"), "{ran:?}");
    }
    node.run("push app.jws.sig").exits(2);
    assert!(built.scene.registry.lines().is_empty());
    let help = node.run("push --help").exits(0).stdout;
    assert!(help.contains("pratique push [OPTIONS] SIGNATURE IMAGE"), "{help}");
    assert!(help.contains("pratique push [OPTIONS] --sign SOURCE [DESTINATION]"), "{help}");
}

/// Kills the program when the registry has been asked so many questions, and looks what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_killed_is_completed_by_the_next_with_one_signature() {
    let seed: u32 =
        std::env::var("PRATIQUE_PUSH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(std::process::id);
    eprintln!("PRATIQUE_PUSH_SEED={seed}");
    for round in 0..8_u32 {
        let built = Built::new().await;
        let script = ScriptedRegistry::builder();
        let script = if round % 2 == 0 { script } else { script.without_referrers() };
        let to = built.destination(script).await;
        let asked = (seed.wrapping_mul(2_654_435_761).wrapping_add(round * 7_919) >> 8) % 45;
        let destination = format!("{}/new/app:v2", to.host());
        let mut command = built.scene.node.command(&["push", "--sign", "oci-layout:out:v1", &destination]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while to.requests().len() < asked as usize && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Instant::now() < deadline, "round {round}: neither {asked} questions nor an end");
        if to.manifest("new/app", "v2").unwrap() != image("older") {
            built.scene.node.run(&format!("verify {destination}")).exits(0);
        }
        built.push("", &to).exits(0);
        let said = format!("round {round}, killed after {asked}");
        assert_eq!(to.manifest("new/app", "v2").unwrap(), built.index, "{said}");
        assert_eq!(signatures(&built.scene, &destination), 1, "{said}");
        assert_eq!(to.referring_manifests("new/app").len(), 1, "{said}: nothing dangles");
    }
}
