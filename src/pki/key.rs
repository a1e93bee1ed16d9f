//! Public keys that may sign images.
//!
//! Six kinds and sizes, each with its one algorithm, so a key is all that is needed to check a signature: there is no
//! parameter that a stranger's envelope could choose (Notary signature specification, "Signature Algorithm Requirements").

use der::Decode as _;
use spki::SubjectPublicKeyInfoRef;

use super::KeySpec;
use super::key_material::{EcdsaForm, KeyMaterial, pss};
use crate::remedy::{Code, Remedy};

/// A public key of one of the six kinds and sizes that Notary allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spec: KeySpec,
    material: KeyMaterial,
}

/// Why a key is not one that may sign images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsupportedKey {
    /// Neither RSA nor elliptic curve. Holds the object identifier.
    #[error("a key of the algorithm {0} is neither RSA nor elliptic curve")]
    Algorithm(String),
    /// Another curve. Holds the object identifier.
    #[error("the key's curve {0} is not one of P-256, P-384, P-521")]
    Curve(String),
    /// RSA of another length.
    #[error("an RSA key of {bits} bits is not one of 2048, 3072, 4096")]
    RsaSize {
        /// The length of the modulus in bits.
        bits: usize,
    },
    /// Not a key, or one whose point is not on its curve.
    #[error("the key is malformed")]
    Malformed,
}

impl Remedy for UnsupportedKey {
    fn code(&self) -> Code {
        match self {
            Self::Algorithm(_) => Code("key-algorithm-unsupported"),
            Self::Curve(_) => Code("key-curve-unsupported"),
            Self::RsaSize { .. } => Code("key-size-unsupported"),
            Self::Malformed => Code("key-malformed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        let kinds = "sign with an RSA key of 2048, 3072 or 4096 bits, or with one on P-256, P-384 or P-521";
        (!matches!(self, Self::Malformed)).then(|| kinds.into())
    }
}

/// The signature was not made over these bytes with this key, or is not even of its form. Which of the two is not told:
/// neither would be safer to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify with the key")]
pub struct InvalidSignature;

impl Remedy for InvalidSignature {
    fn code(&self) -> Code {
        Code("signature-invalid")
    }
}

impl PublicKey {
    /// The key in a DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7), with nothing after it.
    pub fn from_der(der: &[u8]) -> Result<Self, UnsupportedKey> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| UnsupportedKey::Malformed)?;
        KeyMaterial::from_info(&info)?.try_into()
    }

    /// An RSA key by its modulus and exponent, both big-endian.
    pub fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<Self, UnsupportedKey> {
        KeyMaterial::from_numbers(modulus, exponent)?.try_into()
    }

    /// A key on the curve of these `ECParameters` (DER), by its point as SEC1 has it: bare, or in an OCTET STRING, as PKCS #11
    /// has it.
    pub fn from_point(parameters: &[u8], point: &[u8]) -> Result<Self, UnsupportedKey> {
        KeyMaterial::from_named_point(parameters, point)?.try_into()
    }

    /// The kind and size of the key.
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// Verifies with the algorithm of this key's spec. ECDSA: raw r‖s, each exactly of the order's size (no DER; high S
    /// accepted, since the specification has no low-S rule). RSA: PSS, MGF1 with the same hash, salt as long as the hash.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let hash = self.spec.signature_algorithm().hash();
        match &self.material {
            KeyMaterial::Rsa { .. } => self.material.verify_rsa(pss(hash), message, signature),
            _ => self.material.verify_ecdsa(&hash.hash(message), EcdsaForm::Fixed, signature),
        }
    }
}

impl TryFrom<KeyMaterial> for PublicKey {
    type Error = UnsupportedKey;

    fn try_from(material: KeyMaterial) -> Result<Self, UnsupportedKey> {
        let spec = match &material {
            KeyMaterial::Rsa { bits, .. } => rsa_spec(*bits)?,
            KeyMaterial::P256(_) => KeySpec::EcP256,
            KeyMaterial::P384(_) => KeySpec::EcP384,
            KeyMaterial::P521(_) => KeySpec::EcP521,
        };
        Ok(Self { spec, material })
    }
}

/// The spec of an RSA key of this length. The reference implementation counts whole bytes, so that it takes 2047 bits
/// for 2048; AWS-LC would verify nothing with such a key, so it is refused here, where the reason can be told.
pub(super) fn rsa_spec(bits: usize) -> Result<KeySpec, UnsupportedKey> {
    match bits {
        2048 => Ok(KeySpec::Rsa2048),
        3072 => Ok(KeySpec::Rsa3072),
        4096 => Ok(KeySpec::Rsa4096),
        _ => Err(UnsupportedKey::RsaSize { bits }),
    }
}
