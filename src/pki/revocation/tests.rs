//! Responses and lists made by OpenSSL (`tests/revocation/make.sh`): a good one of each kind, and what differs in one thing.

use jiff::Timestamp;

use super::super::Certificate;
use super::super::testing::read;
use super::*;
use crate::remedy::Remedy as _;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/revocation/{name}.der", env!("CARGO_MANIFEST_DIR"))).expect(name)
}

fn certificate(name: &str) -> Certificate {
    read(&format!("revocation/{name}.pem")).remove(0)
}

fn at(now: &str) -> Moment {
    Moment { now: now.parse().unwrap(), authentic_signing_time: None }
}

/// When all is good that is not made to be bad.
fn today() -> Moment {
    at("2027-01-01T00:00:00Z")
}

fn word(reading: Reading) -> &'static str {
    match reading.status {
        Status::Good => "good",
        Status::Revoked { .. } => "revoked",
        Status::Unknown => "unknown",
    }
}

fn ocsp_of(der: &[u8], moment: Moment) -> Result<Reading, InvalidOcspResponse> {
    let (leaf, issuer) = (certificate("leaf"), certificate("issuer"));
    OcspResponse::from_der(der)?.vouched(&issuer, moment.now)?.reading(&leaf, moment)
}

fn ocsp(name: &str, moment: Moment) -> &'static str {
    ocsp_of(&bytes(&format!("ocsp-{name}")), moment).map_or_else(|error| error.code().as_str(), word)
}

fn crl_of(der: &[u8], issuer: &str, leaf: &str, moment: Moment) -> Result<Reading, InvalidCrl> {
    let (leaf, issuer) = (certificate(leaf), certificate(issuer));
    Crl::from_der(der)?.usable(&leaf, &issuer, moment)?.reading(None, moment)
}

fn crl(name: &str, moment: Moment) -> &'static str {
    let reading = crl_of(&bytes(&format!("crl-{name}")), "issuer", "leaf", moment);
    reading.map_or_else(|error| error.code().as_str(), word)
}

fn with_delta(base: &str, delta: &str) -> &'static str {
    let (leaf, issuer) = (certificate("leaf"), certificate("issuer"));
    let (base, delta) = (bytes(&format!("crl-{base}")), bytes(&format!("crl-{delta}")));
    let (base, delta) = (Crl::from_der(&base).unwrap(), Crl::from_der(&delta).unwrap());
    let base = base.usable(&leaf, &issuer, today()).unwrap_or_else(|error| panic!("{error}"));
    let reading = base.usable_delta(&delta, &issuer, today()).and_then(|delta| base.reading(Some(&delta), today()));
    reading.map_or_else(|error| error.code().as_str(), word)
}

#[test]
fn a_responder_says_good_revoked_or_that_it_does_not_know() {
    for (name, expected) in [
        ("good", "good"),
        ("good-by-key", "good"),
        ("good-by-sha256", "good"),
        ("revoked", "revoked"),
        ("on-hold", "revoked"),
        ("unknown", "unknown"),
        ("try-later", "ocsp-refused"),
        ("other", "ocsp-other-certificate"),
    ] {
        assert_eq!(ocsp(name, today()), expected, "{name}");
    }
    let revoked = ocsp_of(&bytes("ocsp-revoked"), today()).unwrap();
    assert_eq!(revoked.status, Status::Revoked { at: "2026-02-01T00:00:00Z".parse().unwrap() });
}

#[test]
fn a_nonce_that_nobody_asked_for_does_no_harm() {
    assert_eq!(ocsp("good-with-nonce", today()), "good");
}

#[test]
fn the_issuer_answers_or_whom_it_gave_the_power_to() {
    for (name, expected) in [
        ("delegated", "good"),
        ("delegated-revocable", "good"),
        ("impostor", "ocsp-signer-not-authorised"),
        ("impostor-without-certificate", "ocsp-signature-invalid"),
        ("delegated-without-certificate", "ocsp-signer-missing"),
        ("delegated-without-purpose", "ocsp-signer-not-authorised"),
        ("delegated-without-signing", "ocsp-signer-not-authorised"),
        ("delegated-by-stranger", "ocsp-signer-not-authorised"),
        ("delegated-expired", "ocsp-signer-not-authorised"),
    ] {
        assert_eq!(ocsp(name, today()), expected, "{name}");
    }
}

