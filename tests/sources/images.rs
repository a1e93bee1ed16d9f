//! Whole images go in and come out again, by the same promises from a registry and from a layout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use pratique::oci::{Blob, Descriptor, Repository, Tag, media_type};
use pratique::remedy::Remedy as _;
use pratique::source::layout::Layout;
use pratique::source::registry::Registry;
use pratique::source::{BlobStream, ImageSink, SourceError};
use serde_json::{Value, json};

use crate::registry::{Builder, Fault, ScriptedRegistry, image, referring};
use crate::{REPOSITORY, digests, expect, options};

/// A place that whole images are written to and read from.
struct Place {
    sink: Box<dyn ImageSink>,
    repository: Repository,
    registry: Option<ScriptedRegistry>,
    directory: tempfile::TempDir,
}

impl Place {
    async fn layout() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sink = Box::new(Layout::create(directory.path().join("layout")).await.unwrap());
        Self { sink, repository: "registry.example/app".parse().unwrap(), registry: None, directory }
    }

    async fn registry(script: Builder) -> Self {
        let registry = script.start().await;
        let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { sink: Box::new(Registry::new(options())), repository, registry: Some(registry), directory }
    }

    /// A layout, and registries of each kind.
    async fn all() -> Vec<Self> {
        let builder = ScriptedRegistry::builder;
        vec![
            Self::layout().await,
            Self::registry(builder().page_size(1)).await,
            Self::registry(builder().without_referrers()).await,
            Self::registry(builder().without_filter().without_oci_subject()).await,
        ]
    }

    fn scripted(&self) -> &ScriptedRegistry {
        self.registry.as_ref().unwrap()
    }

    async fn put(&self, bytes: &[u8]) -> Descriptor {
        let blob = Blob::of("application/octet-stream", bytes.to_vec());
        self.sink.push_stream(&self.repository, BlobStream::of(&blob)).await.unwrap();
        blob.descriptor().clone()
    }

    async fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let mut blob = self.sink.open_blob(&self.repository, descriptor).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = blob.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// An image with its content, under this tag.
    async fn put_image(&self, name: &str, tag: Option<&str>) -> Blob {
        self.put(b"{}").await;
        let manifest = Blob::of(media_type::IMAGE_MANIFEST, image(name));
        self.sink.push_manifest(&self.repository, &manifest).await.unwrap();
        let tag = tag.map(|tag| tag.parse().unwrap());
        self.sink.name(&self.repository, &manifest, tag.as_ref()).await.unwrap();
        manifest
    }

    async fn refer(&self, subject: &Blob, artifact_type: &str, content: &str) -> Blob {
        self.put(b"{}").await;
        self.put(content.as_bytes()).await;
        let manifest = referring(artifact_type, subject.bytes(), content.as_bytes());
        let manifest = Blob::of(media_type::IMAGE_MANIFEST, manifest);
        self.sink.push_referrer(&self.repository, subject.descriptor(), &manifest, artifact_type).await.unwrap();
        manifest
    }

    async fn referrers(&self, subject: &Blob, limit: usize) -> (Vec<Descriptor>, bool) {
        let found = self.sink.referrers(&self.repository, subject.descriptor(), limit).await.unwrap();
        (found.descriptors, found.truncated)
    }

    async fn resolved(&self, tag: &str) -> Result<Descriptor, SourceError> {
        self.sink.resolve(&format!("{}:{tag}", self.repository).parse().unwrap()).await
    }
}

