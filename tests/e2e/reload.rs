//! A policy that is changed on disk is in force soon after, without a restart; a broken one never is.

use std::fs;
use std::time::Duration;

use crate::containerd::Client;
use crate::node::Image;
use crate::notation::trusting;
use crate::scene::{RELEASE, Refusal, Scene};
use crate::tools::wait_until;

/// How long an operator would wait before looking for what went wrong.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_changed_policy_changes_the_answer() {
    let scene = Scene::new();
    scene.notation.generate("successor");
    let old = scene.signed("old", "old");
    let new = scene.push("new", "new");
    scene.notation.sign(&new, "successor", &[]);
    scene.admits(&old);
    scene.refuses(&new, Refusal::Denied("untrusted-signer"));

    scene.notation.set_policy(&trusting("successor"));
    soon_admits(&scene, &new);
    scene.admits(&new);
    scene.refuses(&old, Refusal::Denied("untrusted-signer"));
}

#[test]
fn a_certificate_that_joins_a_trust_store_is_trusted_soon_after() {
    let scene = Scene::new();
    scene.notation.generate("successor");
    let image = scene.push("app", "app");
    scene.notation.sign(&image, "successor", &[]);
    scene.refuses(&image, Refusal::Denied("untrusted-signer"));

    let stores = scene.notation.dir().join("truststore/x509/ca");
    let store = stores.join(RELEASE).join("successor.crt");
    fs::copy(stores.join("successor/successor.crt"), store).expect("the trust store can be written");
    soon_admits(&scene, &image);
    scene.admits(&image);
}

#[test]
fn a_broken_policy_leaves_the_old_one_in_force() {
    let scene = Scene::new();
    scene.notation.generate("successor");
    let image = scene.signed("app", "app");
    let unsigned = scene.push("unsigned", "unsigned");
    let logged = scene.daemon.log().len();
    scene.notation.set_policy("{ \"version\": \"1.0\", \"trustPolicies\": [");
    wait_until("the daemon says that it cannot read the policy", RELOAD_LIMIT, || {
        scene.daemon.log()[logged..].contains("trustpolicy.json").then_some(())
    });
    scene.admits(&image);
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));

    // It still watches: mended, the file is read again.
    scene.notation.set_policy(&trusting("successor"));
    let next = scene.push("next", "next");
    scene.notation.sign(&next, "successor", &[]);
    soon_admits(&scene, &next);
    scene.refuses(&image, Refusal::Denied("untrusted-signer"));
}

fn soon_admits(scene: &Scene, image: &Image) {
    wait_until("the new policy is in force", RELOAD_LIMIT, || Client::Ctr.pull(scene, image).succeeded.then_some(()));
}
