//! Certificate chains that may sign images.
//!
//! A [`Chain`] exists only if it is in order, complete, signed throughout and of Notary's profile (Notary signature
//! specification, "Certificate Chain" and "Certificate Requirements"). The time is no part of that: whether a
//! certificate must be valid now, or when the image was signed, is for the verifier to say, and validity periods need not nest.

use jiff::Timestamp;

use super::profile::{check_authority, check_leaf};
use super::{Certificate, ProfileViolation, PublicKey, UnsupportedKey, X509SignatureError};
use crate::remedy::{Code, Remedy};

/// The most certificates that a chain may have. Public authorities use three or four, companies a few more; each one
/// costs a signature check.
pub const MAX_CHAIN_LENGTH: usize = 16;

/// Leaf first, root last, in good order and of Notary's profile. Not necessarily trusted, nor valid at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Certificate>,
    leaf: Certificate,
    leaf_key: PublicKey,
}

/// Why certificates are not a chain that may sign images. Positions count from 1, the leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidChain {
    /// There is no certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// More than [`MAX_CHAIN_LENGTH`].
    #[error("the certificate chain has {length} certificates, at most {MAX_CHAIN_LENGTH} are read")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// A self-signed certificate that is not the last, so what follows does not belong to the chain.
    #[error("certificate {position} of the chain (`{subject}`) is self-signed and not the last")]
    SelfSignedBeforeLast {
        /// Where it stands.
        position: usize,
        /// Its subject.
        subject: String,
    },
    /// A certificate's issuer is not the subject of the next one.
    #[error("certificate {position} of the chain (`{subject}`) was issued by `{issuer}`, and `{next}` follows")]
    NotIssuedByNext {
        /// Where it stands.
        position: usize,
        /// Its subject.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// The subject of the next certificate.
        next: String,
    },
    /// The last certificate is not self-issued: the root is missing.
    #[error("certificate {position}, the last of the chain (`{subject}`), is not self-signed")]
    NoRoot {
        /// Where it stands.
        position: usize,
        /// Its subject.
        subject: String,
    },
    /// A certificate's signature is not one of its issuer's, or not one to believe.
    #[error("the signature on certificate {position} of the chain (`{subject}`) is not acceptable")]
    Signature {
        /// Where it stands.
        position: usize,
        /// Its subject.
        subject: String,
        /// Why not.
        source: X509SignatureError,
    },
    /// A certificate is not of Notary's profile.
    #[error("certificate {position} of the chain (`{subject}`) may not stand there")]
    Profile {
        /// Where it stands.
        position: usize,
        /// Its subject.
        subject: String,
        /// Why not.
        source: ProfileViolation,
    },
    /// The leaf's key may not sign images.
    #[error("the key of certificate 1 of the chain (`{subject}`) may not sign images")]
    LeafKey {
        /// Its subject.
        subject: String,
        /// Why not.
        source: UnsupportedKey,
    },
}

impl Remedy for InvalidChain {
    fn code(&self) -> Code {
        match self {
            Self::Empty => Code("chain-empty"),
            Self::TooLong { .. } => Code("chain-too-long"),
            Self::SelfSignedBeforeLast { .. } => Code("chain-self-signed-before-last"),
            Self::NotIssuedByNext { .. } => Code("chain-out-of-order"),
            Self::NoRoot { .. } => Code("chain-without-root"),
            Self::Signature { source, .. } => source.code(),
            Self::Profile { source, .. } => source.code(),
            Self::LeafKey { source, .. } => source.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Signature { source, .. } => source.remedy(),
            Self::Profile { source, .. } => source.remedy(),
            Self::LeafKey { source, .. } => source.remedy(),
            Self::TooLong { .. } => None,
            _ => {
                Some("sign with the whole chain in order: the leaf, its issuers, and the self-signed root last".into())
            }
        }
    }
}

/// A certificate is not valid at the time that matters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{subject}` is valid from {not_before} to {not_after}, not at {at}")]
pub struct OutsideValidity {
    /// The subject of the certificate.
    pub subject: String,
    /// The first instant at which it is valid.
    pub not_before: Timestamp,
    /// The last instant at which it is valid.
    pub not_after: Timestamp,
    /// The time that matters.
    pub at: Timestamp,
}

