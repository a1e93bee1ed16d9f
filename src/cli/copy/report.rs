//! What became of a copy, for people and for programs.

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::{Output, output};
use crate::oci::Descriptor;
use crate::remedy::Code;
use crate::source::copy::{Copied, Dropped, Loss};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    code: Code,
    destination: &'a str,
    artifact: Descriptor,
    #[serde(flatten)]
    copied: Copied,
}

pub(super) fn report(output: Output, destination: &str, artifact: Descriptor, copied: Copied) -> Exit {
    let is_whole = copied.dropped.is_empty();
    let code = if is_whole { Code("copied") } else { Code("copy-incomplete") };
    let report = Report { code, destination, artifact, copied };
    output::print(output, &report, || text(&report));
    if is_whole { Exit::Done } else { Exit::Denied }
}

fn text(report: &Report<'_>) -> String {
    let Copied { manifests, blobs, mounted, bytes, referrers, tags, left, dropped } = &report.copied;
    let mut lines = vec![
        format!(
            "{} {} as {}",
            if dropped.is_empty() { "copied" } else { "copied in part" },
            report.artifact.digest,
            report.destination
        ),
        format!("  manifests  {}, {} of them there already", manifests.total, manifests.present),
        format!(
            "  blobs      {}, {} of them there already, {mounted} taken over, {bytes} bytes sent",
            blobs.total, blobs.present
        ),
    ];
    let kind = |referrer: &Descriptor| referrer.artifact_type.clone().unwrap_or_default();
    lines.extend(referrers.iter().map(|referrer| format!("  referrer   {} {}", referrer.digest, kind(referrer))));
    lines.extend(tags.iter().map(|tag| format!("  tag        {tag}")));
    lines.extend(
        left.iter().map(|blob| format!("  left       {}, which its media type keeps where it is", blob.digest)),
    );
    lines.extend(dropped.iter().map(|dropped| format!("  dropped    {}", loss(dropped))));
    if !dropped.is_empty() {
        lines.push(format!("the destination does not show everything that was written to it [{}]", report.code));
    }
    lines.join("\n")
}

fn loss(Dropped { digest, loss }: &Dropped) -> String {
    match loss {
        Loss::Missing => format!("{digest} is not there"),
        Loss::NotListed(subject) => format!("{digest} is not listed as a referrer of {subject}"),
        Loss::OtherArtifactType(other) => format!("{digest} is listed with the artifact type `{other}`"),
        Loss::TagTaken(tag) => format!("{digest} did not get the tag `{tag}`, which points to something else already"),
        Loss::NotTagged(tag) => format!("{digest} is not what the tag `{tag}` points to"),
    }
}
