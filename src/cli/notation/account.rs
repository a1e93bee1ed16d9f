//! What verification found out, step by step, in the words of the Notary Project's own command: for its warnings, and for
//! the log of `--verbose` and `--debug`.

use jiff::Timestamp;

use super::plugin_fault;
use crate::envelope::Envelope;
use crate::pki::Certificate;
use crate::policy::{Action, Identity, Statement, StoreKind, Trust, VerifyTimestamp};
use crate::verify::{
    CertificateStatus, Check, Finding, Outcome, PluginCheck, Problem, Revocation, SignatureReport, State, Verdict,
};

/// RFC 1123 with a numeric zone. Times are told in UTC here, and by the original in the zone they were written in.
const TIME: &str = "%a, %d %b %Y %H:%M:%S +0000";

/// What the words are made of, beside the verdict.
pub(super) struct Account<'a> {
    trust: &'a Trust,
    /// The certificates of the good signature, where there is one: a verdict quotes no more than it must.
    chain: Vec<Certificate>,
    /// The media type of that signature.
    media_type: &'static str,
    /// Whether it is the signature of a file.
    is_blob: bool,
}

impl<'a> Account<'a> {
    pub(super) fn new(trust: &'a Trust, good: Option<&Envelope>) -> Self {
        let certificates = good.iter().flat_map(|envelope| envelope.certificates().iter());
        let chain = certificates.filter_map(|der| Certificate::from_der(der).ok()).collect();
        Self { trust, chain, media_type: good.map_or("", |envelope| envelope.format().media_type()), is_blob: false }
    }

    /// The same of a file's signature, whose media type is known by its name.
    pub(super) fn of_blob(trust: &'a Trust, good: Option<&Envelope>, media_type: &'static str) -> Self {
        Self { media_type, is_blob: true, ..Self::new(trust, good) }
    }

    /// A line for each check of the good signature that failed and was only to be recorded.
    pub(super) fn warnings(&self, verdict: &Verdict) -> Vec<String> {
        let Some(report) = verdict.signatures.last() else { return Vec::new() };
        let logged = report.outcome.findings.iter().filter(|finding| finding.is_logged());
        logged
            .filter_map(|finding| {
                let words = self.words(finding.problem()?, &report.outcome, verdict);
                Some(format!("Warning: {} was set to \"log\" and failed with error: {words}", name(finding.check)))
            })
            .collect()
    }

    /// Tells every step of every signature.
    pub(super) fn log(&self, verdict: &Verdict) {
        if self.is_blob {
            tracing::debug!("Verify signature of media type {}", self.media_type);
        } else {
            tracing::debug!("Check verification level against artifact {}", verdict.reference);
        }
        let Some(statement) = self.statement(verdict) else { return };
        // As Go writes a structure: scripts look for the name in it.
        tracing::info!(
            "Trust policy configuration: &{{Name:{} SignatureVerification:{{VerificationLevel:{}}}}}",
            statement.name(),
            statement.level()
        );
        if verdict.code.as_str() == "verification-skipped" {
            tracing::debug!("Skipping signature verification");
        }
        for report in &verdict.signatures {
            self.log_signature(report, verdict, statement);
        }
        if verdict.signatures.is_empty() && verdict.failed.is_some() {
            tracing::error!("{}", verdict.reason);
        }
    }

    fn log_signature(&self, report: &SignatureReport, verdict: &Verdict, statement: &Statement) {
        let (artifact, outcome) = (&verdict.artifact.digest, &report.outcome);
        if let Some(digest) = &report.digest {
            tracing::info!("Processing signature with manifest digest {digest}");
        }
        if !self.is_blob {
            tracing::debug!(
                "Verify signature against artifact {artifact} referenced as {} in signature media type {}",
                verdict.reference,
                if outcome.decisive().is_none() { self.media_type } else { "" }
            );
        }
        for finding in &outcome.findings {
            if matches!(finding.state, State::NotReached | State::Skipped) {
                continue;
            }
            self.log_step(finding.check, outcome, statement, verdict.decided_at);
            if let Some(problem) = finding.problem() {
                log_problem(finding, &self.words(problem, outcome, verdict));
            }
        }
    }

    /// What the original says before it makes a check.
    fn log_step(&self, check: Check, outcome: &Outcome, statement: &Statement, now: Timestamp) {
        match check {
            Check::Authenticity => {
                tracing::debug!("Validating cert chain");
                tracing::debug!("Validating trust identity");
            }
            Check::Expiry => tracing::debug!("Validating expiry"),
            Check::AuthenticTimestamp => {
                tracing::debug!("Validating authentic timestamp");
                self.log_timestamp(statement, now);
            }
            Check::Revocation => {
                tracing::debug!("Validating revocation");
                outcome.revocation.iter().enumerate().rev().for_each(log_status);
            }
            _ => {}
        }
    }

    fn log_timestamp(&self, statement: &Statement, now: Timestamp) {
        let has_store = statement.trust_stores().iter().any(|store| store.kind() == StoreKind::Tsa);
        let has_expired = self.chain.iter().any(|certificate| certificate.not_after() < now);
        if !has_store {
            tracing::info!("Timestamp verification disabled: no tsa trust store is configured in trust policy");
        } else if statement.verify_timestamp() == VerifyTimestamp::AfterCertExpiry && !has_expired {
            tracing::info!(
                "Timestamp verification disabled: verifyTimestamp is set to \"afterCertExpiry\" and signing cert chain \
                 unexpired"
            );
        } else {
            tracing::debug!("Performing timestamp verification...");
        }
    }

