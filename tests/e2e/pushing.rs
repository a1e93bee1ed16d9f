//! Images that are signed where they were built, and then go to a registry: by docker, and by `pratique push --sign`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::archive::Layout;
use crate::local_images::{import, pratique};
use crate::node::{Image, Node};
use crate::scene::{RELEASE, Scene};
use crate::tools::{attempt, layout, succeed, text, tool};

/// A node with docker in front of its containerd.
fn docker_scene() -> Scene {
    let mut node = Node::start();
    node.start_docker();
    Scene::plain_on(node)
}

/// Builds an image that prints this text, without a registry, and gives it with the digest that containerd has for it.
fn build(scene: &Scene, words: &str, name: &str) -> Image {
    let folder = scene.folder().join(format!("build-{words}"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::copy(tool("busybox"), folder.join("busybox")).expect("busybox can be copied");
    let file = format!("FROM scratch\nCOPY busybox /bin/echo\nCMD [\"/bin/echo\", \"{words}\"]\n");
    fs::write(folder.join("Dockerfile"), file).expect("the file can be written");
    let folder = folder.to_str().expect("plain characters");
    scene.try_docker(&["build", "--quiet", "--tag", name, folder]).expect("it is built");
    let described = pratique(scene, &["descriptor", &format!("containerd:moby/{name}")]).expect("it is there");
    let described: Value = serde_json::from_str(&described).expect("JSON");
    Image { reference: name.to_owned(), digest: described["digest"].as_str().expect("a digest").to_owned() }
}

fn is_accepted_by_notation(scene: &Scene, image: &Image) {
    let verified = scene.notation.verify_with_notation(image, &[]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
}

/// The digests of what oras finds to refer to the image.
fn discovered(image: &Image) -> Vec<String> {
    let mut oras = Command::new(tool("oras"));
    let found = succeed(oras.args(["discover", "--plain-http", "--format", "json"]).arg(image.by_digest()));
    let found: Value = serde_json::from_str(&found).expect("oras writes JSON");
    let referrers = found["referrers"].as_array().or_else(|| found["manifests"].as_array()).expect("a list");
    referrers.iter().map(|referrer| referrer["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// Signs what `descriptor` says of an image, into a file.
fn sign_apart(scene: &Scene, location: &str) -> String {
    let [descriptor, signature] = ["app.json", "app.jws.sig"].map(|name| scene.folder().join(name));
    let [descriptor, signature] =
        [descriptor, signature].map(|path| path.to_str().expect("plain characters").to_owned());
    pratique(scene, &["descriptor", location, "--output-file", &descriptor]).expect("it is described");
    let sign = ["sign", "--key", RELEASE, "--descriptor", &descriptor, "--output-signature", &signature];
    pratique(scene, &sign).expect("it is signed");
    signature
}

#[test]
fn what_docker_built_and_pushed_gets_the_signature_that_was_made_before_and_no_other_image_does() {
    let scene = docker_scene();
    let image = build(&scene, "app", &format!("{}/demo/app:v1", scene.registry()));
    let location = format!("containerd:moby/{}", image.reference);
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("it is signed");
    let signature = sign_apart(&scene, &location);
    let push = || pratique(&scene, &["push", &signature, &image.reference]);
    let message = push().expect_err("the registry has no such image yet");
    assert!(message.contains("[not-found]"), "{message}");
    scene.try_docker(&["push", &image.reference]).expect("it is pushed");
    // Somebody takes the tag, and gives it back.
    let other = scene.push("other", "app");
    let message = push().expect_err("the tag points to another image");
    assert!(message.contains("[image-not-signed]") && message.contains(&other.digest), "{message}");
    assert_eq!(discovered(&other), [""; 0]);
    assert_eq!(discovered(&image), [""; 0]);
    scene.try_docker(&["push", &image.reference]).expect("it is pushed");
    push().expect("the tag points to what was signed");
    is_accepted_by_notation(&scene, &image);
    assert_eq!(discovered(&image).len(), 1);
}

#[test]
fn an_image_of_docker_is_signed_and_pushed_in_one_and_notation_and_oras_see_it() {
    let scene = docker_scene();
    let image = build(&scene, "app", &format!("{}/demo/app:v1", scene.registry()));
    let location = format!("containerd:moby/{}", image.reference);
    let push = || pratique(&scene, &["push", "--sign", "--key", RELEASE, "--output", "json", &location]);
    let pushed: Value = serde_json::from_str(&push().expect("it goes where its name says")).expect("JSON");
    assert_eq!((&pushed["code"], &pushed["verdict"]), (&"pushed".into(), &"admitted".into()));
    is_accepted_by_notation(&scene, &image);
    assert_eq!(discovered(&image), [pushed["signature"].as_str().expect("a digest")]);
    let mut oras = Command::new(tool("oras"));
    assert_eq!(succeed(oras.args(["resolve", "--plain-http", &image.reference])).trim(), image.digest);
    let again: Value = serde_json::from_str(&push().expect("everything is there")).expect("JSON");
    assert_eq!((&again["made"], &again["bytes"]), (&false.into(), &0.into()));
    assert_eq!(discovered(&image).len(), 1);
}

#[test]
fn an_image_for_two_platforms_is_signed_as_a_whole_and_each_of_them_is_accepted() {
    let scene = Scene::gated("");
    let copied = Layout::copy(&scene, &layout("both", &["--multi"]), "both");
    let location = format!("oci-layout:{}:v1", copied.path().display());
    let signed = pratique(&scene, &["sign", "--recursive", "--key", RELEASE, "-o", "json", &location]);
    let signed: Value = serde_json::from_str(&signed.expect("it is signed")).expect("JSON");
    assert_eq!(signed["signatures"].as_array().expect("a list").len(), 3);
    let reference = format!("{}/demo/both:v1", scene.registry());
    pratique(&scene, &["copy", &location, &reference]).expect("it is copied");
    for signature in signed["signatures"].as_array().expect("a list") {
        let (_, digest) = signature["reference"].as_str().expect("a text").rsplit_once('@').expect("a digest");
        is_accepted_by_notation(&scene, &Image { reference: reference.clone(), digest: digest.to_owned() });
    }
    // In containerd, too.
    let name = "registry.invalid/demo/both:v1";
    let archive = copied.named(name).archive();
    let archive = archive.to_str().expect("plain characters");
    let import = ["images", "import", "--local", "--no-unpack", "--all-platforms", archive];
    scene.try_ctr("default", &import).expect("nothing is unpacked");
    let location = format!("containerd:default/{name}");
    pratique(&scene, &["sign", "--recursive", "--key", RELEASE, &location]).expect("it is signed");
    let verify = |platform: &str| pratique(&scene, &["verify", "--platform", platform, &location]);
    verify("linux/amd64").expect("it is signed");
    let message = verify("linux/s390x").expect_err("there is none");
    assert!(message.contains("[platform-not-there]") && message.contains("linux/amd64"), "{message}");
}

#[test]
fn what_notation_signs_in_a_layout_is_accepted() {
    let scene = Scene::gated("");
    let copied = Layout::copy(&scene, &layout("app", &[]), "signed");
    let location = format!("oci-layout:{}:v1", copied.path().display());
    let verify = || pratique(&scene, &["verify", "--scope", "registry.example/app", &location]);
    let message = verify().expect_err("nobody has signed it");
    assert!(message.contains("[no-signature]"), "{message}");
    sign_layout_with_notation(&scene, copied.path());
    verify().expect("notation's signature is as good as pratique's");
}

/// And the reverse, for whatever notation 1.3 looks at in a layout.
#[test]
fn what_is_signed_in_a_layout_is_accepted_by_notation_there_and_after_a_copy() {
    let scene = Scene::gated("");
    let copied = Layout::copy(&scene, &layout("app", &[]), "signed");
    let location = format!("oci-layout:{}:v1", copied.path().display());
    let verify = || {
        let mut notation = notation_in_layouts(&scene);
        notation.args(["verify", "--oci-layout", "--scope", "registry.example/app"]);
        attempt(notation.arg(format!("{}:v1", copied.path().display())))
    };
    verify().expect_err("nobody has signed it");
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("pratique signs");
    verify().expect("pratique's signature is as good as notation's");

    let described = pratique(&scene, &["descriptor", &location]).expect("it is there");
    let described: Value = serde_json::from_str(&described).expect("JSON");
    let reference = format!("{}/demo/from-layout:v1", scene.registry());
    pratique(&scene, &["copy", &location, &reference]).expect("it is copied");
    is_accepted_by_notation(
        &scene,
        &Image { reference, digest: described["digest"].as_str().expect("a digest").to_owned() },
    );
}

fn sign_layout_with_notation(scene: &Scene, layout: &Path) {
    let mut notation = notation_in_layouts(scene);
    notation.args(["sign", "--oci-layout", "--key", RELEASE]).arg(format!("{}:v1", layout.display()));
    attempt(&mut notation).expect("notation signs");
}

fn notation_in_layouts(scene: &Scene) -> Command {
    let home = scene.notation.dir().parent().expect("it lies in a folder").to_owned();
    let mut notation = Command::new(tool("notation"));
    notation.env("XDG_CONFIG_HOME", &home).env("XDG_CACHE_HOME", &home).env("NOTATION_EXPERIMENTAL", "1");
    notation
}

#[test]
fn an_imported_image_is_pushed_elsewhere_than_its_name_says() {
    let scene = Scene::gated("");
    let image = import(&scene, "local", crate::local_images::NAME);
    let location = format!("containerd:default/{}", crate::local_images::NAME);
    let destination = Image { reference: format!("{}/demo/elsewhere:v1", scene.registry()), digest: image.digest };
    let push = ["push", "--sign", "--key", RELEASE, &location, &destination.reference];
    pratique(&scene, &push).expect("the registry is there");
    is_accepted_by_notation(&scene, &destination);
}
