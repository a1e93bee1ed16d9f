//! Credentials are shown to whoever may see them, when asked for, and to nobody else.

use pratique::oci::media_type;
use pratique::source::Source as _;
use pratique::source::registry::{Credential, Credentials, RegistryOptions, Secret};

use crate::registry::{Fault, ScriptedRegistry};
use crate::{REPOSITORY, Scene, expect, given, options};

fn ann() -> RegistryOptions {
    let ann = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
    given(ann)
}

fn statuses(scene: &Scene) -> Vec<&'static str> {
    let shown = |request: &crate::registry::Recorded| match request.header("authorization") {
        None => "nothing",
        Some(value) if value.starts_with("Basic ") => "password",
        Some(_) => "token",
    };
    scene.registry.requests().iter().map(shown).collect()
}

#[tokio::test]
async fn a_password_is_shown_when_asked_for_and_from_then_on() {
    let scene = Scene::with(ScriptedRegistry::builder().basic("ann", "hunter2"), ann()).await;
    scene.resolve().await.unwrap();
    scene.resolve().await.unwrap();
    assert_eq!(statuses(&scene), ["nothing", "password", "password"]);
}

#[tokio::test]
async fn a_registry_that_asks_for_nothing_is_shown_nothing() {
    let scene = Scene::with(ScriptedRegistry::builder(), ann()).await;
    scene.resolve().await.unwrap();
    assert_eq!(statuses(&scene), ["nothing"]);
}

