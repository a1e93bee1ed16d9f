//! Were the certificates valid when the signature was made?
//!
//! Follows the Notary trust policy specification, "Authentic Timestamp". Under `notary.x509` the signer's own time counts
//! for nothing: either an authority whom the statement trusts vouches for another by its time-stamp, or every certificate
//! must be valid now.

use jiff::Timestamp;

use super::outcome::{Problem, State};
use super::revocation;
use crate::envelope::{Envelope, SigningScheme};
use crate::pki::{Certificate, Chain, OutsideValidity, TimestampToken};
use crate::policy::{Action, Statement, StoreKind, StoreProblem, Trust, Validation, VerifyTimestamp};

/// The finding, and the action that a bad one calls for. An unusable trust store is the operator's fault and not the
/// image's, and enforced at every level, as it is where the signer is looked for.
pub(super) fn check(
    chain: &Chain,
    envelope: &Envelope,
    statement: &Statement,
    trust: &Trust,
    now: Timestamp,
) -> (State, Action) {
    let attributes = envelope.signed_attributes();
    let action = statement.action(Validation::AuthenticTimestamp);
    let state = match attributes.scheme {
        SigningScheme::SigningAuthority => valid_at(chain, attributes.signing_time, "signing-time-outside-validity"),
        SigningScheme::X509 if is_due(chain, statement, now) => match anchors(statement, trust) {
            Ok(anchors) => stamped(chain, envelope, &anchors),
            Err(problem) => return (State::Inconclusive { problem: Problem::of(&problem) }, Action::Enforce),
        },
        SigningScheme::X509 => valid_at(chain, now, "certificate-not-valid-now"),
    };
    (state, action)
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
fn stamped(chain: &Chain, envelope: &Envelope, anchors: &[Certificate]) -> State {
    let Some(token) = &envelope.unsigned_attributes().timestamp_signature else { return missing() };
    let stamp = TimestampToken::parse(token).and_then(|token| token.verify(envelope.signature(), anchors));
    let stamp = match stamp {
        Ok(stamp) => stamp,
        Err(error) => return State::Failed { problem: Problem::of(&error) },
    };
    if let Err(error) = covers(chain, stamp.earliest(), stamp.latest()) {
        let message = format!("the signature was stamped while a certificate of its signer was not valid: {error}");
        let remedy = "sign the image again with a certificate that is valid";
        return State::Failed { problem: Problem::new("timestamp-outside-validity", &message, remedy) };
    }
    revocation::check_authority(stamp.chain())
}

fn covers(chain: &Chain, earliest: Timestamp, latest: Timestamp) -> Result<(), OutsideValidity> {
    chain.check_validity(earliest).and_then(|()| chain.check_validity(latest))
}

fn missing() -> State {
    let message = "the policy demands a time-stamp, and the signature has none";
    let remedy = "sign the image again with a time-stamp authority, or take the `tsa` store out of the statement";
    State::Failed { problem: Problem::new("timestamp-missing", message, remedy) }
}

fn valid_at(chain: &Chain, at: Timestamp, code: &'static str) -> State {
    match chain.check_validity(at) {
        Ok(()) => State::Passed,
        Err(error) => State::Failed {
            problem: Problem::new(code, &error.to_string(), "sign the image again with a certificate that is valid"),
        },
    }
}
