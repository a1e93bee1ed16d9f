//! Images in archives, by their exit status and output.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use pratique::oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::node::{REPOSITORY, Scene};
use crate::places::{Directory, copied};
use crate::registry::{self, ScriptedRegistry};

/// The bytes of an archive of this layout, as `tar` makes it.
fn packed(layout: &Directory) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", layout.path()).unwrap();
    archive.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive of these files.
fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn code(scene: &Scene, command: &str) -> Value {
    scene.node.run(&format!("{command} --output json")).json()["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_an_archive_is_read_by_every_command_whether_it_is_packed_or_not() {
    let scene = Scene::new().await;
    let verify = |archive: &str| {
        scene.node.run(&format!("verify --output json --scope registry.example/app oci-archive:{archive}:v1"))
    };
    scene.node.write_home("unsigned.tar", packed(&copied(&scene, "unsigned")));
    verify("unsigned.tar").answers(1, "deny", "no-signature", Some("retrieval"));
    scene.run("sign").exits(0);
    let signed = packed(&copied(&scene, "signed"));
    scene.node.write_home("signed.tar.gz", gzipped(&signed));
    scene.node.write_home("signed.tar", signed);
    let expected = json!(Descriptor::of(media_type::IMAGE_MANIFEST, &scene.image));
    for archive in ["signed.tar", "signed.tar.gz"] {
        verify(archive).answers(0, "admit", "admitted", None);
        assert_eq!(code(&scene, &format!("verify oci-archive:{archive}:v1")), "scope-missing");
        let run = |command: &str| scene.node.run(&format!("{command} oci-archive:{archive}")).exits(0);
        let listed = |command: &str| run(command).json()["signatures"].as_array().unwrap().len();
        assert_eq!((listed("ls -o json"), listed("inspect -o json")), (1, 1));
        assert!(run("ls --tree").stdout.contains("application/vnd.cncf.notary.signature"));
        assert_eq!(run("descriptor").json(), expected);
        scene.node.run(&format!("ls oci-archive:{archive}@{}", Digest::sha256(&scene.image))).exits(0);
        assert_eq!(code(&scene, &format!("ls oci-archive:{archive}:v2")), "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_out_of_an_archive_into_a_registry_with_its_signatures() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.node.run(&format!("copy {} oci-archive:app.tar:v1", scene.image())).exits(0);
    let bytes = fs::read(scene.node.home().join("app.tar")).unwrap();
    scene.node.write_home("app.tar.gz", gzipped(&bytes));
    for archive in ["app.tar", "app.tar.gz"] {
        let to = ScriptedRegistry::builder().start().await;
        let copied =
            scene.node.run(&format!("copy --verify -o json oci-archive:{archive}:v1 {}/{REPOSITORY}:v1", to.host()));
        assert_eq!(copied.exits(0).json()["code"], "copied");
        scene.node.run(&format!("verify {}/{REPOSITORY}:v1", to.host())).exits(0);
        // Out of it again, it is the same archive.
        scene.node.run(&format!("copy oci-archive:{archive}:v1 oci-archive:again.tar:v1")).exits(0);
        assert_eq!(fs::read(scene.node.home().join("again.tar")).unwrap(), bytes);
        fs::remove_file(scene.node.home().join("again.tar")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_archive_says_so() {
    let scene = Scene::new().await;
    let whole = packed(&copied(&scene, "out"));
    let version = br#"{"imageLayoutVersion": "1.0.0"}"#;
    let index = br#"{"schemaVersion": 2, "manifests": []}"#;
    let mut large = archive_of(&[("oci-layout", version), ("index.json", index)]);
    let mut header = tar::Header::new_ustar();
    header.set_path("blob").unwrap();
    header.set_size(1 << 32);
    header.set_cksum();
    large.truncate(large.len() - 1024);
    large.extend(header.as_bytes());
    for (bytes, expected) in [
        (whole.clone(), "null"),
        (gzipped(&whole), "null"),
        (whole[..whole.len() - 1024].to_vec(), "\"archive-truncated\""),
        (gzipped(&whole)[..200].to_vec(), "\"archive-truncated\""),
        (large, "\"archive-truncated\""),
        (Vec::new(), "\"archive-truncated\""),
        (b"no archive ".repeat(100), "\"archive-malformed\""),
        (b"\x28\xb5\x2f\xfd packed".to_vec(), "\"archive-compression\""),
        (b"\xfd7zXZ\0 packed".to_vec(), "\"archive-compression\""),
        (b"BZh9 packed".to_vec(), "\"archive-compression\""),
        (archive_of(&[("index.json", index)]), "\"layout-incomplete\""),
        (archive_of(&[("oci-layout", version)]), "\"layout-incomplete\""),
        (archive_of(&[("oci-layout", version), ("index.json", index)]), "\"not-found\""),
        (archive_of(&[("oci-layout", version), ("./oci-layout", version)]), "\"archive-member-twice\""),
        (archive_of(&[("oci-layout", version), ("../x", b"")]), "\"archive-member-outside\""),
    ] {
        scene.node.write_home("app.tar", bytes);
        assert_eq!(code(&scene, "ls oci-archive:app.tar").to_string(), expected);
    }
    assert_eq!(code(&scene, "ls oci-archive:none.tar"), "archive-unreadable");
    assert_eq!(code(&scene, "ls oci-archive:out"), "archive-not-a-file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_an_archive_is_not_followed_and_content_is_what_its_name_says() {
    let scene = Scene::new().await;
    let layout = copied(&scene, "out");
    let blob = format!("blobs/sha256/{}", Digest::sha256(&scene.image).hex());
    let with = |change: &dyn Fn(&Path)| {
        let path = layout.path().join(&blob);
        fs::remove_file(&path).unwrap();
        change(&path);
        let mut archive = tar::Builder::new(File::create(scene.node.home().join("app.tar")).unwrap());
        archive.follow_symlinks(false);
        archive.append_dir_all(".", layout.path()).unwrap();
        archive.finish().unwrap();
        code(&scene, "ls oci-archive:app.tar:v1")
    };
    let elsewhere = scene.node.home().join("elsewhere");
    fs::write(&elsewhere, &scene.image).unwrap();
    assert_eq!(with(&|path| std::os::unix::fs::symlink(&elsewhere, path).unwrap()), "archive-member-link");
    assert_eq!(with(&|path| fs::write(path, scene.image.to_ascii_uppercase()).unwrap()), "layout-damaged");
    assert_eq!(with(&|path| fs::write(path, &scene.image).unwrap()), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_has_saved_is_found_by_its_whole_name() {
    let scene = Scene::new().await;
    let mut layout = copied(&scene, "saved");
    let annotations = json!({
        "io.containerd.image.name": "docker.io/library/app:v2", "org.opencontainers.image.ref.name": "v2",
    });
    let other = registry::image("other");
    layout.annotated(&annotations, &other);
    fs::write(layout.path().join("manifest.json"), "[]").unwrap();
    scene.node.write_home("saved.tar", packed(&layout));
    let descriptor = |name: &str| {
        let found = scene.node.run(&format!("descriptor -o json docker-archive:saved.tar{name}")).json();
        (found["digest"].clone(), found["code"].clone())
    };
    let found = (json!(Digest::sha256(&other)), Value::Null);
    assert_eq!(descriptor(":app:v2"), found);
    assert_eq!(descriptor(":docker.io/library/app:v2"), found);
    assert_eq!(descriptor(&format!(":app@{}", Digest::sha256(&other))), found);
    assert_eq!(descriptor(":app:v1"), (Value::Null, json!("not-found")));
    // A tag is no name.
    assert_eq!(descriptor(":v2"), (Value::Null, json!("not-found")));
    assert_eq!(descriptor(""), (Value::Null, json!("layout-several-images")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_another_digest_when_docker_pushes_it_is_not_signed() {
    let scene = Scene::new().await;
    let classic = archive_of(&[("manifest.json", br#"[{"Config":"c.json","Layers":["l/layer.tar"]}]"#)]);
    scene.node.write_home("classic.tar", classic);
    let sign = |location: &str| code(&scene, &format!("descriptor {location}"));
    assert_eq!(sign("docker-archive:classic.tar"), "archive-digest-unknown");
    let layers = |media_type: &str| {
        let layer = json!({"mediaType": media_type, "digest": Digest::sha256(b"layer"), "size": 5});
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::sha256(b"{}"), "size": 2});
        json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string().into_bytes()
    };
    for (number, (media_type, expected)) in [
        ("application/vnd.oci.image.layer.v1.tar", json!("archive-digest-unknown")),
        ("application/vnd.docker.image.rootfs.diff.tar", json!("archive-digest-unknown")),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let mut layout = Directory::new(scene.node.home().join(number.to_string()));
        layout.annotated(&json!({"io.containerd.image.name": "docker.io/library/app:v1"}), &layers(media_type));
        scene.node.write_home("app.tar", packed(&layout));
        assert_eq!(sign("docker-archive:app.tar:app:v1"), expected, "{media_type}");
        assert_eq!(sign("docker-archive:app.tar"), expected, "{media_type}");
        assert_eq!(sign("oci-archive:app.tar"), Value::Null);
    }
}

/// How many files lie in the home of the scene's node, hidden ones included.
fn count(scene: &Scene) -> usize {
    fs::read_dir(scene.node.home()).unwrap().count()
}

fn signatures(scene: &Scene, archive: &str) -> usize {
    let listed = scene.node.run(&format!("ls -o json oci-archive:{archive}:v1")).exits(0).json();
    listed["signatures"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_signed_in_its_archive_which_else_stays_as_it_was() {
    let scene = Scene::new().await;
    let layout = copied(&scene, "out");
    fs::write(layout.path().join("manifest.json"), "[]").unwrap();
    scene.node.write_home("app.tar", packed(&layout));
    let others = |bytes: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let (mut entry, mut content) = (entry.unwrap(), Vec::new());
            entry.read_to_end(&mut content).unwrap();
            (entry.header().as_bytes().to_vec(), content)
        };
        let members = archive.entries().unwrap().map(read);
        members.filter(|(head, _)| !head.starts_with(b"index.json") && !head.starts_with(b"./index.json")).collect()
    };
    let bytes = || fs::read(scene.node.home().join("app.tar")).unwrap();
    let before = others(&bytes());
    for number in 1..=2 {
        scene.node.run(&format!("sign --user-metadata number={number} oci-archive:app.tar:v1")).exits(0);
        assert_eq!(signatures(&scene, "app.tar"), number);
        let verify = "verify --output json --scope registry.example/app oci-archive:app.tar:v1";
        scene.node.run(verify).answers(0, "admit", "admitted", None);
        let after = others(&bytes());
        // The empty config is shared.
        assert_eq!((&after[..before.len()], after.len()), (&before[..], before.len() + 1 + 2 * number));
    }
    scene.node.run(&format!("copy oci-archive:app.tar:v1 {}/new/app:v1", scene.registry.host())).exits(0);
    scene.node.run(&format!("verify {}/new/app:v1", scene.registry.host())).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn into_an_archive_that_cannot_be_written_nothing_is_signed() {
    let mut scene = Scene::new().await;
    let bytes = packed(&copied(&scene, "out"));
    scene.node.write_home("closed/app.tar", &bytes);
    scene.node.write_home("app.tar.gz", gzipped(&bytes));
    scene.node.write_home("app.tar", &bytes);
    scene.node.drop_privileges();
    let home = scene.node.home().to_owned();
    let mode = |name: &str, mode: u32| fs::set_permissions(home.join(name), Permissions::from_mode(mode)).unwrap();
    let refused =
        |exit: i32, command: &str| scene.node.run(&format!("{command} -o json")).exits(exit).json()["code"].clone();
    assert_eq!(refused(2, "sign oci-archive:app.tar.gz"), "archive-packed");
    assert_eq!(refused(2, "sign --recursive oci-archive:app.tar.gz"), "archive-packed");
    assert_eq!(refused(2, "sign docker-archive:app.tar.gz"), "archive-packed");
    mode("closed", 0o555);
    assert_eq!(refused(3, "sign oci-archive:closed/app.tar"), "archive-unwritable");
    mode("closed", 0o755);
    mode("closed/app.tar", 0o444);
    assert_eq!(refused(3, "sign oci-archive:closed/app.tar"), "archive-unwritable");
    mode("closed/app.tar", 0o644);
    assert_eq!(fs::read(home.join("closed/app.tar")).unwrap(), bytes);
    scene.node.run("sign oci-archive:closed/app.tar").exits(0);
}

/// A shell that limits the size of files stands in for a disk that is full, and for somebody who kills the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fails_or_is_killed_leaves_the_old_archive() {
    let scene = Scene::new().await;
    let layout = copied(&scene, "out");
    layout.blob(&vec![7; 64 * 1024]);
    let bytes = packed(&layout);
    for (setting, limit, leaves, exit) in
        [("trap '' XFSZ", "8", 0, Some(3)), ("true", "8", 1, None), ("true", "1000000", 0, Some(0))]
    {
        scene.node.write_home("app.tar", &bytes);
        let before = count(&scene);
        let pratique = scene.node.command(&["sign", "oci-archive:app.tar:v1"]);
        let line = format!("{setting}; ulimit -c 0; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).arg(pratique.get_program()).args(pratique.get_args()).env_clear();
        shell.envs(pratique.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = shell.current_dir(scene.node.home()).output().unwrap();
        assert_eq!(ran.status.code(), exit, "{}", String::from_utf8_lossy(&ran.stderr));
        let after = fs::read(scene.node.home().join("app.tar")).unwrap();
        assert_eq!((after == bytes, count(&scene) - before), (exit != Some(0), leaves), "{setting} {limit}");
        if exit == Some(3) {
            assert!(String::from_utf8_lossy(&ran.stderr).contains("[archive-unwritable]"));
        }
    }
    assert_eq!(signatures(&scene, "app.tar"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_out_of_an_archive_and_no_image_put_into_one() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    let bytes = packed(&copied(&scene, "out"));
    scene.node.write_home("app.tar", &bytes);
    for command in ["prune", "prune --yes", "rm", "rm --yes", "rm --signatures", "rm --signatures --yes"] {
        for place in ["oci-archive", "docker-archive"] {
            let refused = scene.node.run(&format!("{command} -o json {place}:app.tar")).exits(2).json();
            assert_eq!(refused["code"], "archive-read-only", "{command}");
        }
        scene.node.run(&format!("{} oci-layout:out:v1", command.trim_end_matches(" --yes"))).exits(0);
    }
    assert_eq!(code(&scene, "copy oci-archive:app.tar:v1 docker-archive:other.tar"), "place-read-only");
    assert_eq!(fs::read(scene.node.home().join("app.tar")).unwrap(), bytes);
    assert!(!scene.node.home().join("other.tar").try_exists().unwrap());
}
