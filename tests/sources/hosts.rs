//! Registries that are asked through containerd's `hosts.toml`: mirrors before the registry itself.

use std::fs;

use super::*;
use pratique::oci::Blob;
use pratique::source::{Images as _, Sink as _};
use registry::Fault;

/// A registry with a signed image, a mirror of it, and somebody whose `hosts.toml` names the mirror.
struct Mirrored {
    origin: Scene,
    mirror: ScriptedRegistry,
    /// The list of the mirror and the origin.
    signature: Descriptor,
    root: tempfile::TempDir,
}

/// Who has the signature.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Origin,
    Mirror,
    Both,
    Nowhere,
}

impl Mirrored {
    async fn new(signed: At) -> Self {
        Self::of(signed, ScriptedRegistry::builder(), options()).await
    }

    async fn of(signed: At, script: Builder, options: RegistryOptions) -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = RegistryOptions { hosts_dirs: vec![root.path().into()], ..options };
        let origin = Scene::with(ScriptedRegistry::builder(), options).await;
        let mirror = script.start().await;
        mirror.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, &origin.image);
        let manifest = registry::referring(media_type::NOTARY_SIGNATURE, &origin.image, b"envelope");
        let signature = Descriptor::of(media_type::IMAGE_MANIFEST, &manifest);
        for (place, is_signed) in [
            (&origin.registry, matches!(signed, At::Origin | At::Both)),
            (&mirror, matches!(signed, At::Mirror | At::Both)),
        ] {
            if is_signed {
                place.put_blob(REPOSITORY, b"envelope");
                place.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
            }
        }
        let scene = Self { origin, mirror, signature, root };
        scene.write(&format!("[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", scene.mirror.host()));
        scene
    }

    fn write(&self, text: &str) {
        let directory = self.root.path().join(format!("{}_", self.origin.registry.host().replace(':', "_")));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("hosts.toml"), text).unwrap();
    }

    /// The codes of what the signatures, their manifest and their envelope come to.
    async fn read(&self) -> Vec<&'static str> {
        let code = |error: SourceError| error.code().as_str();
        let client = &self.origin.client;
        let listed = client.signatures(&self.origin.repository(), &self.origin.subject, 10).await;
        let mut codes = vec![match listed {
            Ok(list) if list.descriptors.is_empty() => "none",
            Ok(list) => {
                assert_eq!(digests(&list.descriptors), [self.signature.digest.to_string()]);
                "found"
            }
            Err(error) => code(error),
        }];
        if codes == ["found"] {
            let envelope = Descriptor::of(media_type::OCTET_STREAM, b"envelope");
            codes
                .push(client.manifest(&self.origin.repository(), &self.signature).await.map_or_else(code, |_| "found"));
            codes.push(client.blob(&self.origin.repository(), &envelope, 100).await.map_or_else(code, |_| "found"));
        }
        codes
    }
}

