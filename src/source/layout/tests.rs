//! Layouts good and bad, written file by file.

use super::*;
use crate::oci::media_type;
use crate::remedy::{Code, Remedy};
use crate::source::limits::{MAX_LAYOUT_DEPTH, MAX_LAYOUT_MANIFESTS};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// A layout that is being written.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(directory.path("blobs/sha256")).unwrap();
        fs::write(directory.path("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn blob_path(&self, entry: &Value) -> PathBuf {
        let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        self.path("blobs/sha256").join(digest.hex())
    }

    /// Stores a document and gives its entry.
    fn add(&self, media_type: &str, document: &Value) -> Value {
        let bytes = serde_json::to_vec(document).unwrap();
        let entry = serde_json::to_value(Descriptor::of(media_type, &bytes)).unwrap();
        fs::write(self.blob_path(&entry), bytes).unwrap();
        entry
    }

    fn image(&self, number: usize) -> Value {
        let config = json!({"mediaType": "config", "digest": Digest::sha256(&[]), "size": number});
        self.add(media_type::IMAGE_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": []}))
    }

    /// A signature in notation's own form; `number` tells it from others.
    fn signature(&self, subject: Option<&Value>, number: usize) -> Value {
        let config = json!({"mediaType": media_type::NOTARY_SIGNATURE, "digest": Digest::sha256(b"{}"), "size": 2});
        let envelope = json!({"mediaType": "e", "digest": Digest::sha256(&[]), "size": number});
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [envelope]});
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        self.add(media_type::IMAGE_MANIFEST, &manifest)
    }

    fn index(&self, entries: &[Value]) -> Value {
        self.add(media_type::IMAGE_INDEX, &json!({"schemaVersion": 2, "manifests": entries}))
    }

    async fn with(&self, entries: &[Value]) -> Layout {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        fs::write(self.path("index.json"), index).unwrap();
        Layout::open(self.0.path()).await.unwrap()
    }
}

fn tagged(entry: &Value, tag: &str) -> Value {
    let mut entry = entry.clone();
    entry["annotations"] = json!({REF_NAME: tag});
    entry
}

fn descriptor(entry: &Value) -> Descriptor {
    serde_json::from_value(entry.clone()).unwrap()
}

async fn resolved(layout: &Layout, name: &str) -> Result<Descriptor, Code> {
    let reference: Reference = format!("registry.example/app{name}").parse().unwrap();
    layout.resolve(&reference).await.map_err(|error| error.code())
}

/// What is listed for this subject, and whether there was more.
async fn listed(layout: &Layout, subject: &Value, limit: usize) -> Result<(Vec<Descriptor>, bool), Code> {
    let repository = "registry.example/app".parse().unwrap();
    let answer = layout.signatures(&repository, &descriptor(subject), limit).await;
    answer.map(|referrers| (referrers.descriptors, referrers.truncated)).map_err(|error| error.code())
}

