//! Signatures are found by the referrers API or by the fallback tag, and "none" is only said where it is known.

use pratique::oci::{Descriptor, media_type};
use pratique::source::Source as _;
use pratique::source::limits::{MAX_PAGE_ENTRIES, MAX_REFERRER_PAGES, MAX_REFERRERS_SIZE};
use serde_json::json;

use crate::registry::{Fault, ScriptedRegistry};
use crate::{REPOSITORY, Scene, digests, expect};

/// A list of referrers with these entries, as a script.
fn index(entries: &[serde_json::Value]) -> Fault {
    let headers = vec![("content-type", media_type::IMAGE_INDEX.to_owned())];
    Fault::Answer(200, headers, json!({"schemaVersion": 2, "manifests": entries}).to_string())
}

fn signature_entry(name: &str) -> serde_json::Value {
    let descriptor = Descriptor::of(media_type::IMAGE_MANIFEST, name.as_bytes());
    json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size,
        "artifactType": media_type::NOTARY_SIGNATURE})
}

#[tokio::test]
async fn signatures_are_listed_in_the_registrys_order_with_api_and_tag_alike() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let scene = Scene::of(script).await;
        let signed = [scene.sign("one"), scene.sign("two"), scene.sign("three")];
        assert_eq!(scene.signatures(100).await.unwrap(), (digests(&signed), false));
    }
}

#[tokio::test]
async fn an_image_without_signatures_has_none() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let scene = Scene::of(script).await;
        assert_eq!(scene.signatures(100).await.unwrap(), (vec![], false));
    }
}

#[tokio::test]
async fn other_artifacts_are_left_out_whether_or_not_the_registry_filters() {
    for script in [
        ScriptedRegistry::builder(),
        ScriptedRegistry::builder().without_filter(),
        ScriptedRegistry::builder().without_referrers(),
    ] {
        let scene = Scene::of(script).await;
        scene.refer("application/spdx+json", "sbom");
        let signature = scene.sign("one");
        assert_eq!(scene.signatures(100).await.unwrap(), (digests(&[signature]), false));
    }
}

#[tokio::test]
async fn the_registry_is_asked_for_signatures_only() {
    let scene = Scene::new().await;
    scene.signatures(100).await.unwrap();
    assert_eq!(scene.registry.requests()[0].query, "artifactType=application%2Fvnd.cncf.notary.signature");
}

#[tokio::test]
async fn pages_are_followed_by_relative_and_by_absolute_links() {
    let paged = || ScriptedRegistry::builder().page_size(2);
    for script in [paged(), paged().absolute_links(), paged().without_filter()] {
        let scene = Scene::of(script).await;
        let signed: Vec<_> = ["1", "2", "3", "4", "5"].map(|envelope| scene.sign(envelope)).into();
        assert_eq!(scene.signatures(100).await.unwrap(), (digests(&signed), false));
        assert_eq!(scene.registry.requests().len(), 3);
    }
}

#[tokio::test]
async fn no_more_pages_are_read_than_the_limit_needs() {
    let scene = Scene::of(ScriptedRegistry::builder().page_size(2)).await;
    let signed: Vec<_> = ["1", "2", "3", "4", "5"].map(|envelope| scene.sign(envelope)).into();
    assert_eq!(scene.signatures(2).await.unwrap(), (digests(&signed[..2]), true));
    assert_eq!(scene.registry.requests().len(), 1);
    assert_eq!(scene.signatures(3).await.unwrap(), (digests(&signed[..3]), true));
    assert_eq!(scene.signatures(5).await.unwrap(), (digests(&signed), false));
}

