//! Tokens made up for tests, each of which differs from a good one in exactly one thing.

use const_oid::db::rfc5280::ID_KP_TIME_STAMPING;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256};
use der::Encode as _;
use der::asn1::ObjectIdentifier;
use p256::ecdsa::DerSignature;
use p256::ecdsa::signature::Signer as _;

use super::ID_CT_TST_INFO;
use super::binding::SIGNING_CERTIFICATE_V2;
use crate::oci::DigestAlgorithm::Sha256;
use crate::pki::testing::{Draft, key};
use crate::pki::{Certificate, ber};

/// What the tokens are over.
pub(super) const MESSAGE: &[u8] = b"the bytes of a signature";

/// A token before it is signed. The parts are BER.
#[derive(Clone)]
pub(super) struct Forgery {
    pub(super) cms_version: u8,
    pub(super) content_type: ObjectIdentifier,
    pub(super) content: Content,
    pub(super) signer_version: u8,
    pub(super) stamper: Draft,
    /// In the place of the hash of the signer's certificate in its binding.
    pub(super) bound: Option<Vec<u8>>,
    /// After the three that RFC 3161 asks for.
    pub(super) further_attributes: Vec<Vec<u8>>,
    /// Which of the three stand there.
    pub(super) attributes: Vec<usize>,
    pub(super) signed_key: u8,
    /// DER of what the token holds.
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) signers: usize,
}

/// What the token says.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) version: u8,
    pub(super) policy: ObjectIdentifier,
    pub(super) hash: ObjectIdentifier,
    pub(super) imprint: Vec<u8>,
    pub(super) time: &'static str,
    /// BER of the optional fields.
    pub(super) rest: Vec<u8>,
}

impl Forgery {
    /// A good token, made in 2026.
    pub(super) fn good() -> Self {
        Self::by(stamper())
    }

    /// A token that this certificate has signed, and which holds it and the one above.
    pub(super) fn by(stamper: Draft) -> Self {
        Self {
            cms_version: 3,
            content_type: ID_CT_TST_INFO,
            content: Content {
                version: 1,
                policy: ObjectIdentifier::new_unwrap("1.2.3.4"),
                hash: ID_SHA_256,
                imprint: Sha256.hash(MESSAGE),
                time: "20260601000000Z",
                rest: Vec::new(),
            },
            signer_version: 1,
            signed_key: stamper.key,
            certificates: vec![Draft::authority(1).der(), stamper.clone().der()],
            stamper,
            bound: None,
            further_attributes: Vec::new(),
            attributes: vec![0, 1, 2],
            signers: 1,
        }
    }

    /// The token as DER.
    pub(super) fn der(&self) -> Vec<u8> {
        ber::to_der(&self.ber()).unwrap()
    }

    /// The same, as somebody would stream it.
    pub(super) fn ber(&self) -> Vec<u8> {
        let content = der(&self.content.ber());
        let encapsulated =
            sequence(&[oid(self.content_type), element(0xa0, &[element(0x04, std::slice::from_ref(&content))])]);
        let signer = self.signer(&content);
        let signed_data = sequence(&[
            int(self.cms_version),
            element(0x31, &[algorithm(ID_SHA_256)]),
            encapsulated,
            element(0xa0, &self.certificates),
            element(0x31, &vec![signer; self.signers]),
        ]);
        sequence(&[oid(ID_SIGNED_DATA), element(0xa0, &[signed_data])])
    }

    fn signer(&self, content: &[u8]) -> Vec<u8> {
        let certificate = self.stamper.clone().certificate();
        let hash = self.bound.clone().unwrap_or_else(|| Sha256.hash(certificate.der()));
        let binding = sequence(&[sequence(&[sequence(&[element(0x04, &[hash])])])]);
        let three = [
            attribute(ID_CONTENT_TYPE, oid(self.content_type)),
            attribute(ID_MESSAGE_DIGEST, element(0x04, &[Sha256.hash(content)])),
            attribute(SIGNING_CERTIFICATE_V2, binding),
        ];
        let mut attributes: Vec<Vec<u8>> = self.attributes.iter().map(|index| der(&three[*index])).collect();
        attributes.extend(self.further_attributes.iter().map(|attribute| der(attribute)));
        // The signature is over the sorted set, and the token holds it in any order.
        let mut sorted = attributes.clone();
        sorted.sort();
        let signature: DerSignature = key(self.signed_key).sign(&der(&element(0x31, &sorted)));
        let serial_number = element(0x02, &[certificate.serial_number().to_vec()]);
        let attributes = if attributes.is_empty() { Vec::new() } else { element(0xa0, &attributes) };
        sequence(&[
            int(self.signer_version),
            sequence(&[certificate.issuer_der().to_vec(), serial_number]),
            algorithm(ID_SHA_256),
            attributes,
            algorithm(ECDSA_WITH_SHA_256),
            element(0x04, &[signature.as_bytes().to_vec()]),
        ])
    }
}

impl Content {
    fn ber(&self) -> Vec<u8> {
        sequence(&[
            int(self.version),
            oid(self.policy),
            sequence(&[algorithm(self.hash), element(0x04, std::slice::from_ref(&self.imprint))]),
            int(7),
            element(0x18, &[self.time.as_bytes().to_vec()]),
            self.rest.clone(),
        ])
    }
}

/// A certificate that may sign time-stamps, issued by `authority(1)`.
pub(super) fn stamper() -> Draft {
    Draft::leaf().purposes(true, &[ID_KP_TIME_STAMPING])
}

/// Above `authority(1)`.
pub(super) fn root() -> Certificate {
    Draft::authority(2).self_signed().certificate()
}

pub(super) fn attribute(kind: ObjectIdentifier, value: Vec<u8>) -> Vec<u8> {
    sequence(&[oid(kind), element(0x31, &[value])])
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, parts)
}

pub(super) fn int(number: u8) -> Vec<u8> {
    vec![0x02, 1, number]
}

pub(super) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    oid.to_der().unwrap()
}

fn algorithm(kind: ObjectIdentifier) -> Vec<u8> {
    sequence(&[oid(kind)])
}

/// An element of BER, of indefinite length where it is made of others, and byte strings in pieces.
pub(super) fn element(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    match tag {
        0x04 => {
            let pieces =
                content.chunks(40).flat_map(|piece| [&[0x04, u8::try_from(piece.len()).unwrap()], piece].concat());
            [&[0x24, 0x80][..], &pieces.collect::<Vec<u8>>(), &[0, 0]].concat()
        }
        tag if tag & 0x20 != 0 => [&[tag, 0x80][..], &content, &[0, 0]].concat(),
        tag => [&[tag, 0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), &content].concat(),
    }
}

fn der(ber: &[u8]) -> Vec<u8> {
    ber::to_der(ber).unwrap()
}
