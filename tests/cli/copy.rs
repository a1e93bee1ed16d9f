//! `pratique copy`: signatures stay attached, whatever happens on the way.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pratique::oci::{Descriptor, media_type};
use serde_json::json;

use crate::node::{REPOSITORY, Scene};
use crate::registry::{Fault, ScriptedRegistry, referring};

/// How long a copy may take before it is taken for one that hangs: some hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A signed image for two platforms, with an SBOM and a signature of cosign, in the scene's registry.
pub async fn published(script: crate::registry::Builder) -> (Scene, Vec<u8>) {
    let scene = Scene::of(script).await;
    scene.registry.put_blob(REPOSITORY, b"{}");
    let entry = |bytes: &[u8]| json!(Descriptor::of(media_type::IMAGE_MANIFEST, bytes));
    let other = crate::registry::image("other");
    scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &other);
    let mut first = entry(&scene.image);
    first["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": [first, entry(&other)]});
    let index = index.to_string().into_bytes();
    scene.registry.put_manifest(REPOSITORY, Some("all"), media_type::IMAGE_INDEX, &index);
    scene.run("sign").exits(0);
    scene.node.run(&format!("sign {}/{REPOSITORY}:all", scene.registry.host())).exits(0);
    scene.registry.put_blob(REPOSITORY, b"sbom");
    let sbom = referring("application/spdx+json", &scene.image, b"sbom");
    scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &sbom);
    scene.registry.put_blob(REPOSITORY, b"of the sbom");
    let of_sbom = referring("application/x-note", &sbom, b"of the sbom");
    scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &of_sbom);
    let cosign = format!("sha256-{}.sig", Descriptor::of("m", &scene.image).digest.hex());
    scene.registry.put_manifest(
        REPOSITORY,
        Some(&cosign),
        media_type::IMAGE_MANIFEST,
        &crate::registry::image("cosign"),
    );
    (scene, index)
}

