//! What was found out about one signature: findings, and what they come to under the statement's actions.

use jiff::Timestamp;
use serde::Serialize;

use super::plugin::PluginReport;
use super::revocation::CertificateStatus;
use crate::envelope::Format;
use crate::policy::Action;
use crate::remedy::{Code, Remedy, one_line, printable};

/// How much of a message, and of a signer's subject, is kept, in characters. Both may quote names out of a stranger's
/// certificate, of which each may have 24 KiB when it is written out, and verdicts about a hundred signatures are kept.
pub const MAX_TEXT: usize = 512;

/// The text, cut where it is longer than [`MAX_TEXT`].
pub(super) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// What can decide about an image: Notary's validations, and what stands around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Check {
    /// The envelope is well formed, its signature verifies, and it is over this artifact.
    Integrity,
    /// The signed metadata holds every pair that was asked for.
    UserMetadata,
    /// The verification plugin that the signer demands was asked.
    Plugin,
    /// The signer is trusted.
    Authenticity,
    /// The signature has not expired.
    Expiry,
    /// The certificates were valid when the signature was made.
    AuthenticTimestamp,
    /// No certificate has been revoked.
    Revocation,
    /// A statement of the trust policy governs the image.
    Policy,
    /// The signatures could be found and fetched.
    Retrieval,
    /// What is to be started is the image, and nothing else.
    RootFilesystem,
    /// A limit against strangers.
    Limit,
}

impl Check {
    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::UserMetadata => "user metadata",
            Self::Plugin => "plugin",
            Self::Authenticity => "authenticity",
            Self::Expiry => "expiry",
            Self::AuthenticTimestamp => "authentic timestamp",
            Self::Revocation => "revocation",
            Self::Policy => "policy",
            Self::Retrieval => "retrieval",
            Self::RootFilesystem => "root file system",
            Self::Limit => "limit",
        }
    }
}

/// A fact that stands in the way: its code, one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// One sentence with the facts, on one line.
    pub message: String,
    /// What to do, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    /// The problem that an error states.
    pub fn of(error: &impl Remedy) -> Self {
        Self { code: error.code(), message: shortened(one_line(error)), remedy: error.remedy() }
    }

    pub(crate) fn new(code: &'static str, message: &str, remedy: &str) -> Self {
        Self { code: Code(code), message: shortened(printable(message)), remedy: Some(remedy.to_owned()) }
    }
}

/// One check's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum State {
    /// The check holds.
    Passed,
    /// The check does not hold.
    Failed {
        /// Why not.
        #[serde(flatten)]
        problem: Problem,
    },
    /// The check could not be made.
    Inconclusive {
        /// Why not.
        #[serde(flatten)]
        problem: Problem,
    },
    /// The policy does not want the check.
    Skipped,
    /// An earlier check had decided already.
    NotReached,
}

impl State {
    /// The problem, where the answer was not good.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed { problem } | Self::Inconclusive { problem } => Some(problem),
            Self::Passed | Self::Skipped | Self::NotReached => None,
        }
    }

    /// Whether the answer ends the examination where a bad one calls for this action.
    pub(super) fn decides(&self, action: Action) -> bool {
        action == Action::Enforce && self.problem().is_some()
    }
}

/// One check, its answer, and what the policy makes of a bad one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// Its answer.
    #[serde(flatten)]
    pub state: State,
    /// What a bad answer means here.
    pub action: Action,
}

impl Finding {
    /// The problem, where the answer was not good.
    pub fn problem(&self) -> Option<&Problem> {
        self.state.problem()
    }

    /// Whether the answer ends the examination.
    pub fn is_decisive(&self) -> bool {
        self.state.decides(self.action)
    }

    /// Whether the answer was bad, but only to be recorded.
    pub fn is_logged(&self) -> bool {
        self.action == Action::Log && self.problem().is_some()
    }
}

/// Who signed, as the envelope says. Believed only as far as the findings go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// The subject of the leaf certificate.
    pub subject: String,
    /// When, by the signer's claim or the signing authority's word.
    pub signing_time: Timestamp,
    /// From when the signature is no longer good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Timestamp>,
}

/// All findings about one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The format of the envelope, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Who signed, where the envelope could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
    /// What is known about the revocation of each certificate but the root; empty where nobody looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revocation: Vec<CertificateStatus>,
    /// What the verification plugin has said, where one was asked. The findings tell what came of it.
    #[serde(skip)]
    pub plugin: Option<PluginReport>,
    /// The first instant at which a finding may change by the mere passing of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good_until: Option<Timestamp>,
}

impl Outcome {
    /// The outcome for a signature of which nothing could be examined, for this one reason.
    pub fn unread(check: Check, state: State) -> Self {
        let finding = Finding { check, state, action: Action::Enforce };
        let findings = vec![finding];
        Self { format: None, signer: None, findings, revocation: Vec::new(), plugin: None, good_until: None }
    }

    /// The finding that decided against the signature, if any.
    pub fn decisive(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.is_decisive())
    }

    /// How far the signature got: how many checks were answered well.
    pub(crate) fn reach(&self) -> usize {
        self.findings.iter().take_while(|finding| !finding.is_decisive()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_kept_up_to_a_length() {
        let problem = |message: &str| Problem::new("x", message, "y").message;
        assert_eq!(problem("short\n"), "short ");
        assert_eq!(problem(&"ä".repeat(MAX_TEXT)), "ä".repeat(MAX_TEXT));
        assert_eq!(problem(&"ä".repeat(24 * 1024)), format!("{}…", "ä".repeat(MAX_TEXT)));
    }
}
