//! Private keys under a passphrase: PKCS #8's `EncryptedPrivateKeyInfo` with PBES2 (RFC 5958, section 3; RFC 8018, section
//! 6.2), which is what `openssl pkcs8 -topk8` writes.
//!
//! The file says itself how much work its passphrase costs, so a hostile one could have a signer compute, or allocate, for
//! ever: each parameter has a limit.

use der::Decode as _;
use der::asn1::OctetStringRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use spki::AlgorithmIdentifierRef;

use super::PrivateKeyError;

/// The most rounds of PBKDF2. OWASP recommends 600,000 (2023), OpenSSL writes 2,048; ten million are some seconds.
const MAX_ROUNDS: u64 = 10_000_000;
/// The most memory that scrypt may take, in bytes. OpenSSL writes 16 MiB, RFC 7914's largest example needs 1 GiB, and those
/// who want more than the customary 128 MiB take one step.
const MAX_SCRYPT_MEMORY: u64 = 256 * 1024 * 1024;
/// How often scrypt may go through that memory. OpenSSL writes 1.
const MAX_SCRYPT_PASSES: u64 = 16;

/// The private key inside, in PKCS #8.
pub(super) fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<SecretDocument, PrivateKeyError> {
    let form = Form::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
    if form.algorithm.oid != PBES2_OID {
        return Err(PrivateKeyError::EncryptionUnsupported);
    }
    // A cipher or a hash inside that is not known.
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| PrivateKeyError::EncryptionUnsupported)?;
    let EncryptionScheme::Pbes2(parameters) = &encrypted.encryption_algorithm else {
        return Err(PrivateKeyError::EncryptionUnsupported);
    };
    check_cost(&parameters.kdf)?;
    // A wrong passphrase and an altered file cannot be told apart: both give what is no key.
    encrypted.decrypt(passphrase).map_err(|_| PrivateKeyError::WrongPassphrase)
}

/// The structure, whatever the algorithm is.
#[derive(der::Sequence)]
struct Form<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    data: &'a OctetStringRef,
}

fn check_cost(derivation: &Kdf) -> Result<(), PrivateKeyError> {
    let within = |what, cost: u64, limit| {
        if cost <= limit { Ok(()) } else { Err(PrivateKeyError::Cost { what, cost, limit }) }
    };
    match derivation {
        Kdf::Pbkdf2(parameters) => within("rounds of PBKDF2", parameters.iteration_count.into(), MAX_ROUNDS),
        Kdf::Scrypt(parameters) => {
            let block = u64::from(parameters.block_size).saturating_mul(128);
            let memory = parameters.cost_parameter.saturating_mul(block);
            within("bytes of memory for scrypt", memory, MAX_SCRYPT_MEMORY)?;
            within("passes of scrypt", parameters.parallelization.into(), MAX_SCRYPT_PASSES)
        }
        _ => Err(PrivateKeyError::EncryptionUnsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PrivateKey, PublicKey};
    use super::*;
    use crate::remedy::Remedy as _;

    /// Made by OpenSSL; see `tests/keys/make.sh`. The passphrase of each is `open sesame`.
    fn pem(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"))).expect(name)
    }

    fn open(name: &str, passphrase: &str) -> Result<PublicKey, &'static str> {
        let key = PrivateKey::from_encrypted_pem(&pem(name), passphrase.as_bytes());
        key.map(|key| key.public_key()).map_err(|error| error.code().as_str())
    }

    #[test]
    fn what_openssl_writes_is_read_with_its_passphrase_and_no_other() {
        let plain = PrivateKey::from_pem(&pem("plain")).unwrap().public_key();
        for name in ["pbkdf2", "pbkdf2-aes128", "scrypt"] {
            assert_eq!(open(name, "open sesame"), Ok(plain.clone()), "{name}");
            assert_eq!(open(name, "open sesam"), Err("private-key-passphrase-wrong"), "{name}");
            assert_eq!(open(name, ""), Err("private-key-passphrase-wrong"), "{name}");
        }
    }

    #[test]
    fn a_key_that_is_not_encrypted_needs_no_passphrase() {
        let plain = PrivateKey::from_pem(&pem("plain")).unwrap().public_key();
        assert_eq!(open("plain", "anything"), Ok(plain));
        assert_eq!(PrivateKey::from_pem(&pem("scrypt")).unwrap_err(), PrivateKeyError::Encrypted);
    }

    #[test]
    fn what_costs_too_much_is_refused_before_anything_is_computed() {
        assert_eq!(open("scrypt-passes", "open sesame"), Err("private-key-cost"));
        for (name, derivation) in [("pbkdf2", costly_pbkdf2 as fn(&mut Kdf, u64)), ("scrypt", costly_scrypt)] {
            assert_eq!(
                decrypt(&altered(name, |kdf| derivation(kdf, 1)), b"x").err(),
                Some(PrivateKeyError::WrongPassphrase)
            );
            let refused = decrypt(&altered(name, |kdf| derivation(kdf, 1 << 27)), b"x").err();
            assert_eq!(refused.map(|error| error.code().as_str()), Some("private-key-cost"), "{name}");
        }
    }

    fn costly_pbkdf2(kdf: &mut Kdf, cost: u64) {
        let Kdf::Pbkdf2(parameters) = kdf else { panic!("not PBKDF2") };
        parameters.iteration_count = u32::try_from(cost).unwrap();
    }

    fn costly_scrypt(kdf: &mut Kdf, cost: u64) {
        let Kdf::Scrypt(parameters) = kdf else { panic!("not scrypt") };
        parameters.cost_parameter = 2 * cost;
    }

    /// The same file, asking for other work.
    fn altered(name: &str, change: impl Fn(&mut Kdf)) -> Vec<u8> {
        let block = super::super::pem::blocks(&pem(name)).unwrap().remove(0);
        let mut key = EncryptedPrivateKeyInfoRef::try_from(block.contents.as_slice()).unwrap();
        let EncryptionScheme::Pbes2(parameters) = &mut key.encryption_algorithm else { panic!("not PBES2") };
        change(&mut parameters.kdf);
        der::Encode::to_der(&key).unwrap()
    }

    #[test]
    fn other_encryption_is_told_apart_from_a_wrong_passphrase() {
        for name in ["pbes1", "3des"] {
            assert_eq!(open(name, "open sesame"), Err("private-key-encryption-unsupported"), "{name}");
        }
        let malformed = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let error = PrivateKey::from_encrypted_pem(malformed, b"x").unwrap_err();
        assert_eq!(error.code().as_str(), "private-key-malformed");
    }
}
