//! Time-stamps as OpenSSL makes them, and as somebody would forge them.

use const_oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CODE_SIGNING, ID_KP_TIME_STAMPING};
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_384};
use der::DateTime;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::Name;

use super::testing::{Forgery, MESSAGE, attribute, element, int, oid, root, sequence, stamper};
use super::*;
use crate::pki::testing::{Draft, read};
use crate::remedy::Remedy as _;

const GOOD: [&str; 4] = ["rsa2048-sha256", "p256-sha256", "p384-sha384", "p521-sha256"];

fn made(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/timestamps/{name}.der", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect(&path)
}

fn verified(token: &[u8], anchors: &[Certificate]) -> Result<Stamp, InvalidTimestamp> {
    TimestampToken::parse(token)?.verify(MESSAGE, anchors)
}

fn code_under(token: &[u8], anchors: &[Certificate]) -> &'static str {
    verified(token, anchors).map_or_else(|error| error.code().as_str(), |_| "good")
}

fn code(token: &[u8]) -> &'static str {
    code_under(token, &[root()])
}

fn openssl(name: &str) -> &'static str {
    code_under(&made(name), &read("timestamps/root.pem"))
}

#[test]
fn what_openssl_stamps_with_every_kind_of_key_is_believed() {
    let anchors = read("timestamps/root.pem");
    for name in GOOD {
        let token = TimestampToken::parse(&made(name)).unwrap();
        let stamp = token.verify(MESSAGE, &anchors).unwrap();
        assert_eq!(stamp.chain().len(), 3, "{name}");
        assert_eq!(Some(&stamp.chain()[0]), token.unverified_signer().as_ref(), "{name}");
        let accuracy = token.info().accuracy;
        assert_eq!(stamp.earliest(), token.info().time - accuracy, "{name}");
        assert_eq!(stamp.latest(), token.info().time + accuracy, "{name}");
        let microseconds = match name {
            "p384-sha384" => 1_500_100,
            "p521-sha256" => 1_000_000, // told by the policy
            _ => 0,
        };
        assert_eq!(accuracy.as_micros(), microseconds, "{name}");
    }
}

#[test]
fn a_nonce_matters_to_whoever_asked_and_to_nobody_else() {
    let nonce = |name: &str| TimestampToken::parse(&made(name)).unwrap().info().nonce.clone();
    assert_eq!(nonce("p256-sha256"), None);
    assert!(nonce("rsa2048-sha256").is_some());
    assert_eq!(["p256-sha256", "rsa2048-sha256"].map(openssl), ["good", "good"]);
}

#[test]
fn weak_hashes_and_keys_and_expired_authorities_of_openssl_are_refused() {
    assert_eq!(openssl("sha1-imprint"), "timestamp-hash-forbidden");
    assert_eq!(openssl("sha1-binding"), "timestamp-attribute-missing");
    assert_eq!(openssl("rsa1024"), "timestamp-certificate-key");
    assert_eq!(openssl("expired"), "timestamp-authority-not-valid");
}

#[test]
fn a_stamp_is_over_one_message_and_under_the_anchors_at_hand() {
    let token = TimestampToken::parse(&made("p256-sha256")).unwrap();
    let (ours, theirs) = (read("timestamps/root.pem"), [root()]);
    assert!(token.verify(MESSAGE, &ours).is_ok());
    assert!(token.verify(MESSAGE, &[theirs[0].clone(), ours[0].clone()]).is_ok());
    assert_eq!(token.verify(b"another signature", &ours), Err(InvalidTimestamp::OtherMessage));
    for anchors in [&theirs[..], &[]] {
        assert_eq!(token.verify(MESSAGE, anchors).unwrap_err().code().as_str(), "timestamp-authority-untrusted");
    }
}

#[test]
fn ber_says_the_same_as_der() {
    let forgery = Forgery::good();
    assert_ne!(forgery.ber(), forgery.der());
    assert_eq!(verified(&forgery.ber(), &[root()]), verified(&forgery.der(), &[root()]));
    assert_eq!(TimestampToken::parse(&forgery.ber()).unwrap().der(), forgery.der());
    assert_eq!(code(&forgery.ber()), "good");
}

#[test]
fn no_cut_token_is_read() {
    for name in GOOD {
        let token = made(name);
        for length in 0..token.len() {
            let code = TimestampToken::parse(&token[..length]).unwrap_err().code();
            assert_eq!(code.as_str(), "timestamp-malformed", "{name} cut to {length}");
        }
        assert_eq!(openssl(name), "good");
        assert_eq!(code_under(&[&token[..], &[0]].concat(), &[root()]), "timestamp-malformed");
    }
}

