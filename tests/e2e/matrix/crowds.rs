//! Many layers in one image, many images at once, and images that share what they are made of.

use std::thread;

use super::{leaves_nothing, settings};
use crate::node::{Image, Node};
use crate::scene::{RELEASE, Scene};
use crate::tools::layout_of;

/// So many that containerd mounts them by paths that are relative to the snapshotter's folder, because the absolute ones
/// are too long for one mount call.
const MANY_LAYERS: usize = 61;

const PULLS: usize = 20;

const WAYS: [&[&str]; 2] = [&["images", "pull", "--plain-http"], &["images", "pull", "--plain-http", "--local"]];

#[test]
fn an_image_of_many_layers_comes_in_and_runs_when_it_is_signed() {
    let mut node = Node::start();
    node.start_docker();
    let scene = Scene::guarded_on(node, settings);
    let layout = layout_of("tall", MANY_LAYERS, &[]);
    let unsigned = scene.push_layout(&layout_of("lofty", MANY_LAYERS, &["--own-base"]), "lofty");
    let message = pull(&scene, "default", WAYS[1], &unsigned).expect_err("nobody has signed it");
    assert!(message.contains("[no-signature]"), "{message}");

    let tall = scene.push_layout(&layout, "tall");
    scene.notation.sign(&tall, RELEASE, &[]);
    for (namespace, way) in ["transferred", "local"].into_iter().zip(WAYS) {
        pull(&scene, namespace, way, &tall).expect("the image is signed");
        assert_eq!(scene.run(namespace, &tall), "tall");
    }
    let printed = scene.try_docker(&["run", "--rm", "--quiet", "--network", "none", &tall.reference]);
    assert_eq!(printed.as_deref(), Ok("tall\n"));
}

#[test]
fn images_that_share_layers_come_in_side_by_side() {
    let scene = Scene::guarded_on(Node::start(), settings);
    // Two layers in common: the busybox base, and none of the rest.
    let images = ["left", "right"].map(|name| scene.signed(name, name));
    let unsigned = scene.push("middle", "middle");
    for way in WAYS {
        let namespace = format!("shared-{}", way.len());
        let unsigned = thread::scope(|scope| {
            for image in &images {
                scope.spawn(|| pull(&scene, &namespace, way, image).expect("the image is signed"));
            }
            pull(&scene, &namespace, way, &unsigned)
        });
        let message = unsigned.expect_err("nobody has signed it");
        assert!(message.contains("[no-signature]"), "{message}");
        for (image, prints) in images.iter().zip(["left", "right"]) {
            assert_eq!(scene.run(&namespace, image), prints);
        }
        leaves_nothing(&scene, &[namespace]);
    }
}

#[test]
fn many_images_are_pulled_and_run_at_once() {
    let scene = Scene::guarded_on(Node::start(), settings);
    let names: Vec<String> = (0..PULLS).map(|number| format!("app{number}")).collect();
    let images: Vec<Image> = names.iter().map(|name| scene.signed(name, name)).collect();
    let unsigned = scene.push_layout(&layout_of("other", 2, &["--own-base"]), "unsigned");
    thread::scope(|scope| {
        for (number, (name, image)) in names.iter().zip(&images).enumerate() {
            let scene = &scene;
            scope.spawn(move || {
                pull(scene, "default", WAYS[number % 2], image).expect("the image is signed");
                assert_eq!(scene.run("default", image), *name);
            });
        }
        for way in WAYS {
            pull(&scene, "default", way, &unsigned).expect_err("nobody has signed it");
        }
    });
    leaves_nothing(&scene, &["default".to_owned()]);
}

fn pull(scene: &Scene, namespace: &str, way: &[&str], image: &Image) -> Result<String, String> {
    scene.try_ctr(namespace, &[way, &[&image.reference]].concat())
}