fn source(scene: &Scene) -> String {
    format!("{}/{REPOSITORY}:all", scene.registry.host())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_any_registry_with_what_hangs_on_it_and_is_admitted_there() {
    let builder = ScriptedRegistry::builder;
    for script in [builder(), builder().without_referrers(), builder().without_filter().without_oci_subject()] {
        let (scene, index) = published(builder()).await;
        let to = script.start().await;
        let copy = || scene.node.run(&format!("copy --verify -o json {} {}/new/app:v2", source(&scene), to.host()));
        let first = copy().exits(0).json();
        assert_eq!((&first["code"], first["manifests"]["total"].as_u64()), (&json!("copied"), Some(7)));
        assert_eq!(first["referrers"].as_array().unwrap().len(), 3, "two signatures and an SBOM");
        assert_eq!(to.manifest("new/app", "v2").unwrap(), index);
        assert!(to.manifest("new/app", first["tags"][0].as_str().unwrap()).is_some());
        scene.node.run(&format!("verify {}/new/app:v2", to.host())).exits(0);
        to.forget_requests();
        let again = copy().exits(0).json();
        assert_eq!((&again["manifests"]["present"], &again["bytes"]), (&json!(7), &json!(0)));
        assert!(!to.lines().iter().any(|line| line.starts_with("POST")), "{:?}", to.lines());
        let tag_last = to.lines().into_iter().rfind(|line| line.starts_with("PUT"));
        assert_eq!(tag_last.unwrap(), "PUT /v2/new/app/manifests/v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_of_referrers_go_when_asked_for_and_a_layout_brings_everything_back() {
    let (scene, index) = published(ScriptedRegistry::builder()).await;
    let out = format!("copy --recursive-referrers -o json {} oci-layout:layout:v1", source(&scene));
    assert_eq!(scene.node.run(&out).exits(0).json()["referrers"].as_array().unwrap().len(), 4);
    let to = ScriptedRegistry::builder().without_referrers().start().await;
    let back = format!("copy --verify --recursive-referrers -o json oci-layout:layout:v1 {}/new/app:v2", to.host());
    assert_eq!(scene.node.run(&back).exits(0).json()["referrers"].as_array().unwrap().len(), 4);
    assert_eq!(to.manifest("new/app", "v2").unwrap(), index);
    let other = format!("oci-layout:layout@sha256:{}", "0".repeat(64));
    scene.node.run(&format!("copy oci-layout:layout:v1 {other}")).exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_written_once_with_the_same_bytes_and_leaves_nothing_beside_it() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let copy = |to: &str| scene.node.run(&format!("copy --recursive-referrers -o json {} {to}", source(&scene)));
    for name in ["one.tar", "two.tar"] {
        copy(&format!("oci-archive:{name}:v1")).exits(0);
    }
    let read = |name: &str| std::fs::read(scene.node.home().join(name)).unwrap();
    assert_eq!(read("one.tar"), read("two.tar"));
    assert_eq!(copy("oci-archive:one.tar:v1").exits(2).json()["code"], "archive-exists");
    // Nothing is admitted here, and nothing is left.
    scene.node.write("trustpolicy.json", crate::node::policy("strict", &["ca:nobody"], &["*"]));
    scene.node.run(&format!("copy --verify {} oci-archive:three.tar:v1", source(&scene))).exits(3);
    scene.registry.always("/blobs/", Fault::Status(404));
    copy("oci-archive:three.tar:v1").exits(3);
    let names = std::fs::read_dir(scene.node.home()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["notation", "one.tar", "two.tar"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_no_registry_is_governed_by_what_is_named() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    scene.node.run(&format!("copy {} oci-layout:one:v1", source(&scene))).exits(0);
    let copy = |options: &str| scene.node.run(&format!("copy -o json {options} oci-layout:one:v1 oci-layout:two:v1"));
    assert_eq!(copy("--verify").exits(2).json()["code"], "scope-missing");
    copy("--verify --scope registry.example/app").exits(0);
    copy("--scope registry.example/app").exits(2);
    let named = format!("copy -o json --verify --scope registry.example/app {} oci-layout:two:v1", source(&scene));
    assert_eq!(scene.node.run(&named).exits(2).json()["code"], "scope-not-applicable");
    let read_only = format!("copy -o json {} containerd:default/app:v1", source(&scene));
    assert_eq!(scene.node.run(&read_only).exits(2).json()["code"], "place-read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_can_go_alone_and_a_blob_is_taken_over_within_a_registry() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let to = format!("{}/new/app:v2", scene.registry.host());
    let copy = |platform| scene.node.run(&format!("copy -o json --platform {platform} {} {to}", source(&scene)));
    let copied = copy("linux/amd64").exits(0).json();
    assert_eq!(copied["artifact"]["digest"], Descriptor::of("m", &scene.image).digest.as_str());
    assert_eq!((copied["mounted"].as_u64(), copied["bytes"].as_u64()), (Some(3), Some(0)));
    copy("linux/s390x").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_of_what_is_not_admitted() {
    let scene = Scene::new().await;
    let to = ScriptedRegistry::start().await;
    let denied = scene.node.run(&format!("copy --verify -o json {} {}/new/app:v2", scene.tag(), to.host()));
    denied.answers(1, "deny", "no-signature", Some("retrieval"));
    assert!(to.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_drops_is_told() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let to = ScriptedRegistry::start().await;
    to.always("/referrers/", none_listed());
    let copied = scene.node.run(&format!("copy -o json {} {}/new/app:v2", source(&scene), to.host())).exits(1).json();
    assert_eq!((&copied["code"], copied["dropped"].as_array().unwrap().len()), (&json!("copy-incomplete"), 3));
}

/// The answer of a registry that lists no referrers.
fn none_listed() -> Fault {
    let body = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []}).to_string();
    Fault::Answer(200, vec![("content-type", media_type::IMAGE_INDEX.to_owned())], body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_loses_a_signature_keeps_the_tag_that_it_had() {
    let (scene, index) = published(ScriptedRegistry::builder()).await;
    for is_lost in [true, false] {
        let to = ScriptedRegistry::start().await;
        let before = crate::registry::image("before");
        to.put_manifest("new/app", Some("v2"), media_type::IMAGE_MANIFEST, &before);
        if is_lost {
            to.always("/referrers/", none_listed());
        }
        let ran = scene.node.run(&format!("copy --verify -o json {} {}/new/app:v2", source(&scene), to.host()));
        if is_lost {
            ran.answers(1, "deny", "no-signature", Some("retrieval"));
            assert!(ran.stderr.contains("the image was copied, and no tag was moved to it"), "{ran:?}");
            assert!(!to.lines().contains(&"PUT /v2/new/app/manifests/v2".to_owned()), "{:?}", to.lines());
        } else {
            ran.exits(0);
        }
        let expected = if is_lost { &before } else { &index };
        assert_eq!(to.manifest("new/app", "v2").unwrap(), *expected);
        let digest = Descriptor::of("m", &index).digest;
        assert_eq!(to.manifest("new/app", digest.as_str()).unwrap(), index, "by its digest it is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_archive_appears_and_no_tag_in_a_layout_before_the_image_is_admitted_from_there() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    for (to, appears) in [("oci-archive:new.tar:v1", "new.tar"), ("oci-layout:new:v1", "new/index.json")] {
        let copy = || scene.node.run(&format!("copy --verify -o json {} {to}", source(&scene)));
        // The signature is seen by the first verdict, and hidden from the copy.
        let hidden = published(ScriptedRegistry::builder()).await.0;
        hidden.registry.fault_after("GET /v2/team/app/blobs", "/referrers/", none_listed());
        let ran = hidden.node.run(&format!("copy --verify -o json {} {to}", source(&hidden)));
        ran.answers(1, "deny", "no-signature", Some("retrieval"));
        let content = std::fs::read_to_string(hidden.node.home().join(appears)).unwrap_or_default();
        assert!(!content.contains("\"v1\""), "{to}: {content}");
        assert_eq!(hidden.node.home().join(appears).try_exists().unwrap(), to.contains("layout"), "{to}");
        copy().exits(0);
        assert!(scene.node.home().join(appears).try_exists().unwrap(), "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_cosigns_that_points_elsewhere_at_the_destination_is_left() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let tag = format!("{}.sig", Descriptor::of("m", &scene.image).digest.fallback_tag());
    for (there, code) in [("another", 1), ("cosign", 0)] {
        let to = ScriptedRegistry::start().await;
        let before = crate::registry::image(there);
        to.put_manifest("new/app", Some(&tag), media_type::IMAGE_MANIFEST, &before);
        let ran = scene.node.run(&format!("copy -o json {} {}/new/app:v2", source(&scene), to.host()));
        let copied = ran.exits(code).json();
        assert_eq!(to.manifest("new/app", &tag).unwrap(), before);
        let is_left = copied["dropped"][0]["loss"]["tag-taken"] == json!(tag);
        assert_eq!((is_left, copied["tags"] == json!([tag])), (code == 1, code == 0), "{copied}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_at_any_step_is_waited_for() {
    for part in ["GET /v2/team/app/manifests", "GET /v2/team/app/blobs", "GET /v2/team/app/referrers"] {
        let (scene, _) = published(ScriptedRegistry::builder()).await;
        let to = ScriptedRegistry::start().await;
        scene.registry.fault(part, Fault::Status(503), 4);
        scene.node.run(&format!("copy {} {}/new/app:v2", source(&scene), to.host())).exits(0);
    }
    for (part, fault) in [
        ("POST /v2/new/app/blobs", Fault::Reset),
        ("PUT /v2/new/app/blobs", Fault::Status(500)),
        ("PUT /v2/new/app/manifests", Fault::Status(502)),
        ("HEAD /v2/new/app/", Fault::Reset),
        ("PUT /v2/new/app/blobs", Fault::Answer(429, vec![("retry-after", "1".to_owned())], String::new())),
    ] {
        let (scene, _) = published(ScriptedRegistry::builder()).await;
        let to = ScriptedRegistry::start().await;
        to.fault(part, fault, 2);
        scene.node.run(&format!("copy {} {}/new/app:v2", source(&scene), to.host())).exits(0);
    }
}

/// Kills the program when the destination has been asked so many questions, and looks what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_leaves_nothing_dangling_and_is_completed_by_the_next() {
    let seed: u32 =
        std::env::var("PRATIQUE_COPY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(std::process::id);
    eprintln!("PRATIQUE_COPY_SEED={seed}");
    let (scene, index) = published(ScriptedRegistry::builder()).await;
    for round in 0..8_u32 {
        let script = ScriptedRegistry::builder();
        let to = if round % 2 == 0 { script } else { script.without_referrers() }.start().await;
        let asked = (seed.wrapping_mul(2_654_435_761).wrapping_add(round * 7_919) >> 8) % 45;
        let destination = format!("{}/new/app:v2", to.host());
        let mut child = Command::new(env!("CARGO_BIN_EXE_pratique"))
            .args(["copy", &source(&scene), &destination])
            .env("HOME", scene.node.home())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while to.requests().len() < asked as usize && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Instant::now() < deadline, "round {round}: neither {asked} questions nor an end");
        if to.manifest("new/app", "v2").is_some() {
            scene.node.run(&format!("verify {destination}")).exits(0);
        }
        let copied = scene.node.run(&format!("copy -o json {} {destination}", source(&scene))).exits(0).json();
        assert_eq!(copied["dropped"], json!([]), "round {round}, killed after {asked}");
        assert_eq!(to.manifest("new/app", "v2").unwrap(), index);
        let listed = scene.node.run(&format!("ls -o json {destination}")).exits(0).json();
        assert_eq!(listed["signatures"].as_array().unwrap().len(), 1, "round {round}, killed after {asked}");
    }
}

/// A long copy outlives its token, wherever in the copy that ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_is_asked_for_anew() {
    let (scene, index) = published(ScriptedRegistry::builder()).await;
    let mut asked_anew = 0;
    for requests in (1..60).step_by(4) {
        let to = ScriptedRegistry::builder().bearer().token_for("ann", "secret").start().await;
        let auths = json!({"auths": {to.host(): {"username": "ann", "password": "secret"}}});
        scene.node.write_home(".docker/config.json", auths.to_string());
        let copy = || scene.node.run(&format!("copy -o json {} {}/new/app:v2", source(&scene), to.host()));
        to.revoke_tokens_after(requests);
        let copied = copy().exits(0).json();
        assert_eq!((&copied["code"], &copied["dropped"]), (&json!("copied"), &json!([])), "{requests}");
        assert_eq!(to.manifest("new/app", "v2").unwrap(), index);
        asked_anew += usize::from(to.tokens_given() > 2);
        let again = copy().exits(0).json();
        assert_eq!((&again["bytes"], &again["manifests"]["present"]), (&json!(0), &json!(7)), "{requests}");
    }
    assert!(asked_anew > 8, "the token ended in the middle {asked_anew} times");
}

/// How many referrers an image has that is attested with each build.
const MANY: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_referrers_are_copied_by_a_handful_of_questions_for_each() {
    for (kind, script) in [
        ("with the referrers API", ScriptedRegistry::builder()),
        ("with the fallback tag", ScriptedRegistry::builder().without_referrers()),
    ] {
        let (scene, to) = (Scene::of(script.clone()).await, script.start().await);
        scene.registry.put_blob(REPOSITORY, b"{}");
        for number in 0..MANY {
            let note = number.to_string();
            scene.registry.put_blob(REPOSITORY, note.as_bytes());
            let manifest = referring("application/x-note", &scene.image, note.as_bytes());
            scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
        }
        let started = Instant::now();
        let copied = scene.node.run(&format!("copy -o json {} {}/new/app:v2", scene.tag(), to.host())).exits(0).json();
        let (read, written) = (scene.registry.requests().len(), to.requests().len());
        eprintln!("{kind}: {MANY} referrers in {:.1?}, {read} requests read and {written} wrote", started.elapsed());
        assert_eq!((copied["referrers"].as_array().unwrap().len(), &copied["dropped"]), (MANY, &json!([])));
        let listed = to.listed("new/app", &Descriptor::of("m", &scene.image).digest);
        assert_eq!(listed.len(), MANY);
        // A manifest, its blob and what refers to it are read; blob and manifest are looked for, written, and looked for again.
        assert!(read < 7 * MANY && written < 8 * MANY, "{kind}: {read} and {written}");
    }
}