#[test]
fn no_changed_bit_changes_what_a_believed_token_says() {
    let (token, anchors) = (made("rsa2048-sha256"), read("timestamps/root.pem"));
    let stamp = verified(&token, &anchors).unwrap();
    for position in 0..token.len() {
        let mut changed = token.clone();
        changed[position] ^= 1 << (position % 8);
        // Reading is quick and tried everywhere, and checking the signatures is not.
        let parsed = TimestampToken::parse(&changed);
        if let (Ok(parsed), 0) = (parsed, position % 5)
            && let Ok(changed) = parsed.verify(MESSAGE, &anchors)
        {
            assert_eq!(changed, stamp, "bit {} of byte {position}", position % 8);
        }
    }
}

#[test]
fn a_token_of_the_largest_size_is_looked_into_and_a_larger_one_is_not() {
    assert_eq!(code(&vec![0; MAX_TOKEN_SIZE]), "timestamp-malformed");
    assert_eq!(code(&vec![0; MAX_TOKEN_SIZE + 1]), "timestamp-too-large");
}

#[test]
fn the_certificate_of_an_authority_stamps_and_does_nothing_else() {
    let sign = KeyUsages::DigitalSignature;
    let by = |stamper: Draft| code(&Forgery::by(stamper).der());
    assert_eq!(by(stamper()), "good");
    assert_eq!(by(stamper().usage(false, sign.into())), "good");
    assert_eq!(by(stamper().usage(true, sign | KeyUsages::NonRepudiation)), "good");
    assert_eq!(by(stamper().without(<KeyUsage as const_oid::AssociatedOid>::OID)), "timestamp-certificate-key-usage");
    assert_eq!(by(stamper().usage(true, KeyUsages::NonRepudiation.into())), "timestamp-certificate-key-usage");
    assert_eq!(by(stamper().usage(true, sign | KeyUsages::KeyCertSign)), "timestamp-certificate-key-usage");
    let stamping = ID_KP_TIME_STAMPING;
    assert_eq!(by(stamper().purposes(false, &[stamping])), "timestamp-certificate-purpose-not-critical");
    for purposes in [&[][..], &[ID_KP_CODE_SIGNING], &[ANY_EXTENDED_KEY_USAGE], &[stamping, ID_KP_CODE_SIGNING]] {
        assert_eq!(by(stamper().purposes(true, purposes)), "timestamp-certificate-purpose");
    }
    let no_purpose = stamper().without(<ExtendedKeyUsage as const_oid::AssociatedOid>::OID);
    assert_eq!(by(no_purpose), "timestamp-certificate-purpose");
    assert_eq!(by(stamper().with(ID_CT_TST_INFO, false, &7_u8)), "good");
    assert_eq!(by(stamper().with(ID_CT_TST_INFO, true, &7_u8)), "timestamp-certificate-critical-extension");
    assert_eq!(by(stamper().constraints(true, false, None)), "good");
    assert_eq!(by(stamper().constraints(true, true, None)), "timestamp-certificate-is-authority");
}

#[test]
fn whoever_stands_above_an_authority_may_issue_certificates() {
    let below = |issuer: Draft| {
        let certificates = vec![stamper().der(), issuer.der()];
        code(&Forgery { certificates, ..Forgery::good() }.der())
    };
    let issuer = || Draft::authority(1);
    assert_eq!(below(issuer()), "good");
    assert_eq!(below(issuer().constraints(true, true, Some(0))), "good");
    assert_eq!(below(issuer().usage(false, KeyUsages::KeyCertSign.into())), "good");
    for purposes in [&[ID_KP_TIME_STAMPING, ID_KP_CODE_SIGNING][..], &[ANY_EXTENDED_KEY_USAGE]] {
        assert_eq!(below(issuer().purposes(false, purposes)), "good");
    }
    assert_eq!(below(issuer().purposes(false, &[ID_KP_CODE_SIGNING])), "timestamp-certificate-purpose");
    assert_eq!(below(issuer().with(ID_CT_TST_INFO, false, &7_u8)), "good");
    assert_eq!(below(issuer().with(ID_CT_TST_INFO, true, &7_u8)), "timestamp-certificate-critical-extension");
    assert_eq!(below(issuer().usage(true, KeyUsages::CRLSign.into())), "ca-key-cert-sign-missing");
    assert_eq!(below(issuer().constraints(false, true, None)), "ca-basic-constraints-not-critical");
    assert_eq!(below(issuer().constraints(true, false, None)), "ca-not-an-authority");
    let short = Draft::authority(2).self_signed();
    let under = |path_length| {
        code_under(&Forgery::good().der(), &[short.clone().constraints(true, true, Some(path_length)).certificate()])
    };
    assert_eq!(under(1), "good");
    assert_eq!(under(0), "ca-path-too-long");
}