#[tokio::test]
async fn a_signature_is_found_wherever_one_of_the_hosts_has_it() {
    let all = vec!["found"; 3];
    #[rustfmt::skip]
    let cases = [
        // Where it is, what befalls the mirror, what befalls the origin, and what comes of it.
        (At::Both, None, None, all.clone()),
        (At::Origin, None, None, all.clone()),
        (At::Mirror, None, None, all.clone()),
        (At::Nowhere, None, None, vec!["none"]),
        (At::Both, None, Some(Fault::Status(503)), all.clone()),
        (At::Mirror, None, Some(Fault::Status(503)), all.clone()),
        (At::Origin, None, Some(Fault::Status(503)), vec!["registry-server-error"]),
        (At::Nowhere, None, Some(Fault::Status(503)), vec!["registry-server-error"]),
        (At::Both, Some(Fault::Status(503)), None, all.clone()),
        (At::Origin, Some(Fault::Status(503)), None, all.clone()),
        (At::Origin, Some(Fault::Status(401)), None, all.clone()),
        (At::Origin, Some(Fault::Status(403)), None, all.clone()),
        (At::Origin, Some(Fault::Status(404)), None, all),
        // That the one has none is no proof while the other was not heard.
        (At::Nowhere, Some(Fault::Status(503)), None, vec!["registry-server-error"]),
        (At::Nowhere, Some(Fault::Status(401)), None, vec!["registry-unauthorized"]),
        (At::Nowhere, Some(Fault::Status(404)), None, vec!["none"]),
    ];
    for (number, (signed, at_mirror, at_origin, expected)) in cases.into_iter().enumerate() {
        let scene = Mirrored::new(signed).await;
        for (place, fault) in [(&scene.mirror, at_mirror), (&scene.origin.registry, at_origin)] {
            if let Some(fault) = fault {
                place.always("/v2/", fault);
            }
        }
        assert_eq!(scene.read().await, expected, "case {number}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_gone_is_passed_over_and_costs_one_try() {
    let scene = Mirrored::new(At::Origin).await;
    let gone = ScriptedRegistry::start().await.host();
    scene.write(&format!("[host.\"http://{gone}\"]\n"));
    assert_eq!(scene.read().await, ["found"; 3]);
    assert_eq!(scene.origin.registry.lines().len(), 3);

    let scene = Mirrored::new(At::Origin).await;
    scene.mirror.always("/v2/", Fault::Status(503));
    assert_eq!(scene.read().await, ["found"; 3]);
    assert_eq!(scene.mirror.lines().len(), 3);
}

#[tokio::test]
async fn a_mirror_is_told_which_registry_is_meant_and_the_registry_is_not() {
    let scene = Mirrored::new(At::Origin).await;
    assert_eq!(scene.read().await, ["found"; 3]);
    let namespace = format!("ns={}", scene.origin.registry.host().replace(':', "%3A"));
    let (mirror, origin) = (scene.mirror.requests(), scene.origin.registry.requests());
    assert!(!mirror.is_empty() && mirror.iter().all(|request| request.query.contains(&namespace)), "{mirror:?}");
    assert!(!origin.is_empty() && origin.iter().all(|request| !request.query.contains("ns=")), "{origin:?}");
}

#[tokio::test]
async fn what_the_file_says_of_one_host_is_sent_to_no_other() {
    let scene = Mirrored::new(At::Origin).await;
    let mirror = scene.mirror.host();
    scene.write(&format!(
        "[header]\nx-own = \"1\"\n[host.\"http://{mirror}/prefix\".header]\nx-mirror = [\"a\", \"b\"]"
    ));
    assert_eq!(scene.read().await, ["found"; 3]);
    for request in scene.mirror.requests() {
        assert!(request.path.starts_with("/prefix/v2/team/app/"), "{}", request.path);
        let sent: Vec<_> = request.headers.get_all("x-mirror").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((sent, request.header("x-own")), (vec!["a", "b"], None));
    }
    for request in scene.origin.registry.requests() {
        assert_eq!((request.header("x-own"), request.header("x-mirror")), (Some("1"), None));
    }
}

#[tokio::test]
async fn a_mirror_is_not_told_the_password_of_the_registry() {
    let password = Credential::Password {
        username: "ann".into(),
        password: pratique::source::registry::Secret::new("secret".into()),
    };
    let script = ScriptedRegistry::builder().basic("ann", "secret");
    let scene = Mirrored::of(At::Origin, script, given(password)).await;
    assert_eq!(scene.read().await, ["found"; 3]);
    assert!(!scene.mirror.requests().is_empty());
    for request in scene.mirror.requests() {
        assert_eq!(request.header("authorization"), None);
    }
}

#[tokio::test]
async fn a_mirror_is_told_its_own_password() {
    let password = Credential::Password {
        username: "ann".into(),
        password: pratique::source::registry::Secret::new("secret".into()),
    };
    let script = ScriptedRegistry::builder().basic("ann", "secret");
    let mut scene = Mirrored::of(At::Mirror, script, options()).await;
    assert_eq!(scene.read().await, ["registry-unauthorized"]);
    let credentials = Credentials::Given { registry: scene.mirror.host(), credential: password };
    let hosts_dirs = vec![scene.root.path().into()];
    scene.origin.client = Registry::new(RegistryOptions { credentials, hosts_dirs, ..options() });
    assert_eq!(scene.read().await, ["found"; 3]);
    assert!(scene.origin.registry.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_tag_is_asked_of_hosts_that_may_resolve_alone() {
    let scene = Mirrored::new(At::Both).await;
    assert_eq!(scene.origin.resolve().await.unwrap(), scene.origin.subject);
    assert_eq!((scene.mirror.lines().len(), scene.origin.registry.lines().len()), (1, 0));
    scene.write(&format!("[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n", scene.mirror.host()));
    assert_eq!(scene.origin.resolve().await.unwrap(), scene.origin.subject);
    assert_eq!((scene.mirror.lines().len(), scene.origin.registry.lines().len()), (1, 1));
    // Content is content.
    assert_eq!(scene.read().await, ["found"; 3]);
    assert_eq!(scene.origin.registry.lines().len(), 1);
}

#[tokio::test]
async fn what_is_written_goes_to_a_host_that_may_be_pushed_to() {
    let blob = Blob::of(media_type::OCTET_STREAM, b"new".to_vec());
    let scene = Mirrored::new(At::Nowhere).await;
    let (client, repository) = (&scene.origin.client, scene.origin.repository());
    client.push_blob(&repository, &blob).await.unwrap();
    assert!(scene.mirror.lines().is_empty());
    assert!(scene.origin.registry.blob(REPOSITORY, &blob.descriptor().digest).is_some());
    // What is read on the way there is read there, too.
    scene.origin.registry.forget_requests();
    let listed = client.at_origin().signatures(&repository, &scene.origin.subject, 10).await.unwrap();
    assert!(listed.descriptors.is_empty() && scene.mirror.lines().is_empty());
    assert!(!scene.origin.registry.lines().is_empty());

    scene.write(&format!("[host.\"http://{}\"]\ncapabilities = [\"pull\", \"push\"]\n", scene.mirror.host()));
    scene.origin.registry.forget_requests();
    client.push_blob(&repository, &blob).await.unwrap();
    assert!(scene.mirror.blob(REPOSITORY, &blob.descriptor().digest).is_some());
    assert!(scene.origin.registry.lines().is_empty());

    let host = scene.mirror.host();
    scene.write(&format!("server = \"http://{host}\"\ncapabilities = [\"pull\"]\n"));
    expect(client.push_blob(&repository, &blob).await, "hosts-not-capable", &scene.origin.registry.host());
}

#[tokio::test]
async fn everything_that_hangs_on_an_image_is_what_any_host_lists() {
    let scene = Mirrored::new(At::Mirror).await;
    let sbom = scene.origin.refer("sbom", "parts");
    let (client, repository) = (&scene.origin.client, scene.origin.repository());
    let found = client.referrers(&repository, &scene.origin.subject, 10).await.unwrap();
    assert_eq!(digests(&found.descriptors), [scene.signature.digest.to_string(), sbom.digest.to_string()]);
    scene.mirror.always("/v2/", Fault::Status(503));
    let error = client.referrers(&repository, &scene.origin.subject, 10).await.unwrap_err();
    assert_eq!(error.code().as_str(), "registry-server-error");
}

#[tokio::test]
async fn a_file_of_bad_form_stops_every_question() {
    let scene = Mirrored::new(At::Both).await;
    scene.write("server = 1");
    assert_eq!(scene.read().await, ["hosts-invalid"]);
    assert!(scene.mirror.lines().is_empty() && scene.origin.registry.lines().is_empty());
    scene.write("");
    assert_eq!(scene.read().await, ["found"; 3]);
}
