//! `pratique verify`: four exit statuses, one first line that does alone, and the same facts for programs.

use pratique::oci::media_type;

use crate::node::{Node, REPOSITORY, Ran, Scene, policy};
use crate::registry::{self, Fault, ScriptedRegistry};

const UNSIGNED: &str =
    "verify 127.0.0.1:1/team/app@sha256:7be0c3aa7be0c3aa7be0c3aa7be0c3aa7be0c3aa7be0c3aa7be0c3aa7be0c3aa";

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_image_is_admitted() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.run("verify").is(
        0,
        "
admitted: [HOST]/team/app@[IMAGE] [admitted]

  reason     signature 1 satisfies statement `all`: signed by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin, authenticity, expiry, authentic timestamp
",
        "",
    );
    scene.verify("").answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_signature_is_denied() {
    let scene = Scene::new().await;
    scene.run("verify").is(
        1,
        "
denied: [HOST]/team/app@[IMAGE] [no-signature]

  reason     the image has no signature
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
",
        "
hint: sign it with `pratique sign`, or have it signed by someone whom the trust policy accepts
",
    );
    scene.verify("").answers(1, "deny", "no-signature", Some("retrieval"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_signed_by_somebody_else_of_a_trusted_root_is_denied() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    let identities = ["x509.subject: C=US, ST=WA, O=acme", "x509.subject: C=US, ST=WA, O=wabbit"];
    scene.node.write("trustpolicy.json", policy("strict", &["ca:ann"], &identities));
    scene.run("verify").is(1, "
denied: [HOST]/team/app@[IMAGE] [untrusted-identity]

  reason     the signer `CN=ann,O=Notary,L=Seattle,ST=WA,C=US` matches none of the 2 trusted identities of `all`
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer `CN=ann,O=Notary,L=Seattle,ST=WA,C=US` matches none of the 2 trusted identities of `all` [untrusted-identity]
    not reached: expiry, authentic timestamp, revocation
", "
hint: if it may sign these images, add its subject to `trustedIdentities` in `all`
");
    scene.verify("").answers(1, "deny", "untrusted-identity", Some("authenticity"));
    // A twin that differs in the identity alone.
    scene.node.write("trustpolicy.json", policy("strict", &["ca:ann"], &["x509.subject: C=US, ST=WA, O=Notary"]));
    scene.run("verify").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_signed_by_an_unknown_root_is_denied() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    scene.run("sign --key bob").exits(0);
    scene.run("verify").is(1, "
denied: [HOST]/team/app@[IMAGE] [untrusted-signer]

  reason     the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann [untrusted-signer]
    not reached: expiry, authentic timestamp, revocation
", "
hint: if this signer may be trusted, put its root certificate into a trust store that the statement names
");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_audit_what_fails_is_named_and_the_image_admitted() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    scene.run("sign --key bob").exits(0);
    scene.node.write("trustpolicy.json", policy("audit", &["ca:ann"], &["*"]));
    scene.run("verify").is(0, "
admitted: [HOST]/team/app@[IMAGE] [admitted]

  reason     signature 1 satisfies statement `all`: signed by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level audit
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin, expiry, authentic timestamp
    logged   authenticity: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann [untrusted-signer]
", "");
    assert_eq!(scene.verify("").json()["logged"], serde_json::json!(["authenticity"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_no_statement_governs_is_denied() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    let elsewhere = policy("strict", &["ca:ann"], &["*"]).replacen("\"*\"", "\"registry.example/other\"", 1);
    scene.node.write("trustpolicy.json", elsewhere);
    scene.run("verify").is(
        1,
        "
denied: [HOST]/team/app@[IMAGE] [no-policy-statement]

  reason     no statement of the trust policy [HOME]/notation/trustpolicy.json governs this repository
",
        "
hint: add the repository to `registryScopes` of a statement, or add a statement with the scope `*`
",
    );
    scene.verify("").answers(1, "deny", "no-policy-statement", Some("policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_leaves_the_question_open() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.registry.always("/referrers/", Fault::Status(500));
    scene.run("verify").is(
        3,
        "
could not tell: [HOST]/team/app@[IMAGE] [registry-server-error]

  reason     the registry [HOST] failed with status 500
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
",
        "
hint: ask again later, and look at the state of [HOST] if it stays so
",
    );
    scene.verify("").answers(3, "inconclusive", "registry-server-error", Some("retrieval"));
    scene.registry.always("/manifests/", Fault::Status(500));
    scene.run("verify").is(
        3,
        "",
        "
error [registry-server-error]: the registry [HOST] failed with status 500
hint: ask again later, and look at the state of [HOST] if it stays so
",
    );
    scene.verify("").answers(3, "inconclusive", "registry-server-error", Some("retrieval"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_never_answers_is_given_the_time_that_was_asked_for() {
    let scene = Scene::new().await;
    scene.registry.fault("GET", Fault::Hang, usize::MAX);
    scene.verify("--timeout 1").answers(3, "inconclusive", "timed-out", Some("retrieval"));
    scene.registry.fault("HEAD", Fault::Hang, usize::MAX);
    scene.run("verify --timeout 1").is(
        3,
        "",
        "
error [timed-out]: `[HOST]/team/app@[IMAGE]` could not be looked up within 1 s
hint: see whether the registry answers from this machine, or give it more time with `--timeout`
",
    );
}

#[test]
fn a_registry_that_is_down_leaves_the_question_open() {
    let node = Node::with_policy(policy("strict", &["ca:ann"], &["*"]));
    node.run(UNSIGNED).is(
        3,
        "",
        "
error [registry-unreachable]: cannot reach the registry 127.0.0.1:1: Connection refused (os error 111)
hint: see whether a registry listens there: `curl -v http://127.0.0.1:1/v2/`; with this machine plain http is spoken, without any flag, and https only on port 443
",
    );
    node.run(&format!("{UNSIGNED} -o json")).answers(3, "inconclusive", "registry-unreachable", Some("retrieval"));
}

#[test]
fn without_a_policy_there_is_no_verdict() {
    let node = Node::new();
    node.run(&format!("{UNSIGNED} -o json")).is(
        3,
        r#"
{
  "answer": "inconclusive",
  "code": "policy-missing",
  "failed": "policy",
  "reason": "there is no trust policy at [HOME]/notation/trustpolicy.json",
  "remedy": "begin one with `pratique policy init`, or write it to [HOME]/notation/trustpolicy.json",
  "findings": []
}
"#,
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_leaves_the_question_open() {
    let scene = Scene::new().await;
    scene.node.run(&format!("verify {}/{REPOSITORY}:v2", scene.registry.host())).is(
        3,
        "",
        "
error [not-found]: v2 is not in [HOST]/team/app
hint: check the name and the tag, and that it was pushed to [HOST]/team/app
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_pinned_and_warned_about() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.node.run(&format!("verify {}", scene.tag())).is(
        0,
        "
admitted: [HOST]/team/app@[IMAGE] [admitted]

  reason     signature 1 satisfies statement `all`: signed by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin, authenticity, expiry, authentic timestamp
",
        "
warning: `v1` is a tag, which may be moved; pratique verifies what it points to now. Write the digest to be sure
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_signature_among_bad_ones_admits() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    scene.put_envelope(b"{}");
    scene.run("sign --key bob").exits(0);
    scene.run("verify").is(1, "
denied: [HOST]/team/app@[IMAGE] [untrusted-signer]

  reason     none of 2 signatures is acceptable; the closest: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 2: sha256:[HEX]
    failed   integrity: `header` is missing [envelope-header-missing]
  signature  2 of 2: sha256:[HEX], JWS, signed [DATE] by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann [untrusted-signer]
    not reached: expiry, authentic timestamp, revocation
", "
hint: if this signer may be trusted, put its root certificate into a trust store that the statement names
");
    scene.run("sign --key ann").exits(0);
    scene.run("verify").is(0, "
admitted: [HOST]/team/app@[IMAGE] [admitted]

  reason     signature 3 satisfies statement `all`: signed by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 3: sha256:[HEX]
    failed   integrity: `header` is missing [envelope-header-missing]
  signature  2 of 3: sha256:[HEX], JWS, signed [DATE] by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann [untrusted-signer]
    not reached: expiry, authentic timestamp, revocation
  signature  3 of 3: sha256:[HEX], JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin, authenticity, expiry, authentic timestamp
", "");
}

/// The annotation with the thumbprints is beside the signature, where anybody may write it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_annotation_says_of_the_chain_neither_admits_nor_refuses() {
    let (scene, other) = (Scene::new().await, ScriptedRegistry::start().await);
    let signed = scene.run("sign --output json").exits(0).json();
    let digest = signed["signature"]["digest"].as_str().unwrap();
    let manifest = scene.registry.manifest(REPOSITORY, digest).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let thumbprint = "io.cncf.notary.x509chain.thumbprint#S256";
    assert_ne!(manifest["annotations"][thumbprint], "[]");
    let envelope = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let envelope = scene.registry.blob(REPOSITORY, &envelope).unwrap();

    other.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, &scene.image);
    other.put_blob(REPOSITORY, &envelope);
    let manifest = registry::signature(&scene.image, &envelope);
    assert!(String::from_utf8_lossy(&manifest).contains(&format!(r#""{thumbprint}":"[]""#)));
    other.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
    let image = format!("{}/{REPOSITORY}:v1", other.host());
    scene.node.run(&format!("verify --output json {image}")).answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_beyond_the_limit_are_not_examined_and_said_to_be_there() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    scene.run("sign --key bob").exits(0);
    scene.run("sign --key ann").exits(0);
    scene.run("verify --max-signatures 1").is(1, "
denied: [HOST]/team/app@[IMAGE] [untrusted-signer]

  reason     the one signature examined is not acceptable, and there are more than may be examined; the closest: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=bob,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer's root `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` is in none of the trust stores ca:ann [untrusted-signer]
    not reached: expiry, authentic timestamp, revocation
  further signatures were not examined: the limit was reached
", "
hint: if this signer may be trusted, put its root certificate into a trust store that the statement names
");
    let ran = scene.verify("--max-signatures 1");
    assert_eq!(ran.json()["truncated"], true);
    scene.verify("--max-signatures 2").answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_metadata_asked_for_must_be_signed() {
    let scene = Scene::new().await;
    scene.run("sign -m build=42 -m branch=main").exits(0);
    scene.verify("-m build=42").answers(0, "admit", "admitted", None);
    scene.verify("-m branch=main -m build=42").answers(0, "admit", "admitted", None);
    scene.verify("-m branch=main -m build=43").answers(1, "deny", "user-metadata-mismatch", Some("userMetadata"));
    scene.run("verify -m commit=a").is(
        1,
        "
denied: [HOST]/team/app@[IMAGE] [user-metadata-mismatch]

  reason     the signed metadata should have `commit` = `a`; it is not there
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity
    failed   user metadata: the signed metadata should have `commit` = `a`; it is not there [user-metadata-mismatch]
    not reached: plugin, authenticity, expiry, authentic timestamp, revocation
",
        "
hint: ask for metadata that the signer has signed
",
    );
    scene.run("verify -m build=42 -m build=43").is(
        2,
        "",
        "
error [user-metadata-duplicate]: the user metadata `build` is given twice
hint: give each key once
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_statement_admits_without_asking_for_signatures() {
    let scene = Scene::new().await;
    let document = serde_json::json!({"version": "1.0", "trustPolicies": [{
        "name": "local", "registryScopes": [format!("{}/{REPOSITORY}", scene.registry.host())],
        "signatureVerification": {"level": "skip"},
    }]});
    scene.node.write("trustpolicy.json", document.to_string());
    scene.run("verify").is(
        0,
        "
admitted: [HOST]/team/app@[IMAGE] [verification-skipped]

  reason     statement `local` skips verification
  policy     `local` at [HOME]/notation/trustpolicy.json:1, level skip
",
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_index_is_verified_as_such() {
    let scene = Scene::new().await;
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []});
    let digest = scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_INDEX, index.to_string().as_bytes());
    let image = format!("{}/{REPOSITORY}@{digest}", scene.registry.host());
    scene.node.run(&format!("sign {image}")).exits(0);
    scene.node.run(&format!("verify -o json {image}")).answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circle_closes_with_every_kind_of_registry_and_credentials() {
    let basic = || ScriptedRegistry::builder().basic("ann", "hunter2");
    let bearer = || ScriptedRegistry::builder().token_for("ann", "hunter2");
    for script in [basic(), bearer(), basic().without_referrers(), bearer().page_size(1)] {
        let scene = Scene::of(script).await;
        let image = scene.image();
        let with_password = |command: &str| {
            let arguments: Vec<&str> = command.split(' ').chain(["-u", "ann", "--password-stdin", &image]).collect();
            scene.node.run_all(&arguments, "hunter2\n")
        };
        scene.run("sign").exits(3);
        with_password("sign").exits(0);
        with_password("sign").exits(0);
        with_password("verify").exits(0);
        with_password("inspect").exits(0);
        with_password("ls").exits(0);
        scene.verify("").answers(3, "inconclusive", "registry-unauthorized", Some("retrieval"));
        let auths = serde_json::json!({"auths": {scene.registry.host(): {"auth": "YW5uOmh1bnRlcjI="}}});
        scene.node.write_home(".docker/config.json", auths.to_string());
        scene.verify("").answers(0, "admit", "admitted", None);
        scene.node.write_home(".docker/config.json", "{}");
        scene.node.write_home("elsewhere/config.json", auths.to_string());
        scene.verify("").answers(3, "inconclusive", "registry-unauthorized", Some("retrieval"));
        scene.verify("--docker-config elsewhere").answers(0, "admit", "admitted", None);
    }
}

/// The other one is anybody's: the source of a copy, or what some file names.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_for_one_registry_and_no_other_hears_it() {
    let ours = Scene::of(ScriptedRegistry::builder().basic("ann", "hunter2")).await;
    let theirs = Scene::of(ScriptedRegistry::builder().basic("eve", "1")).await;
    let host = ours.registry.host();
    let run = |command: &str, rest: &[&str]| {
        let arguments: Vec<&str> = command.split(' ').chain(["-u", "ann", "--password-stdin"]).collect();
        ours.node.run_all(&[&arguments, rest].concat(), "hunter2\n")
    };
    let refusal = |ran: &Ran| ran.stderr.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
    let (evil, copied) = (theirs.image(), format!("{host}/team/copied:v1"));
    ours.node.write_home("images.txt", format!("{evil}\n"));
    for command in [format!("copy {evil} {copied}"), "payload generate --image-info images.txt --output-dir out".into()]
    {
        let ran = run(&command, &[]).exits(2);
        assert_eq!(refusal(&ran), "credentials-for-whom", "{command}: {}", ran.stderr);
        let ran = run(&command, &["--username-for", &host]).exits(3);
        assert_eq!(refusal(&ran), "registry-unauthorized", "{command}: {}", ran.stderr);
    }
    let ran = run("verify", &["--username-for", "ann@", &ours.image()]).exits(2);
    assert_eq!(refusal(&ran), "registry-host-invalid", "{}", ran.stderr);
    let heard = theirs.registry.requests();
    assert!(!heard.is_empty() && heard.iter().all(|request| request.header("authorization").is_none()));
    // The twin: the same name and password, for the registry that they are for.
    ours.registry.forget_requests();
    run("ls", &[&ours.image()]).exits(0);
    assert!(ours.registry.requests().iter().any(|request| request.header("authorization").is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_not_shown_to_anybody() {
    let scene = Scene::of(ScriptedRegistry::builder().basic("ann", "hunter2")).await;
    let arguments = ["verify", "-u", "ann", "--password-stdin", &scene.image()];
    scene.node.run_all(&arguments, "hunter3\n").is(
        3,
        "",
        "
error [registry-unauthorized]: the registry [HOST] refuses the credentials
hint: renew the credentials for [HOST]: `docker login [HOST]`
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circle_closes_where_signatures_are_found_by_the_fallback_tag() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.run("verify").exits(1);
    scene.run("sign").exits(0);
    scene.run("sign --signature-format cose").exits(0);
    scene.run("verify").exits(0);
    assert_eq!(scene.run("ls --output json").json()["signatures"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_that_the_environment_names_is_asked_unless_the_environment_excepts_the_registry() {
    let mut scene = Scene::new().await;
    scene.run("sign").exits(0);
    // Nothing resolves this name: only the proxy, which is the registry itself, can know it.
    let image = scene.image().replace(&scene.registry.host(), "registry.invalid");
    let verify = format!("verify --output json --insecure-registry registry.invalid {image}");
    scene.node.set("HTTP_PROXY", format!("http://{}", scene.registry.host()));
    scene.node.run(&verify).answers(0, "admit", "admitted", None);
    scene.node.set("NO_PROXY", "registry.invalid".to_owned());
    scene.node.run(&verify).answers(3, "inconclusive", "registry-unreachable", Some("retrieval"));
}
