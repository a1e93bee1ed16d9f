//! What is told: each signature that goes or is worth a word, and why.

use jiff::Timestamp;
use serde::Serialize;

use super::Decided;
use crate::oci::Digest;
use crate::verify::{Difference, Problem};

/// What is to be said about a signature.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// It points to what is not there, or hangs on it.
    Dangling(Lacking),
    /// This one stands in for it.
    Superseded { by: Digest },
    /// It is past its time.
    Expired { at: Option<Timestamp>, by: Option<Digest> },
    /// It stays: the same signer's later one is not as good.
    Differs(Difference),
    /// It stays, though it has expired.
    ExpiredAlone(Option<Difference>),
    /// It stays, though it is dangling: something else refers to it.
    HoldsOthers,
    /// It stays: it belongs to something else, or says so.
    Foreign,
    /// It stays: it cannot be read.
    Unreadable,
    /// It stays: it is not what its signer made over this.
    Broken(Problem),
    /// It stays: there were too many before it.
    NotCompared,
}

/// What a dangling signature lacks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lacking {
    Subject,
    Manifest,
    Envelope,
}

impl Reason {
    /// Whether the signature goes.
    pub(super) fn removes(&self) -> bool {
        matches!(self, Self::Dangling(_) | Self::Superseded { .. } | Self::Expired { .. })
    }

    /// In one word, which stays what it is.
    fn word(&self) -> &'static str {
        match self {
            Self::Dangling(_) => "dangling",
            Self::Superseded { .. } => "superseded",
            Self::Expired { .. } | Self::ExpiredAlone(_) => "expired",
            Self::Differs(_) => "differs",
            Self::HoldsOthers => "referred",
            Self::Foreign => "foreign",
            Self::Unreadable => "unreadable",
            Self::Broken(_) => "broken",
            Self::NotCompared => "uncompared",
        }
    }

    /// In a sentence.
    fn sentence(&self) -> String {
        match self {
            Self::Dangling(Lacking::Subject) => "what it signs is not there".to_owned(),
            Self::Dangling(Lacking::Manifest) => "it is listed and not there".to_owned(),
            Self::Dangling(Lacking::Envelope) => "its envelope is not there".to_owned(),
            Self::Superseded { by } => format!("{by} is by the same signer, no earlier, and good wherever this one is"),
            Self::Expired { at, by } => {
                let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
                let by = by.as_ref().map(|by| format!(", and {by} is good wherever this one is")).unwrap_or_default();
                format!("it expired{at}{by}")
            }
            Self::Differs(difference) => difference.to_string(),
            Self::ExpiredAlone(None) => {
                "nothing stands in for it with a policy that only logs an expiry; `--expired` takes it away".to_owned()
            }
            Self::ExpiredAlone(Some(difference)) => {
                format!("a policy may only log an expiry, and {difference}; `--expired` takes it away")
            }
            Self::HoldsOthers => "it is dangling, and something else refers to it".to_owned(),
            Self::Foreign => {
                "its manifest names another subject, so no verifier takes it for a signature of this".to_owned()
            }
            Self::Unreadable => "it cannot be read".to_owned(),
            Self::Broken(problem) => format!("{} [{}]", problem.message, problem.code),
            Self::NotCompared => "there are too many before it to compare it with".to_owned(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    reference: String,
    /// Whether nothing was written.
    dry_run: bool,
    pruned: Vec<Line>,
    kept: Vec<Line>,
    /// Whether there is more than was looked at.
    truncated: bool,
}

#[derive(Serialize)]
struct Line {
    subject: Digest,
    signature: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// The signature that stands in for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Report {
    pub(super) fn of(reference: String, written: bool, truncated: bool, decided: Vec<Decided>) -> Self {
        let (pruned, kept): (Vec<Decided>, Vec<Decided>) = decided.into_iter().partition(Decided::goes);
        let lines = |decided: Vec<Decided>| decided.into_iter().map(Line::of).collect();
        Self { reference, dry_run: !written, pruned: lines(pruned), kept: lines(kept), truncated }
    }

    /// Whether there is anything to prune.
    pub(super) fn prunes(&self) -> bool {
        !self.pruned.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let does = if self.dry_run { "would remove" } else { "removed" };
        let (pruned, all) = (self.pruned.len(), self.pruned.len() + self.kept.len());
        let mut lines = vec![format!("{does} {pruned} of {all} signatures of {}", self.reference)];
        lines.extend(self.pruned.iter().map(Line::text));
        let told = self.kept.iter().filter(|line| line.why.is_some());
        lines.extend(told.map(|line| format!("  kept{}", line.text())));
        if self.truncated {
            lines.push("there is more than was looked at".to_owned());
        }
        lines.join("\n")
    }
}

impl Line {
    fn of(Decided { subject, signature, reason }: Decided) -> Self {
        let by = match &reason {
            Some(Reason::Superseded { by }) => Some(by.clone()),
            Some(Reason::Expired { by, .. }) => by.clone(),
            _ => None,
        };
        let difference = match &reason {
            Some(Reason::Differs(difference)) => Some(*difference),
            Some(Reason::ExpiredAlone(difference)) => *difference,
            _ => None,
        };
        Self {
            subject: subject.digest,
            signature: signature.digest,
            why: reason.as_ref().map(Reason::word),
            by,
            difference,
            reason: reason.as_ref().map(Reason::sentence),
        }
    }

    fn text(&self) -> String {
        let (why, reason) = (self.why.unwrap_or_default(), self.reason.as_deref().unwrap_or_default());
        format!("  {why} {} of {}: {reason}", self.signature, self.subject.short())
    }
}
