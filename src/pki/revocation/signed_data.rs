//! What certificates, revocation lists and OCSP responses have in common: something, how it is signed, and the signature.

use der::asn1::{BitStringRef, GeneralizedTime};
use der::{Decode as _, Reader as _, SliceReader};
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extension;

use super::super::{Certificate, InvalidCertificate, X509SignatureError};

/// The three members of a signed structure. The signature is over the bytes as received, never over a re-encoding.
pub(super) struct SignedData<'a> {
    pub(super) signed: &'a [u8],
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: &'a [u8],
    /// What follows within the structure, as only an OCSP response has it.
    pub(super) rest: &'a [u8],
}

impl<'a> SignedData<'a> {
    /// The members of the structure in these bytes, with nothing after it.
    pub(super) fn from_der(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let read = reader.sequence(|fields| {
            let signed = fields.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierOwned::decode(fields)?;
            let signature = BitStringRef::decode(fields)?;
            let signature = signature.as_bytes().ok_or_else(|| der::Error::from(der::Tag::BitString.value_error()))?;
            let rest = fields.read_slice(fields.remaining_len())?;
            der::Result::Ok(Self { signed, algorithm, signature, rest })
        })?;
        reader.finish()?;
        Ok(read)
    }

    /// Checks the signature with the key of this certificate.
    pub(super) fn verify(&self, signer: &Certificate) -> Result<(), X509SignatureError> {
        signer.verify_with_key(&self.algorithm, self.signed, self.signature)
    }
}

/// What is wrong with bytes, in the words of whoever found it.
pub(super) struct Fault(pub(super) String);

impl From<der::Error> for Fault {
    fn from(error: der::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<InvalidCertificate> for Fault {
    fn from(error: InvalidCertificate) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Fault {
    fn from(fault: &str) -> Self {
        Self(fault.to_owned())
    }
}

/// The instant, or the last one that a timestamp can hold.
pub(super) fn instant(time: GeneralizedTime) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The content of the extension of this type, where it is there.
pub(super) fn content(extensions: &[Extension], oid: der::asn1::ObjectIdentifier) -> Option<&[u8]> {
    let extension = extensions.iter().find(|extension| extension.extn_id == oid)?;
    Some(extension.extn_value.as_bytes())
}

/// The first critical extension that is none of those that are understood, dotted.
pub(super) fn critical_unknown(extensions: &[Extension], understood: &[der::asn1::ObjectIdentifier]) -> Option<String> {
    let unknown = extensions.iter().find(|extension| extension.critical && !understood.contains(&extension.extn_id));
    unknown.map(|extension| extension.extn_id.to_string())
}
