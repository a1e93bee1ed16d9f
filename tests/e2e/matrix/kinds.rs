//! Images of other kinds than the tables': each comes in and runs when it is signed, and not before.

use super::settings;
use crate::archive::Layout;
use crate::node::{Image, Node};
use crate::scene::{RELEASE, Scene};
use crate::tools::layout;

/// Both ways to unpack: by containerd, and by the client.
const WAYS: [&[&str]; 2] = [&["images", "pull", "--plain-http"], &["images", "pull", "--plain-http", "--local"]];

fn scene() -> Scene {
    Scene::guarded_on(Node::start(), settings)
}

/// Neither way lets the image in; signed, both do, and it runs.
fn runs_only_signed(scene: &Scene, image: &Image, prints: &str) {
    for (number, way) in WAYS.into_iter().enumerate() {
        let message = pull(scene, &format!("early{number}"), way, image).expect_err("nobody has signed it");
        assert!(message.contains("[no-signature]"), "{message}");
    }
    scene.notation.sign(image, RELEASE, &[]);
    for (number, way) in WAYS.into_iter().enumerate() {
        let namespace = format!("late{number}");
        pull(scene, &namespace, way, image).expect("the image is signed");
        assert_eq!(scene.run(&namespace, image), prints);
    }
}

fn pull(scene: &Scene, namespace: &str, way: &[&str], image: &Image) -> Result<String, String> {
    scene.try_ctr(namespace, &[way, &[&image.reference]].concat())
}

#[test]
fn an_image_for_several_platforms_runs_when_its_index_is_signed() {
    let scene = scene();
    runs_only_signed(&scene, &scene.push_index("several", "several"), "several");
}

#[test]
fn an_image_in_dockers_formats_runs_when_it_is_signed() {
    let scene = scene();
    let layout = Layout::copy(&scene, &layout("older", &[]), "older").with_docker_media_types();
    runs_only_signed(&scene, &scene.push_layout(layout.path(), "older"), "older");
}

#[test]
fn an_image_with_the_same_layer_twice_runs_when_it_is_signed() {
    let scene = scene();
    let layout = Layout::copy(&scene, &layout("twice", &[]), "twice").with_top_layer_twice();
    runs_only_signed(&scene, &scene.push_layout(layout.path(), "twice"), "twice");
}

#[test]
fn images_whose_layers_differ_in_their_compression_alone_run_beside_each_other() {
    let scene = scene();
    let first = scene.signed("app", "first");
    let layout = Layout::copy(&scene, &layout("app", &[]), "second").compressed_otherwise();
    let second = scene.push_layout(layout.path(), "second");
    scene.notation.sign(&second, RELEASE, &[]);
    for (number, way) in WAYS.into_iter().enumerate() {
        let namespace = format!("beside{number}");
        // What is unpacked of the first is there for the second, and no layer of that is asked about.
        for image in [&first, &second] {
            pull(&scene, &namespace, way, image).expect("the image is signed");
            assert_eq!(scene.run(&namespace, image), "app");
        }
    }
}
