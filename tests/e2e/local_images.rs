//! Images that are signed on this node before any registry has seen them.

use std::process::Command;

use crate::archive::Layout;
use crate::node::Image;
use crate::scene::{RELEASE, Scene};
use crate::tools::{attempt, layout, own};

/// A name of a registry that nobody can reach, so that nothing comes from there.
pub const NAME: &str = "registry.invalid/demo/local:v1";

/// A node that judges images from no registry, too.
fn scene() -> Scene {
    Scene::guarded("[run]\nask_registry = false\n[gates]\nask_registry = false\n")
}

/// `pratique`, on this scene's containerd and with its keys and policy.
pub fn pratique(scene: &Scene, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(own("pratique"));
    command.env("PRATIQUE_NOTATION_DIR", scene.notation.dir()).env("CONTAINERD_ADDRESS", scene.socket());
    attempt(command.args(arguments))
}

/// Imports an image that prints this text, without a registry and without unpacking it.
pub fn import(scene: &Scene, text: &str, name: &str) -> Image {
    let copied = Layout::copy(scene, &layout(text, &[]), text);
    let digest = copied.digest();
    let archive = copied.named(name).archive();
    let archive = archive.to_str().expect("plain characters");
    scene.try_ctr("default", &["images", "import", "--local", "--no-unpack", archive]).expect("nothing is unpacked");
    Image { reference: name.to_owned(), digest }
}

fn holds(scene: &Scene, digest: &str) -> bool {
    scene.try_ctr("default", &["content", "ls", "--quiet"]).expect("containerd answers").contains(digest)
}

/// The digests that stand in what `pratique ls --output json` prints.
fn signature(scene: &Scene, location: &str) -> String {
    let listed = pratique(scene, &["ls", "--output", "json", location]).expect("it is listed");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    listed["signatures"][0]["digest"].as_str().expect("one signature").to_owned()
}

#[test]
fn an_imported_image_runs_without_a_registry_once_it_is_signed_here_and_its_unsigned_twin_does_not() {
    let scene = scene();
    let (signed, twin) = (import(&scene, "local", NAME), import(&scene, "twin", "registry.invalid/demo/twin:v1"));
    let location = format!("containerd:default/{NAME}");
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("it is signed");
    let verified = pratique(&scene, &["verify", &location]).expect("it is admitted");
    assert!(verified.contains(&signed.digest), "{verified}");
    assert_eq!(scene.run("default", &signed), "local");
    let message = scene.try_run("default", &[&twin.reference]).expect_err("nobody has signed it");
    assert!(message.contains("[no-signature]"), "{message}");
}

#[test]
fn a_signature_stays_with_its_image_and_goes_with_it() {
    let scene = scene();
    let image = import(&scene, "local", NAME);
    let location = format!("containerd:default/{NAME}");
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("it is signed");
    let signature = signature(&scene, &location);
    // Removing another name has containerd collect its garbage.
    let other = "registry.invalid/demo/other:v1";
    scene.try_ctr("default", &["images", "tag", NAME, other]).expect("it is there");
    scene.try_ctr("default", &["images", "rm", "--sync", other]).expect("it is there");
    assert!(holds(&scene, &signature) && holds(&scene, &image.digest));
    scene.try_ctr("default", &["images", "rm", "--sync", NAME]).expect("it is there");
    assert!(!holds(&scene, &signature) && !holds(&scene, &image.digest));
}

#[test]
fn a_signature_that_containerd_has_lost_is_found_in_the_nodes_own_store() {
    // Nobody but the gate before a start looks at the images.
    let settings = "reconcile = 'off'\n[run]\nask_registry = false\n[gates]\nask_registry = false\n";
    let mut scene = Scene::guarded(settings);
    let (kept, twin) = (import(&scene, "local", NAME), import(&scene, "twin", "registry.invalid/demo/twin:v1"));
    let store = scene.folder().join("state/signatures");
    let store = store.to_str().expect("plain characters").to_owned();
    for (image, options) in [(&kept, &["--node-store", &store][..]), (&twin, &[])] {
        let location = format!("containerd:default/{}", image.reference);
        let sign = ["sign", "--key", RELEASE, &location];
        pratique(&scene, &[&sign, options].concat()).expect("it is signed");
        let signature = signature(&scene, &location);
        scene.try_ctr("default", &["content", "rm", &signature]).expect("it is there");
        assert!(!holds(&scene, &signature));
    }
    // So that nothing is remembered of what containerd held.
    scene.daemon.kill();
    scene.daemon.start_again();
    assert_eq!(scene.run("default", &kept), "local");
    let message = scene.try_run("default", &[&twin.reference]).expect_err("its signature is nowhere");
    assert!(message.contains("[no-signature]"), "{message}");
}

#[test]
fn a_name_with_two_meanings_is_not_guessed() {
    let scene = scene();
    import(&scene, "local", "demo/app:v1");
    scene.try_ctr("default", &["namespaces", "create", "demo"]).expect("a namespace can be made");
    let sign = |arguments: &[&str]| pratique(&scene, &[&["sign", "--key", RELEASE], arguments].concat());
    sign(&["containerd:demo/app:v1"]).expect("the namespace `demo` has no such image");
    let archive = Layout::copy(&scene, &layout("local", &[]), "again").named("app:v1").archive();
    let archive = archive.to_str().expect("plain characters");
    scene.try_ctr("demo", &["images", "import", "--local", "--no-unpack", archive]).expect("nothing is unpacked");
    let message = sign(&["containerd:demo/app:v1"]).expect_err("either may be meant");
    assert!(message.contains("[containerd-name-ambiguous]"), "{message}");
    sign(&["--namespace", "default", "containerd:demo/app:v1"]).expect("it is said which is meant");
}

#[test]
fn a_signed_image_is_copied_into_a_registry_with_its_signature() {
    let scene = scene();
    let image = import(&scene, "local", NAME);
    let location = format!("containerd:default/{NAME}");
    let destination = Image { reference: format!("{}/demo/copied:v1", scene.registry()), digest: image.digest };
    let copy = || pratique(&scene, &["copy", "--verify", &location, &destination.reference]);
    let message = copy().expect_err("nobody has signed it");
    assert!(message.contains("[no-signature]"), "{message}");
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("it is signed");
    let tree = pratique(&scene, &["ls", "--tree", &location]).expect("it is listed");
    assert!(tree.contains(&signature(&scene, &location)), "{tree}");
    copy().expect("it is admitted");
    let verified = scene.notation.verify_with_notation(&destination, &[]);
    assert!(verified.status.success(), "{}", crate::tools::text(&verified.stderr));
    let message = pratique(&scene, &["prune", &location]).expect_err("containerd's clients do that");
    assert!(message.contains("[place-read-only]"), "{message}");
}
