//! What the reconciler finds, in the log and among the decisions.
//!
//! A finding stops nothing: it is about what happened already. So its decision says that it went on, unless the image
//! record was removed.

use std::sync::Arc;
use std::time::Duration;

use super::desk::{Conclusion, Desk};
use super::question::{Asked, excerpt};
use crate::clock;
use crate::judge::{Answered, Finding, FindingKind, Report};
use crate::oci::{Descriptor, media_type};
use crate::proto::{Stage, Workload};
use crate::verify::{Check, Problem, Verdict, VerdictInput};

/// How many of a namespace's snapshots are named.
const NAMED: usize = 3;

impl Report for Desk {
    fn found(&self, finding: Finding) {
        let asked = Asked {
            stage: Stage::Reconcile,
            containerd_namespace: excerpt(&finding.namespace),
            name: String::new(),
            digest: String::new(),
            workload: None,
        };
        let (asked, conclusion) = match finding.kind {
            FindingKind::Image { record, answered, removed } => {
                let (name, digest) = (excerpt(&record.name), record.target.digest.to_string());
                (Asked { name, digest, ..asked }, Conclusion::found(&answered, removed))
            }
            FindingKind::Snapshots { snapshotter, names } => {
                let reference = format!("{} snapshots of {snapshotter}", names.len());
                (asked, Conclusion::found(&self.stated(&reference, ungated(&names)), false))
            }
            FindingKind::Task { container } => {
                let reference = format!("container {}", excerpt(&container));
                let workload = Some(Workload { container_id: excerpt(&container), ..Workload::default() });
                (Asked { workload, ..asked }, Conclusion::found(&self.stated(&reference, unasked()), false))
            }
        };
        self.record(asked, conclusion, clock::now(), Duration::ZERO);
    }
}

impl Desk {
    /// The verdict about something that has no image.
    fn stated(&self, reference: &str, problem: Problem) -> Answered {
        let (trust, artifact) = (self.judge().trust(), Descriptor::of(media_type::EMPTY, b"{}"));
        let input = VerdictInput { reference, artifact: &artifact, trust: &trust, now: clock::now() };
        let verdict = Verdict::refused_unseen(input, Check::RootFilesystem, problem);
        Answered { verdict: Arc::new(verdict), cached: false }
    }
}

fn ungated(names: &[String]) -> Problem {
    let first: Vec<String> = names.iter().take(NAMED).map(|name| excerpt(name)).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    let message = format!("not unpacked through pratique: {}{more}", first.join(", "));
    let remedy =
        "where they were there before pratique was installed, `pratique enroll --all`; otherwise see who commits them";
    Problem::new("snapshot-not-gated", &message, remedy)
}

fn unasked() -> Problem {
    let remedy = "see which runtime the container was started by; `pratique doctor` names every way round the gates";
    Problem::new("task-not-asked", "it was started, and nobody asked pratique", remedy)
}
