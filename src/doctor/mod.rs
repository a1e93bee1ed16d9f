//! Is there a way round the gates on this node?
//!
//! The answer is worked out from facts alone: what containerd's configuration comes to, what containerd runs with, what
//! lies where it looks, who listens on the daemon's sockets. Nothing here goes and looks, so every finding can be had in
//! a test by changing one fact. Each says what is open, in one sentence, and exactly what closes it.

mod access;
mod anchors;
mod canary;
mod daemon;
mod facts;
mod pull;
mod run;
mod unpack;

use serde::Serialize;

pub use canary::{Attempt, Ended};
pub use facts::{
    Anchor, Choice, Daemon, Facts, Listener, Lying, Node, Part, Permissions, Program, RuntimePath, Socket,
    VerifierDirectory,
};

use crate::remedy::Code;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An image gets past a gate now, or nothing gets through it any more.
    Error,
    /// A gate is weaker than it could be, or would not stand if something else failed.
    Warning,
    /// As it should be, and good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one sentence.
    pub fact: String,
    /// What closes it; none where there is nothing to do.
    pub fix: Option<String>,
}

/// What one look at a node came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What could not be found out, one sentence each. What was not looked at is not all well.
    pub unknown: Vec<String>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was found that calls for anybody.
    Well,
    /// Nothing is open; something is weaker than it could be.
    Weak,
    /// A way in is open, or closed to everything.
    Open,
    /// Not everything could be found out, and nothing worse was found.
    Unknown,
}

/// Works out what there is to say about these facts.
pub fn examine(facts: &Facts) -> Report {
    let mut findings = Vec::new();
    pull::examine(facts, &mut findings);
    unpack::examine(facts, &mut findings);
    run::examine(facts, &mut findings);
    daemon::examine(facts, &mut findings);
    access::examine(facts, &mut findings);
    anchors::examine(facts, &mut findings);
    canary::examine(facts, &mut findings);
    // Of the same severity they stay in an image's own order: pull, unpack, run.
    findings.sort_by_key(|finding| finding.severity);
    Report { findings, unknown: facts.unknown.clone() }
}

impl Report {
    /// What it comes to.
    pub fn condition(&self) -> Condition {
        match self.findings.first().map(|finding| finding.severity) {
            Some(Severity::Error) => Condition::Open,
            _ if !self.unknown.is_empty() => Condition::Unknown,
            Some(Severity::Warning) => Condition::Weak,
            _ => Condition::Well,
        }
    }
}

impl Finding {
    fn error(code: &'static str, fact: String, fix: impl Into<String>) -> Self {
        Self { code: Code(code), severity: Severity::Error, fact, fix: Some(fix.into()) }
    }

    fn warning(code: &'static str, fact: String, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, fact, fix) }
    }

    fn note(code: &'static str, fact: String) -> Self {
        Self { code: Code(code), severity: Severity::Note, fact, fix: None }
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{change, found, well};
    use super::*;

    #[test]
    fn a_node_as_it_is_installed_has_nothing_that_calls_for_anybody() {
        let report = examine(&well());
        assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:?}");
        assert_eq!(report.condition(), Condition::Well);
    }

    #[test]
    fn the_worst_comes_first_and_what_is_unknown_is_not_well() {
        let facts = change(|facts| {
            facts.daemon = Ok(Daemon { mode: "audit".into(), ..facts.daemon.clone().unwrap() });
            facts.permissions[0].mode = 0o660;
            facts.permissions[0].group = 998;
        });
        let report = examine(&facts);
        let severities: Vec<_> = report.findings.iter().map(|finding| finding.severity).collect();
        assert!(severities.is_sorted() && severities[0] == Severity::Error, "{report:?}");
        assert_eq!(report.condition(), Condition::Open);
        let unknown = examine(&change(|facts| facts.unknown = vec!["containerd does not answer".into()]));
        assert_eq!(unknown.condition(), Condition::Unknown);
        let both = change(|facts| {
            facts.unknown = vec!["containerd does not answer".into()];
            facts.runtimes[0].lies = Lying::Missing;
        });
        assert_eq!(examine(&both).condition(), Condition::Open);
    }

    #[test]
    fn every_finding_says_what_to_do_and_ends_without_a_full_stop() {
        for finding in found(&testing::everything_wrong()) {
            let needs_a_fix = finding.severity != Severity::Note;
            assert_eq!(finding.fix.is_some(), needs_a_fix, "{finding:?}");
            assert!(!finding.fact.ends_with('.') && !finding.fix.unwrap_or_default().ends_with('.'));
        }
    }
}
