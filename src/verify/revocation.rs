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
            if let Step::Needs(need, _) = &step {
                survey.needs.push(need.clone());
            }
            survey.statuses.push(CertificateStatus::of(certificate, step));
        }
        // A certain revocation decides; nothing that is still missing could change it.
        if survey.revoked().is_some() && !evidence.asks_everybody() {
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
            Step::Needs(need, mut problems) => {
                let message = format!("{} {} was not asked", need.kind(), need.url());
                let remedy = "ask it, and decide again";
                problems.push(Problem::new("revocation-unchecked", &message, remedy));
                Self { problems, ..empty }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::verify::Lists;

    const OCSP: &str = "http://ocsp.pratique.example/";
    const CRL: &str = "http://crl.pratique.example/ca.crl";
    const FIRST: &str = "http://crl.pratique.example/first.crl";
    const DELTA: &str = "http://crl.pratique.example/delta.crl";

    fn file(name: &str) -> Arc<[u8]> {
        std::fs::read(format!("{}/tests/revocation/{name}", env!("CARGO_MANIFEST_DIR"))).expect(name).into()
    }

    fn chain(leaf: &str) -> Vec<Certificate> {
        let certificate = |name: &str| Certificate::read_all(&file(&format!("{name}.pem"))).unwrap().remove(0);
        [leaf, "issuer"].map(certificate).into()
    }

    fn moment() -> Moment {
        Moment { now: "2027-01-01T00:00:00Z".parse().unwrap(), authentic_signing_time: None }
    }

    /// Asks as long as something is needed, of a network that has these files under these addresses. Gives the finding and
    /// the addresses in the order in which they were asked.
    fn ask(leaf: &str, mut evidence: Evidence, network: &[(&str, &str)]) -> (String, Vec<String>) {
        let (chain, mut asked) = (chain(leaf), Vec::new());
        loop {
            let survey = Survey::of(&chain, &evidence, moment());
            let Some(need) = survey.needs.into_iter().next() else {
                return (code(&Survey::of(&chain, &evidence, moment()).state()), asked);
            };
            asked.push(need.url().to_owned());
            let answer = network.iter().find(|(url, _)| *url == need.url()).map(|(_, name)| file(name));
            let unreachable = || Problem::new("revocation-unreachable", "it cannot be reached", "try again");
            evidence.answer(need, answer.ok_or_else(unreachable));
        }
    }

    fn code(state: &State) -> String {
        match state {
            State::Passed => "passed".to_owned(),
            State::Failed { problem } => problem.code.to_string(),
            State::Inconclusive { problem } => format!("could not tell: {}", problem.code),
            other => format!("{other:?}"),
        }
    }

    fn asking(leaf: &str, network: &[(&str, &str)]) -> (String, Vec<String>) {
        ask(leaf, Evidence::default(), network)
    }

    fn answer(code: &str, asked: &[&str]) -> (String, Vec<String>) {
        (code.to_owned(), asked.iter().map(|url| (*url).to_owned()).collect())
    }

    #[test]
    fn the_responder_is_asked_first_and_alone_when_it_knows() {
        for (response, expected) in [("ocsp-good.der", "passed"), ("ocsp-revoked.der", "certificate-revoked")] {
            assert_eq!(asking("leaf", &[(OCSP, response), (CRL, "crl-good.der")]), answer(expected, &[OCSP]));
        }
    }

    #[test]
    fn the_list_is_asked_where_the_responder_does_not_answer_or_know() {
        for response in ["ocsp-unknown.der", "ocsp-expired.der", "ocsp-impostor.der", "ocsp-try-later.der", "make.sh"] {
            let (good, revoked) =
                ([(OCSP, response), (CRL, "crl-good.der")], [(OCSP, response), (CRL, "crl-revoked.der")]);
            assert_eq!(asking("leaf", &good), answer("passed", &[OCSP, CRL]), "{response}");
            assert_eq!(asking("leaf", &revoked), answer("certificate-revoked", &[OCSP, CRL]), "{response}");
            let nothing = answer("could not tell: revocation-unknown", &[OCSP, CRL]);
            assert_eq!(asking("leaf", &[(OCSP, response)]), nothing, "{response}");
        }
        assert_eq!(asking("leaf-ocsp", &[]), answer("could not tell: revocation-unknown", &[OCSP]));
    }

    #[test]
    fn of_several_lists_the_first_that_can_be_used_is_enough() {
        let usable = |first| asking("leaf-two-crls", &[(FIRST, first), (CRL, "crl-revoked.der")]);
        assert_eq!(usable("crl-good.der"), answer("passed", &[FIRST]));
        assert_eq!(usable("crl-expired.der"), answer("certificate-revoked", &[FIRST, CRL]));
        assert_eq!(usable("crl-other-point.der"), answer("certificate-revoked", &[FIRST, CRL]));
    }

    #[test]
    fn the_changes_since_a_list_belong_to_it() {
        let with = |base, delta| asking("leaf-crl", &[(CRL, base), (DELTA, delta)]);
        assert_eq!(with("crl-base.der", "crl-delta.der"), answer("passed", &[CRL, DELTA]));
        assert_eq!(with("crl-base.der", "crl-delta-revoked.der"), answer("certificate-revoked", &[CRL, DELTA]));
        assert_eq!(with("crl-base-on-hold.der", "crl-delta-released.der"), answer("passed", &[CRL, DELTA]));
        let unknown = answer("could not tell: revocation-unknown", &[CRL, DELTA]);
        assert_eq!(with("crl-base.der", "crl-delta-same-number.der"), unknown);
        assert_eq!(asking("leaf-crl", &[(CRL, "crl-base.der")]), unknown);
    }

    #[test]
    fn a_responder_that_may_have_been_revoked_is_looked_for_on_the_list() {
        let with = |list| asking("leaf-ocsp", &[(OCSP, "ocsp-delegated-revocable.der"), (CRL, list)]);
        assert_eq!(with("crl-good.der"), answer("passed", &[OCSP, CRL]));
        assert_eq!(with("crl-responder-revoked.der"), answer("could not tell: revocation-unknown", &[OCSP, CRL]));
        assert_eq!(with("crl-expired.der"), answer("could not tell: revocation-unknown", &[OCSP, CRL]));
        assert_eq!(asking("leaf-ocsp", &[(OCSP, "ocsp-delegated.der")]), answer("passed", &[OCSP]));
    }

    #[test]
    fn who_names_nobody_is_never_revoked_and_who_names_nobody_to_ask_is_unknown() {
        assert_eq!(asking("leaf-plain", &[]), answer("passed", &[]));
        assert_eq!(asking("leaf-https", &[]), answer("could not tell: revocation-unknown", &[]));
    }

    #[test]
    fn an_imported_list_is_asked_before_anybody_else() {
        let lists = |names: &[&str]| -> Lists { names.iter().map(|name| file(name)).collect() };
        let with = |leaf, names: &[&str]| ask(leaf, Evidence::with_lists(Ok(lists(names))), &[(OCSP, "ocsp-good.der")]);
        assert_eq!(with("leaf", &["crl-good.der"]), answer("passed", &[]));
        assert_eq!(with("leaf", &["crl-revoked.der"]), answer("certificate-revoked", &[]));
        assert_eq!(with("leaf-plain", &["crl-revoked.der"]), answer("certificate-revoked", &[]));
        assert_eq!(with("leaf", &["crl-base.der", "crl-delta-revoked.der"]), answer("certificate-revoked", &[]));
        // One that says nothing any more leaves the question to the others.
        assert_eq!(with("leaf", &["crl-stranger.der", "crl-expired.der"]), answer("passed", &[OCSP]));
        let broken = || Evidence::with_lists(Err(Problem::new("crl-dir-unreadable", "cannot read it", "mend it")));
        assert_eq!(ask("leaf-plain", broken(), &[]), answer("could not tell: revocation-unknown", &[]));
    }

    #[test]
    fn what_is_remembered_counts_while_it_is_good() {
        let remembering = |name| {
            let mut evidence = Evidence::default();
            evidence.remember(Need::Crl { url: CRL.to_owned() }, file(name));
            ask("leaf-crl", evidence, &[(CRL, "crl-good.der")])
        };
        assert_eq!(remembering("crl-good.der"), answer("passed", &[]));
        assert_eq!(remembering("crl-revoked.der"), answer("certificate-revoked", &[]));
        for spoilt in ["crl-expired.der", "crl-impostor.der", "make.sh"] {
            assert_eq!(remembering(spoilt), answer("passed", &[CRL]), "{spoilt}");
        }
    }

    #[test]
    fn the_status_tells_who_said_so_and_until_when() {
        let mut evidence = Evidence::default();
        evidence.answer(Need::Crl { url: CRL.to_owned() }, Ok(file("crl-good.der")));
        let survey = Survey::of(&chain("leaf-crl"), &evidence, moment());
        assert_eq!(survey.good_until().unwrap().to_string(), "2125-12-31T00:00:00Z");
        let [status] = &survey.statuses[..] else { panic!("{survey:?}") };
        assert_eq!(status.source.as_deref(), Some("CRL http://crl.pratique.example/ca.crl"));
        assert_eq!(status.evidence[0].digest, Digest::sha256(&file("crl-good.der")));
        let unknown = Survey::of(&chain("leaf-crl"), &Evidence::default(), moment());
        assert_eq!(code(&unknown.state()), "could not tell: revocation-unknown");
        assert_eq!(unknown.good_until(), None);
    }
}
