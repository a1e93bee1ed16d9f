//! Were the certificates valid when the signature was made?
//!
//! Follows the Notary trust policy specification, "Authentic Timestamp". Under `notary.x509` the signer's own time counts
//! for nothing: either an authority whom the statement trusts vouches for another by its time-stamp, or every certificate
//! must be valid now.

use std::sync::OnceLock;

use jiff::Timestamp;

use super::outcome::{Check, Finding, Problem, State};
use crate::envelope::{Envelope, SigningScheme};
use crate::pki::{Certificate, Chain, OutsideValidity, Stamp, TimestampToken};
use crate::policy::{Action, Statement, StoreKind, StoreProblem, Trust, Validation, VerifyTimestamp};

/// What is known about the time of signing.
pub(super) struct Checked<'s> {
    /// The finding, as far as nobody needs to be asked.
    pub(super) state: State,
    /// What a bad one calls for. An unusable trust store is the operator's fault and not the image's, and enforced at every
    /// level, as it is where the signer is looked for.
    pub(super) action: Action,
    /// The certificates of the authority whose time-stamp the finding relies on, up to our anchor. That none of them was
    /// revoked is part of the same check.
    pub(super) authority: Option<&'s [Certificate]>,
}

impl Checked<'_> {
    /// The finding, as far as nobody needs to be asked.
    pub(super) fn finding(&self) -> Finding {
        Finding { check: Check::AuthenticTimestamp, state: self.state.clone(), action: self.action }
    }
}

/// The time-stamp of one envelope, verified once and when it is first asked for: whether it is due depends on the time, and
/// what it says does not.
#[derive(Debug, Default)]
pub(super) struct Verified(OnceLock<Result<Stamp, Problem>>);

impl Verified {
    fn stamp(&self, envelope: &Envelope, anchors: &[Certificate]) -> Result<&Stamp, Problem> {
        let verify = || match &envelope.unsigned_attributes().timestamp_signature {
            Some(token) => {
                let stamp = TimestampToken::parse(token).and_then(|token| token.verify(envelope.signature(), anchors));
                stamp.map_err(|error| Problem::of(&error))
            }
            None => Err(missing()),
        };
        self.0.get_or_init(verify).as_ref().map_err(Problem::clone)
    }
}

/// The finding for this instant. `verified` belongs to the envelope and the trust snapshot.
pub(super) fn check<'s>(
    chain: &Chain,
    envelope: &Envelope,
    statement: &Statement,
    trust: &Trust,
    verified: &'s Verified,
    now: Timestamp,
) -> Checked<'s> {
    let attributes = envelope.signed_attributes();
    let action = statement.action(Validation::AuthenticTimestamp);
    let settled = |state| Checked { state, action, authority: None };
    match attributes.scheme {
        SigningScheme::SigningAuthority => {
            settled(valid_at(chain, attributes.signing_time, "signing-time-outside-validity"))
        }
        SigningScheme::X509 if is_due(chain, statement, now) => match anchors(statement, trust) {
            Ok(anchors) => match verified.stamp(envelope, &anchors).and_then(|stamp| covering(chain, stamp)) {
                Ok(stamp) => Checked { state: State::Passed, action, authority: Some(stamp.chain()) },
                Err(problem) => settled(State::Failed { problem }),
            },
            Err(problem) => {
                Checked { action: Action::Enforce, ..settled(State::Inconclusive { problem: Problem::of(&problem) }) }
            }
        },
        SigningScheme::X509 => settled(valid_at(chain, now, "certificate-not-valid-now")),
    }
}

/// The first instant after now at which the finding may be another one. A time that somebody vouches for stays what it is,
/// and so does the lack of one; only what is compared with the present changes, at an end of a certificate's validity.
pub(super) fn changes_at(
    chain: &Chain,
    envelope: &Envelope,
    statement: &Statement,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_timeless = match envelope.signed_attributes().scheme {
        SigningScheme::SigningAuthority => true,
        SigningScheme::X509 => is_due(chain, statement, now),
    };
    if is_timeless {
        return None;
    }
    let begins = chain.certificates().iter().map(Certificate::not_before).filter(|not_before| *not_before > now);
    let ends = Some(chain.earliest_not_after()).filter(|not_after| *not_after >= now);
    begins.chain(ends).min()
}

/// A token is looked at when the statement names a `tsa` store, and either always or once a certificate has expired.
fn is_due(chain: &Chain, statement: &Statement, now: Timestamp) -> bool {
    let names_authority = statement.trust_stores().iter().any(|store| store.kind() == StoreKind::Tsa);
    let when = match statement.verify_timestamp() {
        VerifyTimestamp::Always => true,
        VerifyTimestamp::AfterCertExpiry => chain.earliest_not_after() < now,
    };
    names_authority && when
}

