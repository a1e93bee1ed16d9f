//! What is pushed is found again, by whichever way the registry knows.

use pratique::oci::{Blob, media_type};
use pratique::source::Sink as _;
use pratique::source::SourceError;
use pratique::source::registry::{Credential, RegistryOptions, Secret};
use serde_json::Value;

use crate::registry::{Fault, ScriptedRegistry, signature};
use crate::{REPOSITORY, Scene, expect, given, options};

impl Scene {
    pub(super) fn signature(&self, envelope: &str) -> Blob {
        Blob::of(media_type::IMAGE_MANIFEST, signature(&self.image, envelope.as_bytes()))
    }

    pub(super) async fn push(&self, manifest: &Blob) -> Result<(), SourceError> {
        self.client.push_referrer(&self.repository(), &self.subject, manifest, media_type::NOTARY_SIGNATURE).await
    }

    fn fallback_tag(&self) -> String {
        format!("sha256-{}", self.subject.digest.hex())
    }

    fn fallback_index(&self) -> Option<Value> {
        let bytes = self.registry.manifest(REPOSITORY, &self.fallback_tag())?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test]
async fn a_blob_is_stored_once() {
    let scene = Scene::new().await;
    let blob = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    scene.client.push_blob(&scene.repository(), &blob).await.unwrap();
    assert_eq!(scene.registry.blob(REPOSITORY, &blob.descriptor().digest).unwrap(), blob.bytes());
    assert_eq!(scene.registry.requests().len(), 3, "look, begin, put");
    scene.registry.forget_requests();
    scene.client.push_blob(&scene.repository(), &blob).await.unwrap();
    assert_eq!(scene.registry.requests().len(), 1, "look");
}

#[tokio::test]
async fn an_upload_goes_to_the_registry_itself() {
    let (scene, other) = (Scene::new().await, ScriptedRegistry::start().await);
    let blob = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    let absolute = scene.registry.url("/v2/team/app/blobs/uploads/7?state=x");
    scene.registry.fault("POST", Fault::With("location", absolute), 1);
    scene.client.push_blob(&scene.repository(), &blob).await.unwrap();
    let elsewhere = other.url("/v2/team/app/blobs/uploads/7?state=x");
    scene.registry.fault("POST", Fault::With("location", elsewhere), 1);
    let another = Blob::of(media_type::JWS_ENVELOPE, b"another".to_vec());
    let answer = scene.client.push_blob(&scene.repository(), &another).await;
    expect(answer, "redirect-refused", &scene.registry.host());
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_upload_is_not_redirected() {
    let blob = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    for (part, fault, code) in [
        ("POST", Fault::Redirect("/elsewhere".into()), "redirect-refused"),
        ("POST", Fault::Without("location"), "registry-malformed-answer"),
        ("PUT", Fault::Status(400), "registry-unexpected-status"),
    ] {
        let scene = Scene::new().await;
        scene.registry.fault(part, fault, 1);
        expect(scene.client.push_blob(&scene.repository(), &blob).await, code, &scene.registry.host());
    }
}

#[tokio::test]
async fn an_upload_that_broke_off_is_begun_anew_and_not_for_ever() {
    let blob = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    for (part, fault, code) in [
        ("POST", Fault::Status(500), "registry-server-error"),
        ("PUT", Fault::Status(500), "registry-server-error"),
        ("PUT", Fault::Reset, "registry-unreachable"),
    ] {
        let scene = Scene::new().await;
        scene.registry.fault(part, fault.clone(), 1);
        scene.client.push_blob(&scene.repository(), &blob).await.unwrap();
        assert_eq!(scene.registry.blob(REPOSITORY, &blob.descriptor().digest).unwrap(), blob.bytes());
        let scene = Scene::new().await;
        scene.registry.always(part, fault);
        expect(scene.client.push_blob(&scene.repository(), &blob).await, code, &scene.registry.host());
        let begun = scene.registry.lines().iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(begun, 3, "{part}");
    }
}

#[tokio::test]
async fn a_registry_with_the_api_lists_a_signature_by_its_subject() {
    let scene = Scene::new().await;
    let manifest = scene.signature("one");
    scene.push(&manifest).await.unwrap();
    assert_eq!(scene.registry.requests().len(), 1);
    assert_eq!(scene.signatures(100).await.unwrap().0, [manifest.descriptor().digest.to_string()]);
    assert_eq!(scene.fallback_index(), None);
}

#[tokio::test]
async fn whoever_asks_for_the_list_under_the_tag_gets_it_beside_the_api() {
    let options = RegistryOptions { lists_by_tag: true, ..options() };
    let scene = Scene::with(ScriptedRegistry::builder(), options).await;
    let manifest = scene.signature("one");
    scene.push(&manifest).await.unwrap();
    let index = scene.fallback_index().unwrap();
    assert_eq!(index["manifests"][0]["digest"], manifest.descriptor().digest.as_str());
    assert_eq!(scene.signatures(100).await.unwrap().0, [manifest.descriptor().digest.to_string()]);
}

#[tokio::test]
async fn a_registry_with_the_api_that_does_not_say_so_is_asked() {
    let scene = Scene::of(ScriptedRegistry::builder().without_oci_subject()).await;
    scene.push(&scene.signature("one")).await.unwrap();
    assert_eq!(scene.registry.requests().len(), 2);
    assert_eq!(scene.fallback_index(), None);
}

#[tokio::test]
async fn a_registry_without_the_api_gets_a_list_that_old_readers_understand() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let (one, two) = (scene.signature("one"), scene.signature("two"));
    scene.push(&one).await.unwrap();
    scene.push(&two).await.unwrap();
    let index = scene.fallback_index().unwrap();
    assert_eq!(
        (&index["schemaVersion"], &index["mediaType"]),
        (&Value::from(2), &Value::from(media_type::IMAGE_INDEX))
    );
    let entry = &index["manifests"][0];
    assert_eq!(entry["mediaType"], media_type::IMAGE_MANIFEST);
    assert_eq!(entry["digest"], one.descriptor().digest.as_str());
    assert_eq!(entry["size"], one.descriptor().size);
    assert_eq!(entry["artifactType"], media_type::NOTARY_SIGNATURE);
    assert_eq!(entry["annotations"]["io.cncf.notary.x509chain.thumbprint#S256"], "[]");
    let both = [&one, &two].map(|manifest| manifest.descriptor().digest.to_string());
    assert_eq!(scene.signatures(100).await.unwrap().0, both);
}

#[tokio::test]
async fn pushing_again_changes_nothing_and_what_others_wrote_stays() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let theirs =
        r#"{"schemaVersion":2,"x-own":{"a":1},"manifests":[{"mediaType":"m","digest":"sha256:odd","size":1,"x":2}]}"#;
    scene.registry.put_manifest(REPOSITORY, Some(&scene.fallback_tag()), media_type::IMAGE_INDEX, theirs.as_bytes());
    let manifest = scene.signature("one");
    scene.push(&manifest).await.unwrap();
    scene.push(&manifest).await.unwrap();
    let index = scene.fallback_index().unwrap();
    assert_eq!(index["x-own"]["a"], 1);
    assert_eq!(index["manifests"][0]["x"], 2);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_entry_that_another_signer_overwrote_is_written_again() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.registry.lose_tag_writes(3);
    let manifest = scene.signature("one");
    scene.push(&manifest).await.unwrap();
    assert_eq!(scene.signatures(100).await.unwrap().0, [manifest.descriptor().digest.to_string()]);
    scene.registry.lose_tag_writes(usize::MAX);
    expect(scene.push(&scene.signature("two")).await, "fallback-tag-contended", REPOSITORY);
}