#[tokio::test]
async fn a_registry_that_pages_in_circles_is_left_in_the_end() {
    let scene = Scene::new().await;
    let circle = [
        ("content-type", media_type::IMAGE_INDEX.to_owned()),
        ("link", format!("</v2/{REPOSITORY}/referrers/{}>; rel=\"next\"", scene.subject.digest)),
    ];
    scene.registry.always("referrers", Fault::Answer(200, circle.into(), r#"{"manifests":null}"#.into()));
    assert_eq!(scene.signatures(100).await.unwrap(), (vec![], true));
    assert_eq!(scene.registry.requests().len(), MAX_REFERRER_PAGES);
}

#[tokio::test]
async fn a_registry_that_pads_its_lists_is_left_before_it_has_cost_much() {
    let scene = Scene::new().await;
    let headers = [
        ("content-type", media_type::IMAGE_INDEX.to_owned()),
        ("link", format!("</v2/{REPOSITORY}/referrers/{}>; rel=\"next\"", scene.subject.digest)),
    ];
    let page = |padding: &str| format!(r#"{{"manifests":[{padding}{}]}}"#, signature_entry("one"));
    let blanks = " ".repeat(usize::try_from(MAX_REFERRERS_SIZE).unwrap() / 5);
    scene.registry.always("referrers", Fault::Answer(200, headers.clone().into(), page(&blanks)));
    let (found, truncated) = scene.signatures(100).await.unwrap();
    assert_eq!((found.len(), truncated, scene.registry.requests().len()), (1, true, 5));

    let scene = Scene::new().await;
    let numbers = "1,".repeat(MAX_PAGE_ENTRIES);
    scene.registry.always("referrers", Fault::Answer(200, headers[..1].into(), page(&numbers)));
    assert_eq!(scene.signatures(100).await.unwrap(), (vec![], true));
}

#[tokio::test]
async fn a_repository_without_the_api_hides_no_signature_in_another_one() {
    let scene = Scene::new().await;
    let signature = scene.sign("one");
    scene.registry.put_manifest("legacy/app", Some("v1"), media_type::IMAGE_MANIFEST, &scene.image);
    scene.registry.always("/v2/legacy/app/referrers", Fault::Status(404));
    let legacy = format!("{}/legacy/app", scene.registry.host()).parse().unwrap();
    assert_eq!(scene.client.signatures(&legacy, &scene.subject, 100).await.unwrap().descriptors, []);
    assert_eq!(scene.signatures(100).await.unwrap(), (digests(&[signature]), false));
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let (scene, other) = (Scene::new().await, ScriptedRegistry::start().await);
    let link = format!("<{}>; rel=\"next\"", other.url("/v2/team/app/referrers/x"));
    scene.registry.always("referrers", Fault::With("link", link));
    expect(scene.signatures(100).await, "redirect-refused", &scene.registry.host());
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_entry_that_is_listed_twice_or_cannot_be_read_hides_no_other() {
    let scene = Scene::new().await;
    let bad =
        json!({"mediaType": "x", "digest": "sha256:../../x", "size": 1, "artifactType": media_type::NOTARY_SIGNATURE});
    let entries = [bad, signature_entry("one"), signature_entry("one"), json!(7), signature_entry("two")];
    scene.registry.always("referrers", index(&entries));
    let (found, truncated) = scene.signatures(2).await.unwrap();
    assert_eq!((found.len(), truncated), (2, false));
}

#[tokio::test]
async fn the_fallback_tag_is_read_without_asking_the_api_again() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let signature = scene.sign("one");
    for _ in 0..2 {
        assert_eq!(scene.signatures(100).await.unwrap(), (digests(std::slice::from_ref(&signature)), false));
    }
    let digest = &scene.subject.digest;
    let by_tag = format!("GET /v2/team/app/manifests/sha256-{}", digest.hex());
    let by_api = format!("GET /v2/team/app/referrers/{digest}");
    assert_eq!(scene.registry.lines(), [by_api, by_tag.clone(), by_tag]);
}

#[tokio::test]
async fn a_page_that_is_no_index_means_that_there_is_no_api() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let signature = scene.sign("one");
    let page = vec![("content-type", "text/html".to_owned())];
    scene.registry.always("referrers", Fault::Answer(200, page, "<html>".into()));
    assert_eq!(scene.signatures(100).await.unwrap(), (digests(&[signature]), false));
}

#[tokio::test]
async fn a_failure_of_the_api_does_not_lead_to_the_tag() {
    for (fault, code) in [
        (Fault::Status(500), "registry-server-error"),
        (Fault::Status(429), "registry-too-many-requests"),
        (Fault::Status(401), "registry-unauthorized"),
        (Fault::Status(403), "registry-forbidden"),
        (Fault::Status(400), "registry-unexpected-status"),
        (Fault::Reset, "registry-unreachable"),
        (Fault::Truncate, "registry-unreachable"),
    ] {
        let scene = Scene::new().await;
        scene.registry.always("referrers", fault.clone());
        expect(scene.signatures(100).await, code, &scene.registry.host());
        assert!(!scene.registry.lines().iter().any(|line| line.contains("manifests")), "{fault:?}");
    }
}

#[tokio::test]
async fn a_list_that_is_no_list_is_an_error() {
    for body in ["", "[]", "{}", r#"{"manifests":{}}"#, &"[".repeat(1000)] {
        let scene = Scene::new().await;
        let headers = vec![("content-type", media_type::IMAGE_INDEX.to_owned())];
        scene.registry.always("referrers", Fault::Answer(200, headers, body.into()));
        expect(scene.signatures(100).await, "registry-malformed-answer", &scene.registry.host());
    }
}