/// The authorities in all `tsa` stores of the statement, each of which must be usable.
fn anchors(statement: &Statement, trust: &Trust) -> Result<Vec<Certificate>, StoreProblem> {
    let stores = statement.trust_stores().iter().filter(|store| store.kind() == StoreKind::Tsa);
    let mut all = Vec::new();
    for store in stores {
        all.extend_from_slice(trust.anchors(store).map_err(StoreProblem::clone)?);
    }
    Ok(all)
}

/// A trusted authority vouches that the signature was there while every certificate of its signer was valid, whichever
/// instant of its accuracy is the true one.
fn covering<'s>(chain: &Chain, stamp: &'s Stamp) -> Result<&'s Stamp, Problem> {
    covers(chain, stamp.earliest(), stamp.latest()).map(|()| stamp).map_err(|error| {
        let message = format!("the signature was stamped while a certificate of its signer was not valid: {error}");
        Problem::new("timestamp-outside-validity", &message, "sign again with a certificate that is valid")
    })
}

fn covers(chain: &Chain, earliest: Timestamp, latest: Timestamp) -> Result<(), OutsideValidity> {
    chain.check_validity(earliest).and_then(|()| chain.check_validity(latest))
}

fn missing() -> Problem {
    let message = "the policy demands a time-stamp, and the signature has none";
    let remedy = "sign again with a time-stamp authority, or take the `tsa` store out of the statement";
    Problem::new("timestamp-missing", message, remedy)
}