impl Remedy for OutsideValidity {
    fn code(&self) -> Code {
        if self.at < self.not_before { Code("certificate-not-yet-valid") } else { Code("certificate-expired") }
    }
}

impl Chain {
    /// Checks the certificates, leaf first, under Notary's profile for signing images. A lone certificate must be
    /// self-signed and is held to the rules of a leaf.
    pub fn code_signing(certificates: Vec<Certificate>) -> Result<Self, InvalidChain> {
        if certificates.len() > MAX_CHAIN_LENGTH {
            return Err(InvalidChain::TooLong { length: certificates.len() });
        }
        check_links(&certificates)?;
        let (leaf, issuers) = certificates.split_first().ok_or(InvalidChain::Empty)?;
        check_leaf(leaf).map_err(|source| profile(1, leaf, source))?;
        for (below, issuer) in issuers.iter().enumerate() {
            check_authority(issuer, below).map_err(|source| profile(below + 2, issuer, source))?;
        }
        let leaf = leaf.clone();
        let leaf_key = leaf.public_key();
        let leaf_key =
            leaf_key.map_err(|source| InvalidChain::LeafKey { subject: leaf.subject().to_string(), source })?;
        Ok(Self { certificates, leaf, leaf_key })
    }

    /// The certificates, leaf first.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate whose key signs images.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The key that signs images.
    pub fn leaf_key(&self) -> &PublicKey {
        &self.leaf_key
    }

    /// Whether every certificate is valid at this time, ends inclusive; if not, the first that is not.
    pub fn check_validity(&self, at: Timestamp) -> Result<(), OutsideValidity> {
        check_validity(&self.certificates, at)
    }

    /// The last instant at which no certificate has expired yet.
    pub fn earliest_not_after(&self) -> Timestamp {
        self.certificates.iter().map(Certificate::not_after).fold(Timestamp::MAX, Timestamp::min)
    }
}

