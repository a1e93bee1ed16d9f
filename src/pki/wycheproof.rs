//! Project Wycheproof's vectors, through the functions that envelopes and certificates are checked with.
//!
//! Each is a known way to get a wrong signature past a library, or a right one refused. A vector says `valid`, `invalid`
//! or `acceptable`; of the last, which nobody can demand either way, none may end in more than an answer.

use ::wycheproof::TestResult;
use der::Decode as _;
use spki::SubjectPublicKeyInfoRef;

use super::PublicKey;
use super::key_material::KeyMaterial;
use super::signed::Scheme;
use crate::oci::DigestAlgorithm::{Sha256, Sha384, Sha512};
use crate::remedy::Remedy as _;

/// One vector: where it stands, what it expects, and what was answered.
struct Answered {
    place: String,
    expected: TestResult,
    is_good: bool,
}

/// Holds every answer against its vector. `least` is how many there must be: an empty file would agree with everything.
fn agree(answers: &[Answered], least: usize) {
    let wrong: Vec<String> = answers
        .iter()
        .filter(|answer| match answer.expected {
            TestResult::Valid => !answer.is_good,
            TestResult::Invalid => answer.is_good,
            TestResult::Acceptable => false,
        })
        .map(|answer| format!("{}: {:?}, got {}", answer.place, answer.expected, answer.is_good))
        .collect();
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
    assert!(answers.len() >= least, "{} vectors, at least {least} were there once", answers.len());
}

/// What is valid elsewhere is refused here. Vectors in which somebody took another primitive by mistake may be good.
fn none_of_the_valid_is_good(answers: &[Answered]) {
    let valid: Vec<&Answered> = answers.iter().filter(|answer| answer.expected == TestResult::Valid).collect();
    assert!(!valid.is_empty());
    assert_eq!(valid.iter().find(|answer| answer.is_good).map(|answer| &answer.place), None);
}

/// What a function answers to every vector of a file.
macro_rules! by {
    ($kind:ident, $name:ident, $verify:expr) => {{
        let set = ::wycheproof::$kind::TestSet::load(::wycheproof::$kind::TestName::$name).unwrap();
        let verify = $verify;
        let mut answers = Vec::new();
        for group in &set.test_groups {
            for test in &group.tests {
                answers.push(Answered {
                    place: format!("{} {}: {}", stringify!($name), test.tc_id, test.comment),
                    expected: test.result,
                    is_good: verify(&group.der, &test.msg, &test.sig),
                });
            }
        }
        answers
    }};
}

/// What [`PublicKey::verify`], which envelopes are checked with, answers to every vector of a file.
macro_rules! by_envelopes_key {
    ($kind:ident, $name:ident) => {
        by!($kind, $name, |der: &[u8], message: &[u8], signature: &[u8]| {
            PublicKey::from_der(der).unwrap().verify(message, signature).is_ok()
        })
    };
}

/// What [`Scheme::verify`], which certificates are checked with, answers to every vector of a file.
macro_rules! by_scheme {
    ($kind:ident, $name:ident, $scheme:expr) => {
        by!($kind, $name, |der: &[u8], message: &[u8], signature: &[u8]| {
            let key = KeyMaterial::from_info(&SubjectPublicKeyInfoRef::from_der(der).unwrap()).unwrap();
            $scheme.verify(&key, message, signature).is_ok()
        })
    };
}

#[test]
fn envelopes_on_p256() {
    agree(&by_envelopes_key!(ecdsa, EcdsaSecp256r1Sha256P1363), 200);
}

#[test]
fn envelopes_on_p384() {
    agree(&by_envelopes_key!(ecdsa, EcdsaSecp384r1Sha384P1363), 200);
}

#[test]
fn envelopes_on_p521() {
    agree(&by_envelopes_key!(ecdsa, EcdsaSecp521r1Sha512P1363), 200);
}

#[test]
fn certificates_on_p256() {
    agree(&by_scheme!(ecdsa, EcdsaSecp256r1Sha256, Scheme::Ecdsa(Sha256)), 200);
    agree(&by_scheme!(ecdsa, EcdsaSecp256r1Sha512, Scheme::Ecdsa(Sha512)), 200);
}

