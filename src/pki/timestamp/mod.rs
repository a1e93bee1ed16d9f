//! Time-stamps: what an authority signed over a signature, to vouch for when that was made.
//!
//! A [`TimestampToken`] is well formed and nothing more; a [`Stamp`] is what can be believed, and only
//! [`TimestampToken::verify`] makes one. Which authorities are trusted is handed in, and so is everything else: no time but
//! the token's own is asked for, since an authority's certificate must have been valid then, and may have expired since.
//!
//! Follows RFC 3161 and RFC 5816, on top of RFC 5652, and the Notary trust policy specification, "Authentic Timestamp".

mod authority;
mod binding;
mod error;
mod info;
mod request;
mod signed_data;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNING_TIME};
use const_oid::db::rfc5912::{
    RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use der::Decode as _;
use der::asn1::{AnyRef, OctetStringRef};
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

pub use authority::StamperViolation;
pub use error::InvalidTimestamp;
pub use info::TimestampInfo;
pub use request::{MAX_RESPONSE_SIZE, RefusedTimestamp, TimestampRequest};

use super::Certificate;
use super::ber;
use super::chain::check_validity;
use crate::oci::DigestAlgorithm;
use binding::{Binding, SIGNING_CERTIFICATE_V2};
use info::generalized_time;
use signed_data::{SignedData, SignerInfo};

/// The largest token that is read, in bytes. Those of public authorities have 3 to 8 KiB with their chain.
pub const MAX_TOKEN_SIZE: usize = 128 * 1024;

/// `id-ct-TSTInfo` (RFC 3161, section 2.4.2).
const ID_CT_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// A time-stamp token of good form. Nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampToken {
    /// In DER.
    der: Vec<u8>,
    info: TimestampInfo,
}

/// A time-stamp that holds, under the anchors that it was verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    earliest: Timestamp,
    latest: Timestamp,
    chain: Vec<Certificate>,
}

impl Stamp {
    /// The first instant at which it may have been made.
    pub fn earliest(&self) -> Timestamp {
        self.earliest
    }

    /// The last instant at which it may have been made.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// The certificates of the authority that made it, the one that signed first, the anchor last.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }
}

impl TimestampToken {
    /// The token in these bytes, BER or DER.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidTimestamp> {
        if bytes.len() > MAX_TOKEN_SIZE {
            return Err(InvalidTimestamp::TooLarge { size: bytes.len() });
        }
        let der = ber::to_der(bytes).map_err(InvalidTimestamp::Encoding)?;
        let info = TimestampInfo::parse(SignedData::parse(&der)?.content)?;
        Ok(Self { der, info })
    }

    /// What it says.
    pub fn info(&self) -> &TimestampInfo {
        &self.info
    }

    /// The token as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in it that its signer is named by, whether it signed or not.
    pub fn unverified_signer(&self) -> Option<Certificate> {
        let token = SignedData::parse(&self.der).ok()?;
        read_certificates(&token).ok()?.into_iter().find(|certificate| is_named(certificate, &token.signer))
    }

    /// The certificates in it, whoever they belong to.
    pub fn unverified_certificates(&self) -> Vec<Certificate> {
        let read = SignedData::parse(&self.der).ok().and_then(|token| read_certificates(&token).ok());
        read.unwrap_or_default()
    }

    /// The first and the last instant that it may mean, of a token that is over this message. Who says so is not looked at.
    pub fn unverified_window(&self, message: &[u8]) -> Result<(Timestamp, Timestamp), InvalidTimestamp> {
        if self.info.hash.hash(message) != self.info.imprint {
            return Err(InvalidTimestamp::OtherMessage);
        }
        self.info.window()
    }

    /// Checks that the token is over this message and signed by an authority below one of these anchors, which are
    /// self-signed authorities.
    pub fn verify(&self, message: &[u8], anchors: &[Certificate]) -> Result<Stamp, InvalidTimestamp> {
        if self.info.hash.hash(message) != self.info.imprint {
            return Err(InvalidTimestamp::OtherMessage);
        }
        let token = SignedData::parse(&self.der)?;
        check_content(&token)?;
        let certificates = read_certificates(&token)?;
        let signer = signer_of(&token.signer, &certificates)?;
        let algorithm = signature_algorithm(&token.signer);
        signer
            .verify_with_key(&algorithm, &token.signer.to_be_signed, token.signer.signature)
            .map_err(InvalidTimestamp::Signature)?;
        let chain = authority::chain(signer, &certificates, anchors, self.info.time)?;
        check_signing_time(&token.signer, &chain)?;
        let (earliest, latest) = self.info.window()?;
        Ok(Stamp { earliest, latest, chain })
    }
}

