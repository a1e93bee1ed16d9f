//! Public keys of any size that a certificate may carry, and the bare mathematics of checking with them.
//!
//! Notary demands sizes of leaf keys only, so an issuer's key is kept here whatever its size, and
//! [`PublicKey`](super::PublicKey) is what also has one of the six sizes that may sign an image. RSA is left to AWS-LC,
//! the only implementation at hand without an open timing advisory; the curves are those of `RustCrypto`.

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use spki::SubjectPublicKeyInfoRef;

use super::{InvalidSignature, UnsupportedKey};
use crate::oci::DigestAlgorithm;

/// A public key that signatures can be checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyMaterial {
    Rsa { pkcs1: Vec<u8>, bits: usize },
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

/// How an ECDSA signature is written.
#[derive(Clone, Copy)]
pub(super) enum EcdsaForm {
    /// As certificates do: a DER sequence of two integers.
    Der,
    /// As envelopes do: both integers, each of the size of the curve's order.
    Fixed,
}

/// PKCS #1 `RSAPublicKey`. AWS-LC reads the exponent from the same bytes.
#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl KeyMaterial {
    /// The key of a certificate or of a public key file.
    pub(super) fn from_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, UnsupportedKey> {
        let bytes = info.subject_public_key.as_bytes().ok_or(UnsupportedKey::Malformed)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => Self::from_pkcs1(bytes),
            ID_EC_PUBLIC_KEY => Self::from_point(curve(info.algorithm.parameters)?, bytes),
            other => Err(UnsupportedKey::Algorithm(other.to_string())),
        }
    }

    /// The key in a PKCS #1 `RSAPublicKey`.
    pub(super) fn from_pkcs1(pkcs1: &[u8]) -> Result<Self, UnsupportedKey> {
        let key = RsaPublicKey::from_der(pkcs1).map_err(|_| UnsupportedKey::Malformed)?;
        Ok(Self::Rsa { pkcs1: pkcs1.to_vec(), bits: bits(key.modulus) })
    }

    pub(super) fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<Self, UnsupportedKey> {
        let malformed = |_| UnsupportedKey::Malformed;
        let (modulus, exponent) = (UintRef::new(modulus), UintRef::new(exponent));
        let key = RsaPublicKey { modulus: modulus.map_err(malformed)?, exponent: exponent.map_err(malformed)? };
        Self::from_pkcs1(&key.to_der().map_err(malformed)?)
    }

    pub(super) fn from_named_point(parameters: &[u8], point: &[u8]) -> Result<Self, UnsupportedKey> {
        let parameters = AnyRef::from_der(parameters).map_err(|_| UnsupportedKey::Malformed)?;
        let bare = <&OctetStringRef>::from_der(point).map_or(point, OctetStringRef::as_bytes);
        Self::from_point(curve(Some(parameters))?, bare)
    }

    fn from_point(curve: ObjectIdentifier, point: &[u8]) -> Result<Self, UnsupportedKey> {
        let key = match curve {
            SECP_256_R_1 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P256),
            SECP_384_R_1 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P384),
            SECP_521_R_1 => p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P521),
            other => return Err(UnsupportedKey::Curve(other.to_string())),
        };
        key.map_err(|_| UnsupportedKey::Malformed)
    }

    /// Checks an RSA signature; fails where the key is no RSA key, or of a size that the parameters do not allow.
    pub(super) fn verify_rsa(
        &self,
        parameters: &'static RsaParameters,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let Self::Rsa { pkcs1, .. } = self else { return Err(InvalidSignature) };
        UnparsedPublicKey::new(parameters, pkcs1).verify(message, signature).map_err(|_| InvalidSignature)
    }

    /// Checks an ECDSA signature over a hash of any size; fails where the key is on no curve.
    pub(super) fn verify_ecdsa(&self, hash: &[u8], form: EcdsaForm, signature: &[u8]) -> Result<(), InvalidSignature> {
        match (self, form) {
            (Self::Rsa { .. }, _) => Err(InvalidSignature),
            (Self::P256(key), EcdsaForm::Der) => check(key, hash, p256::ecdsa::Signature::from_der(signature)),
            (Self::P256(key), EcdsaForm::Fixed) => check(key, hash, p256::ecdsa::Signature::from_slice(signature)),
            (Self::P384(key), EcdsaForm::Der) => check(key, hash, p384::ecdsa::Signature::from_der(signature)),
            (Self::P384(key), EcdsaForm::Fixed) => check(key, hash, p384::ecdsa::Signature::from_slice(signature)),
            (Self::P521(key), EcdsaForm::Der) => check(key, hash, p521::ecdsa::Signature::from_der(signature)),
            (Self::P521(key), EcdsaForm::Fixed) => check(key, hash, p521::ecdsa::Signature::from_slice(signature)),
        }
    }
}

/// The parameters of RSASSA-PSS with this hash, which all demand a salt as long as it.
pub(super) fn pss(hash: DigestAlgorithm) -> &'static RsaParameters {
    match hash {
        DigestAlgorithm::Sha256 => &RSA_PSS_2048_8192_SHA256,
        DigestAlgorithm::Sha384 => &RSA_PSS_2048_8192_SHA384,
        DigestAlgorithm::Sha512 => &RSA_PSS_2048_8192_SHA512,
    }
}

/// Checks a signature that could be read.
fn check<K: PrehashVerifier<S>, S>(
    key: &K,
    hash: &[u8],
    signature: Result<S, signature::Error>,
) -> Result<(), InvalidSignature> {
    signature.and_then(|signature| key.verify_prehash(hash, &signature)).map_err(|_| InvalidSignature)
}

/// The named curve in the parameters of an elliptic curve key. Curves spelled out are not supported (RFC 5480, 2.1.1).
pub(super) fn curve(parameters: Option<AnyRef<'_>>) -> Result<ObjectIdentifier, UnsupportedKey> {
    parameters.and_then(|parameters| parameters.decode_as().ok()).ok_or(UnsupportedKey::Malformed)
}

/// How long a modulus is, in bits.
pub(super) fn bits(modulus: UintRef<'_>) -> usize {
    let bytes = modulus.as_bytes();
    let leading = bytes.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (bytes.len() * 8).saturating_sub(leading)
}
