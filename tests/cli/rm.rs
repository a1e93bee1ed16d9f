//! `pratique rm`: signatures of an image that stays, or an image with everything that hangs on it.

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::copy::published;
use crate::node::{REPOSITORY, Ran, Scene};
use crate::registry::{self, Fault, ScriptedRegistry};

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_removed_is_gone_and_the_others_stay() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.run("sign").exits(0);
    scene.run("sign --signature-format cose").exits(0);
    let listed = scene.run("ls -o json").json();
    let first = listed["signatures"][0]["digest"].as_str().unwrap().to_owned();
    let told = scene.run("rm -o json --signatures").exits(0).json();
    assert_eq!((&told["dryRun"], told["removed"].as_array().map(Vec::len)), (&true.into(), Some(2)), "{told}");
    scene.run(&format!("rm --yes --signature sha256:{}", "0".repeat(64))).exits(2);
    assert_eq!(
        scene.run(&format!("rm --yes -o json --signature {first}")).exits(0).json()["removed"][0]["digest"],
        first
    );
    assert!(scene.registry.manifest(REPOSITORY, &first).is_none());
    assert_eq!(scene.run("ls -o json").json()["signatures"].as_array().unwrap().len(), 1);
    scene.run("verify").exits(0);
    scene.run("rm --yes --signatures").exits(0);
    scene.run("verify").exits(1);
    let refusing = Scene::of(ScriptedRegistry::builder().without_delete()).await;
    refusing.run("sign").exits(0);
    assert_eq!(refusing.run("rm --yes -o json --signatures").exits(3).json()["code"], "registry-refuses-delete");
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

/// Has the fallback tag of the scene's image list these, beside what it lists.
fn list(scene: &Scene, entries: &[Value]) -> String {
    let tag = Descriptor::of("m", &scene.image).digest.fallback_tag();
    let listed = scene.registry.manifest(REPOSITORY, &tag).unwrap();
    let mut index: Value = serde_json::from_slice(&listed).unwrap();
    index["manifests"].as_array_mut().unwrap().extend(entries.iter().cloned());
    scene.registry.put_manifest(REPOSITORY, Some(&tag), media_type::IMAGE_INDEX, index.to_string().as_bytes());
    tag
}

