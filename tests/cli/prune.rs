//! `pratique prune`: what nobody misses goes, and its twin stays.

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::authority::TimestampAuthority;
use crate::node::{REPOSITORY, Scene};
use crate::registry::{self, ScriptedRegistry};

/// Registries that list by themselves, and those where clients do.
async fn scenes() -> [Scene; 2] {
    let builder = ScriptedRegistry::builder;
    [Scene::of(builder()).await, Scene::of(builder().without_referrers()).await]
}

/// Signs, and gives the digest of the signature.
fn sign(scene: &Scene, options: &str) -> String {
    let signed = scene.run(&format!("sign -o json {options}")).exits(0).json();
    signed["signature"]["digest"].as_str().unwrap().to_owned()
}

fn prune(scene: &Scene, options: &str) -> Value {
    scene.run(&format!("prune -o json {options}")).exits(0).json()
}

fn listed(scene: &Scene) -> Vec<Value> {
    let listed = scene.run("ls -o json").json();
    listed["signatures"].as_array().unwrap().iter().map(|signature| signature["digest"].clone()).collect()
}

/// Why these go or stay, by the digests of the signatures.
fn why(lines: &Value, signature: &str) -> Value {
    let lines = lines.as_array().unwrap();
    lines.iter().find(|line| line["signature"] == signature).map_or(Value::Null, |line| line["why"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_signature_goes_when_told_to_and_the_image_stays_admitted() {
    for scene in scenes().await {
        let earlier = sign(&scene, "");
        let later = sign(&scene, "--user-metadata build=7");
        scene.run("prune").is(
            0,
            "
would remove 1 of 2 signatures of [HOST]/team/app@[IMAGE]
  superseded sha256:[HEX] of [SHORT]: sha256:[HEX] is by the same signer, no earlier, and good wherever this one is
"
            .replace("[SHORT]", &Descriptor::of("m", &scene.image).digest.short())
            .as_str(),
            "
hint: nothing was written; with `--yes` they are removed
",
        );
        let told = prune(&scene, "");
        assert_eq!((&told["dryRun"], &told["pruned"][0]["by"]), (&json!(true), &json!(later)));
        assert_eq!(listed(&scene).len(), 2, "nothing was written");
        let done = prune(&scene, "--yes");
        assert_eq!((&done["dryRun"], why(&done["pruned"], &earlier)), (&json!(false), json!("superseded")));
        assert_eq!(listed(&scene), [json!(later)]);
        assert!(scene.registry.manifest(REPOSITORY, &earlier).is_none());
        scene.verify("").answers(0, "admit", "admitted", None);
        assert_eq!(prune(&scene, "--yes")["pruned"], json!([]), "what stays is not pruned by a second run");
        scene.run("prune --yes").is(0, "\nremoved 0 of 1 signatures of [HOST]/team/app@[IMAGE]\n", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_verifier_may_ask_for_stays() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    let first = sign(&scene, "--user-metadata build=7");
    let authority = TimestampAuthority::start();
    let stamping = format!("--timestamp-url {} --timestamp-root-cert {}", authority.url(), authority.root().display());
    for options in ["--signature-format cose", "--user-metadata build=8", "--key bob", &stamping] {
        sign(&scene, options);
    }
    assert_eq!(prune(&scene, "--yes")["pruned"], json!([]));
    // A stamp of the same authority stands in for a stamp; none does not.
    let later = sign(&scene, &format!("{stamping} --user-metadata build=7"));
    let pruned = prune(&scene, "--yes")["pruned"].clone();
    assert_eq!(why(&pruned, &first), "superseded");
    assert_eq!(
        (pruned.as_array().unwrap().len(), &pruned[1]["by"]),
        (2, &json!(later)),
        "and the stamped one: {pruned}"
    );
    assert_eq!(listed(&scene).len(), 4);
}

/// A second is the shortest time for a signature to be good; nothing else makes one expire here.
fn until_it_expires(scene: &Scene, options: &str) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let told = prune(scene, options);
        if told.to_string().contains("\"expired\"") {
            return told;
        }
        assert!(std::time::Instant::now() < deadline, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_signature_goes_where_another_stands_in_or_when_asked_for() {
    let scene = Scene::new().await;
    let expired = sign(&scene, "--expiry 1s");
    let told = until_it_expires(&scene, "");
    assert_eq!((&told["pruned"], why(&told["kept"], &expired)), (&json!([]), json!("expired")));
    assert_eq!(why(&prune(&scene, "--expired")["pruned"], &expired), "expired");
    let good = sign(&scene, "");
    let pruned = prune(&scene, "--yes")["pruned"].clone();
    assert_eq!((why(&pruned, &expired), &pruned[0]["by"]), (json!("expired"), &json!(good)));
    assert_eq!(prune(&scene, "--yes --expired")["pruned"], json!([]));
    assert_eq!(listed(&scene), [json!(good)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_points_to_nothing_goes_and_what_cannot_be_read_stays() {
    for scene in scenes().await {
        let sound = sign(&scene, "");
        let put =
            |manifest: &[u8]| scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, manifest).to_string();
        let empty = put(&registry::signature(&scene.image, b"no envelope is there"));
        scene.registry.put_blob(REPOSITORY, b"{}");
        let unreadable = put(&registry::signature(&scene.image, b"{}"));
        let sbom = put(&registry::referring("application/spdx+json", &scene.image, b"nor here"));
        let done = prune(&scene, "--yes");
        assert_eq!(why(&done["pruned"], &empty), "dangling");
        assert_eq!(why(&done["kept"], &unreadable), "unreadable");
        assert_eq!((done["pruned"].as_array().unwrap().len(), why(&done["kept"], &sound)), (1, Value::Null));
        assert!(scene.registry.manifest(REPOSITORY, &sbom).is_some(), "only signatures are pruned");
        assert_eq!(listed(&scene).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_what_is_gone_are_found_by_its_digest() {
    for scene in scenes().await {
        let ghost = registry::image("gone");
        scene.registry.put_blob(REPOSITORY, b"{}");
        let manifest = registry::signature(&ghost, b"{}");
        let signature = scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest).to_string();
        let digest = Descriptor::of("m", &ghost).digest;
        let image = format!("{}/{REPOSITORY}@{digest}", scene.registry.host());
        let told = scene.node.run(&format!("prune -o json {image}")).exits(0).json();
        assert_eq!(why(&told["pruned"], &signature), "dangling");
        scene.node.run(&format!("prune --yes {image}")).exits(0);
        assert!(scene.registry.manifest(REPOSITORY, &signature).is_none());
        assert_eq!(scene.node.run(&format!("prune -o json {image}")).exits(3).json()["code"], "not-found");
        // A tag that points to nothing names nothing.
        scene.node.run(&format!("prune {}/{REPOSITORY}:none", scene.registry.host())).exits(3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_in_a_layout_are_pruned_too_and_a_registry_may_refuse() {
    let scene = Scene::new().await;
    sign(&scene, "");
    let later = sign(&scene, "--user-metadata build=7");
    crate::places::copied(&scene, "signed");
    let done = scene.node.run("prune --yes -o json oci-layout:signed:v1").exits(0).json();
    assert_eq!(done["pruned"][0]["by"], json!(later));
    let left = scene.node.run("ls -o json oci-layout:signed:v1").json();
    assert_eq!(left["signatures"].as_array().unwrap().len(), 1);
    let refused = Scene::of(ScriptedRegistry::builder().without_delete()).await;
    sign(&refused, "");
    sign(&refused, "--user-metadata build=7");
    assert_eq!(refused.run("prune --yes -o json").exits(3).json()["code"], "registry-refuses-delete");
    assert_eq!(listed(&refused).len(), 2);
}

/// What somebody changes in a copy of a signature manifest.
type Change = fn(&mut Value);

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_no_verifier_takes_stands_in_for_none() {
    let changes: [(Change, &str); 3] = [
        (|manifest| manifest["subject"]["size"] = json!(1), "foreign"),
        (|manifest| manifest["subject"]["mediaType"] = json!(media_type::IMAGE_INDEX), "foreign"),
        (|manifest| manifest["annotations"]["io.example.note"] = json!("once more"), "superseded"),
    ];
    for (change, expected) in changes {
        for scene in scenes().await {
            let genuine = sign(&scene, "");
            let manifest = scene.registry.manifest(REPOSITORY, &genuine).unwrap();
            // The registry lists in the order of arrival, and the first of equal ones stays.
            scene.run(&format!("rm --yes --signature {genuine}")).exits(0);
            let mut known: Value = serde_json::from_slice(&manifest).unwrap();
            change(&mut known);
            let known = known.to_string();
            let wrapper = scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, known.as_bytes());
            scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
            let done = prune(&scene, "--yes");
            let lines = if expected == "foreign" { &done["kept"] } else { &done["pruned"] };
            assert_eq!(why(lines, wrapper.as_str()), expected, "{done}");
            assert!(scene.registry.manifest(REPOSITORY, &genuine).is_some());
            scene.verify("").answers(0, "admit", "admitted", None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_image_is_not_dangling_where_what_lists_it_is_gone() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let genuine = sign(&scene, "");
    let ghost = registry::image("ghost");
    scene.registry.put_blob(REPOSITORY, b"{}");
    let own = registry::signature(&ghost, b"{}");
    let own = scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &own).to_string();
    let digest = Descriptor::of("m", &ghost).digest;
    let entry = |digest: &str| {
        let manifest = scene.registry.manifest(REPOSITORY, digest).unwrap();
        let mut entry = json!(Descriptor::of(media_type::IMAGE_MANIFEST, &manifest));
        entry["artifactType"] = json!(media_type::NOTARY_SIGNATURE);
        entry
    };
    let entries = [entry(&genuine), entry(&own)];
    let list = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries}).to_string();
    let tag = digest.fallback_tag();
    scene.registry.put_manifest(REPOSITORY, Some(&tag), media_type::IMAGE_INDEX, list.as_bytes());
    let image = format!("{}/{REPOSITORY}@{digest}", scene.registry.host());
    let done = scene.node.run(&format!("prune --yes -o json {image}")).exits(0).json();
    assert_eq!((why(&done["kept"], &genuine), why(&done["pruned"], &own)), (json!("foreign"), json!("dangling")));
    assert!(scene.registry.manifest(REPOSITORY, &own).is_none());
    scene.verify("").answers(0, "admit", "admitted", None);
}
