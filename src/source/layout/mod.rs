//! An OCI image layout: images and signatures in a directory, as `oras`, `skopeo` and `notation` write them.
//!
//! A layout may come from a stranger. Its files are bounded in size and number ([`limits`](crate::source::limits)), file
//! names are made of parsed digests alone, and content is believed only when it hashes to the digest it lies under. For
//! the same reason links are followed, which build systems make layouts of: a link can only lead to content whose
//! digest the layout knows already.
//!
//! A layout has no name and no referrers API. The repository in a question is not looked at: whoever asks says which
//! statement is to govern. Signatures are the manifests that can be reached from `index.json` and refer to the subject,
//! in the order of the indexes.
//!
//! Follows the OCI image specification 1.1, "OCI Image Layout Specification".

mod deleting;
mod fault;
mod images;
mod index;
mod new_archive;
mod reading;
mod store;
mod walk;
mod writing;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;

pub use fault::LayoutFault;
pub use new_archive::NewArchive;
pub use store::SignatureStore;

use self::walk::{Found, Walk};
use super::limits::{MAX_LAYOUT_MANIFESTS, MAX_LAYOUT_VERSION};
use super::{Referrers, Source, SourceError};
use crate::oci::{
    Blob, Descriptor, Digest, Index, LayoutName, MAX_MANIFEST_SIZE, Manifest, Reference, Repository, SignatureManifest,
    Tag, media_type, parse_json,
};
use crate::remedy::excerpt;

/// The one version of the layout that exists.
const VERSION: &str = "1.0.0";
const VERSION_FILE: &str = "oci-layout";
/// The annotation that gives an entry of `index.json` its tag (image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout. `index.json` is read anew for each question.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

/// The file `oci-layout`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionFile {
    image_layout_version: String,
}

