//! Hundreds of envelopes in one run: over a registry that fails at random, and killed in the middle.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pratique::oci::media_type;
use serde_json::{Value, json};

use crate::node::REPOSITORY;
use crate::registry::{Builder, ScriptedRegistry};
use crate::service::{Release, seed};

/// How many images a large release has.
const MANY: usize = 500;
/// How many images are attached while the process is killed.
const SOME: usize = 24;
/// How often it is killed.
const KILLS: u64 = 6;
/// Far above what a run takes: only one that hangs reaches it.
const LIMIT: Duration = Duration::from_secs(60);

/// Every image has its one signature, which is whole, and there is none that is not listed.
fn assert_complete(release: &Release) {
    let registry = &release.scene.registry;
    let mut listed = BTreeSet::new();
    for number in 0..release.images.len() {
        let signatures = release.signatures(number);
        assert_eq!(signatures.len(), 1, "image {number}: {signatures:?}");
        let manifest = registry.manifest(REPOSITORY, &signatures[0]).expect("what is listed is there");
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            let digest = blob["digest"].as_str().unwrap().parse().unwrap();
            assert!(registry.blob(REPOSITORY, &digest).is_some(), "what a signature points to is there");
        }
        listed.extend(signatures);
    }
    let referring: BTreeSet<String> =
        registry.referring_manifests(REPOSITORY).iter().map(ToString::to_string).collect();
    assert_eq!(referring, listed, "no signature that nobody finds");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_are_attached_once_though_a_third_of_the_questions_fails_at_first() {
    for (kind, script) in kinds() {
        let release = Release::signed(script, MANY).await;
        let registry = &release.scene.registry;
        registry.fail_at_random(seed());
        let started = Instant::now();
        let ran = release.attach("--jobs 32 --trust-store ca:ann --output json");
        let (took, failed, asked) = (started.elapsed(), registry.calm_down(), registry.requests().len());
        eprintln!("{kind}: {MANY} attached in {took:.1?}, {asked} requests, {failed} of them failed");
        let document = ran.exits(0).json();
        assert_eq!((&document["attached"], &document["failed"]), (&json!(MANY), &json!(0)));
        assert!(failed > MANY, "the registry was in a bad mood");
        let reported: BTreeSet<&str> =
            document["signatures"].as_array().unwrap().iter().map(|line| line["signature"].as_str().unwrap()).collect();
        let listed: BTreeSet<String> = (0..MANY).flat_map(|number| release.signatures(number)).collect();
        assert_eq!(reported, listed.iter().map(String::as_str).collect());
        assert_complete(&release);
        let again = release.attach("--jobs 32 --output json").exits(0).json();
        assert_eq!((&again["present"], &again["attached"]), (&json!(MANY), &json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_is_completed_by_running_it_once_more() {
    let mut random = seed();
    for (kind, script) in kinds() {
        let release = Release::signed(script, SOME).await;
        let registry = &release.scene.registry;
        let mut killed = 0;
        for _ in 0..KILLS {
            // Some nine questions for each image: the moments lie all over the run, which begins where the last one ended.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let moment = registry.requests().len() + usize::try_from(random >> 33).unwrap() % (SOME * 3);
            killed += usize::from(kill_at(&release, moment));
        }
        eprintln!("{kind}: killed {killed} times");
        let document = release.attach("--output json").exits(0).json();
        let there = ["attached", "present"].map(|state| document[state].as_u64().unwrap());
        assert_eq!(there.iter().sum::<u64>(), SOME as u64, "{document}");
        assert_complete(&release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_a_signer_elsewhere_has_overwritten_is_put_back() {
    let release = Release::signed(ScriptedRegistry::builder().without_referrers(), 100).await;
    let registry = &release.scene.registry;
    let (mut child, started) = (spawn(&release, &["--jobs", "1"]), Instant::now());
    // The first list that is written, once its writer has gone on to the next image.
    let first = loop {
        let lines = registry.lines();
        let written = lines.iter().position(|line| line.starts_with("PUT /v2/team/app/manifests/sha256-"));
        if let Some(first) = written.filter(|at| lines.len() > at + 4) {
            break lines[first].rsplit_once('/').unwrap().1.to_owned();
        }
        assert!(started.elapsed() < LIMIT, "nothing was written");
        tokio::task::yield_now().await;
    };
    let empty = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []}).to_string();
    registry.put_manifest(REPOSITORY, Some(&first), media_type::IMAGE_INDEX, empty.as_bytes());
    assert!(child.try_wait().unwrap().is_none(), "it was over before the entry was overwritten");
    assert!(child.wait().unwrap().success());
    assert_complete(&release);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_gone_is_not_asked_for_each_of_hundreds() {
    let release = Release::start(100).await;
    let index = release.payload_dir().join("payload-index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    // Nobody listens on port 1.
    std::fs::write(&index, text.replace(&release.scene.registry.host(), "127.0.0.1:1")).unwrap();
    let started = Instant::now();
    let document = release.attach("--output json").exits(1).json();
    assert_eq!((&document["attached"], &document["failed"]), (&json!(0), &json!(100)));
    let lines = document["signatures"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["problem"]["code"] == "registry-unreachable"), "{document}");
    eprintln!("given up after {:.1?}", started.elapsed());
}

fn kinds() -> [(&'static str, Builder); 2] {
    let script = ScriptedRegistry::builder;
    [("with the referrers API", script()), ("by the fallback tag", script().without_referrers())]
}

/// Kills a run once the registry has been asked so often; whether it was still going on.
fn kill_at(release: &Release, moment: usize) -> bool {
    let (mut child, started) = (spawn(release, &[]), Instant::now());
    while release.scene.registry.requests().len() < moment {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(started.elapsed() < LIMIT, "the run hangs");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

fn spawn(release: &Release, further: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pratique"));
    command.args(["attach", "--payload-dir"]).arg(release.payload_dir()).args(further);
    command
        .env_clear()
        .env("HOME", release.scene.node.home())
        .env("PRATIQUE_NOTATION_DIR", release.scene.node.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
