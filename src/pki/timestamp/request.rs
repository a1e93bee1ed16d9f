//! Asking an authority for a time-stamp, and what to believe of its answer (RFC 3161, section 2.4).

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::asn1::{AnyRef, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Reader as _};
use spki::AlgorithmIdentifierRef;

use super::info::MessageImprint;
use super::signed_data::sequence;
use super::{InvalidTimestamp, MAX_TOKEN_SIZE, Stamp, TimestampToken};
use crate::oci::DigestAlgorithm;
use crate::pki::{Certificate, ber};
use crate::remedy::{Code, Remedy, excerpt};

/// The largest answer that is read, in bytes: the largest token, and room for a status in words.
pub const MAX_RESPONSE_SIZE: usize = MAX_TOKEN_SIZE + 4 * 1024;

/// A request for a time-stamp over one message.
#[derive(Clone, Debug)]
pub struct TimestampRequest {
    hash: DigestAlgorithm,
    imprint: Vec<u8>,
    nonce: Vec<u8>,
}

/// Why there is no time-stamp in an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedTimestamp {
    /// Not an answer.
    #[error("the answer is not one of a time-stamp authority")]
    Malformed,
    /// The authority says no.
    #[error("the authority refuses (status {status}): {reason}")]
    Refused {
        /// The status (RFC 3161, section 2.4.2).
        status: u8,
        /// What it says for people.
        reason: String,
    },
    /// The token answers another request.
    #[error("the time-stamp answers another request")]
    OtherRequest,
    /// The token does not hold.
    #[error("the time-stamp is not acceptable")]
    Invalid(#[source] InvalidTimestamp),
}

impl Remedy for RefusedTimestamp {
    fn code(&self) -> Code {
        match self {
            Self::Malformed => Code("timestamp-answer-malformed"),
            Self::Refused { .. } => Code("timestamp-refused"),
            Self::OtherRequest => Code("timestamp-of-other-request"),
            Self::Invalid(source) => source.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Malformed => "see whether the URL is that of an RFC 3161 time-stamp authority".into(),
            Self::Refused { .. } => "ask whoever runs the authority, or use another one".into(),
            Self::OtherRequest => "ask again; somebody between here and the authority gives old answers".into(),
            Self::Invalid(InvalidTimestamp::Untrusted { .. }) => {
                "give the root certificate of this authority: an authority that you do not know vouches for nothing"
                    .into()
            }
            Self::Invalid(source) => return source.remedy(),
        })
    }
}

#[derive(der::Sequence)]
struct Request<'a> {
    version: u8,
    imprint: MessageImprint<'a>,
    nonce: UintRef<'a>,
    wants_certificates: bool,
}

impl TimestampRequest {
    /// Asks for a time-stamp over the message by way of this hash. The nonce must not be one that was used before.
    pub fn new(message: &[u8], hash: DigestAlgorithm, nonce: [u8; 16]) -> Self {
        // Fixed high bits keep the number positive and of the same length.
        let [first, rest @ ..] = nonce;
        let nonce = [&[first & 0x3f | 0x40][..], &rest].concat();
        Self { hash, imprint: hash.hash(message), nonce }
    }

    /// The request as it is sent, `application/timestamp-query`.
    pub fn to_der(&self) -> Vec<u8> {
        self.encode().unwrap_or_default() // writing a few dozen bytes to memory does not fail
    }

    fn encode(&self) -> der::Result<Vec<u8>> {
        let parameters = Some(AnyRef::NULL);
        Request {
            version: 1,
            imprint: MessageImprint {
                hash: AlgorithmIdentifierRef { oid: identifier(self.hash), parameters },
                hashed: OctetStringRef::new(&self.imprint)?,
            },
            nonce: UintRef::new(&self.nonce)?,
            wants_certificates: true,
        }
        .to_der()
    }

    /// The token in an answer, with what it proves under these anchors. It is over the message that was asked about, and was
    /// made for this request.
    pub fn accept(
        &self,
        answer: &[u8],
        message: &[u8],
        anchors: &[Certificate],
    ) -> Result<(TimestampToken, Stamp), RefusedTimestamp> {
        let answer = ber::to_der(answer).map_err(|_| RefusedTimestamp::Malformed)?;
        let (status, reason, token) = response(&answer).map_err(|_| RefusedTimestamp::Malformed)?;
        // 0 is granted, 1 granted with modifications.
        let token = match (status, token) {
            (0 | 1, Some(token)) => TimestampToken::parse(token).map_err(RefusedTimestamp::Invalid)?,
            (0 | 1, None) => return Err(RefusedTimestamp::Malformed),
            (status, _) => return Err(RefusedTimestamp::Refused { status, reason: excerpt(&reason) }),
        };
        let info = token.info();
        if info.nonce.as_ref() != Some(&self.nonce) || info.hash != self.hash || info.imprint != self.imprint {
            return Err(RefusedTimestamp::OtherRequest);
        }
        let stamp = token.verify(message, anchors).map_err(RefusedTimestamp::Invalid)?;
        Ok((token, stamp))
    }
}

/// `TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }`
fn response(der: &[u8]) -> der::Result<(u8, String, Option<&[u8]>)> {
    sequence(der, |reader| {
        let (status, reason) = status(reader.tlv_bytes()?)?;
        let token = if reader.is_finished() { None } else { Some(reader.tlv_bytes()?) };
        Ok((status, reason, token))
    })
}

/// `PKIStatusInfo ::= SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL, failInfo BIT STRING OPTIONAL }`
fn status(der: &[u8]) -> der::Result<(u8, String)> {
    sequence(der, |reader| {
        let status = u8::decode(reader)?;
        let mut reason = String::new();
        while !reader.is_finished() {
            let part = AnyRef::decode(reader)?;
            if der::Tagged::tag(&part) == der::Tag::Sequence {
                reason = part.decode_as::<Vec<String>>()?.join(" ");
            }
        }
        Ok((status, reason))
    })
}

fn identifier(hash: DigestAlgorithm) -> ObjectIdentifier {
    match hash {
        DigestAlgorithm::Sha256 => ID_SHA_256,
        DigestAlgorithm::Sha384 => ID_SHA_384,
        DigestAlgorithm::Sha512 => ID_SHA_512,
    }
}
