//! Signatures that a mirror has and those that the registry has, where containerd's `hosts.toml` names both.

use pratique::oci::media_type;

use crate::node::{REPOSITORY, Ran, Scene};
use crate::registry::{Fault, ScriptedRegistry};

/// An image of a registry and its mirror, which are signed apart from each other. Only ann is trusted.
struct Mirrored {
    scene: Scene,
    mirror: ScriptedRegistry,
}

impl Mirrored {
    async fn signed(at_mirror: &str, at_origin: Option<&str>) -> Self {
        let (scene, mirror) = (Scene::new().await, ScriptedRegistry::start().await);
        scene.add_signer("bob");
        mirror.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &scene.image);
        let (origin_host, mirror_host) = (scene.registry.host(), mirror.host());
        let image = scene.image().replace(&origin_host, &mirror_host);
        scene.node.run(&format!("sign --key {at_mirror} {image}")).exits(0);
        if let Some(signer) = at_origin {
            scene.run(&format!("sign --key {signer}")).exits(0);
        }
        let directory = format!("certs.d/{}_", origin_host.replace(':', "_"));
        let hosts = format!("[host.\"http://{mirror_host}\"]\ncapabilities = [\"pull\"]\n");
        scene.node.write_home(&format!("{directory}/hosts.toml"), hosts);
        scene.registry.forget_requests();
        Self { scene, mirror }
    }

    fn verify(&self) -> Ran {
        self.scene.verify("--hosts-dir certs.d")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_mirror_has_no_good_signature_the_registry_is_asked() {
    let twins = [("ann", "admit", 0, "admitted", None), ("bob", "deny", 1, "untrusted-signer", Some("authenticity"))];
    for (at_origin, answer, exit, code, failed) in twins {
        let images = Mirrored::signed("bob", Some(at_origin)).await;
        images.verify().answers(exit, answer, code, failed);
        assert!(images.scene.registry.lines().iter().any(|line| line.contains("referrers")));
    }
    Mirrored::signed("bob", None).await.verify().answers(1, "deny", "untrusted-signer", Some("authenticity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_mirror_has_a_good_signature_nobody_else_is_asked() {
    let images = Mirrored::signed("ann", Some("bob")).await;
    images.verify().answers(0, "admit", "admitted", None);
    assert!(images.scene.registry.lines().iter().all(|line| !line.contains("referrers")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_asked_may_have_what_its_mirror_lacks() {
    let images = Mirrored::signed("bob", Some("ann")).await;
    images.scene.registry.always("/v2/", Fault::Status(503));
    images.verify().answers(3, "inconclusive", "registry-server-error", Some("retrieval"));
    // And the mirror as well, of which nobody knows either what else it has.
    images.mirror.always("/referrers/", Fault::Status(503));
    images.verify().answers(3, "inconclusive", "registry-server-error", Some("retrieval"));
}
