//! `pratique ls`: what the registry lists, and no judgement.

use pratique::oci::media_type;

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
