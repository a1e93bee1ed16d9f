//! Envelopes as somebody who wants to get past the check would send them: damaged, cut, stretched.
//!
//! Nothing may panic, and whatever is still accepted must say exactly what the untouched envelope said.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pratique::config::NotationDir;
use pratique::envelope::{
    Envelope,
    limits::{DEFAULT_ENVELOPE_SIZE, MAX_ENVELOPE_SIZE},
};
use pratique::oci::{Descriptor, InvalidJson};
use pratique::pki::{Certificate, MAX_CHAIN_LENGTH, TimestampToken};
use pratique::policy::{Policy, PolicyFault, Trust};
use pratique::remedy::Remedy;
use pratique::verify::{Evidence, Subject, examine};

/// Signed by RSA keys, whose checks are quick also in a debug build.
const ENVELOPES: [(&str, &str); 2] =
    [("cli-rsa2048-jws.jws", "application/jose+json"), ("cli-rsa2048-cose.cose", "application/cose")];

#[test]
fn no_changed_byte_changes_what_an_accepted_envelope_says() {
    for (name, media_type) in ENVELOPES {
        let scene = Scene::of(name, media_type);
        let accepted = scene.accepted(&scene.bytes).expect("the untouched envelope is accepted");
        for position in (0..scene.bytes.len()).step_by(3) {
            let mut changed = scene.bytes.clone();
            changed[position] ^= 1 << (position % 8);
            if let Some(said) = scene.accepted(&changed) {
                assert_eq!(said, accepted, "{name}: byte {position} changes what is accepted");
            }
        }
    }
}

#[test]
fn no_cut_or_stretched_envelope_is_accepted_as_something_else() {
    for (name, media_type) in ENVELOPES {
        let scene = Scene::of(name, media_type);
        for length in (0..scene.bytes.len()).step_by(7) {
            assert_eq!(scene.accepted(&scene.bytes[..length]), None, "{name}: cut to {length} bytes");
        }
        for junk in [&b"\0"[..], b"{}", b"]", &[0xff; 9], &scene.bytes.clone()] {
            let stretched = [&scene.bytes[..], junk].concat();
            assert_eq!(scene.accepted(&stretched), None, "{name}: followed by {} bytes", junk.len());
            let preceded = [junk, &scene.bytes[..]].concat();
            assert_eq!(scene.accepted(&preceded), None, "{name}: after {} bytes", junk.len());
        }
    }
}