#[test]
fn certificates_on_p384() {
    agree(&by_scheme!(ecdsa, EcdsaSecp384r1Sha256, Scheme::Ecdsa(Sha256)), 200);
    agree(&by_scheme!(ecdsa, EcdsaSecp384r1Sha384, Scheme::Ecdsa(Sha384)), 200);
    agree(&by_scheme!(ecdsa, EcdsaSecp384r1Sha512, Scheme::Ecdsa(Sha512)), 200);
}

#[test]
fn certificates_on_p521() {
    agree(&by_scheme!(ecdsa, EcdsaSecp521r1Sha512, Scheme::Ecdsa(Sha512)), 200);
}

#[test]
fn envelopes_with_rsa_pss() {
    agree(&by_envelopes_key!(rsa_pss_verify, RsaPss2048Sha256Mgf1SaltLen32), 50);
    agree(&by_envelopes_key!(rsa_pss_verify, RsaPss4096Sha512Mgf1SaltLen64), 50);
}

#[test]
fn certificates_with_rsa_pss() {
    agree(&by_scheme!(rsa_pss_verify, RsaPss2048Sha256Mgf1SaltLen32, Scheme::Pss(Sha256)), 50);
    agree(&by_scheme!(rsa_pss_verify, RsaPss2048Sha384Mgf1SaltLen48, Scheme::Pss(Sha384)), 50);
    agree(&by_scheme!(rsa_pss_verify, RsaPss3072Sha256Mgf1SaltLen32, Scheme::Pss(Sha256)), 50);
    agree(&by_scheme!(rsa_pss_verify, RsaPss4096Sha256Mgf1SaltLen32, Scheme::Pss(Sha256)), 50);
    agree(&by_scheme!(rsa_pss_verify, RsaPss4096Sha384Mgf1SaltLen48, Scheme::Pss(Sha384)), 50);
    agree(&by_scheme!(rsa_pss_verify, RsaPss4096Sha512Mgf1SaltLen64, Scheme::Pss(Sha512)), 50);
}

/// The vectors call them valid; Notary demands a salt as long as the hash, and one hash for everything.
#[test]
fn rsa_pss_with_another_salt_or_mask_is_refused() {
    for answers in [
        by_envelopes_key!(rsa_pss_verify, RsaPss2048Sha256Mgf1SaltLen0),
        by_envelopes_key!(rsa_pss_verify, RsaPss2048Sha256Mgf1Sha1_20),
        by_envelopes_key!(rsa_pss_verify, RsaPss4096Sha512Mgf1SaltLen32),
    ] {
        none_of_the_valid_is_good(&answers);
    }
}

/// A key that names RSASSA-PSS itself, with parameters, is none of the six kinds.
#[test]
fn a_key_bound_to_rsa_pss_is_refused() {
    let set = ::wycheproof::rsa_pss_verify::TestSet::load(
        ::wycheproof::rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32WithParams,
    )
    .unwrap();
    for group in &set.test_groups {
        assert_eq!(PublicKey::from_der(&group.der).unwrap_err().code().as_str(), "key-algorithm-unsupported");
    }
}

#[test]
fn certificates_with_pkcs1() {
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa2048Sha256, Scheme::Pkcs1(Sha256)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa2048Sha384, Scheme::Pkcs1(Sha384)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa2048Sha512, Scheme::Pkcs1(Sha512)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa3072Sha256, Scheme::Pkcs1(Sha256)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa3072Sha384, Scheme::Pkcs1(Sha384)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa3072Sha512, Scheme::Pkcs1(Sha512)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa4096Sha256, Scheme::Pkcs1(Sha256)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa4096Sha384, Scheme::Pkcs1(Sha384)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa4096Sha512, Scheme::Pkcs1(Sha512)), 200);
    agree(&by_scheme!(rsa_pkcs1_verify, Rsa8192Sha256, Scheme::Pkcs1(Sha256)), 200);
}

/// An envelope is never signed with it, whatever the key.
#[test]
fn pkcs1_is_no_signature_of_an_envelope() {
    none_of_the_valid_is_good(&by_envelopes_key!(rsa_pkcs1_verify, Rsa2048Sha256));
}
