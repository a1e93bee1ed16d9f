//! Signature envelopes: JWS and COSE behind one face.
//!
//! An [`Envelope`] is well formed and nothing more. Its parts are believed only after `verify` has checked the signature
//! over [`Envelope::to_be_signed`], which is made of the bytes as received and never of a re-encoding.
//!
//! Follows the Notary signature specification, "Signature Envelope", and its JWS and COSE annexes.

mod attributes;
mod cbor;
mod cose;
mod error;
mod jws;
pub mod limits;
mod members;
mod payload;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

pub use attributes::{ExtendedAttribute, PluginDemand, SignedAttributes, SigningScheme, UnsignedAttributes};
pub use error::{CborFault, InvalidEnvelope};
pub use payload::Payload;

use crate::oci::media_type;
use crate::pki::{Certificate, MAX_CHAIN_LENGTH, SignatureAlgorithm};
use crate::remedy::excerpt;

/// The two formats of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Format {
    /// JWS in the flattened JSON serialization.
    Jws,
    /// A tagged `COSE_Sign1`.
    Cose,
}

impl Format {
    /// The media type of an envelope of this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jws => media_type::JWS_ENVELOPE,
            Self::Cose => media_type::COSE_ENVELOPE,
        }
    }

    /// The format of this media type, compared as an exact string.
    pub fn from_media_type(media_type: &str) -> Result<Self, InvalidEnvelope> {
        [Self::Jws, Self::Cose]
            .into_iter()
            .find(|format| format.media_type() == media_type)
            .ok_or_else(|| InvalidEnvelope::MediaType(excerpt(media_type)))
    }

    /// The format that the name of a detached signature's file tells: `NAME.jws.sig` or `NAME.cose.sig`, the format in
    /// either case. The bytes are never guessed at.
    pub fn from_signature_file_name(name: &str) -> Result<Self, InvalidEnvelope> {
        let format = name.strip_suffix(".sig").and_then(|rest| rest.rsplit_once('.'));
        format
            .and_then(|(_, format)| format.to_ascii_lowercase().parse().ok())
            .ok_or_else(|| InvalidEnvelope::FileName(excerpt(name)))
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "jws" => Ok(Self::Jws),
            "cose" => Ok(Self::Cose),
            other => Err(format!("`{other}` is not one of jws, cose")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jws => "JWS",
            Self::Cose => "COSE",
        })
    }
}

/// A signature envelope of good form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    format: Format,
    algorithm: SignatureAlgorithm,
    payload: Vec<u8>,
    signed_attributes: SignedAttributes,
    unsigned_attributes: UnsignedAttributes,
    certificates: Vec<Vec<u8>>,
    signature: Vec<u8>,
    to_be_signed: Vec<u8>,
}

impl Envelope {
    /// The envelope in these bytes, which were served under this media type; at most `limit` bytes of it.
    pub fn parse(media_type: &str, bytes: &[u8], limit: u64) -> Result<Self, InvalidEnvelope> {
        let format = Format::from_media_type(media_type)?;
        let size = bytes.len() as u64;
        if size > limit {
            return Err(InvalidEnvelope::TooLarge { size, limit });
        }
        let envelope = match format {
            Format::Jws => jws::parse(bytes),
            Format::Cose => cose::parse(bytes),
        }?;
        if envelope.certificates.len() > MAX_CHAIN_LENGTH {
            return Err(InvalidEnvelope::ChainTooLong);
        }
        Ok(envelope)
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The algorithm that the envelope names. The leaf's key has the last word.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What is signed beside the payload.
    pub fn signed_attributes(&self) -> &SignedAttributes {
        &self.signed_attributes
    }

    /// What anybody may have written.
    pub fn unsigned_attributes(&self) -> &UnsignedAttributes {
        &self.unsigned_attributes
    }

    /// The certificates as DER, leaf first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What the signature is over.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }
}

/// What a new envelope carries beside its signature.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The certificates, leaf first.
    pub chain: &'a [Certificate],
    /// The name of the signing tool.
    pub signing_agent: &'a str,
    /// The token of a time-stamp over the signature.
    pub timestamp_signature: Option<&'a [u8]>,
}

/// An envelope that waits for its signature.
#[derive(Clone, Debug)]
pub struct Draft {
    format: Format,
    algorithm: SignatureAlgorithm,
    payload: Vec<u8>,
    protected: Vec<u8>,
}

impl Draft {
    /// A draft under the scheme `notary.x509`. Times are cut to whole seconds, which is what envelopes carry.
    pub fn new(
        format: Format,
        algorithm: SignatureAlgorithm,
        payload: &Payload,
        signing_time: Timestamp,
        expiry: Option<Timestamp>,
    ) -> Self {
        let protected = match format {
            Format::Jws => jws::protected_header(algorithm, signing_time, expiry),
            Format::Cose => cose::protected_header(algorithm, signing_time, expiry),
        };
        Self { format, algorithm, payload: payload.to_bytes(), protected }
    }

    /// What the key must sign.
    pub fn to_be_signed(&self) -> Vec<u8> {
        match self.format {
            Format::Jws => jws::to_be_signed(&self.protected, &self.payload),
            Format::Cose => cose::to_be_signed(&self.protected, &self.payload),
        }
    }

    /// The algorithm that the draft names.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The envelope's bytes, with the signature and what is not signed.
    pub fn seal(&self, signature: &[u8], unsigned: Unsigned<'_>) -> Vec<u8> {
        match self.format {
            Format::Jws => jws::seal(&self.protected, &self.payload, signature, unsigned),
            Format::Cose => cose::seal(&self.protected, &self.payload, signature, unsigned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::{Code, Remedy};

    #[test]
    fn a_media_type_is_compared_as_it_stands() {
        assert_eq!(Format::from_media_type("application/jose+json"), Ok(Format::Jws));
        assert_eq!(Format::from_media_type("application/cose"), Ok(Format::Cose));
        for other in ["application/jose", "application/JOSE+json", "application/cose; x=y", " application/cose", ""] {
            assert_eq!(Format::from_media_type(other).unwrap_err().code(), Code("envelope-media-type"), "{other}");
        }
    }

    #[test]
    fn the_name_of_a_signature_file_tells_its_format() {
        for (name, format) in [
            ("flightplan.txt.jws.sig", Format::Jws),
            ("flightplan.txt.COSE.sig", Format::Cose),
            ("a.jws.cose.sig", Format::Cose),
        ] {
            assert_eq!(Format::from_signature_file_name(name), Ok(format), "{name}");
        }
        for name in ["", "f.sig", "jws.sig", "f.jws", "f.jws.SIG", "f.pem.sig", "f.jws.sig.txt", "f.jws..sig"] {
            let error = Format::from_signature_file_name(name).unwrap_err();
            assert_eq!(error.code(), Code("signature-file-name"), "{name}");
        }
    }
}
