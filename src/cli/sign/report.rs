//! What became of one signature, for people and for programs.

use serde::Serialize;

use crate::cli::signing::{Signature, Stamped};
use crate::cli::{Output, output};
use crate::oci::{Descriptor, Location, Platform};
use crate::verify::Problem;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    reference: String,
    /// Which one of several, where all are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    signature: &'a Descriptor,
    envelope: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a Stamped>,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    warnings: &'a [Problem],
}

impl<'a> Report<'a> {
    pub(super) fn of(reference: &Location, platform: Option<&'a Platform>, made: &'a Signature) -> Self {
        Self {
            reference: reference.to_string(),
            platform,
            signature: made.signed.manifest.descriptor(),
            envelope: made.signed.envelope.descriptor(),
            timestamp: made.timestamp.as_ref(),
            warnings: &made.warnings,
        }
    }

    pub(super) fn text(&self) -> String {
        let signature = format!("{}, {}", self.signature.digest, self.envelope.media_type);
        let platform = self.platform.map(|platform| format!(", {platform}")).unwrap_or_default();
        let what = format!("signed {}{platform}", self.reference);
        match &self.timestamp {
            None => format!("{what}\n  signature  {signature}"),
            Some(stamped) => format!("{what}\n  signature   {signature}\n  {stamped}"),
        }
    }
}

pub(super) fn report(output: Output, reference: &Location, made: &Signature) {
    let report = Report::of(reference, None, made);
    output::print(output, &report, || report.text());
}
