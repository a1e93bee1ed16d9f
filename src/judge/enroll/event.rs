//! What is told about an enrollment while it goes on.

use super::EnrollError;
use crate::judge::run::image_for_people;
use crate::remedy::{Code, Remedy, hint, one_line};
use crate::source::containerd::ImageRecord;
use crate::verify::{Answer, Verdict};

/// Something that happened on the way.
#[derive(Clone, Debug)]
pub enum EnrollEvent {
    /// A layer is about to be unpacked and compared.
    Layer(LayerBegun),
    /// An image is done with.
    Image(Enrolled),
}

/// A layer that is about to be unpacked and compared.
#[derive(Clone, Debug)]
pub struct LayerBegun {
    /// The image, for people.
    pub image: String,
    /// The snapshotter.
    pub snapshotter: String,
    /// Which layer of the image it is, from 1.
    pub number: usize,
    /// How many layers the image has.
    pub of: usize,
    /// The size of the blob in bytes.
    pub size: u64,
}

/// What became of an image with one snapshotter.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The containerd namespace; empty where it did not come so far.
    pub namespace: String,
    /// The name of the image record.
    pub image: String,
    /// The digest that it points to; empty where there is no record.
    pub digest: String,
    /// The snapshotter; empty where it did not come so far.
    pub snapshotter: String,
    /// Whether anything that was found stands in the way of starting containers of it.
    pub answer: Answer,
    /// The stable code of the reason.
    pub code: Code,
    /// One line for people that stands alone.
    pub line: String,
    /// How many layers there were of each kind.
    pub layers: LayerCounts,
}

/// How many layers were recorded, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCounts {
    /// Recorded already.
    pub known: u64,
    /// Unpacked once more, and found to be the same.
    pub compared: u64,
    /// Taken on the word of whoever asked.
    pub unverified: u64,
}

/// What an event is about.
pub(super) struct Subject<'a> {
    pub(super) namespace: &'a str,
    pub(super) record: &'a ImageRecord,
    /// Empty where it did not come so far.
    pub(super) snapshotter: String,
}

impl Subject<'_> {
    fn ended(&self, answer: Answer, code: Code, line: String, layers: LayerCounts) -> Enrolled {
        let (namespace, snapshotter) = (self.namespace.to_owned(), self.snapshotter.clone());
        let (image, digest) = (self.record.name.clone(), self.record.target.digest.to_string());
        Enrolled { namespace, image, digest, snapshotter, answer, code, line, layers }
    }

    pub(super) fn refused(&self, verdict: &Verdict) -> Enrolled {
        self.ended(verdict.answer(), verdict.code, verdict.one_line(), LayerCounts::default())
    }

    pub(super) fn enrolled(&self, layers: LayerCounts, dry_run: bool) -> Enrolled {
        let LayerCounts { known, compared, unverified } = layers;
        let (code, done) = match (compared, unverified) {
            (0, 0) => (Code("enrolled-before"), "enrolled before"),
            (_, 0) if dry_run => (Code("enrolled"), "would be enrolled"),
            (_, 0) => (Code("enrolled"), "enrolled"),
            _ if dry_run => (Code("enrolled-unverified"), "would be enrolled unverified"),
            _ => (Code("enrolled-unverified"), "enrolled unverified"),
        };
        let kinds = [(compared, "compared"), (unverified, "not compared with anything"), (known, "known")];
        let kinds: Vec<String> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
        let (image, snapshotter) = (image_for_people(self.record), &self.snapshotter);
        let line = format!("{done}: {image} [{code}]: layers with {snapshotter}: {}", kinds.join(", "));
        self.ended(Answer::Admit, code, line, layers)
    }

    pub(super) fn not_unpacked(&self) -> Enrolled {
        let code = Code("not-unpacked");
        let line = format!("nothing to enroll: {} [{code}]: no snapshotter holds it", image_for_people(self.record));
        self.ended(Answer::Admit, code, line, LayerCounts::default())
    }

    pub(super) fn failed(&self, error: &EnrollError) -> Enrolled {
        let line = line(&image_for_people(self.record), error);
        self.ended(error.answer(), error.code(), line, LayerCounts::default())
    }
}

impl Enrolled {
    pub(super) fn unknown(name: &str) -> Self {
        let error = EnrollError::NoImage;
        Self {
            namespace: String::new(),
            image: name.to_owned(),
            digest: String::new(),
            snapshotter: String::new(),
            answer: error.answer(),
            code: error.code(),
            line: line(name, &error),
            layers: LayerCounts::default(),
        }
    }
}

fn line(image: &str, error: &EnrollError) -> String {
    let answer = if error.answer() == Answer::Deny { "denied" } else { "could not tell" };
    format!("{answer}: {image} [{}]: {}{}", error.code(), one_line(error), hint(error.remedy().as_deref()))
}