    /// Why a check failed. What the original says otherwise, or not at all, is told in pratique's words.
    fn words(&self, problem: &Problem, outcome: &Outcome, verdict: &Verdict) -> String {
        match problem.code.as_str() {
            "untrusted-signer" => {
                "the signature's certificate chain does not contain any trusted certificate".to_owned()
            }
            "untrusted-identity" => {
                let statement = self.statement(verdict);
                let identities = statement.map(|statement| identities(statement.identities().listed()));
                format!(
                    "signing certificate from the digital signature does not match the X.509 trusted identities {} \
                     defined in the trust policy {:?}",
                    identities.unwrap_or_default(),
                    statement.map_or("", Statement::name)
                )
            }
            "signature-expired" => {
                let expiry = outcome.signer.as_ref().and_then(|signer| signer.expiry);
                format!("digital signature has expired on {:?}", expiry.map_or_else(String::new, time))
            }
            "certificate-not-valid-now" => {
                self.outside_validity(verdict.decided_at).unwrap_or_else(|| problem.message.clone())
            }
            "plugin-untrusted-identity" => refusal(outcome, PluginCheck::TrustedIdentity, problem),
            "plugin-revoked" => refusal(outcome, PluginCheck::Revocation, problem),
            "plugin-too-old" => {
                outcome.plugin.as_ref().and_then(plugin_fault::too_old).unwrap_or_else(|| problem.message.clone())
            }
            "timestamp-missing" => "no timestamp countersignature was found in the signature envelope".to_owned(),
            "certificate-revoked" => {
                standing(outcome, Revocation::Revoked, "is revoked").unwrap_or_else(|| problem.message.clone())
            }
            "revocation-unknown" => standing(outcome, Revocation::Unknown, "revocation status is unknown")
                .unwrap_or_else(|| problem.message.clone()),
            _ => problem.message.clone(),
        }
    }

    fn statement(&self, verdict: &Verdict) -> Option<&'a Statement> {
        let name = &verdict.policy.as_ref()?.statement;
        self.trust.policy().statements().iter().find(|statement| statement.name() == name)
    }

    /// The first certificate, from the leaf, that is not valid now.
    fn outside_validity(&self, now: Timestamp) -> Option<String> {
        self.chain.iter().find_map(|certificate| {
            let (subject, from, to) =
                (certificate.subject().in_reference_order(), certificate.not_before(), certificate.not_after());
            if now < from {
                let from = time(from);
                return Some(format!(
                    "verification time is before certificate {subject:?} validity period, it will be valid from {from:?}"
                ));
            }
            let to = (now > to).then(|| time(to))?;
            Some(format!(
                "verification time is after certificate {subject:?} validity period, it was expired at {to:?}"
            ))
        })
    }
}

/// The check by the name that it has in a trust policy.
fn name(check: Check) -> String {
    serde_json::to_value(check).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn time(time: Timestamp) -> String {
    time.strftime(TIME).to_string()
}

/// `[map["C":"US" "O":"acme"]]`: the attributes of each trusted identity, by name.
fn identities(listed: &[Identity]) -> String {
    let maps = listed.iter().map(|identity| {
        let pattern = identity.as_str().split_once(':').map_or("", |(_, pattern)| pattern);
        let mut attributes: Vec<(&str, &str)> =
            pattern.split(',').filter_map(|part| part.trim().split_once('=')).collect();
        attributes.sort_unstable();
        let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect();
        format!("map[{}]", pairs.join(" "))
    });
    format!("[{}]", maps.collect::<Vec<_>>().join(" "))
}

fn log_status((index, status): (usize, &CertificateStatus)) {
    let (number, subject) = (index + 1, &status.subject);
    for problem in &status.problems {
        tracing::debug!("Certificate #{number} in chain with subject {subject:?}: {}", problem.message);
    }
    let concerns = |kind: &str| status.problems.iter().any(|problem| problem.message.starts_with(kind));
    if concerns("OCSP ") && (concerns("CRL ") || status.source.as_ref().is_some_and(|source| source.contains("CRL"))) {
        tracing::warn!(
            "OCSP check failed with unknown error and fallback to CRL check for certificate #{number} in chain with \
             subject {subject:?}"
        );
    }
    if status.status == Revocation::NotRevocable {
        tracing::warn!(
            "Certificate #{number} in the chain with subject {subject:?} neither has an OCSP nor a CRL revocation method."
        );
    }
}

fn log_problem(finding: &Finding, words: &str) {
    let check = name(finding.check);
    if finding.action == Action::Log {
        tracing::warn!("{check} validation failed with validation action set to \"logged\". Failure reason: {words}");
    } else {
        tracing::error!("{check} validation failed. Failure reason: {words}");
    }
}

fn refusal(outcome: &Outcome, check: PluginCheck, problem: &Problem) -> String {
    let words = outcome.plugin.as_ref().and_then(|report| plugin_fault::refusal(report, check));
    words.unwrap_or_else(|| problem.message.clone())
}

/// The first certificate, from the leaf, whose standing is this one.
fn standing(outcome: &Outcome, standing: Revocation, words: &str) -> Option<String> {
    let found = outcome.revocation.iter().find(|status| status.status == standing)?;
    Some(format!("signing certificate with subject {:?} {words}", found.subject))
}
