//! Private keys that sign images, for whoever keeps them in a file.
//!
//! A key never leaves this type: it is not `Clone`, its `Debug` shows its kind only, and the bytes it was read from are
//! wiped. Signatures come out in the one form that envelopes carry.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Reader as _, SliceReader};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::PrivateKeyInfoRef;

use super::encrypted_key::decrypt;
use super::key::rsa_spec;
use super::key_material::{KeyMaterial, bits, curve};
use super::pem::{self, Block};
use super::{InvalidPem, KeySpec, PublicKey, UnsupportedKey};
use crate::remedy::{Code, Remedy};

/// A private key with its public half. Not `Clone`; `Debug` shows only the spec.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
}

/// The elliptic curve keys wipe themselves when dropped, and AWS-LC wipes the RSA one.
enum Secret {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

/// Why a private key cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// Not PEM that can be read.
    #[error("the file is not readable as PEM")]
    Pem(#[source] InvalidPem),
    /// No block of the file is a private key.
    #[error("the file has no private key in PEM")]
    NoKey,
    /// The key is encrypted under a passphrase, and there is none.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The passphrase gives no key: it is another one, or the file was altered.
    #[error("the private key cannot be decrypted with this passphrase")]
    WrongPassphrase,
    /// Encrypted in another way than PBES2 with PBKDF2 or scrypt, and AES.
    #[error("the private key is encrypted in a way that is not supported")]
    EncryptionUnsupported,
    /// The file asks for more work than a passphrase is worth.
    #[error("the private key asks for {cost} {what}, at most {limit} are accepted")]
    Cost {
        /// Of what.
        what: &'static str,
        /// How much.
        cost: u64,
        /// How much is accepted.
        limit: u64,
    },
    /// A block of another form than PKCS #8, PKCS #1 and SEC1.
    #[error("a private key of the form `{label}` is not supported")]
    Form {
        /// What the block says it is.
        label: String,
    },
    /// The block does not contain a key of the form that it says, or one that contradicts itself.
    #[error("the private key is malformed")]
    Malformed,
    /// A key, but none that may sign images.
    #[error("the private key cannot sign images")]
    Unsupported(#[source] UnsupportedKey),
    /// The key could not sign.
    #[error("signing with the private key failed")]
    Signing,
}

impl Remedy for PrivateKeyError {
    fn code(&self) -> Code {
        match self {
            Self::Pem(source) => source.code(),
            Self::NoKey => Code("private-key-missing"),
            Self::Encrypted => Code("private-key-encrypted"),
            Self::WrongPassphrase => Code("private-key-passphrase-wrong"),
            Self::EncryptionUnsupported => Code("private-key-encryption-unsupported"),
            Self::Cost { .. } => Code("private-key-cost"),
            Self::Form { .. } => Code("private-key-form-unsupported"),
            Self::Malformed => Code("private-key-malformed"),
            Self::Unsupported(source) => source.code(),
            Self::Signing => Code("signing-failed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Encrypted => Some("give its passphrase".into()),
            Self::WrongPassphrase => Some("see whether it is the passphrase of this key".into()),
            Self::EncryptionUnsupported
            | Self::Cost { .. }
            | Self::Form { .. }
            | Self::Pem(InvalidPem::Headers { .. }) => {
                Some("write it anew: `openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000 -in KEY -out NEW`".into())
            }
            Self::Unsupported(source) => source.remedy(),
            _ => None,
        }
    }
}

impl PrivateKey {
    /// The first private key of a PEM file: PKCS #8, PKCS #1 or SEC1. Other blocks, such as the parameters that
    /// `openssl ecparam` writes first, are passed over.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::read(pem, None)
    }

    /// The same, where the key may be encrypted under this passphrase.
    pub fn from_encrypted_pem(pem: &[u8], passphrase: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::read(pem, Some(passphrase))
    }

    fn read(pem: &[u8], passphrase: Option<&[u8]>) -> Result<Self, PrivateKeyError> {
        let blocks = pem::blocks(pem).map_err(PrivateKeyError::Pem)?;
        let is_key = |block: &Block| block.label.ends_with("PRIVATE KEY");
        let block = blocks.into_iter().find(is_key).ok_or(PrivateKeyError::NoKey)?;
        let secret = match block.label.as_str() {
            "PRIVATE KEY" => from_pkcs8(&block.contents),
            "RSA PRIVATE KEY" => from_pkcs1(&block.contents),
            "EC PRIVATE KEY" => from_sec1(&block.contents, None),
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(PrivateKeyError::Encrypted)?;
                // Bytes that are no key come from a wrong passphrase, once in 256 times.
                from_pkcs8(decrypt(&block.contents, passphrase)?.as_bytes()).map_err(|error| match error {
                    PrivateKeyError::Malformed => PrivateKeyError::WrongPassphrase,
                    error => error,
                })
            }
            label => Err(PrivateKeyError::Form { label: label.to_owned() }),
        }?;
        let public = secret.public_material().and_then(PublicKey::try_from).map_err(PrivateKeyError::Unsupported)?;
        Ok(Self { secret, public })
    }

    /// The kind and size of the key.
    pub fn spec(&self) -> KeySpec {
        self.public.spec()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs with the algorithm of this key's spec, in the form that envelopes carry: RSASSA-PSS with a salt as long as
    /// the hash, or ECDSA as raw r‖s.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let hash = || self.spec().signature_algorithm().hash().hash(message);
        match &self.secret {
            Secret::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| PrivateKeyError::Signing)?;
                Ok(signature)
            }
            Secret::P256(key) => {
                sign_hash(key, &hash(), |signature: &p256::ecdsa::Signature| signature.to_bytes().to_vec())
            }
            Secret::P384(key) => {
                sign_hash(key, &hash(), |signature: &p384::ecdsa::Signature| signature.to_bytes().to_vec())
            }
            Secret::P521(key) => {
                sign_hash(key, &hash(), |signature: &p521::ecdsa::Signature| signature.to_bytes().to_vec())
            }
        }
    }
}