#[tokio::test]
async fn signers_of_one_process_do_not_overwrite_each_other() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let manifests = ["1", "2", "3", "4", "5"].map(|envelope| scene.signature(envelope));
    let pushed = futures_util::future::join_all(manifests.iter().map(|manifest| scene.push(manifest))).await;
    assert!(pushed.iter().all(Result::is_ok));
    assert_eq!(scene.signatures(100).await.unwrap().0.len(), 5);
    let tag_writes = scene
        .registry
        .lines()
        .iter()
        .filter(|line| **line == format!("PUT /v2/team/app/manifests/{}", scene.fallback_tag()))
        .count();
    assert_eq!(tag_writes, 5);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_not_overwritten() {
    for theirs in ["[]", r#"{"manifests":7}"#, "not JSON"] {
        let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
        let tag = scene.fallback_tag();
        scene.registry.put_blob(REPOSITORY, b"");
        let headers = vec![("content-type", media_type::IMAGE_INDEX.to_owned())];
        scene.registry.always(&format!("GET /v2/team/app/manifests/{tag}"), Fault::Answer(200, headers, theirs.into()));
        expect(scene.push(&scene.signature("one")).await, "registry-malformed-answer", &scene.registry.host());
        assert_eq!(scene.fallback_index(), None, "{theirs}");
    }
}

#[tokio::test]
async fn a_list_that_could_not_be_looked_at_is_not_overwritten() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    scene.registry.always("GET /v2/team/app/manifests/sha256-", Fault::Status(500));
    expect(scene.push(&scene.signature("one")).await, "registry-server-error", &scene.registry.host());
    assert_eq!(scene.fallback_index(), None);
}

#[tokio::test]
async fn a_manifest_that_the_registry_was_too_busy_to_take_is_sent_again() {
    let scene = Scene::new().await;
    scene.registry.fault("PUT", Fault::Status(503), 2);
    scene.push(&scene.signature("one")).await.unwrap();
    scene.registry.always("PUT", Fault::Status(400));
    expect(scene.push(&scene.signature("two")).await, "registry-unexpected-status", &scene.registry.host());
}

#[tokio::test]
async fn to_push_another_token_is_asked_for_than_to_pull() {
    let ann = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
    let options = given(ann);
    let scene = Scene::with(ScriptedRegistry::builder().token_for("ann", "hunter2"), options).await;
    scene.resolve().await.unwrap();
    scene.push(&scene.signature("one")).await.unwrap();
    let asked: Vec<_> = scene.registry.requests().into_iter().filter(|request| request.path == "/token").collect();
    let scopes: Vec<_> = asked.iter().map(|request| request.query.split('&').nth(1).unwrap()).collect();
    assert_eq!(scopes, ["scope=repository%3Ateam%2Fapp%3Apull", "scope=repository%3Ateam%2Fapp%3Apull%2Cpush"]);
}
