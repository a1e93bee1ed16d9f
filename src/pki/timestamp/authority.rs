//! Which authority made a time-stamp, and does it lead to a trusted one?
//!
//! A token holds certificates in no order, with or without the root, and sometimes two ways up. So a path is searched, from
//! the signer to one of the anchors handed in, and the first one that holds counts.
//!
//! Follows the Notary signature specification, "Certificate Requirements", and RFC 3161, section 2.3.

use const_oid::db::rfc5280::ID_KP_TIME_STAMPING;
use jiff::Timestamp;

use super::super::chain::{OutsideValidity, check_validity};
use super::super::profile::{check_issuer, forbidden_usage};
use super::super::{Certificate, MAX_CHAIN_LENGTH, X509SignatureError};
use super::InvalidTimestamp;
use crate::remedy::{Code, Remedy};

/// How many signatures on certificates are checked for one token. A chain of the longest kind takes sixteen; the rest is
/// room for several authorities of one name. Each check costs a tenth of a millisecond or so.
const MAX_CHECKS: usize = 64;

/// Why a certificate may not sign time-stamps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StamperViolation {
    /// It is a certificate authority.
    #[error("it is a certificate authority")]
    Authority,
    /// It has no keyUsage, or one that does not allow to sign.
    #[error("its keyUsage does not allow digitalSignature")]
    NoDigitalSignature,
    /// Its keyUsage allows more than to sign.
    #[error("its keyUsage allows {usage}")]
    KeyUsage {
        /// The usage's name in RFC 5280.
        usage: &'static str,
    },
    /// It was issued for another purpose, or for more than one.
    #[error("its extKeyUsage is not timeStamping alone")]
    Purpose,
    /// Its extKeyUsage could be overlooked.
    #[error("its extKeyUsage is not critical")]
    PurposeNotCritical,
    /// Its key is too short, or of a kind that is not known.
    #[error("its key is neither RSA of 2048 bits or more nor on P-256, P-384 or P-521")]
    Key,
}

impl Remedy for StamperViolation {
    fn code(&self) -> Code {
        Code(match self {
            Self::Authority => "timestamp-certificate-is-authority",
            Self::NoDigitalSignature | Self::KeyUsage { .. } => "timestamp-certificate-key-usage",
            Self::Purpose => "timestamp-certificate-purpose",
            Self::PurposeNotCritical => "timestamp-certificate-purpose-not-critical",
            Self::Key => "timestamp-certificate-key",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(
            "use a time-stamp authority whose certificate follows RFC 3161 and Notary's certificate requirements"
                .into(),
        )
    }
}

/// The chain from the signer of a token to one of the anchors, each certificate in its place and valid at this time.
pub(super) fn chain(
    signer: &Certificate,
    others: &[Certificate],
    anchors: &[Certificate],
    at: Timestamp,
) -> Result<Vec<Certificate>, InvalidTimestamp> {
    check_stamper(signer)
        .map_err(|source| InvalidTimestamp::Stamper { subject: signer.subject().to_string(), source })?;
    let mut search = Search { others, anchors, at, checks: 0, refusal: None };
    match search.upwards(&mut vec![signer])? {
        Some(chain) => Ok(chain),
        // A way that was found and does not hold tells more than that there is none.
        None => {
            Err(search.refusal.unwrap_or_else(|| InvalidTimestamp::Untrusted { subject: signer.subject().to_string() }))
        }
    }
}

/// Whether a certificate may sign time-stamps. The specification wants keyUsage critical, too; the reference implementation
/// does not, since public authorities are not agreed on it, and nothing depends on it here.
fn check_stamper(certificate: &Certificate) -> Result<(), StamperViolation> {
    if certificate.is_ca() {
        return Err(StamperViolation::Authority);
    }
    let usage = certificate.key_usage().ok_or(StamperViolation::NoDigitalSignature)?.content;
    if !usage.digital_signature() {
        return Err(StamperViolation::NoDigitalSignature);
    }
    if let Some(usage) = forbidden_usage(usage) {
        return Err(StamperViolation::KeyUsage { usage });
    }
    // RFC 3161, section 2.3: timeStamping and nothing else, and critical.
    match certificate.extended_key_usage() {
        Some(purpose) if purpose.content != [ID_KP_TIME_STAMPING] => return Err(StamperViolation::Purpose),
        Some(purpose) if !purpose.is_critical => return Err(StamperViolation::PurposeNotCritical),
        Some(_) => {}
        None => return Err(StamperViolation::Purpose),
    }
    if certificate.has_strong_key() { Ok(()) } else { Err(StamperViolation::Key) }
}

/// A walk from issuer to issuer.
struct Search<'a> {
    others: &'a [Certificate],
    anchors: &'a [Certificate],
    at: Timestamp,
    /// How many signatures were checked so far.
    checks: usize,
    /// Why the first way up that was found does not hold.
    refusal: Option<InvalidTimestamp>,
}

impl<'a> Search<'a> {
    /// The rest of the way from the end of the path to an anchor.
    fn upwards(&mut self, path: &mut Vec<&'a Certificate>) -> Result<Option<Vec<Certificate>>, InvalidTimestamp> {
        let Some(last) = path.last().copied() else { return Ok(None) };
        let is_issuer = |candidate: &&Certificate| candidate.subject_der() == last.issuer_der();
        for anchor in self.anchors.iter().filter(is_issuer) {
            if self.is_signed_by(last, anchor)? {
                path.push(anchor);
                match self.check(path) {
                    Ok(()) => return Ok(Some(path.iter().copied().cloned().collect())),
                    Err(refusal) => self.refusal.get_or_insert(refusal),
                };
                path.pop();
            }
        }
        // One below must still find room for its anchor above.
        if path.len() + 1 >= MAX_CHAIN_LENGTH {
            return Ok(None);
        }
        // What is issued by its own name is a root of somebody's, and no way to one of ours.
        let others = self.others;
        for other in others.iter().filter(|other| is_issuer(other) && !other.is_self_issued()) {
            if !path.contains(&other) && self.is_signed_by(last, other)? {
                path.push(other);
                if let Some(chain) = self.upwards(path)? {
                    return Ok(Some(chain));
                }
                path.pop();
            }
        }
        Ok(None)
    }

    fn is_signed_by(&mut self, certificate: &Certificate, issuer: &Certificate) -> Result<bool, InvalidTimestamp> {
        self.checks += 1;
        if self.checks > MAX_CHECKS {
            return Err(InvalidTimestamp::TooMany("ways from its authority to a root"));
        }
        match certificate.verify_signed_by(issuer) {
            Ok(()) => Ok(true),
            Err(X509SignatureError::Wrong) => Ok(false),
            Err(source) => {
                let subject = certificate.subject().to_string();
                self.refusal.get_or_insert(InvalidTimestamp::CertificateSignature { subject, source });
                Ok(false)
            }
        }
    }

    /// Whether every certificate above the signer may stand where it does, and all were valid.
    fn check(&self, path: &[&Certificate]) -> Result<(), InvalidTimestamp> {
        for (below, issuer) in path.iter().skip(1).enumerate() {
            check_issuer(issuer, below)
                .map_err(|source| InvalidTimestamp::Issuer { subject: issuer.subject().to_string(), source })?;
        }
        path.iter().try_for_each(|certificate| valid(certificate, self.at)).map_err(InvalidTimestamp::NotValid)
    }
}

fn valid(certificate: &Certificate, at: Timestamp) -> Result<(), OutsideValidity> {
    check_validity(std::slice::from_ref(certificate), at)
}
