//! `pratique ls`: what the registry lists, and no judgement.

use pratique::oci::{Descriptor, media_type};
use serde_json::json;

use crate::node::{REPOSITORY, Scene};
use crate::registry::{self, Fault, ScriptedRegistry};

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_listed_as_a_tree() {
    let scene = Scene::new().await;
    scene.run("ls").is(
        0,
        "
[HOST]/team/app@[IMAGE] has no signature
",
        "",
    );
    scene.run("sign").exits(0);
    scene.run("ls").is(
        0,
        "
[HOST]/team/app@[IMAGE]
└── application/vnd.cncf.notary.signature
    └── sha256:[HEX]
",
        "",
    );
    scene.run("sign --signature-format cose").exits(0);
    scene.node.run(&format!("ls {}", scene.tag())).is(
        0,
        "
[HOST]/team/app@[IMAGE]
└── application/vnd.cncf.notary.signature
    ├── sha256:[HEX]
    └── sha256:[HEX]
",
        "
warning: `v1` is a tag, which may be moved; pratique lists what it points to now. Write the digest to be sure
",
    );
    scene.run("ls --max-signatures 1").is(
        0,
        "
[HOST]/team/app@[IMAGE]
└── application/vnd.cncf.notary.signature
    └── sha256:[HEX]
there are more than the 1 listed
",
        "",
    );
    assert_eq!(scene.run("ls --max-signatures 1 -o json").json()["truncated"], true);
    scene.run("ls --max-signatures 0").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_signature_has_an_empty_list() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.run("ls --output json").is(
        0,
        r#"
{
  "reference": "[HOST]/team/app@[IMAGE]",
  "artifact": {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "[IMAGE]",
    "size": 294
  },
  "signatures": [],
  "truncated": false
}
"#,
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_refers_to_an_image_is_no_signature() {
    let scene = Scene::of(ScriptedRegistry::builder().without_filter()).await;
    let bill_of_materials = registry::referring("application/spdx+json", &scene.image, b"{}");
    scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &bill_of_materials);
    scene.run("sign").exits(0);
    assert_eq!(scene.run("ls -o json").json()["signatures"].as_array().unwrap().len(), 1);
    scene.verify("").answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_is_not_a_registry_without_signatures() {
    let scene = Scene::new().await;
    scene.registry.always("/referrers/", Fault::Status(502));
    scene.run("ls").is(
        3,
        "",
        "
error [registry-server-error]: the registry [HOST] failed with status 502
hint: ask again later, and look at the state of [HOST] if it stays so
",
    );
    scene.run("ls --output json").is(
        3,
        r#"
{
  "answer": "inconclusive",
  "code": "registry-server-error",
  "failed": "retrieval",
  "reason": "the registry [HOST] failed with status 502",
  "remedy": "ask again later, and look at the state of [HOST] if it stays so",
  "findings": []
}
"#,
        "",
    );
    scene.node.run(&format!("ls {}/{REPOSITORY}:v2", scene.registry.host())).exits(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_has_platforms_referrers_of_referrers_and_tags() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let (scene, index) = crate::copy::published(script).await;
        let image = format!("{}/{REPOSITORY}@{}", scene.registry.host(), Descriptor::of("m", &index).digest);
        scene.node.run(&format!("ls --tree {image}")).is(
            0,
            "
[HOST]/team/app@sha256:[HEX]
├── linux/amd64 [IMAGE]
│   ├── application/spdx+json
│   │   └── sha256:[HEX]
│   │       └── application/x-note
│   │           └── sha256:[HEX]
│   ├── application/vnd.cncf.notary.signature
│   │   └── sha256:[HEX]
│   └── sha256-[HEX].sig
│       └── sha256:[HEX]
├── sha256:[HEX]
└── application/vnd.cncf.notary.signature
    └── sha256:[HEX]
",
            "",
        );
        let tree = scene.node.run(&format!("ls --tree -o json {image}")).exits(0).json();
        let first = &tree["manifests"][0];
        assert_eq!((&first["platform"]["os"], &tree["truncated"]), (&json!("linux"), &json!(false)));
        assert_eq!(first["referrers"].as_array().unwrap().len(), 2);
        let sbom = first["referrers"].as_array().unwrap().iter().find(|r| r["artifactType"] == "application/spdx+json");
        assert_eq!(sbom.unwrap()["referrers"][0]["artifactType"], "application/x-note");
        assert_eq!(first["cosign"][0]["tag"].as_str().unwrap().rsplit_once('.').unwrap().1, "sig");
    }
    let scene = Scene::new().await;
    scene.run("ls --tree").is(0, "\nnothing hangs on [HOST]/team/app@[IMAGE]\n", "");
    scene.run("ls --tree --max-signatures 3").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_and_not_there_has_its_place_in_the_tree() {
    let scene = Scene::new().await;
    let missing = Descriptor::of(media_type::IMAGE_MANIFEST, b"missing");
    let index = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": [missing]}).to_string();
    scene.registry.put_manifest(REPOSITORY, Some("all"), media_type::IMAGE_INDEX, index.as_bytes());
    let tree = scene.node.run(&format!("ls --tree -o json {}/{REPOSITORY}:all", scene.registry.host())).exits(0).json();
    assert_eq!(tree["manifests"][0]["state"], "missing");
    scene.registry.always("/manifests/sha256", Fault::Status(502));
    scene.run("ls --tree").exits(3);
}