fn why<'r>(report: &'r Value, digest: &Descriptor) -> &'r Value {
    let lines = report["kept"].as_array().unwrap();
    lines.iter().find(|line| line["digest"] == digest.digest.as_str()).map_or(&Value::Null, |line| &line["why"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_image_stays_whoever_lists_it() {
    for is_listed in [false, true] {
        let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
        scene.run("sign").exits(0);
        let other = registry::image("by its digest alone");
        scene.registry.put_blob(REPOSITORY, b"{}");
        let signature = registry::signature(&other, b"{}");
        let put = |manifest: &[u8]| {
            scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, manifest);
            Descriptor::of(media_type::IMAGE_MANIFEST, manifest)
        };
        let of_other = registry::image("unreadable as it is listed");
        let (other, signature, disguised) = (put(&other), put(&signature), put(&of_other));
        scene.registry.put_manifest(REPOSITORY, Some("prod"), media_type::IMAGE_MANIFEST, &registry::image("prod"));
        let prod = Descriptor::of(media_type::IMAGE_MANIFEST, &registry::image("prod"));
        let mut entries = vec![json!(other), json!(signature), json!(prod), json!(disguised)];
        entries[3]["mediaType"] = json!("text/plain");
        let tag = list(&scene, if is_listed { &entries } else { &[] });
        let own = scene.run("ls -o json").json()["signatures"][0]["digest"].as_str().unwrap().to_owned();
        let done = rm(&scene, "--yes", ":v1").exits(0).json();
        assert!(scene.registry.manifest(REPOSITORY, &own).is_none(), "its own goes");
        for (descriptor, reason) in
            [(&other, "foreign"), (&signature, "foreign"), (&prod, "foreign"), (&disguised, "unreadable")]
        {
            let expected = if is_listed { json!(reason) } else { Value::Null };
            assert_eq!(*why(&done, descriptor), expected, "{done}");
            assert!(scene.registry.manifest(REPOSITORY, descriptor.digest.as_str()).is_some(), "{reason}");
        }
        assert_eq!((&done["lists"][0]["tag"], &done["lists"][0]["removed"]), (&json!(tag), &json!(!is_listed)));
        assert_eq!(scene.registry.manifest(REPOSITORY, &tag).is_some(), is_listed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_tag_that_points_to_another_image_takes_nothing_with_it() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.run("sign").exits(0);
    let own = scene.run("ls -o json").json()["signatures"][0]["digest"].as_str().unwrap().to_owned();
    let other = registry::image("other");
    scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &other);
    let own = Descriptor::of(media_type::IMAGE_MANIFEST, &scene.registry.manifest(REPOSITORY, &own).unwrap());
    let entries = [json!(Descriptor::of(media_type::IMAGE_MANIFEST, &other)), json!(own)];
    let index = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries}).to_string();
    for tag in ["v3", &Descriptor::of("m", &scene.image).digest.fallback_tag()] {
        scene.registry.put_manifest(REPOSITORY, Some(tag), media_type::IMAGE_INDEX, index.as_bytes());
    }
    let done = rm(&scene, "--yes", ":v1").exits(0).json();
    assert_eq!(done["lists"][0]["removed"], false);
    assert_eq!(scene.registry.manifest(REPOSITORY, "v3").unwrap(), index.as_bytes());
    assert!(scene.registry.manifest(REPOSITORY, Descriptor::of("m", &other).digest.as_str()).is_some());
    assert!(scene.registry.manifest(REPOSITORY, "v1").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_which_it_cannot_be_told_who_else_needs_it_stays() {
    let index = |padding: usize| {
        let annotations = json!({"io.example.padding": "x".repeat(padding)});
        json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": [], "annotations": annotations})
    };
    for (padding, lists_tags, is_known) in [(0, true, true), (0, false, false), (5 << 20, true, false)] {
        let scene = Scene::new().await;
        let index = index(padding).to_string();
        scene.registry.put_manifest(REPOSITORY, Some("other"), media_type::IMAGE_INDEX, index.as_bytes());
        if !lists_tags {
            scene.registry.always("/tags/list", Fault::Status(404));
        }
        if is_known {
            rm(&scene, "--yes", ":v1").exits(0);
        } else {
            assert_eq!(rm(&scene, "--yes", ":v1").exits(3).json()["code"], "image-use-unknown");
            assert!(scene.registry.manifest(REPOSITORY, "v1").is_some());
            rm(&scene, "--yes --force", ":v1").exits(0);
        }
        assert!(scene.registry.manifest(REPOSITORY, "v1").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_any_form_keeps_an_image_in_a_layout() {
    let scene = Scene::new().await;
    scene.registry.put_blob(REPOSITORY, b"{}");
    for name in ["registry.example/app:prod", "v1"] {
        let copied = format!("copy {} oci-layout:out", scene.tag());
        for tag in ["v1", "v2"] {
            scene.node.run(&format!("{copied}:{tag}")).exits(0);
        }
        let path = scene.node.home().join("out/index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for entry in index["manifests"].as_array_mut().unwrap() {
            let annotation = &mut entry["annotations"]["org.opencontainers.image.ref.name"];
            if *annotation == "v2" {
                *annotation = json!(name);
            }
        }
        std::fs::write(&path, index.to_string()).unwrap();
        let done = scene.node.run("rm -o json --yes oci-layout:out:v1");
        if name == "v1" {
            done.exits(0);
        } else {
            assert_eq!(done.exits(1).json()["code"], "image-in-use");
            std::fs::remove_dir_all(scene.node.home().join("out")).unwrap();
        }
    }
}

/// How many layers two images have in common: enough for a copy to take about as long as a removal.
const SHARED_LAYERS: usize = 40;
/// How often both are tried at once.
const ROUNDS: usize = 12;

/// An image of the scene's registry with those layers.
fn layered(scene: &Scene, tag: &str) -> Vec<u8> {
    let layer = |number: usize| {
        let bytes = format!("layer {number}");
        scene.registry.put_blob(REPOSITORY, bytes.as_bytes());
        json!(Descriptor::of("application/vnd.oci.image.layer.v1.tar", bytes.as_bytes()))
    };
    let mut image: Value = serde_json::from_slice(&registry::image(tag)).unwrap();
    image["layers"] = (0..SHARED_LAYERS).map(layer).collect();
    let image = image.to_string().into_bytes();
    scene.registry.put_manifest(REPOSITORY, Some(tag), media_type::IMAGE_MANIFEST, &image);
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_takes_nothing_away_that_a_copy_into_the_layout_is_about_to_need() {
    let scene = Scene::new().await;
    scene.registry.put_blob(REPOSITORY, b"{}");
    layered(&scene, "old");
    layered(&scene, "new");
    let copy = |from: &str, to: &str| scene.node.run(&format!("copy {from} {to}"));
    let of_registry = |tag: &str| format!("{}/{REPOSITORY}:{tag}", scene.registry.host());
    for round in 0..ROUNDS {
        let layout = format!("oci-layout:shared-{round}");
        copy(&of_registry("old"), &format!("{layout}:old")).exits(0);
        std::thread::scope(|scope| {
            scope.spawn(|| copy(&of_registry("new"), &format!("{layout}:new")).exits(0));
            scope.spawn(|| scene.node.run(&format!("rm --yes {layout}:old")).exits(0));
        });
        // What is there is whole: it can be taken elsewhere.
        copy(&format!("{layout}:new"), &format!("oci-layout:taken-{round}:new")).exits(0);
    }
}
