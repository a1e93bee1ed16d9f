//! Signatures of the X.509 family: on certificates, revocation lists and OCSP responses.
//!
//! Unlike an envelope's signature, such a one names its own algorithm, and the issuer's key may have any size. SHA-1 and
//! MD5 are refused before any key is looked at (Notary signature specification, "Certificate Requirements").

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA384, RsaParameters,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_MGF_1, ID_RSASSA_PSS, ID_SHA_1, ID_SHA_256,
    ID_SHA_384, ID_SHA_512, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use der::Tag;
use der::Tagged as _;
use der::asn1::AnyRef;
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

use super::UnsupportedKey;
use super::key_material::{EcdsaForm, KeyMaterial, pss};
use crate::oci::DigestAlgorithm;
use crate::remedy::{Code, Remedy};

/// Why a signature on a certificate, revocation list or OCSP response is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509SignatureError {
    /// Made over a hash that collisions are known of.
    #[error("it is signed over {hash}, which is forbidden")]
    WeakHash {
        /// The hash function.
        hash: &'static str,
    },
    /// Made with an algorithm that is not RSASSA-PKCS1-v1_5, RSASSA-PSS or ECDSA with SHA-2. Holds the object identifier.
    #[error("its signature algorithm {0} is not supported")]
    Algorithm(String),
    /// The algorithm's parameters are malformed, or not a combination in use.
    #[error("the parameters of its signature algorithm are not supported")]
    Parameters,
    /// The issuer's key cannot be read.
    #[error("the issuer's key cannot be used")]
    Key(#[source] UnsupportedKey),
    /// Not made over these bytes with the issuer's key.
    #[error("its signature does not verify with the issuer's key")]
    Wrong,
}

impl Remedy for X509SignatureError {
    fn code(&self) -> Code {
        match self {
            Self::WeakHash { .. } => Code("certificate-hash-forbidden"),
            Self::Algorithm(_) => Code("certificate-algorithm-unsupported"),
            Self::Parameters => Code("certificate-algorithm-parameters"),
            Self::Key(_) => Code("issuer-key-unsupported"),
            Self::Wrong => Code("certificate-signature-invalid"),
        }
    }

    fn remedy(&self) -> Option<String> {
        matches!(self, Self::WeakHash { .. }).then(|| "have the certificate issued anew with SHA-256 or better".into())
    }
}

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Pkcs1(DigestAlgorithm),
    Pss(DigestAlgorithm),
    Ecdsa(DigestAlgorithm),
}

/// What RFC 4055, section 3.1 lets an RSASSA-PSS identifier say. Everything absent means SHA-1.
#[derive(der::Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u32>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