#[test]
fn bytes_without_sense_are_refused_by_every_parser_and_end_none() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_usize {
        let bytes: Vec<u8> = (0..round % 300)
            .map(|_| {
                // xorshift64: the same bytes on every run
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let tagged = [&[0xd2, 0x84][..], &bytes].concat();
        assert!(Envelope::parse("application/cose", &bytes, DEFAULT_ENVELOPE_SIZE).is_err());
        assert!(Envelope::parse("application/cose", &tagged, DEFAULT_ENVELOPE_SIZE).is_err());
        assert!(Envelope::parse("application/jose+json", &bytes, DEFAULT_ENVELOPE_SIZE).is_err());
        assert!(Certificate::from_der(&bytes).is_err());
        assert!(TimestampToken::parse(&bytes).is_err());
        assert!(Policy::parse(&bytes).is_err());
    }
}

#[test]
fn deep_and_long_documents_meet_a_limit() {
    let deep = "[".repeat(200_000);
    let deep_member = format!(r#"{{"payload":{deep}"#);
    let deep_cbor = [&[0xd2, 0x84][..], &vec![0x81; 200_000]].concat();
    assert_eq!(refusal("application/jose+json", deep_member.as_bytes()), "envelope-too-deep");
    assert_eq!(refusal("application/cose", &deep_cbor), "cbor-too-deep");
    assert!(matches!(Policy::parse(deep.as_bytes()).unwrap_err().fault(), PolicyFault::Json(InvalidJson::TooDeep)));
    let long = vec![b' '; usize::try_from(DEFAULT_ENVELOPE_SIZE).unwrap() + 1];
    assert_eq!(refusal("application/jose+json", &long), "envelope-too-large");
}

#[test]
fn a_hundred_certificates_meet_a_limit_before_any_is_read() {
    let certificates = |count: usize| {
        let scene = Scene::of(ENVELOPES[0].0, ENVELOPES[0].1);
        let mut envelope: serde_json::Value = serde_json::from_slice(&scene.bytes).unwrap();
        envelope["header"]["x5c"] = vec!["AAAA"; count].into();
        Envelope::parse(scene.media_type, envelope.to_string().as_bytes(), DEFAULT_ENVELOPE_SIZE)
    };
    assert_eq!(certificates(MAX_CHAIN_LENGTH).unwrap().certificates().len(), MAX_CHAIN_LENGTH);
    assert_eq!(certificates(MAX_CHAIN_LENGTH + 1).unwrap_err().code().as_str(), "chain-too-long");
    assert_eq!(certificates(100).unwrap_err().code().as_str(), "chain-too-long");
}

/// The largest that an operator can allow, filled with what costs a reader most: many members, and one long text.
#[test]
fn the_largest_envelopes_are_answered_in_seconds() {
    let size = usize::try_from(MAX_ENVELOPE_SIZE).unwrap();
    let members = format!(r#"{{"payload":{{{}"a":1}}}}"#, "\"a\":1,".repeat(size / 7));
    let text = format!(r#"{{"payload":"{}"}}"#, "A".repeat(size - 20));
    let nothings = [&[0xd2, 0x84, 0x9a, 0, 0x9f, 0xff, 0xf0][..], &vec![0xf6; size - 20]].concat();
    let began = std::time::Instant::now();
    for (media_type, bytes) in [
        ("application/jose+json", members.as_bytes()),
        ("application/jose+json", text.as_bytes()),
        ("application/cose", &nothings),
    ] {
        assert!(Envelope::parse(media_type, &bytes[..bytes.len().min(size)], MAX_ENVELOPE_SIZE).is_err());
        let stretched = [bytes, &vec![b' '; size]].concat();
        let refused = Envelope::parse(media_type, &stretched, MAX_ENVELOPE_SIZE).unwrap_err();
        assert_eq!(refused.code().as_str(), "envelope-too-large");
    }
    // In a debug build; an optimised one needs a thirtieth.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

fn refusal(media_type: &str, bytes: &[u8]) -> &'static str {
    Envelope::parse(media_type, bytes, DEFAULT_ENVELOPE_SIZE).unwrap_err().code().as_str()
}

/// An envelope that a strict policy accepts, with everything that the acceptance depends on.
struct Scene {
    bytes: Vec<u8>,
    media_type: &'static str,
    artifact: Descriptor,
    trust: Trust,
}

impl Scene {
    fn of(name: &str, media_type: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("truststore/x509/ca/acme-rockets");
        fs::create_dir_all(&store).unwrap();
        for file in fs::read_dir(vectors().join("truststores/acme/x509/ca/acme-rockets")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), store.join(file.file_name())).unwrap();
        }
        fs::copy(vectors().join("policies/strict.json"), directory.path().join("trustpolicy.json")).unwrap();
        let subject = fs::read(vectors().join("subjects/net-monitor.json")).unwrap();
        Self {
            bytes: fs::read(vectors().join("envelopes").join(name)).unwrap(),
            media_type,
            artifact: Descriptor::of("application/vnd.oci.image.manifest.v1+json", &subject),
            trust: NotationDir::new(directory.path().to_path_buf()).load_trust().unwrap(),
        }
    }

    /// What is signed, and by whom, if the envelope is accepted.
    fn accepted(&self, bytes: &[u8]) -> Option<(Vec<u8>, String, Vec<Vec<u8>>)> {
        let envelope = Envelope::parse(self.media_type, bytes, DEFAULT_ENVELOPE_SIZE).ok()?;
        let statement = self.trust.policy().statements().first().unwrap();
        let nothing = BTreeMap::new();
        let subject = Subject::artifact(&self.artifact, &nothing);
        let outcome =
            examine(&envelope, subject, statement, &self.trust).conclude(&Evidence::default(), pratique::clock::now());
        let attributes = format!("{:?}", envelope.signed_attributes());
        outcome
            .decisive()
            .is_none()
            .then(|| (envelope.payload().to_vec(), attributes, envelope.certificates().to_vec()))
    }
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