impl Secret {
    fn public_material(&self) -> Result<KeyMaterial, UnsupportedKey> {
        match self {
            Self::Rsa(pair, _) => KeyMaterial::from_pkcs1(pair.public_key().as_ref()),
            Self::P256(key) => Ok(KeyMaterial::P256(*key.verifying_key())),
            Self::P384(key) => Ok(KeyMaterial::P384(*key.verifying_key())),
            Self::P521(key) => Ok(KeyMaterial::P521(*key.verifying_key())),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("spec", &self.spec()).finish_non_exhaustive()
    }
}

fn sign_hash<K: PrehashSigner<S>, S>(
    key: &K,
    hash: &[u8],
    bytes: impl Fn(&S) -> Vec<u8>,
) -> Result<Vec<u8>, PrivateKeyError> {
    key.sign_prehash(hash).map(|signature| bytes(&signature)).map_err(|_| PrivateKeyError::Signing)
}

fn from_pkcs8(der: &[u8]) -> Result<Secret, PrivateKeyError> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| PrivateKeyError::Malformed)?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => from_pkcs1(info.private_key.as_bytes()),
        ID_EC_PUBLIC_KEY => {
            let curve = curve(info.algorithm.parameters).map_err(PrivateKeyError::Unsupported)?;
            from_sec1(info.private_key.as_bytes(), Some(curve))
        }
        other => Err(PrivateKeyError::Unsupported(UnsupportedKey::Algorithm(other.to_string()))),
    }
}

fn from_pkcs1(der: &[u8]) -> Result<Secret, PrivateKeyError> {
    let bits = modulus_bits(der).map_err(|_| PrivateKeyError::Malformed)?;
    let encoding: &dyn RsaEncoding = match rsa_spec(bits).map_err(PrivateKeyError::Unsupported)? {
        KeySpec::Rsa4096 => &RSA_PSS_SHA512,
        KeySpec::Rsa3072 => &RSA_PSS_SHA384,
        _ => &RSA_PSS_SHA256,
    };
    let pair = RsaKeyPair::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
    Ok(Secret::Rsa(pair, encoding))
}