#[tokio::test]
async fn without_credentials_and_with_wrong_ones_the_registry_refuses() {
    let script = || ScriptedRegistry::builder().basic("ann", "correct horse");
    let nobody = Scene::of(script()).await;
    let host = nobody.registry.host();
    expect(nobody.resolve().await, "registry-unauthorized", &host);
    let ann = Scene::with(script(), ann()).await;
    let error = ann.resolve().await.unwrap_err();
    assert!(error.to_string().contains("refuses the credentials"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = nobody.client.blob(&nobody.repository(), &nobody.subject, 1000).await.unwrap_err();
    assert!(error.to_string().contains("asks for credentials (UNAUTHORIZED: says the registry)"), "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_from_then_on() {
    for (script, options, shown) in [
        (ScriptedRegistry::builder().bearer(), options(), "nothing"),
        (ScriptedRegistry::builder().token_for("ann", "hunter2"), ann(), "password"),
    ] {
        let scene = Scene::with(script, options).await;
        scene.resolve().await.unwrap();
        scene.signatures(100).await.unwrap();
        assert_eq!(statuses(&scene), ["nothing", shown, "token", "token"]);
        let query = &scene.registry.requests()[1].query;
        assert!(query.starts_with("service=scripted&scope=repository%3Ateam%2Fapp%3Apull"), "{query}");
    }
}

#[tokio::test]
async fn an_identity_token_is_posted_to_the_token_service() {
    let options = given(Credential::Identity(Secret::new("id1".into())));
    let scene = Scene::with(ScriptedRegistry::builder().token_for_identity("id1"), options).await;
    scene.resolve().await.unwrap();
    let request = &scene.registry.requests()[1];
    assert_eq!((request.method.as_str(), request.query.as_str()), ("POST", ""));
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    assert!(body.starts_with("grant_type=refresh_token&client_id=pratique&refresh_token=id1&service=scripted&scope="));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_token_service_that_refuses_is_a_refusal() {
    let script = || ScriptedRegistry::builder().token_for("ann", "correct horse");
    for options in [options(), ann()] {
        let scene = Scene::with(script(), options).await;
        expect(scene.resolve().await, "registry-unauthorized", &scene.registry.host());
    }
}

#[tokio::test]
async fn a_token_service_that_fails_is_asked_again_and_then_given_up() {
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.registry.fault("/token", Fault::Status(503), 1);
    scene.resolve().await.unwrap();
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.registry.always("/token", Fault::Status(503));
    expect(scene.resolve().await, "registry-server-error", &scene.registry.host());
}

#[tokio::test]
async fn a_token_service_that_gives_no_token_is_an_error() {
    for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":7}"#] {
        let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
        scene.registry.always("/token", Fault::Answer(200, vec![], body.into()));
        expect(scene.resolve().await, "registry-malformed-answer", &scene.registry.host());
    }
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.registry.always("/token", Fault::Answer(200, vec![], " ".repeat(100_000)));
    expect(scene.resolve().await, "content-too-large", &scene.registry.host());
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced() {
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.resolve().await.unwrap();
    scene.registry.revoke_tokens();
    scene.resolve().await.unwrap();
    assert_eq!(statuses(&scene), ["nothing", "nothing", "token", "token", "nothing", "token"]);
}

#[tokio::test]
async fn a_token_at_the_end_of_its_life_is_not_shown() {
    let scene = Scene::of(ScriptedRegistry::builder().bearer().tokens_live(1)).await;
    scene.resolve().await.unwrap();
    scene.resolve().await.unwrap();
    assert_eq!(statuses(&scene), ["nothing", "nothing", "token", "nothing", "nothing", "token"]);
}

#[tokio::test]
async fn a_token_for_one_repository_is_not_shown_for_another() {
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.resolve().await.unwrap();
    scene.registry.put_manifest("other/app", Some("v1"), media_type::IMAGE_MANIFEST, &scene.image);
    let other = format!("{}/other/app:v1", scene.registry.host()).parse().unwrap();
    scene.client.resolve(&other).await.unwrap();
    assert_eq!(statuses(&scene)[3..], ["nothing", "nothing", "token"]);
}

#[tokio::test]
async fn a_realm_that_may_not_be_reached_gets_nothing() {
    for realm in ["http://auth.example/token", "http://169.254.169.254/token", "ftp://127.0.0.1/token"] {
        let scene = Scene::with(ScriptedRegistry::builder().realm(realm), ann()).await;
        expect(scene.resolve().await, "redirect-refused", &scene.registry.host());
    }
    let scene = Scene::with(ScriptedRegistry::builder().realm("no url"), ann()).await;
    expect(scene.resolve().await, "registry-malformed-answer", &scene.registry.host());
}

#[tokio::test]
async fn a_realm_does_not_redirect() {
    let scene = Scene::with(ScriptedRegistry::builder().token_for("ann", "hunter2"), ann()).await;
    let thief = ScriptedRegistry::start().await;
    scene.registry.always("/token", Fault::Redirect(thief.url("/token")));
    expect(scene.resolve().await, "registry-unexpected-status", &scene.registry.host());
    assert!(thief.requests().is_empty());
}

#[tokio::test]
async fn a_login_in_dockers_file_is_used_for_its_host_alone() {
    let script = || ScriptedRegistry::builder().basic("ann", "hunter2");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let files = Credentials::Files(vec![directory.path().join("missing.json"), path.clone()]);
    let scene = Scene::with(script(), RegistryOptions { credentials: files.clone(), ..options() }).await;
    let login = |host: &str| format!(r#"{{"auths":{{"{host}":{{"auth":"YW5uOmh1bnRlcjI="}}}}}}"#);
    std::fs::write(&path, login("registry.example")).unwrap();
    expect(scene.resolve().await, "registry-unauthorized", &scene.registry.host());
    std::fs::write(&path, login(&scene.registry.host())).unwrap();
    scene.resolve().await.unwrap();
    std::fs::write(&path, "not JSON").unwrap();
    let other = Scene::with(script(), RegistryOptions { credentials: files, ..options() }).await;
    expect(other.resolve().await, "credentials-unreadable", "config.json");
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_an_error_only_where_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore":"pratique-no-such-helper"}"#).unwrap();
    let options = || RegistryOptions { credentials: Credentials::Files(vec![path.clone()]), ..options() };
    let open = Scene::with(ScriptedRegistry::builder(), options()).await;
    open.resolve().await.unwrap();
    let closed = Scene::with(ScriptedRegistry::builder().bearer(), options()).await;
    expect(closed.resolve().await, "credentials-helper-failed", &closed.registry.host());
}

#[tokio::test]
async fn a_refusal_of_access_is_not_absence() {
    let scene = Scene::new().await;
    scene.registry.always("GET", Fault::Status(403));
    expect(scene.client.manifest(&scene.repository(), &scene.subject).await, "registry-forbidden", REPOSITORY);
}

#[tokio::test]
async fn a_login_is_believed_by_the_registry_alone() {
    let scene = Scene::with(ScriptedRegistry::builder().basic("ann", "hunter2"), ann()).await;
    scene.client.check_login(&scene.registry.host()).await.unwrap();
    let other = Scene::with(ScriptedRegistry::builder().basic("bob", "hunter2"), ann()).await;
    expect(other.client.check_login(&other.registry.host()).await, "registry-unauthorized", &other.registry.host());
    let answer = scene.client.check_login("no/registry").await;
    assert!(matches!(answer, Err(pratique::source::SourceError::Malformed { .. })), "{answer:?}");
}
