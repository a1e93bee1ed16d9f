//! Redirects are followed for content, but lead no secret away and not into the dark.

use pratique::source::limits::MAX_REDIRECTS;
use pratique::source::registry::{Credential, Secret};
use pratique::source::{ImageSink as _, Source as _};

use crate::registry::{Fault, ScriptedRegistry};
use crate::{REPOSITORY, Scene, expect, given, options};

#[tokio::test]
async fn a_blob_may_lie_on_another_host_which_sees_no_credentials() {
    let ann = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
    let options = given(ann);
    let scene = Scene::with(ScriptedRegistry::builder().basic("ann", "hunter2"), options).await;
    let store = ScriptedRegistry::start().await;
    store.put_manifest(REPOSITORY, None, &scene.subject.media_type, &scene.image);
    let path = format!("/v2/{REPOSITORY}/manifests/{}", scene.subject.digest);
    scene.resolve().await.unwrap();
    scene.registry.fault("GET", Fault::Redirect(store.url(&path)), 1);
    let blob = scene.client.manifest(&scene.repository(), &scene.subject).await.unwrap();
    assert_eq!(blob.bytes(), scene.image);
    assert!(scene.registry.requests().last().unwrap().header("authorization").is_some());
    assert_eq!(store.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn another_host_that_asks_for_credentials_gets_none() {
    let ann = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
    let options = given(ann);
    let scene = Scene::with(ScriptedRegistry::builder(), options).await;
    let thief = ScriptedRegistry::builder().basic("ann", "hunter2").start().await;
    scene.registry.always("GET", Fault::Redirect(thief.url("/v2/x/blobs/y")));
    expect(scene.client.manifest(&scene.repository(), &scene.subject).await, "registry-unauthorized", &thief.host());
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_the_credentials() {
    let ann = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
    let options = given(ann);
    let scene = Scene::with(ScriptedRegistry::builder().basic("ann", "hunter2"), options).await;
    scene.resolve().await.unwrap();
    let path = format!("/v2/{REPOSITORY}/manifests/{}", scene.subject.digest);
    scene.registry.fault("GET", Fault::Redirect(path), 1);
    scene.client.manifest(&scene.repository(), &scene.subject).await.unwrap();
}

#[tokio::test]
async fn as_many_redirects_as_permitted_are_followed_and_not_one_more() {
    let path = |scene: &Scene| format!("/v2/{REPOSITORY}/manifests/{}", scene.subject.digest);
    let scene = Scene::new().await;
    scene.registry.fault("GET", Fault::Redirect(path(&scene)), MAX_REDIRECTS);
    scene.client.manifest(&scene.repository(), &scene.subject).await.unwrap();
    scene.registry.fault("GET", Fault::Redirect(path(&scene)), MAX_REDIRECTS + 1);
    let answer = scene.client.manifest(&scene.repository(), &scene.subject).await;
    expect(answer, "redirect-refused", &scene.registry.host());
}

#[tokio::test]
async fn a_redirect_to_where_it_must_not_lead_is_refused() {
    for target in [
        "http://cdn.example/blob",
        "http://169.254.169.254/latest/meta-data",
        "https://user:password@cdn.example/blob",
        "file:///etc/passwd",
    ] {
        let scene = Scene::new().await;
        scene.registry.always("GET", Fault::Redirect(target.into()));
        let answer = scene.client.manifest(&scene.repository(), &scene.subject).await;
        expect(answer, "redirect-refused", &scene.registry.host());
    }
}

#[tokio::test]
async fn a_host_that_does_not_speak_tls_is_told_from_one_that_is_away() {
    let (scene, plain) = (Scene::new().await, ScriptedRegistry::start().await);
    scene.registry.always("GET", Fault::Redirect(format!("https://{}/blob", plain.host())));
    let answer = scene.client.manifest(&scene.repository(), &scene.subject).await;
    expect(answer, "registry-tls", &plain.host());
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_malformed() {
    let scene = Scene::new().await;
    scene.registry.always("GET", Fault::Redirect("http://[".into()));
    let answer = scene.client.manifest(&scene.repository(), &scene.subject).await;
    expect(answer, "registry-malformed-answer", &scene.registry.host());
}

#[tokio::test]
async fn nothing_is_changed_at_another_host() {
    let scene = Scene::with(ScriptedRegistry::builder(), options()).await;
    let other = ScriptedRegistry::start().await;
    other.put_manifest(REPOSITORY, None, &scene.subject.media_type, &scene.image);
    let path = format!("/v2/{REPOSITORY}/manifests/{}", scene.subject.digest);
    for method in ["DELETE", "PUT"] {
        scene.registry.always(method, Fault::Redirect(other.url(&path)));
    }
    let deleted = scene.client.delete_manifest(&scene.repository(), &scene.subject).await;
    expect(deleted, "redirect-refused", &other.host());
    let named = scene.push(&scene.signature("one")).await;
    expect(named, "redirect-refused", &other.host());
    assert!(other.requests().iter().all(|request| request.method != "DELETE" && request.method != "PUT"));
    // The twin: the same host. It has deleted the manifest before it answers, and says so when it is asked again.
    let scene = Scene::with(ScriptedRegistry::builder(), options()).await;
    scene.registry.fault("DELETE", Fault::Redirect(path), 1);
    let deleted = scene.client.delete_manifest(&scene.repository(), &scene.subject).await;
    expect(deleted, "not-found", &scene.registry.host());
    assert_eq!(scene.registry.requests().iter().filter(|request| request.method == "DELETE").count(), 2);
}
