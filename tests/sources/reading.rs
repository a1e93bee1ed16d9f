//! References are resolved, manifests and blobs come whole and checked.

use pratique::oci::{Blob, Descriptor, Digest, MAX_MANIFEST_SIZE, media_type};
use pratique::source::Source as _;

use crate::registry::Fault;
use crate::{REPOSITORY, Scene, expect};

#[tokio::test]
async fn a_tag_and_a_digest_resolve_to_the_same_descriptor_with_one_request_each() {
    let scene = Scene::new().await;
    assert_eq!(scene.resolve().await.unwrap(), scene.subject);
    assert_eq!(scene.client.resolve(&scene.by_digest()).await.unwrap(), scene.subject);
    let by_digest = format!("HEAD /v2/team/app/manifests/{}", scene.subject.digest);
    assert_eq!(scene.registry.lines(), ["HEAD /v2/team/app/manifests/v1", &by_digest]);
}

#[tokio::test]
async fn every_kind_of_manifest_is_asked_for() {
    let scene = Scene::new().await;
    scene.resolve().await.unwrap();
    let accept = scene.registry.requests()[0].header("accept").unwrap().to_owned();
    for kind in [
        media_type::IMAGE_MANIFEST,
        media_type::IMAGE_INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
    ] {
        assert!(accept.contains(kind), "{kind}");
    }
}

#[tokio::test]
async fn a_header_that_is_missing_is_computed_from_the_manifest() {
    for missing in ["docker-content-digest", "content-length"] {
        let scene = Scene::new().await;
        scene.registry.fault("HEAD", Fault::Without(missing), 1);
        assert_eq!(scene.resolve().await.unwrap(), scene.subject, "{missing}");
        assert_eq!(scene.registry.requests().len(), 2, "{missing}");
    }
}

#[tokio::test]
async fn a_registry_without_head_is_asked_by_get() {
    let scene = Scene::new().await;
    scene.registry.always("HEAD", Fault::Status(405));
    assert_eq!(scene.resolve().await.unwrap(), scene.subject);
}

#[tokio::test]
async fn a_manifest_of_no_known_type_is_no_answer() {
    let scene = Scene::new().await;
    scene.registry.always("manifests", Fault::Without("content-type"));
    expect(scene.resolve().await, "registry-malformed-answer", &scene.registry.host());
    let scene = Scene::new().await;
    scene.registry.always("manifests", Fault::With("content-type", "text/html".into()));
    expect(scene.resolve().await, "registry-malformed-answer", &scene.registry.host());
}

#[tokio::test]
async fn a_question_by_digest_is_answered_with_that_digest_or_not_at_all() {
    let scene = Scene::new().await;
    let other = Digest::sha256(b"other").to_string();
    scene.registry.always("HEAD", Fault::With("docker-content-digest", other));
    expect(scene.client.resolve(&scene.by_digest()).await, "content-mismatch", &scene.registry.host());
    let scene = Scene::new().await;
    scene.registry.always("HEAD", Fault::With("docker-content-digest", "sha256:../../x".into()));
    expect(scene.client.resolve(&scene.by_digest()).await, "registry-malformed-answer", &scene.registry.host());
}

#[tokio::test]
async fn what_a_registry_does_not_have_is_not_found() {
    let scene = Scene::new().await;
    let host = scene.registry.host();
    expect(scene.client.resolve(&scene.by_tag("v2")).await, "not-found", &host);
    let missing = Descriptor::of(media_type::IMAGE_MANIFEST, b"missing");
    expect(scene.client.manifest(&scene.repository(), &missing).await, "not-found", &host);
    expect(scene.client.blob(&scene.repository(), &missing, 100).await, "not-found", &host);
    let nowhere = format!("{host}/no/such/repository").parse().unwrap();
    expect(scene.client.signatures(&nowhere, &scene.subject, 100).await, "not-found", &host);
}

#[tokio::test]
async fn manifests_and_blobs_come_whole() {
    let scene = Scene::new().await;
    let manifest = scene.client.manifest(&scene.repository(), &scene.subject).await.unwrap();
    assert_eq!(manifest.bytes(), scene.image);
    let envelope = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    scene.registry.put_blob(REPOSITORY, envelope.bytes());
    assert_eq!(scene.client.blob(&scene.repository(), envelope.descriptor(), 11).await.unwrap(), envelope);
}

#[tokio::test]
async fn a_blob_above_the_limit_is_refused_before_anything_is_asked() {
    let scene = Scene::new().await;
    let envelope = Blob::of(media_type::JWS_ENVELOPE, b"an envelope".to_vec());
    scene.registry.put_blob(REPOSITORY, envelope.bytes());
    let repository = scene.repository();
    expect(scene.client.blob(&repository, envelope.descriptor(), 10).await, "content-too-large", REPOSITORY);
    let huge = Descriptor { size: MAX_MANIFEST_SIZE + 1, ..scene.subject.clone() };
    expect(scene.client.manifest(&repository, &huge).await, "content-too-large", REPOSITORY);
    assert!(scene.registry.requests().is_empty());
}

#[tokio::test]
async fn other_bytes_than_those_asked_for_are_refused() {
    for fault in [Fault::OtherBytes, Fault::Oversize, Fault::OversizeUnannounced] {
        let scene = Scene::new().await;
        scene.registry.put_blob(REPOSITORY, b"an envelope");
        scene.registry.always("GET", fault.clone());
        let descriptor = Descriptor::of(media_type::JWS_ENVELOPE, b"an envelope");
        let repository = scene.repository();
        expect(scene.client.blob(&repository, &descriptor, 100).await, "content-mismatch", REPOSITORY);
        expect(scene.client.manifest(&repository, &scene.subject).await, "content-mismatch", REPOSITORY);
        assert_eq!(scene.registry.requests().len(), 2, "{fault:?}: lies are not asked for again");
    }
}

#[tokio::test]
async fn a_manifest_of_unknown_size_is_read_up_to_the_limit() {
    let scene = Scene::new().await;
    let huge = vec![b' '; usize::try_from(MAX_MANIFEST_SIZE).unwrap() + 1];
    scene.registry.put_manifest(REPOSITORY, Some("huge"), media_type::IMAGE_INDEX, b"{}");
    scene.registry.always("HEAD", Fault::Without("docker-content-digest"));
    let headers = vec![("content-type", media_type::IMAGE_INDEX.to_owned())];
    scene.registry.always("GET", Fault::Answer(200, headers, String::from_utf8(huge).unwrap()));
    expect(scene.client.resolve(&scene.by_tag("huge")).await, "content-too-large", REPOSITORY);
}

#[tokio::test]
async fn a_cold_verification_takes_four_requests_over_one_connection() {
    let scene = Scene::new().await;
    let signature = scene.sign("an envelope");
    let repository = scene.repository();
    let subject = scene.resolve().await.unwrap();
    let found = scene.client.signatures(&repository, &subject, 100).await.unwrap();
    assert_eq!(found.descriptors[0].digest, signature.digest);
    scene.client.manifest(&repository, &found.descriptors[0]).await.unwrap();
    let envelope = Descriptor::of(media_type::JWS_ENVELOPE, b"an envelope");
    scene.client.blob(&repository, &envelope, 100).await.unwrap();
    assert_eq!(scene.registry.requests().len(), 4, "{:?}", scene.registry.lines());
    assert_eq!(scene.registry.connections(), 1);
}
