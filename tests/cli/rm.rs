//! `pratique rm`: signatures of an image that stays, or an image with everything that hangs on it.

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::copy::published;
use crate::node::{REPOSITORY, Ran, Scene};
use crate::registry::{self, ScriptedRegistry};

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_removed_is_gone_and_the_others_stay() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.run("sign").exits(0);
    scene.run("sign --signature-format cose").exits(0);
    let listed = scene.run("ls -o json").json();
    let first = listed["signatures"][0]["digest"].as_str().unwrap().to_owned();
    scene.run("rm --yes --signatures").exits(2);
    scene.run(&format!("rm --signature sha256:{}", "0".repeat(64))).exits(2);
    assert_eq!(scene.run(&format!("rm -o json --signature {first}")).exits(0).json()["removed"][0]["digest"], first);
    assert!(scene.registry.manifest(REPOSITORY, &first).is_none());
    assert_eq!(scene.run("ls -o json").json()["signatures"].as_array().unwrap().len(), 1);
    scene.run("verify").exits(0);
    scene.run("rm --signatures").exits(0);
    scene.run("verify").exits(1);
    let refusing = Scene::of(ScriptedRegistry::builder().without_delete()).await;
    refusing.run("sign").exits(0);
    assert_eq!(refusing.run("rm -o json --signatures").exits(3).json()["code"], "registry-refuses-delete");
}

fn digests(lines: &Value) -> Vec<&str> {
    lines.as_array().unwrap().iter().map(|line| line["digest"].as_str().unwrap()).collect()
}

/// Runs `rm` on what has this name in the scene's repository.
fn rm(scene: &Scene, options: &str, name: &str) -> Ran {
    scene.node.run(&format!("rm -o json {options} {}/{REPOSITORY}{name}", scene.registry.host()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_with_what_hangs_on_it_and_what_another_one_lists_stays() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let (scene, index) = published(script).await;
        let root = Descriptor::of("m", &index).digest;
        let told = rm(&scene, "", ":all").exits(0).json();
        assert_eq!((&told["dryRun"], digests(&told["removed"])[0]), (&json!(true), root.as_str()));
        assert!(scene.registry.manifest(REPOSITORY, "all").is_some(), "nothing was written");
        let done = rm(&scene, "--yes", ":all").exits(0).json();
        assert_eq!((&done["removed"], &done["kept"]), (&told["removed"], &told["kept"]));
        let first = scene.registry.lines().into_iter().find(|line| line.starts_with("DELETE")).unwrap();
        assert_eq!(first, format!("DELETE /v2/{REPOSITORY}/manifests/{root}"));
        for digest in digests(&done["removed"]) {
            assert!(scene.registry.manifest(REPOSITORY, digest).is_none(), "{digest}");
        }
        assert!(scene.registry.manifest(REPOSITORY, &root.fallback_tag()).is_none());
        // `v1` is a platform's manifest: it stays with what hangs on it.
        assert!(digests(&done["kept"]).contains(&Descriptor::of("m", &scene.image).digest.as_str()));
        scene.verify("").answers(0, "admit", "admitted", None);
        assert_eq!(rm(&scene, "--yes", ":all").exits(3).json()["code"], "not-found");
        let done = rm(&scene, "--yes", ":v1").exits(0).json();
        assert_eq!((done["removed"].as_array().unwrap().len(), &done["kept"]), (5, &json!([])));
        assert!(scene.registry.referring_manifests(REPOSITORY).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_another_tag_needs_goes_only_when_that_is_insisted_on() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let digest = Descriptor::of("m", &scene.image).digest;
    for name in [":v1".to_owned(), format!("@{digest}")] {
        assert_eq!(rm(&scene, "--yes", &name).exits(1).json()["code"], "image-in-use");
    }
    assert!(!scene.registry.lines().iter().any(|line| line.starts_with("DELETE")));
    assert_eq!(rm(&scene, "--force", ":v1").exits(0).json()["tags"], json!(["v1", "all"]));
    rm(&scene, "--force --yes", ":v1").exits(0);
    assert!(scene.registry.manifest(REPOSITORY, digest.as_str()).is_none());
    assert!(scene.registry.manifest(REPOSITORY, "all").is_some(), "what lists it stays");
    // What is left where a removal was stopped is found by the digest.
    let image = registry::image("gone");
    let manifest = registry::signature(&image, b"{}");
    scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
    let gone = format!("@{}", Descriptor::of("m", &image).digest);
    let done = rm(&scene, "--yes", &gone).exits(0).json();
    assert!(digests(&done["removed"]).contains(&Descriptor::of("m", &manifest).digest.as_str()));
    assert!(scene.registry.manifest(REPOSITORY, Descriptor::of("m", &manifest).digest.as_str()).is_none());
    assert_eq!(rm(&scene, "--yes", &gone).exits(3).json()["code"], "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_out_of_a_layout_with_all_its_content() {
    let (scene, _) = published(ScriptedRegistry::builder()).await;
    let source = format!("{}/{REPOSITORY}:all", scene.registry.host());
    for tag in ["v1", "v2"] {
        scene.node.run(&format!("copy --recursive-referrers {source} oci-layout:out:{tag}")).exits(0);
    }
    let rm = |options: &str| scene.node.run(&format!("rm -o json {options} oci-layout:out:v1"));
    assert_eq!(rm("--yes").exits(1).json()["code"], "image-in-use");
    rm("--yes --force").exits(0);
    let layout = scene.node.home().join("out");
    assert_eq!(std::fs::read_dir(layout.join("blobs/sha256")).unwrap().count(), 0);
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_deletes_nothing_keeps_everything() {
    let scene = Scene::of(ScriptedRegistry::builder().without_delete().without_referrers()).await;
    scene.run("sign").exits(0);
    assert_eq!(rm(&scene, "--yes", ":v1").exits(3).json()["code"], "registry-refuses-delete");
    scene.verify("").answers(0, "admit", "admitted", None);
}
