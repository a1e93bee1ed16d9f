//! What became of an image that was signed and pushed, for people and for programs.

use serde::Serialize;

use crate::cli::attaching::Attached;
use crate::cli::signing::{Signature, Stamped};
use crate::cli::{Output, output};
use crate::oci::{Descriptor, Digest, Reference, Tag};
use crate::remedy::Code;
use crate::source::copy::{Copied, Count};
use crate::verify::{Problem, Verdict};

/// What became of the tag.
pub(super) struct Moved {
    /// The tag; none where the destination names none.
    pub(super) tag: Option<Tag>,
    /// What it pointed to before, where that was something else.
    pub(super) before: Option<Digest>,
}

impl Moved {
    pub(super) fn none() -> Self {
        Self { tag: None, before: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    code: Code,
    reference: String,
    tag: Option<String>,
    /// What the tag pointed to before, where that was something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_before: Option<Digest>,
    artifact: &'a Descriptor,
    signature: Digest,
    /// Whether the signature was made now, and not by a push before.
    made: bool,
    /// Whether the registry had the signature before.
    was_there: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
    manifests: Count,
    blobs: Count,
    /// How many bytes of content were sent.
    bytes: u64,
    /// Layers that may not be passed on, and lie elsewhere.
    #[serde(skip_serializing_if = "<[Descriptor]>::is_empty")]
    left: &'a [Descriptor],
    /// The code of the verdict; none where this machine has no trust policy.
    verdict: Option<Code>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(super) fn of(
        pinned: &Reference,
        moved: Moved,
        artifact: &'a Descriptor,
        attached: Attached,
        made: Option<Signature>,
        copied: &'a Copied,
        verdict: Option<&Verdict>,
    ) -> Self {
        let Attached { signature, was_there } = attached;
        let is_new = made.is_some();
        let (timestamp, warnings) = made.map(|made| (made.timestamp, made.warnings)).unwrap_or_default();
        Self {
            code: Code("pushed"),
            reference: pinned.to_string(),
            tag: moved.tag.map(|tag| tag.as_str().to_owned()),
            tag_before: moved.before,
            artifact,
            signature,
            made: is_new,
            was_there,
            timestamp,
            manifests: copied.manifests,
            blobs: copied.blobs,
            bytes: copied.bytes,
            left: &copied.left,
            verdict: verdict.map(|verdict| verdict.code),
            warnings,
        }
    }

    fn text(&self) -> String {
        let Self { manifests, blobs, bytes, .. } = self;
        let signature = match (self.made, self.was_there) {
            (_, true) => "attached before",
            (true, false) => "made and attached",
            (false, false) => "made before, attached now",
        };
        let mut lines = vec![
            format!("pushed {}", self.reference),
            format!("  manifests  {}, {} of them there already", manifests.total, manifests.present),
            format!("  blobs      {}, {} of them there already, {bytes} bytes sent", blobs.total, blobs.present),
            format!("  signature  {}, {signature}", self.signature),
        ];
        lines.extend(self.timestamp.iter().map(|stamped| format!("  {stamped}")));
        lines.extend(
            self.left
                .iter()
                .map(|blob| format!("  left       {}, which its media type keeps where it is", blob.digest)),
        );
        lines.extend(self.verdict.iter().map(|verdict| format!("  verdict    {verdict}")));
        let before = self.tag_before.as_ref().map(|before| format!(", which was {before}")).unwrap_or_default();
        lines.push(match &self.tag {
            Some(tag) => format!("  tag        {tag}{before}"),
            None => "  tag        none was named".to_owned(),
        });
        lines.join("\n")
    }
}

pub(super) fn report(output: Output, report: &Report<'_>) {
    output::print(output, report, || report.text());
}
