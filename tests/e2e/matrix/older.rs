//! The same on containerd 1.7, which has no image verifiers: its clients and its CRI part unpack by themselves, and its
//! packaged version forwards no namespace to a differ.

use super::Fate::{ComesIn, Refused, Runs};
use super::Gate::{Run, Unpack};
use super::{Cast, Role, ctr, kubelet, settings};
use crate::node::{Node, Version};
use crate::scene::Scene;

/// What `ctr` does with `--local` in later versions it does here without.
const OF_CTR: [ctr::Row; 6] = [
    (ctr::Way::PullLocal, [Runs, Refused(Unpack), Refused(Run)]),
    (ctr::Way::ImportLocal, [Runs, Refused(Unpack), Refused(Run)]),
    (ctr::Way::ImportOnly, [Runs, Refused(Unpack), Refused(Run)]),
    (ctr::Way::FetchOnly, [Runs, Refused(Unpack), Refused(Run)]),
    (ctr::Way::Mount, [ComesIn, Refused(Unpack), ComesIn]),
    (ctr::Way::Unpacked, [Runs, Refused(Unpack), Refused(Run)]),
];

const OF_THE_KUBELET: [kubelet::Row; 3] = [
    (kubelet::Way::Pull, [Runs, Refused(Unpack), Refused(Run)]),
    (kubelet::Way::SideLoaded, [Runs, Refused(Unpack), Refused(Run)]),
    (kubelet::Way::ImportOnly, [Runs, Refused(Unpack), Refused(Run)]),
];

#[test]
fn every_way_into_an_older_containerd() {
    let scene = Scene::guarded_on(Node::start_with(Version::V1_7), settings);
    ctr::hold(&scene, &OF_CTR, "overlayfs");
    kubelet::hold(&scene, &OF_THE_KUBELET);
}

#[test]
fn where_no_namespace_is_told_an_image_of_any_vouches_for_a_layer() {
    for (version, is_told) in [(Version::V1_7, false), (Version::V2_1, true)] {
        let scene = Scene::guarded_on(Node::start_with(version), settings);
        let Cast { admitted, evil, .. } = Cast::new(&scene, "told");
        let way: &[&str] = if is_told { &["--local"] } else { &[] };
        let pull = |namespace: &str, role: &Role| {
            let reference = &*role.image.reference;
            scene.try_ctr(namespace, &[&["images", "pull", "--plain-http"], way, &[reference]].concat())
        };
        let message = pull("elsewhere", &evil).expect_err("nothing vouches for its layers yet");
        assert_eq!(evil.refusal(&message), Some(Unpack), "{message}");
        pull("here", &admitted).expect("the image is signed");
        assert_eq!(
            pull("elsewhere", &evil).is_err(),
            is_told,
            "{version:?}: its layers are admitted in another namespace"
        );
        let message = scene.try_run("elsewhere", &[&evil.image.reference]).expect_err("nobody has signed it");
        assert_eq!(evil.refusal(&message), Some(if is_told { Unpack } else { Run }), "{message}");
    }
}