#[test]
fn a_responder_that_its_issuer_does_not_exempt_may_have_been_revoked() {
    let revocable = |name: &str| {
        let (der, issuer) = (bytes(&format!("ocsp-{name}")), certificate("issuer"));
        let response = OcspResponse::from_der(&der).unwrap();
        let vouched = response.vouched(&issuer, today().now).unwrap_or_else(|error| panic!("{error}"));
        vouched.revocable_responder().map(|responder| responder.subject().to_string())
    };
    assert_eq!(revocable("good"), None);
    assert_eq!(revocable("delegated"), None);
    assert_eq!(revocable("delegated-revocable").as_deref(), Some("CN=responder-revocable,O=Acme,ST=WA,C=US"));
}

#[test]
fn an_answer_counts_from_this_update_to_next_update() {
    assert_eq!(ocsp("good", at("2026-11-01T00:00:00Z")), "ocsp-not-yet-valid");
    assert_eq!(ocsp("good", at("2125-01-01T00:00:00Z")), "good");
    assert_eq!(ocsp("good", at("2125-07-01T00:00:00Z")), "ocsp-stale");
    assert_eq!(ocsp("expired", today()), "ocsp-stale");
    let good = ocsp_of(&bytes("ocsp-good"), today()).unwrap();
    assert!(good.until.to_string().starts_with("2125-06-"), "{good:?}");
}

#[test]
fn an_answer_without_end_counts_for_an_hour() {
    assert_eq!(ocsp("without-next-update", today()), "ocsp-stale");
    let made = Timestamp::from_second(made_at()).unwrap();
    let after = |seconds| Moment { now: Timestamp::from_second(made_at() + seconds).unwrap(), ..today() };
    assert_eq!(ocsp("without-next-update", after(3600)), "good");
    assert_eq!(ocsp("without-next-update", after(3601)), "ocsp-stale");
    // Clocks may be five minutes apart.
    assert_eq!(ocsp("without-next-update", after(-300)), "good");
    assert_eq!(ocsp("without-next-update", after(-301)), "ocsp-not-yet-valid");
    assert!(made < today().now);
}