/// The length of the modulus of a PKCS #1 `RSAPrivateKey`; AWS-LC reads the rest.
fn modulus_bits(der: &[u8]) -> der::Result<usize> {
    SliceReader::new(der)?.sequence(|fields| {
        let _version: u8 = fields.decode()?;
        let modulus: UintRef<'_> = fields.decode()?;
        while !fields.is_finished() {
            fields.tlv_bytes()?;
        }
        Ok(bits(modulus))
    })
}

/// SEC1 `ECPrivateKey` (RFC 5915), of which only the curve is read here; the curve's own crate reads the rest.
#[derive(der::Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    parameters: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

/// The key in a SEC1 structure, on the curve that PKCS #8 named around it, or else the one that it names itself.
fn from_sec1(der: &[u8], named: Option<ObjectIdentifier>) -> Result<Secret, PrivateKeyError> {
    let key = EcPrivateKey::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
    let curve = named.map_or_else(|| curve(key.parameters), Ok).map_err(PrivateKeyError::Unsupported)?;
    let secret = match curve {
        SECP_256_R_1 => p256::SecretKey::from_sec1_der(der).map(|key| Secret::P256(key.into())),
        SECP_384_R_1 => p384::SecretKey::from_sec1_der(der).map(|key| Secret::P384(key.into())),
        SECP_521_R_1 => p521::SecretKey::from_sec1_der(der).map(|key| Secret::P521(key.into())),
        other => return Err(PrivateKeyError::Unsupported(UnsupportedKey::Curve(other.to_string()))),
    };
    secret.map_err(|_| PrivateKeyError::Malformed)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RsaPssSaltLength, RsaSignatureEncoding};

    use super::super::testing::read;
    use super::*;

    fn pem(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
    }

    fn key(name: &str) -> PrivateKey {
        PrivateKey::from_pem(&pem(&format!("vectors/chains/{name}/leaf.key"))).expect(name)
    }

    const ALL: [(&str, KeySpec, usize); 6] = [
        ("rsa2048", KeySpec::Rsa2048, 256),
        ("rsa3072", KeySpec::Rsa3072, 384),
        ("rsa4096", KeySpec::Rsa4096, 512),
        ("p256", KeySpec::EcP256, 64),
        ("p384", KeySpec::EcP384, 96),
        ("p521", KeySpec::EcP521, 132),
    ];

    #[test]
    fn what_a_key_signs_its_certificate_verifies_and_nothing_else() {
        for (name, spec, length) in ALL {
            let (key, leaf) = (key(name), read(&format!("vectors/chains/{name}/chain.pem")).remove(0));
            let public = leaf.public_key().unwrap();
            assert_eq!((key.spec(), key.public_key()), (spec, public.clone()));
            let mut signature = key.sign(b"cargo").unwrap();
            assert_eq!(signature.len(), length);
            assert!(public.verify(b"cargo", &signature).is_ok(), "{name}");
            assert!(public.verify(b"cargp", &signature).is_err(), "{name}");
            assert!(public.verify(b"cargo", &signature[1..]).is_err(), "{name}");
            assert!(public.verify(b"cargo", &[&signature[..], &[0]].concat()).is_err(), "{name}");
            assert!(public.verify(b"cargo", &[]).is_err(), "{name}");
            signature[length - 1] ^= 1;
            assert!(public.verify(b"cargo", &signature).is_err(), "{name}");
        }
    }

    #[test]
    fn a_signature_in_der_or_of_another_key_is_refused() {
        let Secret::P256(secret) = key("p256").secret else { panic!("not P-256") };
        let public = key("p256").public_key();
        let signature: p256::ecdsa::Signature =
            secret.sign_prehash(&public.spec().signature_algorithm().hash().hash(b"cargo")).unwrap();
        assert!(public.verify(b"cargo", &signature.to_bytes()).is_ok());
        assert!(public.verify(b"cargo", signature.to_der().as_bytes()).is_err());
        assert!(key("p384").public_key().verify(b"cargo", &signature.to_bytes()).is_err());
        assert!(key("rsa2048").public_key().verify(b"cargo", &signature.to_bytes()).is_err());
    }

    #[test]
    fn high_and_low_s_both_verify() {
        let (key, public) = (key("p256"), key("p256").public_key());
        let signature = p256::ecdsa::Signature::from_slice(&key.sign(b"cargo").unwrap()).unwrap();
        let other =
            p256::ecdsa::Signature::from_scalars(signature.r().to_bytes(), (-*signature.s()).to_bytes()).unwrap();
        assert_ne!(signature, other);
        assert!(public.verify(b"cargo", &signature.to_bytes()).is_ok());
        assert!(public.verify(b"cargo", &other.to_bytes()).is_ok());
    }

    #[test]
    fn a_salt_of_another_length_is_refused() {
        const LONG: RsaSignatureEncoding = RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
        let Secret::Rsa(pair, _) = key("rsa2048").secret else { panic!("not RSA") };
        let mut signature = vec![0; 256];
        pair.sign(&LONG, &SystemRandom::new(), b"cargo", &mut signature).unwrap();
        assert!(key("rsa2048").public_key().verify(b"cargo", &signature).is_err());
    }

    #[test]
    fn the_three_forms_give_the_same_key() {
        for name in ["p256", "p384", "p521"] {
            let sec1 = key_in_form(name, "EC PRIVATE KEY");
            let file =
                ["-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", &sec1].concat();
            assert_eq!(PrivateKey::from_pem(file.as_bytes()).unwrap().public_key(), key(name).public_key());
        }
        let pkcs1 = key_in_form("rsa2048", "RSA PRIVATE KEY");
        assert_eq!(PrivateKey::from_pem(pkcs1.as_bytes()).unwrap().public_key(), key("rsa2048").public_key());
    }

    /// The key inside the PKCS #8 file, with the curve written into it, as the older forms are.
    fn key_in_form(name: &str, label: &str) -> String {
        let block = pem::blocks(&pem(&format!("vectors/chains/{name}/leaf.key"))).unwrap().remove(0);
        let info = PrivateKeyInfoRef::try_from(block.contents.as_slice()).unwrap();
        let older = if label.starts_with("RSA") {
            info.private_key.as_bytes().to_vec()
        } else {
            let mut key = EcPrivateKey::from_der(info.private_key.as_bytes()).unwrap();
            key.parameters = info.algorithm.parameters;
            der::Encode::to_der(&key).unwrap()
        };
        der::pem::encode_string(label, der::pem::LineEnding::LF, &older).unwrap()
    }

    #[test]
    fn each_unusable_file_has_its_own_code() {
        let code = |pem: &str| PrivateKey::from_pem(pem.as_bytes()).unwrap_err().code().as_str();
        let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
        assert_eq!(code(""), "private-key-missing");
        assert_eq!(code(&block("CERTIFICATE")), "private-key-missing");
        assert_eq!(code(&block("PRIVATE KEY")), "private-key-malformed");
        assert_eq!(code(&block("RSA PRIVATE KEY")), "private-key-malformed");
        assert_eq!(code(&block("EC PRIVATE KEY")), "private-key-malformed");
        assert_eq!(code(&block("ENCRYPTED PRIVATE KEY")), "private-key-encrypted");
        assert_eq!(code(&block("OPENSSH PRIVATE KEY")), "private-key-form-unsupported");
        assert_eq!(
            code(&String::from_utf8(pem("vectors/chains/p224-leaf/leaf.key")).unwrap()),
            "key-curve-unsupported"
        );
        assert_eq!(
            code(&String::from_utf8(pem("vectors/chains/rsa1024-leaf/leaf.key")).unwrap()),
            "key-size-unsupported"
        );
    }

    #[test]
    fn debug_shows_the_spec_and_nothing_of_the_key() {
        assert_eq!(format!("{:?}", key("p256")), "PrivateKey { spec: EcP256, .. }");
    }
}