impl Scheme {
    /// The scheme that an algorithm identifier names.
    pub(super) fn of(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, X509SignatureError> {
        let parameters = algorithm.parameters.as_ref().map(AnyRef::from);
        let scheme = match algorithm.oid {
            SHA_256_WITH_RSA_ENCRYPTION => Self::Pkcs1(DigestAlgorithm::Sha256),
            SHA_384_WITH_RSA_ENCRYPTION => Self::Pkcs1(DigestAlgorithm::Sha384),
            SHA_512_WITH_RSA_ENCRYPTION => Self::Pkcs1(DigestAlgorithm::Sha512),
            ECDSA_WITH_SHA_256 => Self::Ecdsa(DigestAlgorithm::Sha256),
            ECDSA_WITH_SHA_384 => Self::Ecdsa(DigestAlgorithm::Sha384),
            ECDSA_WITH_SHA_512 => Self::Ecdsa(DigestAlgorithm::Sha512),
            ID_RSASSA_PSS => return pss_hash(parameters).map(Self::Pss),
            other => return Err(refusal(other)),
        };
        // NULL belongs there for PKCS #1 and nothing for ECDSA; both are met with either.
        if parameters.is_some_and(|parameters| parameters.tag() != Tag::Null) {
            return Err(X509SignatureError::Parameters);
        }
        Ok(scheme)
    }

    /// Checks a signature of this scheme.
    pub(super) fn verify(self, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> Result<(), X509SignatureError> {
        match self {
            Self::Pkcs1(hash) => key.verify_rsa(pkcs1(hash), message, signature),
            Self::Pss(hash) => key.verify_rsa(pss(hash), message, signature),
            Self::Ecdsa(hash) => key.verify_ecdsa(&hash.hash(message), EcdsaForm::Der, signature),
        }
        .map_err(|_| X509SignatureError::Wrong)
    }
}

/// Issuers' keys may be as short as 1024 bits, as far as AWS-LC has it: not with SHA-384, and not with PSS.
fn pkcs1(hash: DigestAlgorithm) -> &'static RsaParameters {
    match hash {
        DigestAlgorithm::Sha256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        DigestAlgorithm::Sha512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    }
}

/// The hash of RSASSA-PSS with these parameters. One hash for everything, a salt as long as it, and the only trailer
/// there is: other combinations are legal, and nobody makes them.
fn pss_hash(parameters: Option<AnyRef<'_>>) -> Result<DigestAlgorithm, X509SignatureError> {
    let parameters: PssParameters<'_> =
        parameters.and_then(|parameters| parameters.decode_as().ok()).ok_or(X509SignatureError::Parameters)?;
    let hash = parameters.hash.map_or(ID_SHA_1, |hash| hash.oid);
    let mask = parameters.mask.filter(|mask| mask.oid == ID_MGF_1).and_then(|mask| mask.parameters);
    let mask_hash = mask.and_then(|parameters| parameters.decode_as::<AlgorithmIdentifierRef<'_>>().ok());
    let (algorithm, length) = match hash {
        ID_SHA_256 => (DigestAlgorithm::Sha256, 32),
        ID_SHA_384 => (DigestAlgorithm::Sha384, 48),
        ID_SHA_512 => (DigestAlgorithm::Sha512, 64),
        ID_SHA_1 => return Err(X509SignatureError::WeakHash { hash: "SHA-1" }),
        _ => return Err(X509SignatureError::Parameters),
    };
    let is_usual = mask_hash.is_some_and(|mask_hash| mask_hash.oid == hash)
        && parameters.salt_length == Some(length)
        && parameters.trailer.is_none_or(|trailer| trailer == 1);
    if is_usual { Ok(algorithm) } else { Err(X509SignatureError::Parameters) }
}

/// Says of an algorithm that is not supported whether its hash is the reason.
fn refusal(algorithm: ObjectIdentifier) -> X509SignatureError {
    match algorithm.to_string().as_str() {
        // sha1WithRSAEncryption, the same by its older name, ecdsa-with-SHA1, dsa-with-sha1
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => {
            X509SignatureError::WeakHash { hash: "SHA-1" }
        }
        "1.2.840.113549.1.1.4" => X509SignatureError::WeakHash { hash: "MD5" },
        "1.2.840.113549.1.1.2" => X509SignatureError::WeakHash { hash: "MD2" },
        other => X509SignatureError::Algorithm(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use super::*;

    fn code(name: &str) -> &'static str {
        let certificate = read(&format!("certificates/{name}.pem")).remove(0);
        certificate.verify_signed_by(&certificate).map_or_else(|error| error.code().as_str(), |()| "good")
    }

    #[test]
    fn every_curve_goes_with_every_hash() {
        for curve in ["p256", "p384", "p521"] {
            for hash in ["sha256", "sha384", "sha512"] {
                assert_eq!(code(&format!("{curve}-{hash}")), "good", "{curve} {hash}");
            }
        }
    }

    #[test]
    fn both_paddings_of_rsa_go_with_every_hash() {
        for hash in ["sha256", "sha384", "sha512", "pss-sha256", "pss-sha384", "pss-sha512"] {
            assert_eq!(code(&format!("rsa2048-{hash}")), "good", "{hash}");
        }
    }

    #[test]
    fn issuers_keys_may_have_sizes_that_leaves_may_not() {
        for name in ["rsa1024-sha256", "rsa1024-sha512", "rsa2560-sha256"] {
            assert_eq!(code(name), "good", "{name}");
            let certificate = read(&format!("certificates/{name}.pem")).remove(0);
            assert_eq!(certificate.public_key().unwrap_err().code().as_str(), "key-size-unsupported");
        }
    }

    #[test]
    fn broken_hashes_are_forbidden_wherever_they_stand() {
        for name in ["rsa2048-sha1", "rsa2048-md5", "rsa2048-pss-sha1", "p521-sha1"] {
            assert_eq!(code(name), "certificate-hash-forbidden", "{name}");
        }
    }

    #[test]
    fn other_algorithms_and_curves_are_told_apart() {
        assert_eq!(code("ed25519"), "certificate-algorithm-unsupported");
        assert_eq!(code("secp256k1-sha256"), "issuer-key-unsupported");
        assert_eq!(code("rsa2048-pss-salt20"), "certificate-algorithm-parameters");
        assert_eq!(code("rsa2048-pss-mgf-sha1"), "certificate-algorithm-parameters");
    }

    #[test]
    fn another_key_or_other_bytes_do_not_verify() {
        for (name, other) in [("p256-sha256", "p384-sha256"), ("rsa2048-sha256", "rsa1024-sha256")] {
            let [certificate, other] = [name, other].map(|name| read(&format!("certificates/{name}.pem")).remove(0));
            assert_eq!(certificate.verify_signed_by(&other), Err(X509SignatureError::Wrong));
        }
    }
}