/// When the answer without end was made, in seconds.
fn made_at() -> i64 {
    match ocsp_of(&bytes("ocsp-without-next-update"), today()) {
        Err(InvalidOcspResponse::Stale { until }) => until.as_second() - 3600,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_question_names_one_certificate_by_sha1_as_openssl_does() {
    let (leaf, issuer) = (certificate("leaf"), certificate("issuer"));
    let request = ocsp_request(&leaf, &issuer).unwrap();
    // OpenSSL's request without a nonce has the same bytes.
    assert_eq!(request, bytes("request"));
}

#[test]
fn no_response_that_was_cut_or_changed_is_believed_and_none_panics() {
    let der = bytes("ocsp-delegated");
    for length in 0..der.len() {
        assert!(ocsp_of(&der[..length], today()).is_err(), "cut to {length}");
    }
    assert!(ocsp_of(&[&der[..], &[0]].concat(), today()).is_err());
    for index in 0..der.len() {
        for flip in [1, 0x80] {
            let mut changed = der.clone();
            changed[index] ^= flip;
            let is_nocheck_or_unused = ocsp_of(&changed, today()).is_ok();
            assert!(!is_nocheck_or_unused, "byte {index} of {}", der.len());
        }
    }
    assert_eq!(ocsp_of(&vec![0; MAX_OCSP_RESPONSE_SIZE + 1], today()).unwrap_err().code().as_str(), "ocsp-too-large");
}

#[test]
fn a_list_says_whether_the_certificate_is_on_it() {
    for (name, expected) in [
        ("good", "good"),
        ("empty", "good"),
        ("revoked", "revoked"),
        ("on-hold", "revoked"),
        ("responder-revoked", "good"),
        // Only a list of changes can take an entry back, and there it has nothing to take back.
        ("released-without-delta", "good"),
    ] {
        assert_eq!(crl(name, today()), expected, "{name}");
    }
    let revoked = crl_of(&bytes("crl-revoked"), "issuer", "leaf", today()).unwrap();
    assert_eq!(revoked.status, Status::Revoked { at: "2026-02-01T00:00:00Z".parse().unwrap() });
}

#[test]
fn a_list_counts_from_this_update_to_next_update() {
    assert_eq!(crl("good", at("2025-12-31T23:54:59Z")), "crl-not-yet-valid");
    assert_eq!(crl("good", at("2025-12-31T23:55:00Z")), "good");
    assert_eq!(crl("good", at("2125-12-31T00:00:00Z")), "good");
    assert_eq!(crl("good", at("2125-12-31T00:00:01Z")), "crl-stale");
    assert_eq!(crl("expired", today()), "crl-stale");
    assert_eq!(crl("future", today()), "crl-not-yet-valid");
}

#[test]
fn a_list_is_signed_by_the_issuer_of_the_certificate() {
    assert_eq!(crl("stranger", today()), "crl-other-issuer");
    assert_eq!(crl("impostor", today()), "crl-signature-invalid");
    let without = crl_of(&bytes("crl-good"), "issuer-without-crl-sign", "leaf", today());
    assert_eq!(without.unwrap_err().code().as_str(), "crl-issuer-not-authorised");
}

#[test]
fn a_list_of_another_scope_says_nothing() {
    for (name, expected) in [
        ("own-point", "good"),
        ("other-point", "crl-out-of-scope"),
        ("indirect", "crl-out-of-scope"),
        ("users", "good"),
        ("authorities", "crl-out-of-scope"),
        ("reasons", "crl-out-of-scope"),
        ("unknown", "crl-extension-unknown"),
    ] {
        assert_eq!(crl(name, today()), expected, "{name}");
    }
}

#[test]
fn a_list_of_changes_goes_with_its_complete_list_alone() {
    for (base, delta, expected) in [
        ("base", "delta", "good"),
        ("base", "delta-revoked", "revoked"),
        ("base-on-hold", "delta", "revoked"),
        ("base-on-hold", "delta-released", "good"),
        ("base-on-hold", "delta-released-at-once", "good"),
        ("revoked", "delta-released", "revoked"),
        ("base", "delta-same-number", "crl-delta-unusable"),
        ("base", "delta-later", "crl-delta-unusable"),
        ("base", "delta-users", "crl-delta-unusable"),
        ("base", "good", "crl-delta-unusable"),
        ("base", "delta-stranger", "crl-other-issuer"),
    ] {
        assert_eq!(with_delta(base, delta), expected, "{base} {delta}");
    }
    assert_eq!(crl("delta", today()), "crl-delta-unusable");
    let freshest = crl_of(&bytes("crl-good"), "issuer", "leaf-freshest", today());
    assert_eq!(freshest.unwrap_err().code().as_str(), "crl-delta-unusable");
    assert!(crl_of(&bytes("crl-base"), "issuer", "leaf-freshest", today()).is_ok());
}

#[test]
fn what_was_signed_before_the_certificate_became_invalid_stays_good() {
    let signed = |time: &str| Moment { authentic_signing_time: Some(time.parse().unwrap()), ..today() };
    assert_eq!(crl("invalid-from", today()), "revoked");
    assert_eq!(crl("invalid-from", signed("2026-01-14T23:59:59Z")), "good");
    assert_eq!(crl("invalid-from", signed("2026-01-15T00:00:00Z")), "revoked");
    // An entry that does not say from when on is about always.
    assert_eq!(crl("revoked", signed("2020-01-01T00:00:00Z")), "revoked");
}

#[test]
fn no_list_that_was_cut_or_changed_is_believed_and_none_panics() {
    let der = bytes("crl-invalid-from");
    let code = |der: &[u8]| crl_of(der, "issuer", "leaf", today());
    for length in 0..der.len() {
        assert!(code(&der[..length]).is_err(), "cut to {length}");
    }
    assert!(code(&[&der[..], &[0]].concat()).is_err());
    for index in 0..der.len() {
        for flip in [1, 0x80] {
            let mut changed = der.clone();
            changed[index] ^= flip;
            assert!(code(&changed).is_err(), "byte {index} of {}", der.len());
        }
    }
}

#[test]
fn a_file_holds_lists_in_der_or_pem() {
    use base64::Engine as _;
    let der = bytes("crl-good");
    let block = format!(
        "-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    assert_eq!(crls_in(&der).unwrap().as_slice(), std::slice::from_ref(&der));
    assert_eq!(crls_in(format!("{block}text\n{block}").as_bytes()).unwrap(), [der.clone(), der.clone()]);
    let code = |file: &[u8]| crls_in(file).unwrap_err().code().as_str();
    assert_eq!(code(b""), "crl-malformed");
    assert_eq!(code(&der[..100]), "crl-malformed");
    assert_eq!(code(&block.as_bytes()[..100]), "pem-unclosed");
}