#[tokio::test]
async fn a_large_blob_comes_out_as_it_went_in() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    for place in Place::all().await {
        let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
        let descriptor = Descriptor::of("layer", &bytes);
        assert!(!place.sink.has_blob(&place.repository, &descriptor).await.unwrap());
        assert_eq!(place.read(&descriptor).await.unwrap_err().code().as_str(), "not-found");
        let blob = BlobStream::new(descriptor.clone(), "the test", stream::iter(pieces).boxed());
        place.sink.push_stream(&place.repository, blob).await.unwrap();
        assert!(place.sink.has_blob(&place.repository, &descriptor).await.unwrap());
        assert!(place.read(&descriptor).await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn a_blob_that_is_not_what_it_should_be_gets_nowhere() {
    for place in Place::all().await {
        let descriptor = Descriptor::of("layer", b"cargo");
        for wrong in [vec!["car", "gp"], vec!["car"], vec!["car", "go", "!"]] {
            let pieces: Vec<_> = wrong.iter().map(|piece| Ok(bytes::Bytes::from_static(piece.as_bytes()))).collect();
            let blob = BlobStream::new(descriptor.clone(), "the source", stream::iter(pieces).boxed());
            let error = place.sink.push_stream(&place.repository, blob).await.unwrap_err();
            assert_eq!((error.code().as_str(), error.to_string().contains("the source")), ("content-mismatch", true));
            assert!(!place.sink.has_blob(&place.repository, &descriptor).await.unwrap());
        }
        assert_eq!(parts(place.directory.path()), Vec::<PathBuf>::new());
    }
}

/// The files that a killed writer could have left.
fn parts(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parts(&path));
        } else if path.extension().is_some_and(|extension| extension == "part") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn everything_that_refers_to_a_subject_is_found_whatever_it_is() {
    for place in Place::all().await {
        let image = place.put_image("app", Some("v1")).await;
        let signature = place.refer(&image, media_type::NOTARY_SIGNATURE, "envelope").await;
        let sbom = place.refer(&image, "application/spdx+json", "sbom").await;
        let of_sbom = place.refer(&sbom, media_type::NOTARY_SIGNATURE, "another").await;
        let (found, truncated) = place.referrers(&image, 100).await;
        assert_eq!(digests(&found), digests(&[signature.descriptor().clone(), sbom.descriptor().clone()]));
        let types: Vec<_> = found.iter().map(|entry| entry.artifact_type.as_deref().unwrap()).collect();
        assert_eq!((types, truncated), (vec![media_type::NOTARY_SIGNATURE, "application/spdx+json"], false));
        assert_eq!(digests(&place.referrers(&sbom, 100).await.0), [of_sbom.descriptor().digest.to_string()]);
        assert_eq!(place.referrers(&of_sbom, 100).await, (vec![], false));
        let (found, truncated) = place.referrers(&image, 1).await;
        assert_eq!((found.len(), truncated), (1, true));
        assert_eq!(place.resolved("v1").await.unwrap(), *image.descriptor());
    }
}

#[tokio::test]
async fn what_is_pushed_twice_is_there_once() {
    for place in Place::all().await {
        let image = place.put_image("app", Some("v1")).await;
        place.put_image("app", Some("v1")).await;
        place.refer(&image, "sbom", "sbom").await;
        place.refer(&image, "sbom", "sbom").await;
        assert_eq!(place.referrers(&image, 100).await.0.len(), 1);
        let tags = place.sink.tags(&place.repository, 100).await.unwrap();
        let named: Vec<_> = tags.names.iter().map(Tag::as_str).filter(|tag| !tag.starts_with("sha256")).collect();
        assert_eq!(named, ["v1"]);
    }
}

#[tokio::test]
async fn a_tag_moves_and_tags_are_listed_to_the_limit() {
    for place in Place::all().await {
        let (one, two) = (place.put_image("one", Some("v1")).await, place.put_image("two", Some("v2")).await);
        assert_eq!(place.resolved("v1").await.unwrap(), *one.descriptor());
        place.put_image("two", Some("v1")).await;
        assert_eq!(place.resolved("v1").await.unwrap(), *two.descriptor());
        assert!(place.sink.has_manifest(&place.repository, one.descriptor()).await.unwrap());
        let tags = place.sink.tags(&place.repository, 100).await.unwrap();
        let names: BTreeSet<_> = tags.names.iter().map(Tag::as_str).collect();
        assert_eq!((names, tags.truncated), (BTreeSet::from(["v1", "v2"]), false));
        let tags = place.sink.tags(&place.repository, 1).await.unwrap();
        assert_eq!((tags.names.len(), tags.truncated), (1, true));
    }
}

#[tokio::test]
async fn a_referrer_that_is_deleted_is_neither_there_nor_listed() {
    for place in Place::all().await {
        let image = place.put_image("app", Some("v1")).await;
        let sbom = place.refer(&image, "sbom", "sbom").await;
        let signature = place.refer(&image, media_type::NOTARY_SIGNATURE, "envelope").await;
        let delete = || place.sink.delete_referrer(&place.repository, image.descriptor(), sbom.descriptor());
        delete().await.unwrap();
        assert_eq!(digests(&place.referrers(&image, 100).await.0), [signature.descriptor().digest.to_string()]);
        assert!(!place.sink.has_manifest(&place.repository, sbom.descriptor()).await.unwrap());
        assert_eq!(place.resolved("v1").await.unwrap(), *image.descriptor());
        delete().await.unwrap();
        place.sink.delete_manifest(&place.repository, image.descriptor()).await.unwrap();
        assert_eq!(place.resolved("v1").await.unwrap_err().code().as_str(), "not-found");
        let again = place.sink.delete_manifest(&place.repository, image.descriptor()).await;
        assert_eq!(again.unwrap_err().code().as_str(), "not-found");
    }
}

#[tokio::test]
async fn a_layout_keeps_the_content_that_something_else_needs() {
    let place = Place::layout().await;
    let (one, two) = (place.put_image("one", Some("v1")).await, place.put_image("two", None).await);
    let sbom = place.refer(&one, "sbom", "shared").await;
    place.refer(&two, "sbom", "shared").await;
    let (config, shared) = (Descriptor::of("c", b"{}"), Descriptor::of("s", b"shared"));
    place.sink.delete_referrer(&place.repository, one.descriptor(), sbom.descriptor()).await.unwrap();
    assert!(place.sink.has_blob(&place.repository, &shared).await.unwrap());
    let other = place.referrers(&two, 10).await.0.remove(0);
    place.sink.delete_referrer(&place.repository, two.descriptor(), &other).await.unwrap();
    assert!(!place.sink.has_blob(&place.repository, &shared).await.unwrap());
    assert!(place.sink.has_blob(&place.repository, &config).await.unwrap());
}

#[tokio::test]
async fn a_registry_that_refuses_to_delete_is_named_and_keeps_its_list() {
    let place = Place::registry(ScriptedRegistry::builder().without_referrers().without_delete()).await;
    let image = place.put_image("app", Some("v1")).await;
    let sbom = place.refer(&image, "sbom", "sbom").await;
    let answer = place.sink.delete_referrer(&place.repository, image.descriptor(), sbom.descriptor()).await;
    expect(answer, "registry-refuses-delete", &place.scripted().host());
    assert_eq!(place.referrers(&image, 100).await.0.len(), 1);
    let answer = place.sink.delete_manifest(&place.repository, image.descriptor()).await;
    expect(answer, "registry-refuses-delete", &place.scripted().host());
}

#[tokio::test]
async fn an_entry_that_another_client_brings_back_is_taken_out_again() {
    let place = Place::registry(ScriptedRegistry::builder().without_referrers()).await;
    let image = place.put_image("app", Some("v1")).await;
    let sbom = place.refer(&image, "sbom", "sbom").await;
    place.scripted().lose_tag_writes(2);
    place.sink.delete_referrer(&place.repository, image.descriptor(), sbom.descriptor()).await.unwrap();
    assert_eq!(place.referrers(&image, 100).await.0, []);
}

#[tokio::test]
async fn a_blob_is_taken_over_from_another_repository_of_the_same_registry() {
    let place = Place::registry(ScriptedRegistry::builder()).await;
    let descriptor = place.put(b"layer").await;
    let other: Repository = format!("{}/team/other", place.scripted().host()).parse().unwrap();
    assert!(place.sink.mount(&other, &place.repository, &descriptor).await.unwrap());
    assert!(place.sink.has_blob(&other, &descriptor).await.unwrap());
    let absent = Descriptor::of("layer", b"absent");
    assert!(!place.sink.mount(&other, &place.repository, &absent).await.unwrap());
    let elsewhere: Repository = "registry.example/app".parse().unwrap();
    assert!(!place.sink.mount(&other, &elsewhere, &descriptor).await.unwrap());
    assert!(place.scripted().lines().last().unwrap().starts_with("DELETE /v2/team/other/blobs/uploads/"));
}

#[tokio::test]
async fn to_mount_takes_leave_for_both_repositories() {
    let place = Place::registry(ScriptedRegistry::builder().bearer()).await;
    let descriptor = place.put(b"layer").await;
    let other: Repository = format!("{}/team/other", place.scripted().host()).parse().unwrap();
    place.scripted().forget_requests();
    assert!(place.sink.mount(&other, &place.repository, &descriptor).await.unwrap());
    let token = place.scripted().requests().into_iter().find(|request| request.path == "/token").unwrap();
    let scopes: Vec<_> = token.query.split('&').filter(|pair| pair.starts_with("scope=")).collect();
    assert_eq!(scopes, ["scope=repository%3Ateam%2Fother%3Apull%2Cpush", "scope=repository%3Ateam%2Fapp%3Apull"]);
}

#[tokio::test]
async fn a_download_that_breaks_off_is_read_on() {
    let place = Place::registry(ScriptedRegistry::builder()).await;
    let bytes = vec![7; 200_000];
    let descriptor = place.put(&bytes).await;
    place.scripted().forget_requests();
    place.scripted().fault("GET /v2/team/app/blobs/", Fault::Truncate, 1);
    assert!(place.read(&descriptor).await.unwrap() == bytes);
    let asked = place.scripted().requests();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].header("range").unwrap().starts_with("bytes="));
    place.scripted().always("GET /v2/team/app/blobs/", Fault::Truncate);
    expect(place.read(&descriptor).await, "registry-unreachable", &place.scripted().host());
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_noticed_before_their_end() {
    let place = Place::registry(ScriptedRegistry::builder()).await;
    let descriptor = place.put(&[7; 1000]).await;
    for fault in [Fault::OtherBytes, Fault::Oversize, Fault::OversizeUnannounced] {
        place.scripted().fault("GET /v2/team/app/blobs/", fault, 1);
        let error = place.read(&descriptor).await.unwrap_err();
        assert_eq!(error.code().as_str(), "content-mismatch");
    }
}

