//! The payloads that are handed to an external signing service, and the index that tells what each of them is about.
//!
//! The index goes out with the payloads and comes back with the envelopes, so it is read as a stranger's: the name of a
//! payload's file is made of its digest alone, here and there, and whatever else stands in its place is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::envelope::Payload;
use crate::oci::{Descriptor, Digest, InvalidJson, Reference, Repository, media_type, parse_json};
use crate::remedy::{Code, Remedy, excerpt};

/// The name of the index in the directory of the payloads.
pub const PAYLOAD_INDEX_FILE: &str = "payload-index.json";
/// The largest index, in bytes: ten thousand manifests with three names each, at 300 bytes a name, and as much again.
pub const MAX_PAYLOAD_INDEX: u64 = 32 * 1024 * 1024;
/// How many manifests an index may list, and how many places all of them may have.
const MAX_PLACES: usize = 50_000;
/// The version of the index's form.
const VERSION: u32 = 1;
/// What follows the digest in the name of a payload's file.
const PAYLOAD_SUFFIX: &str = ".payload.json";

/// What is to be signed, each manifest once, in the order of the digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadIndex {
    entries: BTreeMap<Digest, PayloadEntry>,
    /// The number of repositories of all entries together.
    places: usize,
}

/// One manifest to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadEntry {
    /// The manifest: media type, digest, size.
    pub artifact: Descriptor,
    /// Where it lies. The same build may be pushed to several repositories, and one signature does for all of them.
    pub repositories: BTreeSet<Repository>,
}

/// Whether a manifest is that of one platform or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// The manifest of an image.
    Manifest,
    /// An index, or a manifest list.
    Index,
}

/// Why an index of payloads cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPayloadIndex {
    /// Not JSON of the shape of an index.
    #[error("the index of payloads cannot be read")]
    Json(#[source] InvalidJson),
    /// Of a later version.
    #[error("the index of payloads has version {0}, and {VERSION} is understood")]
    Version(u32),
    /// A digest that stands twice.
    #[error("{0} stands twice in the index of payloads")]
    Duplicate(Digest),
    /// A file that is not named by its digest.
    #[error("the payload of {digest} is said to be in `{file}`")]
    File {
        /// Whose payload.
        digest: Digest,
        /// The name that stands there.
        file: String,
    },
    /// A kind that the media type denies.
    #[error("{0} is said to be of another kind than its media type")]
    Kind(Digest),
    /// A name without this digest, or no name.
    #[error("the references of {digest} are not all names of it: `{reference}`")]
    Reference {
        /// Of which manifest.
        digest: Digest,
        /// What stands there.
        reference: String,
    },
    /// Two descriptions of one digest.
    #[error("{digest} is described as {one} and as {other}")]
    Contradiction {
        /// Of which manifest.
        digest: Digest,
        /// The one media type and size.
        one: String,
        /// The other.
        other: String,
    },
    /// More bytes than are read.
    #[error("the index of payloads has more than {MAX_PAYLOAD_INDEX} bytes")]
    TooLarge,
    /// More than is taken.
    #[error("there are more than {MAX_PLACES} places to attach signatures in")]
    TooMany,
}

impl Remedy for InvalidPayloadIndex {
    fn code(&self) -> Code {
        Code(match self {
            Self::TooLarge | Self::TooMany => "payload-index-too-large",
            Self::Contradiction { .. } => "descriptor-contradiction",
            _ => "payload-index-invalid",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::TooLarge | Self::TooMany => "split the release".into(),
            Self::Contradiction { .. } => "ask both places for the digest: one of them tells what is not so".into(),
            _ => "use the index that `pratique payload generate` has written, unchanged".into(),
        })
    }
}

impl PayloadEntry {
    /// What is to be signed, as the bytes that go into an envelope.
    pub fn payload(&self) -> Vec<u8> {
        Payload { target_artifact: self.artifact.clone() }.to_bytes()
    }

    /// The part that the names of all files of this manifest begin with: made of nothing but its digest.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.artifact.digest.algorithm().as_str(), self.artifact.digest.hex())
    }

    /// The name of the payload's file.
    pub fn payload_file(&self) -> String {
        self.stem() + PAYLOAD_SUFFIX
    }

    /// Its names, one for each repository.
    pub fn references(&self) -> Vec<String> {
        let at = |repository: &Repository| repository.at(self.artifact.digest.clone()).to_string();
        self.repositories.iter().map(at).collect()
    }

    /// What its media type says that it is.
    pub fn kind(&self) -> PayloadKind {
        if media_type::is_index(&self.artifact.media_type) { PayloadKind::Index } else { PayloadKind::Manifest }
    }
}