/// Whether every one of these is valid at this time, ends inclusive; if not, the first that is not.
pub(super) fn check_validity(certificates: &[Certificate], at: Timestamp) -> Result<(), OutsideValidity> {
    let is_outside = |certificate: &&Certificate| at < certificate.not_before() || at > certificate.not_after();
    match certificates.iter().find(is_outside) {
        None => Ok(()),
        Some(certificate) => Err(OutsideValidity {
            subject: certificate.subject().to_string(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            at,
        }),
    }
}

/// Each certificate is issued and signed by the next, the last by itself, and none before it by itself. Extra, missing,
/// repeated and unrelated certificates all break one of these.
pub(super) fn check_links(certificates: &[Certificate]) -> Result<(), InvalidChain> {
    for (index, certificate) in certificates.iter().enumerate() {
        match certificates.get(index + 1) {
            Some(next) => check_link(index + 1, certificate, next)?,
            None if !certificate.is_self_issued() => {
                return Err(InvalidChain::NoRoot { position: index + 1, subject: certificate.subject().to_string() });
            }
            None => check_signature(index + 1, certificate, certificate)?,
        }
    }
    Ok(())
}

fn check_link(position: usize, certificate: &Certificate, next: &Certificate) -> Result<(), InvalidChain> {
    let subject = || certificate.subject().to_string();
    let self_signed = || InvalidChain::SelfSignedBeforeLast { position, subject: subject() };
    if certificate.issuer_der() != next.subject_der() {
        if certificate.is_self_signed() {
            return Err(self_signed());
        }
        let (issuer, next) = (certificate.issuer().to_string(), next.subject().to_string());
        return Err(InvalidChain::NotIssuedByNext { position, subject: subject(), issuer, next });
    }
    match check_signature(position, certificate, next) {
        // What the next one's key has signed is self-signed where that key is its own. Comparing the keys, where everybody
        // in a long chain has one name, spares half of the checks that a stranger could make us do.
        Ok(()) if certificate.is_self_issued() && certificate.key_bits() == next.key_bits() => Err(self_signed()),
        Err(_) if certificate.is_self_signed() => Err(self_signed()),
        checked => checked,
    }
}

fn check_signature(position: usize, certificate: &Certificate, issuer: &Certificate) -> Result<(), InvalidChain> {
    certificate.verify_signed_by(issuer).map_err(|source| InvalidChain::Signature {
        position,
        subject: certificate.subject().to_string(),
        source,
    })
}

fn profile(position: usize, certificate: &Certificate, source: ProfileViolation) -> InvalidChain {
    InvalidChain::Profile { position, subject: certificate.subject().to_string(), source }
}

#[cfg(test)]
mod tests {
    use der::DateTime;
    use der::asn1::ObjectIdentifier;
    use x509_cert::name::Name;
    use x509_cert::time::Time;

    use super::super::testing::{Draft, read};
    use super::*;

    fn code(certificates: Vec<Certificate>) -> &'static str {
        Chain::code_signing(certificates).map_or_else(|error| error.code().as_str(), |_| "good")
    }

    /// A leaf, two authorities and the root of both.
    fn good() -> Vec<Certificate> {
        let root = Draft::authority(3).self_signed();
        [Draft::leaf(), Draft::authority(1), Draft::authority(2), root].map(Draft::certificate).into()
    }

    #[test]
    fn the_shared_chains_give_the_code_they_expect() {
        for (name, expected) in [
            ("eku-absent", "good"),
            ("eku-any", "leaf-extended-key-usage-forbidden"),
            ("eku-serverauth", "leaf-extended-key-usage-forbidden"),
            ("expired-leaf", "good"),
            ("ku-absent", "key-usage-missing"),
            ("ku-extra-keyencipherment", "leaf-key-usage-forbidden"),
            ("ku-noncritical", "key-usage-not-critical"),
            ("leaf-is-ca", "leaf-is-authority"),
            ("p224-leaf", "key-curve-unsupported"),
            ("p256", "good"),
            ("p384", "good"),
            ("p521", "good"),
            ("pathlen-exceeded", "ca-path-too-long"),
            ("rsa1024-leaf", "key-size-unsupported"),
            ("rsa2048", "good"),
            ("rsa3072", "good"),
            ("rsa4096", "good"),
            ("selfsigned-rsa3072", "good"),
            ("tsa", "leaf-extended-key-usage-forbidden"),
        ] {
            assert_eq!(code(read(&format!("vectors/chains/{name}/chain.pem"))), expected, "{name}");
        }
    }

    #[test]
    fn certificates_stand_in_order_without_one_missing_repeated_or_added() {
        let pick = |indices: &[usize]| indices.iter().map(|index| good()[*index].clone()).collect::<Vec<_>>();
        for (indices, expected) in [
            (&[0, 1, 2, 3][..], "good"),
            (&[], "chain-empty"),
            (&[0], "chain-without-root"),
            (&[0, 1, 2], "chain-without-root"),
            (&[0, 1, 3], "chain-out-of-order"),
            (&[0, 2, 1, 3], "chain-out-of-order"),
            (&[0, 1, 1, 2, 3], "chain-out-of-order"),
            (&[0, 1, 2, 3, 3], "chain-self-signed-before-last"),
            (&[3, 2, 1, 0], "chain-self-signed-before-last"),
            (&[3], "leaf-is-authority"),
        ] {
            assert_eq!(code(pick(indices)), expected, "{indices:?}");
        }
    }

    #[test]
    fn an_issuer_of_the_right_name_with_another_key_has_not_signed() {
        let mut impostor = good();
        let draft = Draft { key: 99, ..Draft::authority(2) };
        impostor[2] = draft.certificate();
        assert_eq!(code(impostor), "certificate-signature-invalid");
    }

    #[test]
    fn a_self_issued_root_that_another_key_signed_is_no_root() {
        let mut chain = good();
        chain[3] = Draft { signer: 99, ..Draft::authority(3).self_signed() }.certificate();
        assert_eq!(code(chain), "certificate-signature-invalid");
    }

    #[test]
    fn an_authority_that_changed_its_key_and_kept_its_name_issues_like_any_other() {
        let name = Draft::authority(1).subject;
        let keyed = |key, signer| Draft { key, signer, issuer: name.clone(), ..Draft::authority(1) }.certificate();
        let leaf = Draft { signer: 50, ..Draft::leaf() }.certificate();
        let chain = [leaf, keyed(50, 51), keyed(51, 52), keyed(52, 52)];
        assert_eq!(code(chain.to_vec()), "good");
        let mut repeated = chain.to_vec();
        repeated.insert(3, keyed(52, 52));
        assert_eq!(code(repeated), "chain-self-signed-before-last");
        let unrelated = [chain[0].clone(), keyed(50, 50), keyed(51, 51)];
        assert_eq!(code(unrelated.to_vec()), "chain-self-signed-before-last");
    }

    #[test]
    fn a_chain_has_at_most_sixteen_certificates() {
        let chain = |length: u8| {
            let authorities = (1..length - 1).map(Draft::authority);
            let drafts = authorities.chain([Draft::authority(length - 1).self_signed()]);
            [Draft::leaf()].into_iter().chain(drafts).map(Draft::certificate).collect::<Vec<_>>()
        };
        assert_eq!(code(chain(16)), "good");
        assert_eq!(code(chain(17)), "chain-too-long");
    }

    #[test]
    fn a_lone_certificate_is_held_to_the_rules_of_a_leaf() {
        assert_eq!(code(vec![Draft::leaf().self_signed().certificate()]), "good");
        assert_eq!(code(vec![Draft::leaf().certificate()]), "chain-without-root");
        assert_eq!(code(read("certificates/rsa2048-sha256.pem")), "good");
        assert_eq!(code(read("certificates/rsa2048-sha1.pem")), "certificate-hash-forbidden");
    }

    /// The reference implementation counts the modulus in whole bytes, and takes 2047 bits for 2048.
    #[test]
    fn a_modulus_is_counted_to_the_bit() {
        assert_eq!(code(read("certificates/rsa2048-sha256.pem")), "good");
        assert_eq!(code(read("certificates/rsa2047-sha256.pem")), "key-size-unsupported");
    }

    #[test]
    fn extensions_that_the_profile_does_not_name_are_not_evaluated() {
        let unknown = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
        let name_constraints = ObjectIdentifier::new_unwrap("2.5.29.30");
        let mut chain = good();
        chain[0] = Draft::leaf().with(unknown, true, &7_u8).certificate();
        chain[1] = Draft::authority(1).with(name_constraints, true, &7_u8).certificate();
        assert_eq!(code(chain), "good");
    }

    #[test]
    fn validity_need_not_nest_and_a_leaf_need_not_have_a_name() {
        let mut chain = good();
        let sooner = Time::from(DateTime::new(2030, 1, 1, 0, 0, 0).unwrap());
        chain[1] = Draft { not_after: sooner, ..Draft::authority(1) }.certificate();
        assert!(chain[1].not_after() < chain[0].not_after());
        chain[0] = Draft { subject: Name::default(), ..Draft::leaf() }.certificate();
        assert!(chain[0].subject().is_empty());
        assert_eq!(code(chain), "good");
    }

    #[test]
    fn errors_name_the_certificate_and_say_each_fact_once() {
        let mut chain = good();
        chain[1] = Draft::authority(1).constraints(false, true, None).certificate();
        let error = Chain::code_signing(chain).unwrap_err();
        let line = "certificate 2 of the chain (`CN=ca 1,O=Acme,C=US`) may not stand there: \
                    it issues certificates and its basicConstraints is not critical";
        // x509-cert reads the text of a name from the most specific end, as RFC 4514 writes it.
        assert_eq!(crate::remedy::one_line(&error), line);
    }

    #[test]
    fn the_ends_of_validity_are_inside_it() {
        let chain = Chain::code_signing(read("vectors/chains/expired-leaf/chain.pem")).unwrap();
        let (first, last) = (chain.leaf().not_before(), chain.leaf().not_after());
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(chain.earliest_not_after(), last);
        let code = |at| chain.check_validity(at).map_or_else(|error| error.code().as_str(), |()| "good");
        assert_eq!(code(last), "good");
        assert_eq!(code(last + second), "certificate-expired");
        assert_eq!(code(first - second), "certificate-not-yet-valid");
        let latest_start = chain.certificates().iter().map(Certificate::not_before).max().unwrap();
        assert_eq!(code(latest_start), "good");
    }

    #[test]
    fn the_leaf_and_its_key_are_at_hand() {
        let chain = Chain::code_signing(good()).unwrap();
        assert_eq!(chain.leaf(), &chain.certificates()[0]);
        assert_eq!(chain.leaf_key(), &chain.leaf().public_key().unwrap());
    }
}