fn valid_at(chain: &Chain, at: Timestamp, code: &'static str) -> State {
    match chain.check_validity(at) {
        Ok(()) => State::Passed,
        Err(error) => State::Failed {
            problem: Problem::new(code, &error.to_string(), "sign again with a certificate that is valid"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
    use crate::oci::{Descriptor, media_type};
    use crate::policy::{Policy, TrustStore};
    use crate::remedy::Code;
    use crate::verify::{Evidence, Outcome, Subject, examine};

    /// Signed by a certificate that expired in the middle of 2025, and stamped in the spring before.
    const COVERED: &str = "timestamp-expired-leaf-covered";
    /// Signed by the same, and stamped too late.
    const LATE: &str = "timestamp-after-expiry";

    fn vector(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::read(&path).expect(&path)
    }

    fn anchors_of(store: &str) -> Vec<Certificate> {
        let path = format!("{}/tests/vectors/truststores/timestamp/x509/{store}", env!("CARGO_MANIFEST_DIR"));
        let files = fs::read_dir(&path).expect(&path).map(|file| fs::read(file.unwrap().path()).unwrap());
        files.flat_map(|file| Certificate::read_all(&file).unwrap()).collect()
    }

    fn trust(level: &str, verify_timestamp: &str, stores: &[&str]) -> Trust {
        let policy = serde_json::json!({"version": "1.0", "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": level, "verifyTimestamp": verify_timestamp},
            "trustStores": stores,
            "trustedIdentities": ["*"],
        }]});
        let stores = stores.iter().filter(|store| !store.ends_with("broken")).map(|store| {
            let path = store.replace(':', "/");
            (store.parse::<TrustStore>().unwrap(), Ok(anchors_of(&path)))
        });
        let policy = Policy::parse(policy.to_string().as_bytes()).unwrap();
        Trust::new(policy, stores.collect::<BTreeMap<_, _>>(), "test".to_owned())
    }

    fn outcome(name: &str, trust: &Trust, now: &str) -> Outcome {
        let bytes = vector(&format!("envelopes/{name}.jws"));
        let envelope = Envelope::parse(media_type::JWS_ENVELOPE, &bytes, DEFAULT_ENVELOPE_SIZE).unwrap();
        let image = Descriptor::of(media_type::IMAGE_MANIFEST, &vector("subjects/net-monitor.json"));
        let statement = trust.policy().statement_for(&"r.example/a".parse().unwrap()).unwrap();
        let metadata = BTreeMap::new();
        let examined = examine(&envelope, Subject::artifact(&image, &metadata), statement, trust);
        examined.conclude(&Evidence::default(), now.parse().unwrap())
    }

    fn finding(outcome: &Outcome) -> &Finding {
        outcome.findings.iter().find(|finding| finding.check == Check::AuthenticTimestamp).unwrap()
    }

    fn code(name: &str, trust: &Trust, now: &str) -> &'static str {
        finding(&outcome(name, trust, now)).problem().map_or("passed", |problem| problem.code.as_str())
    }

    const CA: &str = "ca:acme-rockets";
    const TSA: &str = "tsa:acme-tsa";

    #[test]
    fn a_stamp_vouches_for_certificates_that_have_expired_since() {
        let trust = trust("strict", "always", &[CA, TSA]);
        for now in ["2025-03-02T00:00:00Z", "2026-01-01T00:00:00Z", "2060-01-01T00:00:00Z"] {
            assert_eq!(code(COVERED, &trust, now), "passed", "{now}");
            assert_eq!(code(LATE, &trust, now), "timestamp-outside-validity", "{now}");
            assert_eq!(code("timestamp-other-signature", &trust, now), "timestamp-of-other-signature", "{now}");
        }
    }

    #[test]
    fn without_an_authority_that_is_trusted_the_certificates_must_be_valid_now() {
        let trust = trust("strict", "always", &[CA]);
        assert_eq!(code(COVERED, &trust, "2025-06-30T00:00:00Z"), "passed");
        assert_eq!(code(COVERED, &trust, "2025-06-30T00:00:01Z"), "certificate-not-valid-now");
        assert_eq!(code(COVERED, &trust, "2024-12-31T23:59:59Z"), "certificate-not-valid-now");
    }

    #[test]
    fn a_stamp_that_is_due_after_expiry_is_not_looked_at_before() {
        let trust = trust("strict", "afterCertExpiry", &[CA, TSA]);
        for now in ["2025-01-01T00:00:00Z", "2025-06-30T00:00:00Z"] {
            assert_eq!(code(LATE, &trust, now), "passed", "{now}");
        }
        assert_eq!(code(LATE, &trust, "2025-06-30T00:00:01Z"), "timestamp-outside-validity");
        assert_eq!(code(COVERED, &trust, "2025-06-30T00:00:01Z"), "passed");
        // One that is not valid yet has not expired.
        assert_eq!(code(COVERED, &trust, "2024-12-31T23:59:59Z"), "certificate-not-valid-now");
    }

    #[test]
    fn what_a_bad_stamp_means_is_for_the_level_to_say_and_what_a_bad_store_means_is_not() {
        for level in ["permissive", "audit"] {
            let outcome = outcome(LATE, &trust(level, "always", &[CA, TSA]), "2026-01-01T00:00:00Z");
            assert!(finding(&outcome).is_logged() && outcome.decisive().is_none(), "{level}");
            let outcome = self::outcome(COVERED, &trust(level, "always", &[CA, "tsa:broken"]), "2026-01-01T00:00:00Z");
            let decisive = outcome.decisive().and_then(Finding::problem).unwrap();
            assert_eq!(decisive.code, Code("trust-store-not-loaded"), "{level}");
            assert!(matches!(finding(&outcome).state, State::Inconclusive { .. }), "{level}");
        }
    }

    #[test]
    fn only_what_is_compared_with_the_present_changes_with_it() {
        let good_until = |stores: &[&str], when: &str, now: &str| {
            outcome(COVERED, &trust("strict", when, stores), now).good_until.map(|end| end.to_string())
        };
        let (begins, ends) = (Some("2025-01-01T00:00:00Z".to_owned()), Some("2025-06-30T00:00:00Z".to_owned()));
        for now in ["2024-06-01T00:00:00Z", "2025-06-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
            assert_eq!(good_until(&[CA, TSA], "always", now), None, "{now}");
        }
        for stores in [&[CA, TSA][..], &[CA]] {
            assert_eq!(good_until(stores, "afterCertExpiry", "2024-06-01T00:00:00Z"), begins);
            assert_eq!(good_until(stores, "afterCertExpiry", "2025-06-01T00:00:00Z"), ends);
            assert_eq!(good_until(stores, "afterCertExpiry", "2026-01-01T00:00:00Z"), None);
        }
    }

    #[test]
    fn both_ends_of_what_is_vouched_for_are_within_the_validity() {
        let certificates = Certificate::read_all(&vector("chains/p256/chain.pem")).unwrap();
        let chain = Chain::code_signing(certificates).unwrap();
        let begin = chain.certificates().iter().map(Certificate::not_before).max().unwrap();
        let (end, moment) = (chain.earliest_not_after(), jiff::SignedDuration::from_micros(1));
        let is_covered = |earliest, latest| covers(&chain, earliest, latest).is_ok();
        assert!(is_covered(begin, end));
        assert!(!is_covered(begin - moment, end));
        assert!(!is_covered(begin, end + moment));
    }
}
