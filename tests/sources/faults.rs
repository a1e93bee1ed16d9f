//! A registry that is slow, overloaded, broken or away gives no answer, and that is said as what it is.

use std::time::{Duration, Instant};

use pratique::oci::{Descriptor, media_type};
use pratique::source::registry::RegistryOptions;
use pratique::source::{Source as _, SourceError};

use crate::registry::{Fault, ScriptedRegistry};
use crate::{REPOSITORY, Scene, expect, hasty, options};

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    for part in ["HEAD", "referrers", "manifests/sha256", "blobs"] {
        let scene = Scene::with(ScriptedRegistry::builder(), hasty()).await;
        scene.registry.put_blob(REPOSITORY, b"an envelope");
        scene.registry.always(part, Fault::Hang);
        let (host, repository) = (scene.registry.host(), scene.repository());
        let envelope = Descriptor::of(media_type::JWS_ENVELOPE, b"an envelope");
        match part {
            "HEAD" => expect(scene.resolve().await, "registry-timeout", &host),
            "referrers" => expect(scene.signatures(100).await, "registry-timeout", &host),
            "blobs" => expect(scene.client.blob(&repository, &envelope, 100).await, "registry-timeout", &host),
            _ => expect(scene.client.manifest(&repository, &scene.subject).await, "registry-timeout", &host),
        }
    }
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let scene = Scene::with(ScriptedRegistry::builder(), hasty()).await;
    scene.registry.always("GET", Fault::Drip);
    let answer = scene.client.manifest(&scene.repository(), &scene.subject).await;
    expect(answer, "registry-timeout", &scene.registry.host());
}

#[tokio::test]
async fn an_overloaded_registry_is_asked_three_times() {
    for (fault, code) in [
        (Fault::Status(500), "registry-server-error"),
        (Fault::Status(503), "registry-server-error"),
        (Fault::Status(429), "registry-too-many-requests"),
        (Fault::Reset, "registry-unreachable"),
    ] {
        let scene = Scene::new().await;
        scene.registry.fault("HEAD", fault.clone(), 2);
        assert_eq!(scene.resolve().await.unwrap(), scene.subject, "{fault:?}");
        scene.registry.fault("HEAD", fault.clone(), 3);
        expect(scene.resolve().await, code, &scene.registry.host());
        assert_eq!(scene.registry.requests().len(), 6, "{fault:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let scene = Scene::new().await;
    let repository = scene.repository();
    scene.registry.fault("GET", Fault::Truncate, 2);
    assert_eq!(scene.client.manifest(&repository, &scene.subject).await.unwrap().bytes(), scene.image);
    scene.registry.always("GET", Fault::Truncate);
    expect(scene.client.manifest(&repository, &scene.subject).await, "registry-unreachable", &scene.registry.host());
}

#[tokio::test]
async fn a_wish_to_be_left_alone_is_heeded_within_the_time_and_ends_it_beyond() {
    let wish = |seconds: &str| Fault::Answer(429, vec![("retry-after", seconds.to_owned())], String::new());
    let scene = Scene::new().await;
    scene.registry.fault("HEAD", wish("0"), 2);
    scene.resolve().await.unwrap();
    assert_eq!(scene.registry.requests().len(), 3);
    scene.registry.always("HEAD", wish("3600"));
    let started = Instant::now();
    let error = scene.resolve().await.unwrap_err();
    assert!(matches!(error, SourceError::TooManyRequests { retry_after: Some(wait), .. } if wait.as_secs() == 3600));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(scene.registry.requests().len(), 4);
}

#[tokio::test]
async fn what_is_no_overload_is_not_asked_for_again() {
    for (status, code) in [(404, "not-found"), (403, "registry-forbidden"), (418, "registry-unexpected-status")] {
        let scene = Scene::new().await;
        scene.registry.always("HEAD", Fault::Status(status));
        expect(scene.resolve().await, code, &scene.registry.host());
        assert_eq!(scene.registry.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable_at_once() {
    let host = ScriptedRegistry::start().await.host();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_ne!(host, free.to_string());
    let client = pratique::source::registry::Registry::new(RegistryOptions {
        first_pause: Duration::from_secs(3600),
        ..options()
    });
    let answer = client.resolve(&format!("{free}/team/app:v1").parse().unwrap()).await;
    assert!(pratique::remedy::one_line(answer.as_ref().unwrap_err()).contains("refused"), "{answer:?}");
    expect(answer, "registry-unreachable", &free.to_string());
}

#[tokio::test]
async fn a_registrys_own_words_are_passed_on() {
    let scene = Scene::new().await;
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
    scene.registry.always("GET", Fault::Answer(429, vec![("retry-after", "99".into())], body.into()));
    let error = scene.client.manifest(&scene.repository(), &scene.subject).await.unwrap_err();
    assert!(error.to_string().ends_with("(TOOMANYREQUESTS: pull rate limit)"), "{error}");
}
