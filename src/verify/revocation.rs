//! Is the signer still trusted today?
//!
//! Answers from the evidence at hand and never fetches; what is missing becomes a [`Need`]. Whoever can block a CRL server
//! must not be able to bring a revoked key back to life, so "could not tell" is an answer of its own, and the statement says
//! what it means.
//!
//! Follows the Notary trust policy specification, "Certificate Revocation Evaluation". Each certificate but the root is asked
//! about: lists that an operator has imported first, then its OCSP responders, then its revocation lists. The first who
//! knows is believed. Of several distribution points one is enough, where the reference implementation wants all.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::evidence::{Evidence, Need};
use super::inquiry::{Inquiry, Step};
use super::outcome::{Problem, State, shortened};
use crate::oci::Digest;
use crate::pki::Certificate;
use crate::pki::revocation::{Moment, Reading, Status};
use crate::remedy::printable;

/// What was found out about one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The subject of the certificate.
    pub subject: String,
    /// Whether it was revoked.
    pub status: Revocation,
    /// Who said so: the kind of answer and its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The last instant at which the answer is not too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The answers that were relied upon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Relied>,
    /// What stood in the way of a better answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// Whether a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Revocation {
    /// Its issuer says that it was not.
    Good,
    /// Its issuer says that it was.
    Revoked,
    /// Nobody could find out.
    Unknown,
    /// It names nobody who could be asked: its issuer never revokes it.
    NotRevocable,
}

/// An answer that was relied upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relied {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it is the answer to; none where it had been imported.
    #[serde(skip)]
    pub need: Option<Need>,
    /// Whether it says everything on its own: a complete list to which changes belong does not.
    #[serde(skip)]
    pub is_whole: bool,
}

/// What is known about a chain, and what would have to be fetched to know more.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) statuses: Vec<CertificateStatus>,
    pub(super) needs: Vec<Need>,
}

impl Survey {
    /// Looks at every certificate of a chain but the last, the root: nobody above it could revoke it.
    pub(super) fn of(chain: &[Certificate], evidence: &Evidence, moment: Moment) -> Self {
        let inquiry = Inquiry { evidence, moment };
        let mut survey = Self::default();
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            let step = inquiry.step(certificate, issuer);
            if let Step::Needs(need) = &step {
                survey.needs.push(need.clone());
            }
            survey.statuses.push(CertificateStatus::of(certificate, step));
        }
        // A certain revocation decides; nothing that is still missing could change it.
        if survey.revoked().is_some() {
            survey.needs.clear();
        }
        survey
    }

    fn revoked(&self) -> Option<&CertificateStatus> {
        self.statuses.iter().find(|status| status.status == Revocation::Revoked)
    }

    /// The finding: the certain revocation first, then what could not be found out.
    pub(super) fn state(&self) -> State {
        if let Some(revoked) = self.revoked() {
            return State::Failed { problem: revocation(revoked) };
        }
        match self.statuses.iter().find(|status| status.status == Revocation::Unknown) {
            Some(unknown) => State::Inconclusive { problem: unknown_status(unknown) },
            None => State::Passed,
        }
    }

    /// The first instant at which an answer is too old.
    pub(super) fn good_until(&self) -> Option<Timestamp> {
        self.statuses.iter().filter_map(|status| status.until).min()
    }
}

/// Whether anybody could be asked about a certificate of the chain.
pub(super) fn is_revocable(chain: &[Certificate]) -> bool {
    chain.split_last().is_some_and(|(_, below)| below.iter().any(Certificate::names_revocation_source))
}

/// The finding about a chain of a stranger. A stranger's image must not make the node fetch the stranger's addresses.
pub(super) fn of_stranger(chain: &[Certificate]) -> State {
    if !is_revocable(chain) {
        return State::Passed;
    }
    let message = "whether the signer was revoked was not asked, since its chain leads to no trust anchor";
    let remedy = "if this signer may be trusted, put its root certificate into a trust store that the statement names";
    State::Inconclusive { problem: Problem::new("revocation-unchecked", message, remedy) }
}

impl CertificateStatus {
    fn of(certificate: &Certificate, step: Step) -> Self {
        let empty = Self {
            subject: shortened(printable(&certificate.subject().to_string())),
            status: Revocation::Unknown,
            source: None,
            revoked_at: None,
            until: None,
            evidence: Vec::new(),
            problems: Vec::new(),
        };
        match step {
            Step::NotRevocable => Self { status: Revocation::NotRevocable, ..empty },
            Step::Answered { reading: Reading { status, until }, source, evidence, problems } => {
                let (status, revoked_at) = match status {
                    Status::Good => (Revocation::Good, None),
                    Status::Revoked { at } => (Revocation::Revoked, Some(at)),
                    Status::Unknown => (Revocation::Unknown, None),
                };
                Self { status, revoked_at, source: Some(source), until: Some(until), evidence, problems, ..empty }
            }
            Step::Unanswered(problems) => Self { problems, ..empty },
            Step::Needs(need) => {
                let message = format!("{} {} was not asked", need.kind(), need.url());
                let remedy = "ask it, and decide again";
                Self { problems: vec![Problem::new("revocation-unchecked", &message, remedy)], ..empty }
            }
        }
    }
}

fn revocation(revoked: &CertificateStatus) -> Problem {
    let mut message = format!("the certificate `{}` was revoked", revoked.subject);
    // Writing to a string does not fail.
    let _ = revoked.revoked_at.map(|at| write!(message, " at {at}"));
    let _ = revoked.source.as_ref().map(|source| write!(message, ", says {source}"));
    let remedy = "have the image signed again with a certificate that has not been revoked";
    Problem::new("certificate-revoked", &message, remedy)
}

fn unknown_status(unknown: &CertificateStatus) -> Problem {
    let reasons: Vec<&str> = unknown.problems.iter().map(|problem| problem.message.as_str()).collect();
    let message = format!("whether `{}` was revoked could not be found out: {}", unknown.subject, reasons.join("; "));
    let remedy = "see whether this machine reaches its issuer's servers, or import the issuer's CRL";
    Problem::new("revocation-unknown", &message, remedy)
}
