//! Which images does a layer belong to?
//!
//! containerd asks about one layer, the policy speaks of images. This index answers without a scan: from a layer's
//! digest to the manifests that list it, and from those to the indexes that list them. It takes nothing on trust: what a
//! document lists is read from bytes that hash to the document's digest, so it stays true whatever becomes of the store,
//! and labels, which clients write, are not read here at all.
//!
//! A pure data structure; [`Inventory`](super::Inventory) fills it. Everything is bounded, and what grows too large is
//! forgotten and read again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::oci::{Blob, Descriptor, Digest, Index, Manifest, SignatureManifest, media_type, parse_json};

/// How many blobs of one containerd namespace are kept in mind. A node with a thousand images has some ten thousand.
const MAX_BLOBS: usize = 200_000;
/// How many containerd namespaces are kept in mind. Nodes have a handful.
const MAX_NAMESPACES: usize = 256;
/// How many entries of one document count. Overlayfs mounts some 500 layers, and the largest public indexes list some
/// 60 manifests; a document with more is not understood.
const MAX_ENTRIES: usize = 4096;
/// How many images are named for one layer, the latest first. A base layer can be shared by every image of a node.
pub(super) const MAX_IMAGES: usize = 512;
/// How many indexes are named for one manifest, and how many documents are looked at to find them: an index can lie in
/// an index.
const MAX_INDEXES: usize = 16;
/// The longest media type, in bytes: two names of 127 characters and a slash (RFC 6838, section 4.2).
const MAX_MEDIA_TYPE: usize = 255;

/// The manifests and indexes of every containerd namespace, by what they list.
#[derive(Debug, Default)]
pub struct Layers {
    namespaces: BTreeMap<String, Namespace>,
}

/// An image that lists a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The containerd namespace.
    pub namespace: String,
    /// The manifest that lists the layer.
    pub manifest: Descriptor,
    /// The indexes that list the manifest, nearest first.
    pub indexes: Vec<Descriptor>,
}

/// What the documents of one containerd namespace list.
#[derive(Debug, Default)]
struct Namespace {
    documents: HashMap<Digest, Document>,
    /// Blobs that were looked at and list nothing.
    others: HashSet<Digest>,
    /// From what is listed to the documents that list it, in the order in which they were added.
    listed_by: HashMap<Digest, Vec<Digest>>,
    /// From a subject to the signatures that refer to it.
    signatures: HashMap<Digest, Vec<Digest>>,
}

/// A manifest or an index, as far as it matters here.
#[derive(Debug)]
struct Document {
    descriptor: Descriptor,
    /// Layers or manifests.
    lists: Vec<Digest>,
    /// What it signs, where it is a signature.
    signs: Option<Digest>,
}

impl Layers {
    /// Whether this blob was looked at.
    pub fn knows(&self, namespace: &str, digest: &Digest) -> bool {
        self.namespaces.get(namespace).is_some_and(|known| known.knows(digest))
    }

    /// Whether this blob is a manifest or an index that was understood.
    pub fn is_document(&self, namespace: &str, digest: &Digest) -> bool {
        self.namespaces.get(namespace).is_some_and(|known| known.documents.contains_key(digest))
    }

    /// Keeps what this blob lists, if it is a manifest or an index.
    pub fn add(&mut self, namespace: &str, blob: &Blob) {
        match Document::read(blob) {
            Some(document) => self.namespace(namespace).add(document),
            None => self.pass_over(namespace, &blob.descriptor().digest),
        }
    }

    /// Keeps that this blob is neither a manifest nor an index.
    pub fn pass_over(&mut self, namespace: &str, digest: &Digest) {
        self.namespace(namespace).others.insert(digest.clone());
    }

    /// Forgets a blob that is gone.
    pub fn remove(&mut self, namespace: &str, digest: &Digest) {
        if let Some(known) = self.namespaces.get_mut(namespace) {
            known.remove(digest);
        }
    }

