//! `pratique inspect`: every field of every signature, in one tree or one document.

use serde_json::Value;

use crate::node::Scene;
use crate::registry::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_shown_field_by_field() {
    let scene = Scene::new().await;
    scene.run("inspect").is(
        0,
        "
[HOST]/team/app@[IMAGE]
└── no signature
",
        "",
    );
    scene.run("sign --expiry 1h -m build=42").exits(0);
    scene.run("inspect").is(
        0,
        "
[HOST]/team/app@[IMAGE]
└── sha256:[HEX]
    ├── mediaType: application/jose+json
    ├── signatureAlgorithm: ECDSA-SHA-256
    ├── signedAttributes
    │   ├── signingScheme: notary.x509
    │   ├── signingTime: [TIME]
    │   └── expiry: [TIME]
    ├── userDefinedAttributes
    │   └── build: 42
    ├── unsignedAttributes
    │   ├── signingAgent: pratique/0.1.0
    │   └── hasTimestamp: false
    ├── certificates
    │   └── 1
    │       ├── SHA256Fingerprint: [HEX]
    │       ├── issuedTo: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    │       ├── issuedBy: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    │       ├── notBefore: [TIME]
    │       └── expiry: [TIME]
    └── signedArtifact
        ├── mediaType: application/vnd.oci.image.manifest.v1+json
        ├── digest: [IMAGE]
        └── size: 294
",
        "",
    );
    scene.run("inspect --output json").is(
        0,
        r#"
{
  "reference": "[HOST]/team/app@[IMAGE]",
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "signatures": [
    {
      "digest": "sha256:[HEX]",
      "mediaType": "application/jose+json",
      "signatureAlgorithm": "ECDSA-SHA-256",
      "signedAttributes": {
        "signingScheme": "notary.x509",
        "signingTime": "[TIME]",
        "expiry": "[TIME]"
      },
      "userDefinedAttributes": {
        "build": "42"
      },
      "unsignedAttributes": {
        "signingAgent": "pratique/0.1.0",
        "hasTimestamp": false
      },
      "certificates": [
        {
          "SHA256Fingerprint": "[HEX]",
          "issuedTo": "CN=ann,O=Notary,L=Seattle,ST=WA,C=US",
          "issuedBy": "CN=ann,O=Notary,L=Seattle,ST=WA,C=US",
          "notBefore": "[TIME]",
          "expiry": "[TIME]"
        }
      ],
      "signedArtifact": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": "[IMAGE]",
        "size": 294
      }
    }
  ],
  "truncated": false
}
"#,
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_signatures_are_branches_of_one_tree() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.run("sign --signature-format cose").exits(0);
    scene.node.run(&format!("inspect {}", scene.tag())).is(
        0,
        "
[HOST]/team/app@[IMAGE]
├── sha256:[HEX]
│   ├── mediaType: application/jose+json
│   ├── signatureAlgorithm: ECDSA-SHA-256
│   ├── signedAttributes
│   │   ├── signingScheme: notary.x509
│   │   └── signingTime: [TIME]
│   ├── userDefinedAttributes
│   ├── unsignedAttributes
│   │   ├── signingAgent: pratique/0.1.0
│   │   └── hasTimestamp: false
│   ├── certificates
│   │   └── 1
│   │       ├── SHA256Fingerprint: [HEX]
│   │       ├── issuedTo: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
│   │       ├── issuedBy: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
│   │       ├── notBefore: [TIME]
│   │       └── expiry: [TIME]
│   └── signedArtifact
│       ├── mediaType: application/vnd.oci.image.manifest.v1+json
│       ├── digest: [IMAGE]
│       └── size: 294
└── sha256:[HEX]
    ├── mediaType: application/cose
    ├── signatureAlgorithm: ECDSA-SHA-256
    ├── signedAttributes
    │   ├── signingScheme: notary.x509
    │   └── signingTime: [TIME]
    ├── userDefinedAttributes
    ├── unsignedAttributes
    │   ├── signingAgent: pratique/0.1.0
    │   └── hasTimestamp: false
    ├── certificates
    │   └── 1
    │       ├── SHA256Fingerprint: [HEX]
    │       ├── issuedTo: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    │       ├── issuedBy: CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    │       ├── notBefore: [TIME]
    │       └── expiry: [TIME]
    └── signedArtifact
        ├── mediaType: application/vnd.oci.image.manifest.v1+json
        ├── digest: [IMAGE]
        └── size: 294
",
        "
warning: `v1` is a tag, which may be moved; pratique inspects what it points to now. Write the digest to be sure
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_cannot_be_read_is_shown_as_such_and_hides_no_other() {
    let scene = Scene::new().await;
    scene.put_envelope(b"not an envelope");
    scene.run("inspect").is(
        3,
        "
[HOST]/team/app@[IMAGE]
└── sha256:[HEX]
    └── problem
        ├── code: envelope-not-json
        ├── message: the envelope is not JSON: expected ident at line 1 column 2
        └── remedy: the envelope is damaged or was made by a tool that does not follow the specification: sign again
",
        "",
    );
    scene.run("sign").exits(0);
    let inspected = scene.run("inspect --output json").exits(3).json();
    assert_eq!(inspected["signatures"][0]["problem"]["code"], "envelope-not-json");
    assert_eq!(inspected["signatures"][1]["mediaType"], "application/jose+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_signer_is_shown_without_a_policy() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    std::fs::remove_file(scene.node.path("trustpolicy.json")).unwrap();
    std::fs::remove_dir_all(scene.node.path("truststore")).unwrap();
    scene.run("inspect").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_signatures_than_are_shown_are_said_to_be_there() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.run("sign --signature-format cose").exits(0);
    let ran = scene.run("inspect --max-signatures 1").exits(0);
    assert!(ran.stdout.ends_with("\nthere are more than the 1 shown\n"), "{ran:?}");
    let document = scene.run("inspect --max-signatures 1 -o json").json();
    assert_eq!(
        (document["signatures"].as_array().map(Vec::len), &document["truncated"]),
        (Some(1), &Value::Bool(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_is_named() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.registry.always("/blobs/", Fault::Status(503));
    scene.run("inspect").is(
        3,
        "
[HOST]/team/app@[IMAGE]
└── sha256:[HEX]
    └── problem
        ├── code: registry-server-error
        ├── message: the registry [HOST] failed with status 503
        └── remedy: ask again later, and look at the state of [HOST] if it stays so
",
        "",
    );
    scene.registry.always("/referrers/", Fault::Status(503));
    scene.run("inspect").is(
        3,
        "",
        "
error [registry-server-error]: the registry [HOST] failed with status 503
hint: ask again later, and look at the state of [HOST] if it stays so
",
    );
}