#[test]
fn the_chain_is_found_in_any_order_with_or_without_its_root_and_what_is_foreign_is_left_alone() {
    let holding = |certificates: Vec<Vec<u8>>| code(&Forgery { certificates, ..Forgery::good() }.der());
    let (leaf, above, top) = (stamper().der(), Draft::authority(1).der(), root().der().to_vec());
    let foreign = Draft::authority(4).der();
    assert_eq!(holding(vec![leaf.clone(), above.clone()]), "good");
    assert_eq!(holding(vec![top.clone(), foreign, above.clone(), leaf.clone()]), "good");
    let unreadable = vec![sequence(&[int(1)]), above.clone(), leaf.clone()];
    assert_eq!(holding(unreadable), "timestamp-certificate-malformed");
    assert_eq!(holding(vec![leaf.clone(), top.clone()]), "timestamp-authority-untrusted");
    assert_eq!(holding(vec![above.clone(), top]), "timestamp-certificate-missing");
    assert_eq!(holding(vec![]), "timestamp-certificate-missing");
    let many = |count: usize| [vec![leaf.clone()], vec![above.clone(); count - 1]].concat();
    assert_eq!(holding(many(signed_data::MAX_CERTIFICATES)), "good");
    assert_eq!(holding(many(signed_data::MAX_CERTIFICATES + 1)), "timestamp-too-many-parts");
}

#[test]
fn many_authorities_of_one_name_do_not_keep_the_search_busy() {
    // Two names with one key, of which each issues the other, and no way to a root.
    let (one, other) = (Draft::authority(5).subject, Draft::authority(6).subject);
    let issued = |subject: &Name, issuer: &Name, number: u8| {
        let mut draft = Draft::authority(9).constraints(true, true, Some(u32::from(number)));
        (draft.subject, draft.issuer, draft.signer) = (subject.clone(), issuer.clone(), draft.key);
        draft.der()
    };
    let holding = |count: u8| {
        let mut stamper = stamper();
        (stamper.issuer, stamper.signer) = (one.clone(), Draft::authority(9).key);
        let mut forgery = Forgery::by(stamper);
        let both = (0..count).flat_map(|number| [issued(&one, &other, number), issued(&other, &one, number)]);
        forgery.certificates.extend(both);
        code(&forgery.der())
    };
    assert_eq!(holding(1), "timestamp-authority-untrusted");
    assert_eq!(holding(8), "timestamp-too-many-parts");
}

#[test]
fn the_certificates_were_valid_when_the_stamp_was_made_and_may_have_expired_since() {
    let until = |year| {
        let mut stamper = stamper();
        stamper.not_after = Time::from(DateTime::new(year, 6, 1, 0, 0, 0).unwrap());
        code(&Forgery::by(stamper).der())
    };
    assert_eq!(until(2027), "good");
    assert_eq!(until(2026), "good"); // to the second
    assert_eq!(until(2025), "timestamp-authority-not-valid");
}

#[test]
fn a_time_of_signing_is_within_the_validity_too() {
    let signed_at = |tag: u8, time: &str| {
        let time = element(tag, &[time.as_bytes().to_vec()]);
        code(&Forgery { further_attributes: vec![attribute(ID_SIGNING_TIME, time)], ..Forgery::good() }.der())
    };
    assert_eq!(signed_at(0x17, "260601000000Z"), "good");
    assert_eq!(signed_at(0x18, "20260601000000Z"), "good");
    assert_eq!(signed_at(0x17, "190601000000Z"), "timestamp-authority-not-valid");
    assert_eq!(signed_at(0x17, "yesterday"), "timestamp-form");
}