    /// The images that list this layer in the namespace, or in all of them where none is named; the latest first.
    pub fn listing(&self, namespace: Option<&str>, layer: &Digest) -> Vec<Listing> {
        let is_meant = |name: &str| namespace.is_none_or(|wanted| wanted == name);
        let known = self.namespaces.iter().filter(|(name, _)| is_meant(name));
        known.flat_map(|(name, known)| known.listing(name, layer)).take(MAX_IMAGES).collect()
    }

    /// The Notary signature manifests whose subject this is, in any namespace: a signature speaks for itself.
    pub fn signatures(&self, subject: &Digest) -> Vec<Descriptor> {
        let listed = self.namespaces.values().flat_map(|known| {
            let digests = known.signatures.get(subject).into_iter().flatten();
            digests.filter_map(|digest| known.documents.get(digest)).map(|document| document.descriptor.clone())
        });
        let mut seen = HashSet::new();
        listed.filter(|descriptor| seen.insert(descriptor.digest.clone())).collect()
    }

    /// The namespaces in which something was looked at.
    pub fn namespaces(&self) -> Vec<String> {
        self.namespaces.keys().cloned().collect()
    }

    /// How many manifests and indexes are known.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(|known| known.documents.len()).sum()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        if !self.namespaces.contains_key(name) && self.namespaces.len() >= MAX_NAMESPACES {
            self.namespaces.clear();
        }
        let known = self.namespaces.entry(name.to_owned()).or_default();
        if known.documents.len() + known.others.len() >= MAX_BLOBS {
            *known = Namespace::default();
        }
        known
    }
}

impl Namespace {
    fn knows(&self, digest: &Digest) -> bool {
        self.documents.contains_key(digest) || self.others.contains(digest)
    }

    fn add(&mut self, document: Document) {
        let digest = document.descriptor.digest.clone();
        if self.documents.contains_key(&digest) {
            return;
        }
        for listed in &document.lists {
            let by = self.listed_by.entry(listed.clone()).or_default();
            // A manifest may list a layer twice.
            if by.last() != Some(&digest) {
                by.push(digest.clone());
            }
        }
        if let Some(subject) = &document.signs {
            self.signatures.entry(subject.clone()).or_default().push(digest.clone());
        }
        self.others.remove(&digest);
        self.documents.insert(digest, document);
    }

    fn remove(&mut self, digest: &Digest) {
        self.others.remove(digest);
        let Some(document) = self.documents.remove(digest) else { return };
        for listed in &document.lists {
            take_out(&mut self.listed_by, listed, digest);
        }
        if let Some(subject) = &document.signs {
            take_out(&mut self.signatures, subject, digest);
        }
    }

    fn listing(&self, name: &str, layer: &Digest) -> Vec<Listing> {
        let manifests = self.listed_by.get(layer).into_iter().flatten().rev();
        let documents = manifests.filter_map(|digest| self.documents.get(digest)).take(MAX_IMAGES);
        // An index may name a layer, too, and it is no manifest for that.
        let manifests = documents.filter(|document| !media_type::is_index(&document.descriptor.media_type));
        let listing = |document: &Document| Listing {
            namespace: name.to_owned(),
            manifest: document.descriptor.clone(),
            indexes: self.indexes(&document.descriptor.digest),
        };
        manifests.map(listing).collect()
    }

    /// The indexes above a manifest, nearest first. Each lists content by its hash, so there are no circles; what there
    /// can be is many.
    fn indexes(&self, manifest: &Digest) -> Vec<Descriptor> {
        let mut found: Vec<Descriptor> = Vec::new();
        let mut below = VecDeque::from([manifest.clone()]);
        while let Some(digest) = below.pop_front() {
            for by in self.listed_by.get(&digest).into_iter().flatten().rev() {
                let Some(document) = self.documents.get(by) else { continue };
                let is_new = found.iter().all(|descriptor| descriptor.digest != *by);
                if !is_new || !media_type::is_index(&document.descriptor.media_type) {
                    continue;
                }
                if found.len() >= MAX_INDEXES {
                    return found;
                }
                found.push(document.descriptor.clone());
                below.push_back(by.clone());
            }
        }
        found
    }
}