#[tokio::test]
async fn tags_that_cannot_be_listed_are_not_none() {
    let place = Place::registry(ScriptedRegistry::builder()).await;
    let nothing = place.sink.tags(&place.repository, 10).await;
    expect(nothing, "not-found", &place.scripted().host());
    place.put_image("app", Some("v1")).await;
    place.scripted().fault("/tags/list", Fault::Status(401), 1);
    expect(place.sink.tags(&place.repository, 10).await, "registry-unauthorized", &place.scripted().host());
    let headers = vec![("content-type", "application/json".to_owned())];
    place.scripted().fault("/tags/list", Fault::Answer(200, headers, "[]".into()), 1);
    expect(place.sink.tags(&place.repository, 10).await, "registry-malformed-answer", &place.scripted().host());
}

#[tokio::test]
async fn writers_of_one_layout_lose_nothing() {
    let place = Place::layout().await;
    let image = place.put_image("app", Some("v1")).await;
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    futures_util::future::join_all(names.iter().map(|name| place.refer(&image, "sbom", name))).await;
    assert_eq!(place.referrers(&image, 100).await.0.len(), 20);
    let index = std::fs::read(place.directory.path().join("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 21);
    assert_eq!(index["manifests"][0]["annotations"], json!({"org.opencontainers.image.ref.name": "v1"}));
}

#[tokio::test]
async fn a_layout_that_cannot_be_written_says_so() {
    let place = Place::layout().await;
    std::fs::remove_dir_all(place.directory.path().join("layout/blobs")).unwrap();
    std::fs::write(place.directory.path().join("layout/blobs"), "in the way").unwrap();
    let blob = Blob::of("m", b"x".to_vec());
    let error = place.sink.push_blob(&place.repository, &blob).await.unwrap_err();
    assert!(["layout-unwritable", "layout-unreadable"].contains(&error.code().as_str()), "{error:?}");
}