#[test]
fn what_is_signed_is_what_the_token_holds() {
    let good = Forgery::good();
    assert_eq!(code(&good.der()), "good");
    assert_eq!(code(&Forgery { signed_key: 5, ..good.clone() }.der()), "timestamp-signature-invalid");
    assert_eq!(code(&Forgery { bound: Some(vec![0; 32]), ..good.clone() }.der()), "timestamp-certificate-mismatch");
    for attributes in [vec![1, 2], vec![0, 2], vec![0, 1], vec![0, 1, 1, 2]] {
        assert_eq!(code(&Forgery { attributes, ..good.clone() }.der()), "timestamp-attribute-missing");
    }
    assert_eq!(code(&Forgery { attributes: vec![], ..good.clone() }.der()), "timestamp-form");
    assert_eq!(code(&Forgery { attributes: vec![2, 1, 0], ..good.clone() }.der()), "good");
    let mut other_time = good.der();
    let position = other_time.windows(4).position(|window| window == b"2026").unwrap();
    other_time[position + 3] = b'5';
    assert_eq!(code(&other_time), "timestamp-altered");
    let unknown = |count: u8| (0..count).map(|_| attribute(ID_CT_TST_INFO, int(7))).collect();
    let room = u8::try_from(signed_data::MAX_ATTRIBUTES).unwrap() - 3;
    assert_eq!(code(&Forgery { further_attributes: unknown(room), ..good.clone() }.der()), "good");
    assert_eq!(code(&Forgery { further_attributes: unknown(room + 1), ..good }.der()), "timestamp-too-many-parts");
}

#[test]
fn a_certificate_for_the_same_key_cannot_be_put_in_the_signers_place() {
    let mut forgery = Forgery::good();
    let twin = stamper().access(const_oid::db::rfc5280::ID_AD_OCSP, "http://ocsp.example").der();
    forgery.certificates = vec![Draft::authority(1).der(), twin.clone()];
    assert_eq!(code(&forgery.der()), "timestamp-certificate-mismatch");
    forgery.certificates.push(stamper().der());
    assert_eq!(code(&forgery.der()), "good");
}

#[test]
fn every_other_form_of_a_token_is_refused() {
    let good = Forgery::good();
    let with = |change: &dyn Fn(&mut Forgery)| {
        let mut forgery = good.clone();
        change(&mut forgery);
        code(&forgery.der())
    };
    assert_eq!(with(&|_| ()), "good");
    assert_eq!(with(&|forgery| forgery.cms_version = 1), "timestamp-form");
    assert_eq!(with(&|forgery| forgery.signer_version = 3), "timestamp-form");
    assert_eq!(with(&|forgery| forgery.signers = 0), "timestamp-form");
    assert_eq!(with(&|forgery| forgery.signers = 2), "timestamp-form");
    assert_eq!(with(&|forgery| forgery.content_type = ID_CONTENT_TYPE), "timestamp-content-type");
    assert_eq!(with(&|forgery| forgery.content.version = 2), "timestamp-form");
    assert_eq!(with(&|forgery| forgery.content.hash = ID_SHA_1), "timestamp-hash-forbidden");
    assert_eq!(with(&|forgery| forgery.content.hash = ID_SHA_384), "timestamp-of-other-signature");
    assert_eq!(with(&|forgery| forgery.content.imprint.truncate(31)), "timestamp-of-other-signature");
    assert_eq!(with(&|forgery| forgery.content.time = "20260601000000"), "timestamp-form");
    assert_eq!(code(&sequence(&[oid(ID_CONTENT_TYPE), element(0xa0, &[int(1)])])), "timestamp-content-type");
}

#[test]
fn the_optional_fields_are_read_and_what_is_critical_there_must_be_known() {
    let with = |rest: Vec<u8>| {
        let mut forgery = Forgery::good();
        forgery.content.rest = rest;
        code(&forgery.der())
    };
    let extension = |is_critical: u8| {
        let parts = [oid(ID_CONTENT_TYPE), vec![1, 1, is_critical], element(0x04, &[int(1)])];
        element(0xa1, &[sequence(&parts[..])])
    };
    let name = GeneralName::RegisteredId(ID_CONTENT_TYPE);
    let authority = element(0xa0, &[der::Encode::to_der(&name).unwrap()]);
    assert_eq!(with([sequence(&[int(1)]), vec![1, 1, 0xff], int(9), authority.clone()].concat()), "good");
    assert_eq!(with(authority), "good");
    assert_eq!(with(extension(0)), "good");
    assert_eq!(with(extension(0xff)), "timestamp-form");
    assert_eq!(with(int(1).repeat(2)), "timestamp-malformed");
    assert_eq!(with(sequence(&[vec![0x02, 5, 1, 0, 0, 0, 0]])), "timestamp-malformed");
}
