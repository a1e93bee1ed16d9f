//! Does the daemon notice that a certificate was revoked after it has admitted what that signed, and without a restart?

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use pratique::oci::{Descriptor, media_type};
use pratique::proto::{self, CheckRequest, CheckResponse, Stage};
use serde_json::json;

use crate::issuer::{Issuer, Standing};
use crate::metrics::{free_address, scrape};
use crate::node::{DEADLINE, Daemon, Node};
use crate::registry::{self, ScriptedRegistry};
use crate::responders::{Answer, Responders};

const REPOSITORY: &str = "team/app";
const SIGNER: &str = "signer";

/// A node, and an image whose signer's issuer can revoke it.
struct Scene {
    node: Node,
    registry: ScriptedRegistry,
    issuer: Issuer,
    responders: Responders,
    image: Vec<u8>,
}

impl Scene {
    async fn new(configuration: &str) -> Self {
        let (mut node, registry) = (Node::new(), ScriptedRegistry::start().await);
        let image = registry::image("app");
        registry.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, &image);
        let notation = node.path("notation");
        let mut issuer = Issuer::new();
        issuer.issue(SIGNER, "ec-256", &notation);
        issuer.trust("issuer", &notation);
        node.write_policy(&policy());
        let responders = Responders::start([]);
        node.set("http_proxy", responders.address().to_owned());
        node.configure(configuration);
        let scene = Self { node, registry, issuer, responders, image };
        scene.pratique(&format!("sign --key {SIGNER} {}", scene.name()));
        scene
    }

    fn name(&self) -> String {
        format!("{}/{REPOSITORY}@{}", self.registry.host(), self.descriptor().digest)
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::of(media_type::IMAGE_MANIFEST, &self.image)
    }

    fn pratique(&self, arguments: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pratique"));
        command.args(arguments.split(' ')).env("PRATIQUE_NOTATION_DIR", self.node.path("notation"));
        let output = command.env("HOME", self.node.path("")).output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    }

    fn ask(&self, daemon: &Daemon) -> CheckResponse {
        let Descriptor { media_type, digest, size, .. } = self.descriptor();
        let target = proto::Descriptor { media_type, digest: digest.to_string(), size };
        let name = format!("{}/{REPOSITORY}:v1", self.registry.host());
        daemon.ask_about(&CheckRequest {
            name,
            target: Some(target),
            stage: Stage::Pull.into(),
            ..CheckRequest::default()
        })
    }

    /// Imports a list as an operator does.
    fn import(&self, directory: &Path, number: u32, revoked: &[&str]) {
        let file = self.node.path(&format!("list-{number}.crl"));
        fs::write(&file, self.issuer.crl(number, revoked, in_an_hour())).unwrap();
        self.pratique(&format!("crl import {} --crl-dir {}", file.display(), directory.display()));
    }
}

/// A strict policy for everything.
fn policy() -> String {
    let statement = json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:issuer"],
        "trustedIdentities": ["*"],
    });
    json!({"version": "1.0", "trustPolicies": [statement]}).to_string()
}

fn in_an_hour() -> Timestamp {
    in_seconds(3600)
}

/// To the second, as lists tell times.
fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(pratique::clock::now().as_second() + seconds).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_made_again_when_its_evidence_has_run_out_and_a_revocation_since_then_denies() {
    let scene = Scene::new("").await;
    let until = in_seconds(6);
    let good = scene.issuer.crl(1, &[], until);
    scene
        .responders
        .answers([(Issuer::ocsp_url(SIGNER), Answer::Status(503)), (Issuer::crl_url(SIGNER), Answer::Bytes(good))]);
    let daemon = scene.node.start();
    assert!(scene.ask(&daemon).proceed, "{}", daemon.log());
    let asked = scene.responders.asked().len();

    // Revoked in this moment. What was decided holds for as long as the issuer said that its list does.
    let revoked = Answer::Bytes(scene.issuer.crl(2, &[SIGNER], in_an_hour()));
    scene.responders.answers([(Issuer::crl_url(SIGNER), revoked)]);
    let answer = scene.ask(&daemon);
    if pratique::clock::now() < until {
        assert!(answer.proceed, "{answer:?}");
        assert_eq!(scene.responders.asked().len(), asked, "what is known is not asked again");
    }
    let answer = poll(|| Some(scene.ask(&daemon)).filter(|answer| !answer.proceed));
    assert_eq!(answer.code, "certificate-revoked", "{answer:?}");
    assert!(pratique::clock::now() >= until);
    assert!(scene.responders.asked().len() > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_run_out_denies_where_nobody_gives_a_new_one() {
    let scene = Scene::new("").await;
    let until = in_seconds(5);
    let good = Answer::Bytes(scene.issuer.crl(1, &[], until));
    scene.responders.answers([(Issuer::crl_url(SIGNER), good)]);
    let daemon = scene.node.start();
    assert!(scene.ask(&daemon).proceed, "{}", daemon.log());
    // The server goes on giving the list that is too old by then.
    let answer = poll(|| Some(scene.ask(&daemon)).filter(|answer| !answer.proceed));
    assert_eq!(answer.code, "revocation-unknown", "{answer:?}");
    assert!(pratique::clock::now() >= until);
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_lists_admit_and_deny_without_a_network_and_at_once() {
    let scene = Scene::new("").await;
    let lists = scene.node.path("crls");
    fs::create_dir(&lists).unwrap();
    scene.node.configure(&format!("revocation.crl_dir = \"{}\"", lists.display()));
    let daemon = scene.node.start();
    assert_eq!(scene.ask(&daemon).code, "revocation-unknown");
    let asked = scene.responders.asked().len();

    scene.import(&lists, 1, &[]);
    let answer = scene.ask(&daemon);
    assert!(answer.proceed, "{answer:?}");
    scene.import(&lists, 2, &[SIGNER]);
    let answer = scene.ask(&daemon);
    assert_eq!((answer.proceed, answer.code.as_str()), (false, "certificate-revoked"), "{answer:?}");
    assert_eq!(scene.responders.asked().len(), asked, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_to_issuers_are_counted_by_kind_and_result_and_so_is_what_was_known() {
    let address = free_address();
    let scene = Scene::new(&format!("metrics.listen = \"{address}\"\ncache.max_age = \"0s\"")).await;
    let crl = scene.issuer.crl(1, &[], in_an_hour());
    scene.responders.answers([
        (Issuer::ocsp_url(SIGNER), Answer::Bytes(scene.issuer.ocsp(SIGNER, Standing::Unknown))),
        (Issuer::crl_url(SIGNER), Answer::Bytes(crl)),
    ]);
    let daemon = scene.node.start();
    for _ in 0..2 {
        assert!(scene.ask(&daemon).proceed, "{}", daemon.log());
    }
    let text = scrape(address);
    for line in [
        r#"pratique_revocation_fetches_total{kind="ocsp",result="answered"} "#,
        r#"pratique_revocation_fetches_total{kind="crl",result="answered"} 1"#,
        r#"pratique_revocation_fetch_seconds_count{kind="crl"} 1"#,
        r#"pratique_revocation_lookups_total{kind="crl",result="miss"} 1"#,
        r#"pratique_revocation_lookups_total{kind="crl",result="hit"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// Asks until there is an answer, or the time is over.
fn poll<T>(ask: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "nothing has changed");
        thread::yield_now();
    }
}
