//! The question to an OCSP responder, and how an answer says which certificate it is about (RFC 6960, section 4.1.1).
//!
//! One certificate per request, named by SHA-1 as every responder understands it and the reference implementation asks:
//! the hash identifies and protects nothing. There is no nonce: few responders answer one, and with it none could give an
//! answer that it has made before. Against an old answer stands its `nextUpdate`.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::Encode as _;
use der::asn1::{IntRef, Null, ObjectIdentifier, OctetStringRef};
use spki::{AlgorithmIdentifier, AlgorithmIdentifierRef};

use super::super::Certificate;
use crate::oci::DigestAlgorithm;

/// Which certificate is meant: issuer's name and key, hashed, and the serial number.
#[derive(Clone, Copy, der::Sequence)]
pub(super) struct CertId<'a> {
    hash_algorithm: AlgorithmIdentifierRef<'a>,
    issuer_name_hash: &'a OctetStringRef,
    issuer_key_hash: &'a OctetStringRef,
    serial_number: IntRef<'a>,
}

#[derive(der::Sequence)]
struct OcspRequest<'a> {
    tbs: TbsRequest<'a>,
}

#[derive(der::Sequence)]
struct TbsRequest<'a> {
    requests: Vec<SingleRequest<'a>>,
}

#[derive(der::Sequence)]
struct SingleRequest<'a> {
    certificate: CertId<'a>,
}

/// The DER of a request about one certificate.
pub fn ocsp_request(certificate: &Certificate, issuer: &Certificate) -> Result<Vec<u8>, der::Error> {
    let (name, key) = (sha1(issuer.subject_der()), sha1(issuer.key_bits()));
    let certificate = CertId {
        hash_algorithm: AlgorithmIdentifier { oid: ID_SHA_1, parameters: Some(Null.into()) },
        issuer_name_hash: OctetStringRef::new(&name)?,
        issuer_key_hash: OctetStringRef::new(&key)?,
        serial_number: IntRef::new(certificate.serial_number())?,
    };
    OcspRequest { tbs: TbsRequest { requests: vec![SingleRequest { certificate }] } }.to_der()
}

impl CertId<'_> {
    /// Whether this certificate of this issuer is meant. A responder may answer with another hash than it was asked with.
    pub(super) fn is_about(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let Some(hash) = hash(self.hash_algorithm.oid) else { return false };
        self.serial_number.as_bytes() == certificate.serial_number()
            && self.issuer_name_hash.as_bytes() == hash(issuer.subject_der())
            && self.issuer_key_hash.as_bytes() == hash(issuer.key_bits())
    }
}

/// A hash function.
type Hash = fn(&[u8]) -> Vec<u8>;

fn hash(algorithm: ObjectIdentifier) -> Option<Hash> {
    match algorithm {
        ID_SHA_1 => Some(sha1),
        ID_SHA_256 => Some(|bytes| DigestAlgorithm::Sha256.hash(bytes)),
        ID_SHA_384 => Some(|bytes| DigestAlgorithm::Sha384.hash(bytes)),
        ID_SHA_512 => Some(|bytes| DigestAlgorithm::Sha512.hash(bytes)),
        _ => None,
    }
}

/// Identifies names and keys in OCSP, where it protects nothing.
pub(super) fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}