#[tokio::test]
async fn a_directory_is_a_layout_by_its_version_file() {
    let directory = Directory::new();
    assert!(Layout::open(directory.0.path()).await.is_ok());
    for (content, code) in [
        (r#"{"imageLayoutVersion": "2.0.0"}"#.to_owned(), "layout-version"),
        ("{}".to_owned(), "layout-version"),
        (" ".repeat(5000), "content-too-large"),
    ] {
        fs::write(directory.path("oci-layout"), content).unwrap();
        assert_eq!(Layout::open(directory.0.path()).await.unwrap_err().code(), Code(code));
    }
    fs::remove_file(directory.path("oci-layout")).unwrap();
    assert_eq!(Layout::open(directory.0.path()).await.unwrap_err().code(), Code("layout-incomplete"));
    fs::create_dir(directory.path("oci-layout")).unwrap();
    assert_eq!(Layout::open(directory.0.path()).await.unwrap_err().code(), Code("layout-not-a-file"));
}

#[tokio::test]
async fn a_tag_is_an_annotation_of_index_json_and_never_of_a_nested_index() {
    let directory = Directory::new();
    let (image, other) = (directory.image(1), directory.image(2));
    let nested = directory.index(&[tagged(&other, "v2")]);
    let layout = directory.with(&[tagged(&image, "v1"), nested]).await;
    assert_eq!(resolved(&layout, ":v1").await, Ok(descriptor(&image)));
    assert_eq!(resolved(&layout, ":v2").await, Err(Code("not-found")));
    assert_eq!(resolved(&layout, &format!("@{}", descriptor(&other).digest)).await, Ok(descriptor(&other)));
}

#[tokio::test]
async fn one_tag_for_different_manifests_is_no_answer() {
    let directory = Directory::new();
    let (image, other) = (directory.image(1), directory.image(2));
    let layout = directory.with(&[tagged(&image, "v1"), tagged(&image, "v1")]).await;
    assert_eq!(resolved(&layout, ":v1").await, Ok(descriptor(&image)));
    let layout = directory.with(&[tagged(&image, "v1"), tagged(&other, "v1")]).await;
    assert_eq!(resolved(&layout, ":v1").await, Err(Code("layout-tag-ambiguous")));
}

#[tokio::test]
async fn what_is_resolved_is_there_and_is_what_its_digest_says() {
    let directory = Directory::new();
    let image = directory.image(1);
    let layout = directory.with(&[tagged(&image, "v1")]).await;
    let content = fs::read(directory.blob_path(&image)).unwrap();
    fs::write(directory.blob_path(&image), content.to_ascii_uppercase()).unwrap();
    assert_eq!(resolved(&layout, ":v1").await, Err(Code("layout-damaged")));
    fs::write(directory.path("elsewhere"), content).unwrap();
    fs::remove_file(directory.blob_path(&image)).unwrap();
    assert_eq!(resolved(&layout, ":v1").await, Err(Code("not-found")));
    symlink("../../elsewhere", directory.blob_path(&image)).unwrap();
    assert_eq!(resolved(&layout, ":v1").await, Ok(descriptor(&image)));
    fs::remove_file(directory.blob_path(&image)).unwrap();
    symlink("/dev/zero", directory.blob_path(&image)).unwrap();
    assert_eq!(resolved(&layout, ":v1").await, Err(Code("layout-not-a-file")));
}

#[tokio::test]
async fn signatures_come_in_the_order_of_the_indexes_and_once() {
    let directory = Directory::new();
    let (image, other) = (directory.image(1), directory.image(2));
    let signatures: Vec<Value> = (0..3).map(|number| directory.signature(Some(&image), number)).collect();
    let foreign = directory.signature(Some(&other), 0);
    let [first, second, third] = signatures.as_slice() else { panic!("three signatures") };
    let nested = directory.index(&[second.clone(), first.clone(), foreign]);
    let layout = directory.with(&[image.clone(), third.clone(), nested, first.clone()]).await;
    let expected = vec![descriptor(third), descriptor(second), descriptor(first)];
    assert_eq!(listed(&layout, &image, 3).await, Ok((expected.clone(), false)));
    assert_eq!(listed(&layout, &image, 2).await, Ok((expected[..2].to_vec(), true)));
}

#[tokio::test]
async fn a_signature_without_a_subject_hangs_where_the_fallback_tag_says() {
    let directory = Directory::new();
    let image = directory.image(1);
    let (bare, foreign) = (directory.signature(None, 1), directory.signature(Some(&directory.image(2)), 2));
    let list = directory.index(&[bare.clone(), foreign]);
    let tag = descriptor(&image).digest.fallback_tag();
    let layout = directory.with(&[bare.clone(), tagged(&list, &tag)]).await;
    assert_eq!(listed(&layout, &image, 9).await, Ok((vec![descriptor(&bare)], false)));
    let layout = directory.with(&[bare.clone(), tagged(&list, "sha256-0")]).await;
    assert_eq!(listed(&layout, &image, 9).await, Ok((Vec::new(), false)));
}

#[tokio::test]
async fn what_cannot_be_read_stays_listed_and_what_is_not_there_does_not() {
    let directory = Directory::new();
    let (image, other) = (directory.image(1), directory.image(2));
    let good = directory.signature(Some(&image), 1);
    let nested = directory.index(std::slice::from_ref(&good));
    let layout = directory.with(&[other.clone(), nested.clone(), good.clone()]).await;
    assert_eq!(listed(&layout, &image, 9).await, Ok((vec![descriptor(&good)], false)));
    fs::write(directory.blob_path(&other), "{").unwrap();
    fs::write(directory.blob_path(&nested), "{").unwrap();
    let all = [&other, &nested, &good].map(descriptor).to_vec();
    assert_eq!(listed(&layout, &image, 9).await, Ok((all, false)));
    assert_eq!(resolved(&layout, &format!("@{}", Digest::sha256(b"?"))).await, Err(Code("layout-damaged")));
    fs::remove_file(directory.blob_path(&other)).unwrap();
    fs::remove_file(directory.blob_path(&nested)).unwrap();
    assert_eq!(listed(&layout, &image, 9).await, Ok((vec![descriptor(&good)], false)));
    assert_eq!(resolved(&layout, &format!("@{}", Digest::sha256(b"?"))).await, Err(Code("not-found")));
}

#[tokio::test]
async fn an_index_json_that_is_none_is_no_empty_layout() {
    let directory = Directory::new();
    let image = directory.image(1);
    let layout = directory.with(&[]).await;
    assert_eq!(listed(&layout, &image, 9).await, Ok((Vec::new(), false)));
    let outside = image.to_string().replace(&descriptor(&image).digest.to_string(), "sha256:../../secret");
    fs::write(directory.path("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{outside}]}}"#)).unwrap();
    assert_eq!(listed(&layout, &image, 9).await, Err(Code("layout-index-malformed")));
    fs::remove_file(directory.path("index.json")).unwrap();
    assert_eq!(listed(&layout, &image, 9).await, Err(Code("layout-incomplete")));
}

#[tokio::test]
async fn indexes_nest_to_a_bound() {
    let directory = Directory::new();
    let image = directory.image(1);
    // `index.json` is the first level.
    let mut nested = directory.signature(Some(&image), 1);
    for _ in 1..MAX_LAYOUT_DEPTH {
        nested = directory.index(&[nested]);
    }
    let layout = directory.with(&[nested.clone()]).await;
    assert_eq!(listed(&layout, &image, 9).await.unwrap().0.len(), 1);
    let layout = directory.with(&[directory.index(&[nested])]).await;
    assert_eq!(listed(&layout, &image, 9).await, Err(Code("layout-too-deep")));
}

#[tokio::test]
async fn the_number_of_manifests_is_bounded() {
    let directory = Directory::new();
    let image = directory.image(1);
    let entry =
        |number: usize| json!({"mediaType": "layer", "digest": Digest::sha256(&number.to_be_bytes()), "size": 1});
    let mut entries: Vec<Value> = (0..MAX_LAYOUT_MANIFESTS).map(entry).collect();
    let layout = directory.with(&entries).await;
    assert_eq!(listed(&layout, &image, 9).await, Ok((Vec::new(), false)));
    entries.push(entry(MAX_LAYOUT_MANIFESTS));
    let layout = directory.with(&entries).await;
    assert_eq!(listed(&layout, &image, 9).await, Err(Code("layout-too-many-manifests")));
}
