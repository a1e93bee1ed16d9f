//! One certificate: who is asked about it, in which order, and whose answer counts.

use super::evidence::{Evidence, Need};
use super::outcome::Problem;
use super::revocation::Relied;
use crate::oci::Digest;
use crate::pki::Certificate;
use crate::pki::revocation::{Crl, Moment, OcspResponse, Reading, Status, UsableCrl, ocsp_request};
use crate::remedy::{Remedy, cut, one_line};

/// How many addresses of one certificate are asked, of each kind. Public authorities name one or two.
const MAX_ADDRESSES: usize = 8;

/// How many characters of an address are told to people.
const MAX_SHOWN_URL: usize = 200;

/// How far an inquiry has come.
#[derive(Debug)]
pub(super) enum Step {
    /// Nobody can be asked.
    NotRevocable,
    /// Somebody whose word counts has said something.
    Answered { reading: Reading, source: String, evidence: Vec<Relied>, problems: Vec<Problem> },
    /// This has to be fetched first; and what stood in the way of those who were asked before.
    Needs(Need, Vec<Problem>),
    /// Everybody was asked, and nobody has said anything that counts.
    Unanswered(Vec<Problem>),
}

/// The evidence at hand, and the moments that matter.
#[derive(Clone, Copy)]
pub(super) struct Inquiry<'e> {
    pub(super) evidence: &'e Evidence,
    pub(super) moment: Moment,
}

/// Why one answer does not count.
enum Fault {
    /// Before it can be said, this has to be fetched.
    Needs(Need),
    Unusable(Problem),
}

/// What one answer says.
struct Said {
    reading: Reading,
    evidence: Vec<Relied>,
}

type Answer = Result<Said, Fault>;

impl<'e> Inquiry<'e> {
    /// Imported lists, then OCSP, then the lists that the certificate names (Notary trust policy specification,
    /// "Certificate Revocation Evaluation").
    pub(super) fn step(self, certificate: &Certificate, issuer: &Certificate) -> Step {
        let mut problems: Vec<Problem> = self.evidence.lists_problem().cloned().into_iter().collect();
        let asked = self.imported(certificate, issuer, &mut problems);
        let asked = asked.or_else(|| self.by_ocsp(certificate, issuer, &mut problems));
        match asked.or_else(|| self.by_crl(certificate, issuer, &mut problems)) {
            Some(Step::Answered { reading, source, evidence, .. }) => {
                Step::Answered { reading, source, evidence, problems }
            }
            Some(Step::Needs(need, _)) => Step::Needs(need, problems),
            Some(step) => step,
            None if certificate.names_revocation_source() || self.evidence.lists_problem().is_some() => {
                Step::Unanswered(problems)
            }
            None => Step::NotRevocable,
        }
    }

    /// The newest imported list of the issuer that says something about the certificate.
    fn imported(self, certificate: &Certificate, issuer: &Certificate, problems: &mut Vec<Problem>) -> Option<Step> {
        let read = self.evidence.lists().filter_map(|bytes| Some((bytes, Crl::from_der(bytes).ok()?)));
        let mut lists: Vec<_> = read.filter(|(_, list)| list.is_of(issuer) && !list.is_delta()).collect();
        lists.sort_by_key(|(_, list)| std::cmp::Reverse(list.this_update()));
        lists.iter().find_map(|(bytes, _)| {
            let said = self.read_crl(bytes, None, certificate, issuer);
            settle("the imported CRL", said, problems)
        })
    }

    /// The first OCSP responder that answers. That it does not know the certificate is an answer of it, after which no
    /// other responder is asked.
    fn by_ocsp(self, certificate: &Certificate, issuer: &Certificate, problems: &mut Vec<Problem>) -> Option<Step> {
        let urls = certificate.ocsp_urls();
        if urls.is_empty() {
            return None;
        }
        let Ok(request) = ocsp_request(certificate, issuer) else { return None };
        for url in urls.iter().take(MAX_ADDRESSES) {
            let need = Need::Ocsp { url: url.clone(), request: request.clone() };
            let source = shown(&need);
            let said = self.ask(&need, |bytes| self.read_ocsp(bytes, &need, certificate, issuer));
            match said {
                Ok(Said { reading: Reading { status: Status::Unknown, .. }, .. }) => {
                    let message = format!("{source}: the responder does not know the certificate");
                    problems.push(Problem::new("ocsp-status-unknown", &message, "ask its issuer why"));
                    return None;
                }
                said => {
                    if let Some(step) = settle(&source, said, problems) {
                        return Some(step);
                    }
                }
            }
        }
        None
    }

    /// The first list that the certificate names and that says something about it.
    fn by_crl(self, certificate: &Certificate, issuer: &Certificate, problems: &mut Vec<Problem>) -> Option<Step> {
        certificate.crl_urls().iter().take(MAX_ADDRESSES).find_map(|url| {
            let need = Need::Crl { url: url.clone() };
            let said = self.ask(&need, |bytes| self.read_crl(bytes, Some(&need), certificate, issuer));
            settle(&shown(&need), said, problems)
        })
    }

    /// What an address says: what is remembered, while it is good, else what it has answered.
    fn ask<T>(self, need: &Need, read: impl Fn(&'e [u8]) -> Result<T, Fault>) -> Result<T, Fault> {
        // RFC 5280 section 8 and the reference implementation: answers are signed, and fetching them over TLS may need
        // the very certificate that is asked about.
        if !need.url().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
            let message = "only addresses that begin with http:// are asked";
            let remedy = "import the issuer's CRL, or have the certificate issued with an http address";
            return Err(Fault::Unusable(Problem::new("revocation-url-unsupported", message, remedy)));
        }
        match self.evidence.remembered(need).map(&read) {
            Some(Ok(said)) => return Ok(said),
            Some(Err(Fault::Needs(need))) => return Err(Fault::Needs(need)),
            Some(Err(Fault::Unusable(_))) | None => {}
        }
        match self.evidence.answered(need) {
            None => Err(Fault::Needs(need.clone())),
            Some(Err(problem)) => Err(Fault::Unusable(problem.clone())),
            Some(Ok(bytes)) => read(bytes),
        }
    }