impl PayloadIndex {
    /// The index in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPayloadIndex> {
        if bytes.len() as u64 > MAX_PAYLOAD_INDEX {
            return Err(InvalidPayloadIndex::TooLarge);
        }
        let wire: WireIndex = parse_json(bytes).map_err(InvalidPayloadIndex::Json)?;
        if wire.version != VERSION {
            return Err(InvalidPayloadIndex::Version(wire.version));
        }
        let mut index = Self::default();
        for entry in wire.payloads {
            let artifact = Descriptor::new(entry.media_type, entry.digest, entry.size);
            if index.entries.contains_key(&artifact.digest) {
                return Err(InvalidPayloadIndex::Duplicate(artifact.digest));
            }
            let named = PayloadEntry { artifact: artifact.clone(), repositories: BTreeSet::new() };
            let digest = artifact.digest.clone();
            if entry.payload != named.payload_file() {
                return Err(InvalidPayloadIndex::File { digest, file: excerpt(&entry.payload) });
            }
            if entry.kind != named.kind() {
                return Err(InvalidPayloadIndex::Kind(digest));
            }
            let bad = |reference: &str| InvalidPayloadIndex::Reference {
                digest: artifact.digest.clone(),
                reference: excerpt(reference),
            };
            if entry.references.is_empty() {
                return Err(bad(""));
            }
            for text in &entry.references {
                let reference: Reference = text.parse().map_err(|_| bad(text))?;
                if reference.digest() != Some(&artifact.digest) {
                    return Err(bad(text));
                }
                index.add(reference.repository().clone(), artifact.clone())?;
            }
        }
        Ok(index)
    }

    /// Adds a manifest, or another place of one.
    pub fn add(&mut self, repository: Repository, artifact: Descriptor) -> Result<(), InvalidPayloadIndex> {
        let new = || PayloadEntry { artifact: artifact.bare(), repositories: BTreeSet::new() };
        let entry = self.entries.entry(artifact.digest.clone()).or_insert_with(new);
        if !entry.artifact.same_content(&artifact) {
            let described =
                |descriptor: &Descriptor| format!("{}, {} bytes", excerpt(&descriptor.media_type), descriptor.size);
            let (one, other) = (described(&entry.artifact), described(&artifact));
            return Err(InvalidPayloadIndex::Contradiction { digest: artifact.digest, one, other });
        }
        self.places += usize::from(entry.repositories.insert(repository));
        if self.places > MAX_PLACES { Err(InvalidPayloadIndex::TooMany) } else { Ok(()) }
    }

    /// Everything that stands in the other index, too.
    pub fn merge(&mut self, other: Self) -> Result<(), InvalidPayloadIndex> {
        for entry in other.entries.into_values() {
            for repository in entry.repositories {
                self.add(repository, entry.artifact.clone())?;
            }
        }
        Ok(())
    }

    /// The manifests in the order of their digests.
    pub fn entries(&self) -> impl Iterator<Item = &PayloadEntry> {
        self.entries.values()
    }

    /// The manifest of this digest.
    pub fn get(&self, digest: &Digest) -> Option<&PayloadEntry> {
        self.entries.get(digest)
    }

    /// The same bytes for the same manifests in the same places, whatever the order in which they were added.
    pub fn to_bytes(&self) -> Vec<u8> {
        let payloads = self.entries.values().map(WireEntry::of).collect();
        // A struct of text and numbers always has a JSON form.
        let mut bytes = serde_json::to_vec_pretty(&WireIndex { version: VERSION, payloads }).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireIndex {
    version: u32,
    payloads: Vec<WireEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEntry {
    digest: Digest,
    payload: String,
    kind: PayloadKind,
    references: Vec<String>,
    media_type: String,
    size: u64,
}

impl WireEntry {
    fn of(entry: &PayloadEntry) -> Self {
        Self {
            digest: entry.artifact.digest.clone(),
            payload: entry.payload_file(),
            kind: entry.kind(),
            references: entry.references(),
            media_type: entry.artifact.media_type.clone(),
            size: entry.artifact.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(content: &str) -> Descriptor {
        Descriptor::of(media_type::IMAGE_MANIFEST, content.as_bytes())
    }

    fn index(content: &[(&str, &str)]) -> PayloadIndex {
        let mut index = PayloadIndex::default();
        for (repository, content) in content {
            index.add(repository.parse().unwrap(), artifact(content)).unwrap();
        }
        index
    }

    fn text(index: &PayloadIndex) -> String {
        String::from_utf8(index.to_bytes()).unwrap()
    }

    #[test]
    fn the_index_is_the_same_whatever_the_order() {
        let one = index(&[("r.example/a", "1"), ("r.example/b", "2"), ("m.example/a", "1"), ("r.example/a", "1")]);
        let other = index(&[("m.example/a", "1"), ("r.example/b", "2"), ("r.example/a", "1")]);
        assert_eq!(text(&one), text(&other));
        assert_eq!(PayloadIndex::parse(&one.to_bytes()).unwrap(), one);
        let entry = one.get(&artifact("1").digest).unwrap();
        let digest = &artifact("1").digest;
        assert_eq!(entry.references(), [format!("m.example/a@{digest}"), format!("r.example/a@{digest}")]);
        let mut merged = index(&[("m.example/a", "1")]);
        merged.merge(index(&[("r.example/a", "1"), ("r.example/b", "2")])).unwrap();
        assert_eq!(merged, one);
    }

    #[test]
    fn a_payload_is_what_the_notary_project_signs() {
        let one = index(&[("r.example/a", "1")]);
        let entry = one.entries().next().unwrap();
        let payload = Payload::parse(&entry.payload()).unwrap();
        assert_eq!(payload.target_artifact, artifact("1"));
        assert_eq!(entry.payload_file(), format!("sha256-{}.payload.json", artifact("1").digest.hex()));
    }

    #[test]
    fn one_digest_is_one_thing() {
        let mut one = index(&[("r.example/a", "1")]);
        let other = Descriptor { size: 7, ..artifact("1") };
        let error = one.add("r.example/b".parse().unwrap(), other).unwrap_err();
        assert_eq!(error.code(), Code("descriptor-contradiction"));
    }

    #[test]
    fn an_index_that_was_changed_is_refused() {
        let good = text(&index(&[("r.example/a", "1")]));
        let file = format!("sha256-{}.payload.json", artifact("1").digest.hex());
        let other = artifact("2").digest.to_string();
        let code = |text: &str| PayloadIndex::parse(text.as_bytes()).map_err(|error| error.code().as_str());
        assert!(code(&good).is_ok());
        for (right, wrong) in [
            (file.as_str(), "../../etc/passwd"),
            (&file, "/etc/passwd"),
            (&file, ""),
            ("\"manifest\"", "\"index\""),
            ("\"manifest\"", "\"image\""),
            ("r.example/a@", "r.example/A@"),
            ("\"r.example/a@", "\"r.example/a:"),
            ("\"version\": 1", "\"version\": 2"),
            ("\"size\": 1", "\"size\": -1"),
            ("\"size\": 1", "\"size\": 1, \"more\": 1"),
            ("\"digest\"", "\"diggest\""),
        ] {
            assert!(good.contains(right), "{right}");
            assert_eq!(code(&good.replace(right, wrong)), Err("payload-index-invalid"), "{right} → {wrong}");
        }
        let elsewhere = good.replace(&format!("a@{}", artifact("1").digest), &format!("a@{other}"));
        assert_eq!(code(&elsewhere), Err("payload-index-invalid"));
        let mut twice: serde_json::Value = serde_json::from_str(&good).unwrap();
        let entry = twice["payloads"][0].clone();
        twice["payloads"].as_array_mut().unwrap().push(entry);
        assert_eq!(code(&twice.to_string()), Err("payload-index-invalid"));
        twice["payloads"] = serde_json::json!([]);
        assert!(code(&twice.to_string()).is_ok(), "nothing to sign is no mistake");
        let huge = " ".repeat(usize::try_from(MAX_PAYLOAD_INDEX).unwrap() + 1);
        assert_eq!(code(&huge), Err("payload-index-too-large"));
        let deep = format!("{{\"version\": {}", "[".repeat(100_000));
        assert_eq!(code(&deep), Err("payload-index-invalid"));
    }
}
