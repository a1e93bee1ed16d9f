//! What a stranger's archive may cost a node: any number of manifests in containerd's store that claim to be signatures.

use std::fs;
use std::path::PathBuf;

use containerd_client::connect;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::{WriteAction, WriteContentRequest};
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Request, Status};
use containerd_client::with_namespace;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pratique::oci::{Descriptor, media_type};
use serde_json::json;

use crate::local_images::{NAME, import, pratique};
use crate::node::Image;
use crate::scene::{RELEASE, Scene};
use crate::tools::runtime;

/// Far more than are examined of one image. It took 100 seconds to write 10,000, and they made no difference but in memory.
const MANY: usize = 400;
/// How many are written at once.
const AT_ONCE: usize = 64;
/// The most memory that the daemon may have had at once: 93 MiB were seen with 20,000 of them, in a
/// debug build.
const MAX_MEMORY: u64 = 160 * 1024 * 1024;

#[test]
fn a_local_signature_is_found_among_hundreds_that_are_none() {
    let scene = Scene::guarded("[run]\nask_registry = false\n[gates]\nask_registry = false\n");
    let (image, twin) = (import(&scene, "local", NAME), import(&scene, "twin", "registry.invalid/demo/twin:v1"));
    litter(&scene, &image);
    litter(&scene, &twin);
    let location = format!("containerd:default/{NAME}");
    pratique(&scene, &["sign", "--key", RELEASE, &location]).expect("it is signed");
    assert_eq!(scene.run("default", &image), "local");
    let refused = scene.try_run("default", &[&twin.reference]).expect_err("nobody has signed it");
    assert!(refused.contains("registry.invalid/demo/twin"), "{refused}");
    let memory = peak(&scene);
    assert!(memory < MAX_MEMORY, "{} MiB", memory / 1024 / 1024);
}

/// Puts manifests into containerd's store that name this image as their subject and an envelope that is not there.
fn litter(scene: &Scene, image: &Image) {
    let subject = scene.try_ctr("default", &["content", "get", &image.digest]).expect("it was imported");
    let manifests = (0..MANY).map(|number| claim(subject.as_bytes(), number));
    runtime().block_on(async {
        let channel = connect(scene.socket()).await.expect("containerd listens");
        let writes = stream::iter(manifests).map(|bytes| write(&channel, bytes)).buffer_unordered(AT_ONCE);
        writes.try_collect::<Vec<()>>().await.expect("containerd takes it");
    });
}

fn claim(subject: &[u8], number: usize) -> Vec<u8> {
    let described = |kind: &str, bytes: &[u8]| {
        let Descriptor { media_type, digest, size, .. } = Descriptor::of(kind, bytes);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::IMAGE_MANIFEST,
        "artifactType": media_type::NOTARY_SIGNATURE,
        "config": described("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [described(media_type::JWS_ENVELOPE, &number.to_be_bytes())],
        "subject": described(media_type::IMAGE_MANIFEST, subject),
    });
    manifest.to_string().into_bytes()
}

async fn write(channel: &Channel, bytes: Vec<u8>) -> Result<(), Status> {
    let Descriptor { digest, size, .. } = Descriptor::of(media_type::IMAGE_MANIFEST, &bytes);
    let whole = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: digest.to_string(),
        total: i64::try_from(size).expect("a small blob"),
        expected: digest.to_string(),
        data: bytes,
        // Otherwise the next garbage collection takes it away.
        labels: [("containerd.io/gc.root".to_owned(), "test".to_owned())].into(),
        ..WriteContentRequest::default()
    };
    let request = with_namespace!(stream::iter([whole]), "default");
    let mut answers = ContentClient::new(channel.clone()).write(request).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

/// The most memory that the daemon has had, in bytes.
fn peak(scene: &Scene) -> u64 {
    let status = PathBuf::from(format!("/proc/{}/status", scene.daemon.pid()));
    let status = fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}