fn take_out(lists: &mut HashMap<Digest, Vec<Digest>>, key: &Digest, digest: &Digest) {
    if let Some(list) = lists.get_mut(key) {
        list.retain(|kept| kept != digest);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

/// What kind of document it is: told by its members, since the store keeps no media types. A document that could be
/// read as both a manifest and an index is neither (image specification, "Media Type Conflicts"; containerd refuses
/// such documents, too).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    blobs: Option<IgnoredAny>,
}

impl Document {
    fn read(blob: &Blob) -> Option<Self> {
        let bytes = blob.bytes();
        let shape: Shape = parse_json(bytes).ok()?;
        let says = shape.media_type.filter(|media_type| media_type.len() <= MAX_MEDIA_TYPE);
        let is_manifest = shape.config.is_some() && shape.layers.is_some();
        let is_partly_manifest = shape.config.is_some() || shape.layers.is_some();
        let (media_type, lists, signs) = if is_manifest && shape.manifests.is_none() && shape.blobs.is_none() {
            let media_type = says.unwrap_or_else(|| media_type::IMAGE_MANIFEST.to_owned());
            let manifest = Manifest::parse(bytes).ok().filter(|_| !media_type::is_index(&media_type))?;
            let signs = signed_by(&media_type, bytes);
            (media_type, manifest.layers, signs)
        } else if shape.manifests.is_some() && !is_partly_manifest && shape.blobs.is_none() {
            let media_type = says.unwrap_or_else(|| media_type::IMAGE_INDEX.to_owned());
            let index = Index::parse(bytes).ok().filter(|_| media_type::is_index(&media_type))?;
            (media_type, index.manifests.into_iter().map(|(entry, _)| entry).collect(), None)
        } else if says.as_deref() == Some(media_type::ARTIFACT_MANIFEST) && !is_partly_manifest {
            let signs = signed_by(media_type::ARTIFACT_MANIFEST, bytes);
            (media_type::ARTIFACT_MANIFEST.to_owned(), Vec::new(), Some(signs?))
        } else {
            return None;
        };
        if lists.len() > MAX_ENTRIES {
            return None;
        }
        let artifact_type = signs.is_some().then(|| media_type::NOTARY_SIGNATURE.to_owned());
        let descriptor = Descriptor { media_type, artifact_type, ..blob.descriptor().clone() };
        Some(Self { descriptor, lists: lists.into_iter().map(|entry| entry.digest).collect(), signs })
    }
}

fn signed_by(media_type: &str, bytes: &[u8]) -> Option<Digest> {
    SignatureManifest::parse(media_type, bytes).ok()?.subject.map(|subject| subject.digest)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::{index, layer, manifest, signature};
    use super::*;

    const NS: &str = "default";

    fn filled(blobs: &[&Blob]) -> Layers {
        let mut layers = Layers::default();
        for blob in blobs {
            layers.add(NS, blob);
        }
        layers
    }

    fn listed(layers: &Layers, namespace: Option<&str>, digest: &Digest) -> Vec<(Digest, Vec<Digest>)> {
        let digests = |descriptors: Vec<Descriptor>| descriptors.into_iter().map(|d| d.digest).collect();
        let listing = layers.listing(namespace, digest).into_iter();
        listing.map(|image| (image.manifest.digest, digests(image.indexes))).collect()
    }

    fn of(blob: &Blob) -> Digest {
        blob.descriptor().digest.clone()
    }

    #[test]
    fn a_layer_leads_to_its_manifests_and_these_to_their_indexes() {
        let (one, two) = (manifest("one", &["base", "one"]), manifest("two", &["base", "base", "two"]));
        let inner = index(&[&one]);
        let outer = index(&[&inner]);
        let layers = filled(&[&outer, &one, &two, &inner]);
        let above = vec![of(&inner), of(&outer)];
        assert_eq!(listed(&layers, Some(NS), &layer("one").digest), [(of(&one), above.clone())]);
        assert_eq!(listed(&layers, Some(NS), &layer("base").digest), [(of(&two), vec![]), (of(&one), above)]);
        assert_eq!(listed(&layers, Some(NS), &layer("other").digest), []);
    }

    #[test]
    fn a_namespace_sees_its_own_images_and_no_namespace_means_all() {
        let one = manifest("one", &["base"]);
        let mut layers = filled(&[&one]);
        layers.add("k8s.io", &one);
        let base = layer("base").digest;
        assert_eq!(listed(&layers, Some("moby"), &base), []);
        assert_eq!(layers.listing(None, &base).len(), 2);
        layers.remove(NS, &of(&one));
        assert_eq!(listed(&layers, Some(NS), &base), []);
        assert_eq!(listed(&layers, None, &base), [(of(&one), vec![])]);
        assert!(!layers.knows(NS, &of(&one)) && layers.knows("k8s.io", &of(&one)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_read_in_none() {
        let base = layer("base");
        let entry = serde_json::to_string(&base).unwrap();
        let good = format!(r#"{{"schemaVersion":2,"config":{entry},"layers":[{entry}]}}"#);
        for (text, is_document) in [
            (good.clone(), true),
            (good.replace(r#","layers""#, r#","manifests":[],"layers""#), false),
            (good.replace(r#","layers""#, r#","blobs":[],"layers""#), false),
            (good.replace(r#","layers""#, r#","layers":[],"layers""#), false),
            (good.replace(r#""layers""#, r#""Layers""#), false),
            (good.replace(r#""schema"#, &format!(r#""mediaType":"{}","schema"#, media_type::IMAGE_INDEX)), false),
            (good.replace("sha256:", "md5:"), false),
            (format!("{good}{good}"), false),
            (format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#), true),
            (format!(r#"{{"schemaVersion":2,"config":{entry},"manifests":[{entry}]}}"#), false),
            ("[]".into(), false),
            ("{}".into(), false),
        ] {
            let blob = Blob::of("any", text.clone().into_bytes());
            let layers = filled(&[&blob]);
            assert!(layers.knows(NS, &of(&blob)));
            assert_eq!(layers.is_document(NS, &of(&blob)), is_document, "{text}");
        }
    }

    #[test]
    fn a_signature_is_found_by_its_subject_in_any_namespace() {
        let image = manifest("one", &["base"]);
        let signature = signature(&image, &layer("envelope"));
        let mut layers = filled(&[&image]);
        assert_eq!(layers.signatures(&of(&image)), []);
        layers.add("moby", &signature);
        layers.add("k8s.io", &signature);
        let found = layers.signatures(&of(&image));
        assert_eq!(found.iter().map(|d| d.digest.clone()).collect::<Vec<_>>(), [of(&signature)]);
        assert_eq!(found[0].artifact_type.as_deref(), Some(media_type::NOTARY_SIGNATURE));
        layers.remove("moby", &of(&signature));
        layers.remove("k8s.io", &of(&signature));
        assert_eq!(layers.signatures(&of(&image)), []);
    }

    #[test]
    fn a_question_costs_no_scan_at_three_thousand_blobs() {
        let mut layers = Layers::default();
        for number in 0..1000 {
            let own = format!("layer-{number}");
            layers.add(NS, &manifest(&own, &["base", &own]));
            layers.pass_over(NS, &layer(&own).digest);
            layers.pass_over(NS, &Digest::sha256(own.as_bytes()));
        }
        let began = Instant::now();
        assert_eq!(layers.listing(Some(NS), &layer("layer-500").digest).len(), 1);
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1), "{took:?}");
        // And one that every image shares names some of them and not all.
        assert_eq!(layers.listing(Some(NS), &layer("base").digest).len(), MAX_IMAGES);
    }
}