    fn read_ocsp(self, bytes: &[u8], need: &Need, certificate: &Certificate, issuer: &Certificate) -> Answer {
        let response = OcspResponse::from_der(bytes).map_err(|error| unusable(&error))?;
        let vouched = response.vouched(issuer, self.moment.now).map_err(|error| unusable(&error))?;
        let mut reading = vouched.reading(certificate, self.moment).map_err(|error| unusable(&error))?;
        let mut evidence = vec![relied(bytes, Some(need), true)];
        // RFC 6960, section 4.2.2.2.1: a responder that its issuer does not exempt may have been revoked, too. It is
        // looked for on lists alone: a responder vouching for itself would be worth nothing.
        if let Some(responder) = vouched.revocable_responder() {
            let said = self.about_responder(responder, issuer)?;
            reading.until = reading.until.min(said.as_ref().map_or(reading.until, |said| said.reading.until));
            evidence.extend(said.into_iter().flat_map(|said| said.evidence));
        }
        Ok(Said { reading, evidence })
    }

    /// What the issuer's lists say about a responder's certificate; nothing, where it names none.
    fn about_responder(self, responder: &Certificate, issuer: &Certificate) -> Result<Option<Said>, Fault> {
        if responder.crl_urls().is_empty() {
            return Ok(None);
        }
        let fault = |message: String| {
            Fault::Unusable(Problem::new(
                "ocsp-signer-revoked",
                &message,
                "tell the authority that issued the certificate",
            ))
        };
        let mut problems = Vec::new();
        match self.by_crl(responder, issuer, &mut problems) {
            Some(Step::Answered { reading, evidence, .. }) if reading.status == Status::Good => {
                Ok(Some(Said { reading, evidence }))
            }
            Some(Step::Needs(need, _)) => Err(Fault::Needs(need)),
            Some(_) => Err(fault(format!("the OCSP responder `{}` was revoked", responder.subject()))),
            None => Err(fault(format!("whether the OCSP responder `{}` was revoked is unknown", responder.subject()))),
        }
    }

    fn read_crl(self, bytes: &[u8], need: Option<&Need>, certificate: &Certificate, issuer: &Certificate) -> Answer {
        let list = Crl::from_der(bytes).map_err(|error| unusable(&error))?;
        let usable = list.usable(certificate, issuer, self.moment).map_err(|error| unusable(&error))?;
        let Some(urls) = list.delta_urls() else {
            let reading = usable.reading(None, self.moment).map_err(|error| unusable(&error))?;
            return Ok(Said { reading, evidence: vec![relied(bytes, need, true)] });
        };
        let mut said = self.read_changes(&usable, urls, issuer)?;
        said.evidence.push(relied(bytes, need, false));
        Ok(said)
    }

    /// A complete list with the changes since. Without them it says nothing: they may be what revokes the certificate
    /// (the reference implementation; RFC 5280, section 6.3.3 leaves it open).
    fn read_changes(self, base: &UsableCrl<'_>, urls: &[String], issuer: &Certificate) -> Answer {
        let read = |bytes: &[u8], need: Option<&Need>| {
            let list = Crl::from_der(bytes).map_err(|error| unusable(&error))?;
            let delta = base.usable_delta(&list, issuer, self.moment).map_err(|error| unusable(&error))?;
            let reading = base.reading(Some(&delta), self.moment).map_err(|error| unusable(&error))?;
            Ok(Said { reading, evidence: vec![relied(bytes, need, false)] })
        };
        if let Some(said) = self.evidence.lists().find_map(|bytes| read(bytes, None).ok()) {
            return Ok(said);
        }
        let mut last = None;
        for url in urls.iter().take(MAX_ADDRESSES) {
            let need = Need::Crl { url: url.clone() };
            match self.ask(&need, |bytes| read(bytes, Some(&need))) {
                Err(Fault::Unusable(problem)) => last = Some(problem),
                said => return said,
            }
        }
        let reason = last.map_or_else(|| "it names no address".to_owned(), |problem| problem.message);
        let message = format!("the changes since the complete CRL are unknown: {reason}");
        Err(Fault::Unusable(Problem::new("crl-delta-missing", &message, "see whether the issuer publishes them")))
    }
}

/// A step, where there is one; else one more problem.
fn settle(source: &str, said: Answer, problems: &mut Vec<Problem>) -> Option<Step> {
    match said {
        Ok(Said { reading, evidence }) => {
            Some(Step::Answered { reading, source: source.to_owned(), evidence, problems: Vec::new() })
        }
        Err(Fault::Needs(need)) => Some(Step::Needs(need, Vec::new())),
        Err(Fault::Unusable(mut problem)) => {
            problem.message = format!("{source}: {}", problem.message);
            problems.push(problem);
            None
        }
    }
}

fn unusable(error: &impl Remedy) -> Fault {
    Fault::Unusable(Problem { code: error.code(), message: one_line(error), remedy: error.remedy() })
}

fn relied(bytes: &[u8], need: Option<&Need>, is_whole: bool) -> Relied {
    Relied { digest: Digest::sha256(bytes), need: need.cloned(), is_whole }
}

fn shown(need: &Need) -> String {
    format!("{} {}", need.kind(), cut(need.url(), MAX_SHOWN_URL))
}