impl Layout {
    /// The layout in this directory, whose version is one that can be read.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let layout = Self { path: path.into() };
        let bytes = layout.file(VERSION_FILE, MAX_LAYOUT_VERSION).await?;
        let bytes = bytes.ok_or_else(|| layout.fault(LayoutFault::Missing(VERSION_FILE)))?;
        let file: VersionFile =
            parse_json(&bytes).map_err(|source| layout.fault(LayoutFault::Version { file: VERSION_FILE, source }))?;
        match file.image_layout_version.as_str() {
            VERSION => Ok(layout),
            other => Err(layout.fault(LayoutFault::UnknownVersion(excerpt(other)))),
        }
    }

    /// The layout in this directory, which is made where there is none: to be written to.
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let path = path.into();
        writing::prepare(&path).await?;
        Self::open(path).await
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest or index of this name, without what the layout says about it. It must be there: what a layout names and
    /// does not hold is not in it.
    pub async fn named(&self, name: &LayoutName) -> Result<Descriptor, SourceError> {
        let entry = match name {
            LayoutName::Tag(tag) => self.by_tag(tag).await?,
            LayoutName::Digest(digest) => self.by_digest(digest).await?,
        };
        let descriptor = entry.bare();
        self.content(&descriptor, MAX_MANIFEST_SIZE).await?;
        Ok(descriptor)
    }

    /// The one image of a layout that holds no other. What refers to an image, such as its signatures, is none.
    pub async fn only(&self) -> Result<Descriptor, SourceError> {
        let mut only: Option<Descriptor> = None;
        for entry in entries(self.index().await?).filter(|entry| !is_fallback(entry)).take(MAX_LAYOUT_MANIFESTS) {
            let manifest = self.content(&entry.bare(), MAX_MANIFEST_SIZE).await?;
            if has_subject(&manifest) {
                continue;
            }
            match &only {
                Some(image) if image.digest != entry.digest => return Err(self.fault(LayoutFault::SeveralImages)),
                _ => only = Some(entry.bare()),
            }
        }
        only.ok_or_else(|| self.lacks("an image"))
    }

    /// The entry with this tag. Two entries may share it when they are the same.
    async fn by_tag(&self, tag: &Tag) -> Result<Descriptor, SourceError> {
        let index = self.index().await?;
        let mut named =
            entries(index).filter(|entry| entry.annotations.get(REF_NAME).is_some_and(|n| n == tag.as_str()));
        let entry = named.next().ok_or_else(|| self.lacks(tag.as_str()))?;
        if named.all(|other| other.same_content(&entry)) {
            return Ok(entry);
        }
        Err(self.fault(LayoutFault::AmbiguousTag(tag.as_str().to_owned())))
    }

    /// The first entry with this digest, in any index. An index that cannot be read might have had it.
    async fn by_digest(&self, digest: &Digest) -> Result<Descriptor, SourceError> {
        let mut walk = Walk::new(self, self.index().await?);
        let mut unread = None;
        while let Some(found) = walk.next().await? {
            if found.descriptor.digest == *digest {
                return Ok(found.descriptor);
            }
            unread = unread.or(found.unread);
        }
        Err(unread.unwrap_or_else(|| self.lacks(digest.as_str())))
    }

    /// Whether this is a signature on the subject. What is there and cannot be read may be one: it stays in the list, so
    /// that it leaves the question open instead of looking like an image without signatures.
    async fn is_signature(&self, found: &Found, subject: &Digest, attached: &HashSet<Digest>) -> bool {
        let Found { descriptor, unread } = found;
        let may_be = [media_type::IMAGE_MANIFEST, media_type::ARTIFACT_MANIFEST].contains(&&*descriptor.media_type);
        if unread.is_some() || !may_be {
            return unread.is_some();
        }
        let manifest = match self.content(descriptor, MAX_MANIFEST_SIZE).await {
            Ok(manifest) => manifest,
            Err(error) => return !matches!(error, SourceError::NotFound { .. }),
        };
        match SignatureManifest::subject_of(&descriptor.media_type, manifest.bytes()) {
            Ok(Some(named)) => named.digest == *subject,
            Ok(None) => attached.contains(&descriptor.digest),
            Err(_) => false,
        }
    }

    /// What the index under the subject's fallback tag lists: it hangs on the subject, even where it does not say so
    /// itself. An index that cannot be read comes up again when the layout is walked.
    async fn attached(&self, index: &Index, subject: &Digest) -> HashSet<Digest> {
        let tag = subject.fallback_tag();
        let is_named = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(&tag);
        let named = index.manifests.iter().map(|(entry, _)| entry).filter(is_named);
        let mut attached = HashSet::new();
        for entry in named.filter(|entry| media_type::is_index(&entry.media_type)) {
            if let Ok(list) = self.nested(entry).await {
                attached.extend(entries(list).map(|entry| entry.digest));
            }
        }
        attached
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the OCI layout {}", self.path.display())
    }
}

/// Whether this is the list of an image's referrers under its fallback tag.
fn is_fallback(entry: &Descriptor) -> bool {
    let tag = entry.annotations.get(REF_NAME).and_then(|name| name.strip_prefix("sha256-"));
    tag.is_some_and(|hex| format!("sha256:{hex}").parse::<Digest>().is_ok())
}

/// Whether a manifest refers to another one. An unreadable one counts as an image, so that nothing is overlooked.
fn has_subject(manifest: &Blob) -> bool {
    Manifest::parse(manifest.bytes()).is_ok_and(|manifest| manifest.subject.is_some())
}

fn entries(index: Index) -> impl Iterator<Item = Descriptor> {
    index.manifests.into_iter().map(|(entry, _)| entry)
}

#[async_trait]
impl Source for Layout {
    /// By digest, or else by tag.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => self.named(&LayoutName::Digest(digest.clone())).await,
            (None, Some(tag)) => self.named(&LayoutName::Tag(tag.clone())).await,
            (None, None) => Err(self.lacks("a manifest without a name")),
        }
    }

    async fn signatures(
        &self,
        _repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        let index = self.index().await?;
        let attached = self.attached(&index, &subject.digest).await;
        let mut walk = Walk::new(self, index);
        let mut referrers = Referrers::default();
        while let Some(found) = walk.next().await? {
            if !self.is_signature(&found, &subject.digest, &attached).await {
                continue;
            }
            if referrers.descriptors.len() == limit {
                referrers.truncated = true;
                break;
            }
            referrers.descriptors.push(found.descriptor);
        }
        Ok(referrers)
    }

    async fn manifest(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.content(descriptor, MAX_MANIFEST_SIZE).await
    }

    async fn blob(&self, _repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.content(descriptor, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