/// The signed attributes are about the content (RFC 5652, sections 5.4 and 5.6).
fn check_content(token: &SignedData<'_>) -> Result<(), InvalidTimestamp> {
    let malformed = |error| InvalidTimestamp::malformed(&error);
    let kind = token.signer.required(ID_CONTENT_TYPE, "contentType")?;
    if ObjectIdentifier::from_der(kind).map_err(malformed)? != ID_CT_TST_INFO {
        return Err(InvalidTimestamp::Altered);
    }
    let digest = token.signer.required(ID_MESSAGE_DIGEST, "messageDigest")?;
    let digest = <&OctetStringRef>::from_der(digest).map_err(malformed)?;
    if digest.as_bytes() == token.signer.hash.hash(token.content) { Ok(()) } else { Err(InvalidTimestamp::Altered) }
}

/// All of them must be readable, also those that lead nowhere: two readers must not see two tokens in the same bytes.
fn read_certificates(token: &SignedData<'_>) -> Result<Vec<Certificate>, InvalidTimestamp> {
    let read = |der: &&[u8]| match Certificate::from_der(der) {
        Ok(certificate) if certificate.is_readable_throughout() => Ok(certificate),
        Ok(_) => Err(InvalidTimestamp::Form("a name or a key in one of its certificates is malformed")),
        Err(error) => Err(InvalidTimestamp::Certificate(error)),
    };
    token.certificates.iter().map(read).collect()
}

fn is_named(certificate: &Certificate, signer: &SignerInfo<'_>) -> bool {
    certificate.issuer_der() == signer.issuer && certificate.serial_number() == signer.serial_number
}

/// The certificate that the signer is named by, and whose hash it has signed.
fn signer_of<'c>(
    signer: &SignerInfo<'_>,
    certificates: &'c [Certificate],
) -> Result<&'c Certificate, InvalidTimestamp> {
    let binding = Binding::parse(signer.required(SIGNING_CERTIFICATE_V2, "signingCertificateV2")?)?;
    let mut named = certificates.iter().filter(|certificate| is_named(certificate, signer)).peekable();
    named.peek().ok_or(InvalidTimestamp::NoCertificate)?;
    binding.find(named)?.ok_or(InvalidTimestamp::OtherCertificate)
}

/// CMS lets a signer name its key's kind alone, and the hash beside it (RFC 3370, section 3.2).
fn signature_algorithm(signer: &SignerInfo<'_>) -> AlgorithmIdentifierOwned {
    if signer.signature_algorithm.oid != RSA_ENCRYPTION {
        return signer.signature_algorithm.clone();
    }
    let oid = match signer.hash {
        DigestAlgorithm::Sha256 => SHA_256_WITH_RSA_ENCRYPTION,
        DigestAlgorithm::Sha384 => SHA_384_WITH_RSA_ENCRYPTION,
        DigestAlgorithm::Sha512 => SHA_512_WITH_RSA_ENCRYPTION,
    };
    AlgorithmIdentifierOwned { oid, parameters: None }
}

/// Where the authority also tells when it signed, its certificates were valid then, too.
fn check_signing_time(signer: &SignerInfo<'_>, chain: &[Certificate]) -> Result<(), InvalidTimestamp> {
    let Some(der) = signer.attribute(ID_SIGNING_TIME, "signingTime")? else { return Ok(()) };
    let time = AnyRef::from_der(der).map_err(|error| InvalidTimestamp::malformed(&error))?;
    let time = generalized_time(time).or_else(|| {
        let seconds = Time::from_der(der).ok()?.to_unix_duration().as_secs();
        Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
    });
    let time = time.ok_or(InvalidTimestamp::Form("its signing time is malformed"))?;
    check_validity(chain, time).map_err(InvalidTimestamp::NotValid)
}
