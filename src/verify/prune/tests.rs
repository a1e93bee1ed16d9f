//! Each signature that goes stands beside a twin that stays for one difference.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Draft, ExtendedAttribute, Payload, PluginDemand, Unsigned};
use crate::oci::media_type;
use crate::pki::PrivateKey;
use crate::verify::check_integrity;

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&path).expect(&path)
}

fn image() -> Descriptor {
    Descriptor::of(media_type::IMAGE_MANIFEST, &vector("subjects/net-monitor.json"))
}

fn candidate(format: Format, bytes: &[u8]) -> Candidate {
    let envelope = Envelope::parse(format.media_type(), bytes, DEFAULT_ENVELOPE_SIZE).unwrap();
    let sound = check_integrity(&envelope, &image()).unwrap();
    let manifest = Descriptor::of(media_type::IMAGE_MANIFEST, bytes);
    Candidate { manifest, envelope, sound, is_referred_to: false }
}

/// What a signer signs.
#[derive(Clone, Copy)]
struct Signing<'a> {
    chain: &'a str,
    format: Format,
    day: u8,
    expires: Option<u8>,
    metadata: &'a [(&'a str, &'a str)],
}

const PLAIN: Signing<'_> =
    Signing { chain: "p256", format: Format::Jws, day: 1, expires: None, metadata: &[("build", "7")] };

/// A day within the validity of the chains.
fn day(day: u8) -> Timestamp {
    format!("2026-06-{day:02}T00:00:00Z").parse().unwrap()
}

fn signed(signing: Signing<'_>) -> Candidate {
    let Signing { chain, format, day: on, expires, metadata } = signing;
    let key = PrivateKey::from_pem(&vector(&format!("chains/{chain}/leaf.key"))).unwrap();
    let chain = Certificate::read_all(&vector(&format!("chains/{chain}/chain.pem"))).unwrap();
    let annotations: BTreeMap<_, _> = metadata.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let payload = Payload { target_artifact: Descriptor { annotations, ..image() } };
    let algorithm = key.spec().signature_algorithm();
    let draft = Draft::new(format, algorithm, &payload, day(on), expires.map(day));
    let signature = key.sign(&draft.to_be_signed()).unwrap();
    let unsigned = Unsigned { chain: &chain, signing_agent: "test", timestamp_signature: None };
    candidate(format, &draft.seal(&signature, unsigned))
}

fn kept() -> Fate {
    Fate::Kept { is_expired: false, because: None }
}

fn fates(signings: &[Signing<'_>], now: u8) -> Vec<Fate> {
    prune(&signings.iter().map(|signing| signed(*signing)).collect::<Vec<_>>(), false, day(now))
}

#[test]
fn an_earlier_signature_goes_where_the_same_signer_says_the_same_again() {
    let later = Signing { day: 2, metadata: &[("build", "7"), ("more", "x")], ..PLAIN };
    assert_eq!(fates(&[PLAIN, later], 3), [Fate::Superseded { by: 1 }, kept()]);
    assert_eq!(fates(&[later, PLAIN], 3), [kept(), Fate::Superseded { by: 0 }]);
    let expiring = Signing { expires: Some(9), ..PLAIN };
    for (earlier, later) in [(expiring, later), (expiring, Signing { day: 2, ..expiring })] {
        assert_eq!(fates(&[earlier, later], 3), [Fate::Superseded { by: 1 }, kept()]);
    }
}

#[test]
fn an_earlier_signature_stays_where_a_verifier_may_miss_it() {
    let later = Signing { day: 2, ..PLAIN };
    for (later, difference) in [
        (Signing { format: Format::Cose, ..later }, Some(Difference::Format)),
        (Signing { metadata: &[("build", "8")], ..later }, Some(Difference::Metadata)),
        (Signing { metadata: &[], ..later }, Some(Difference::Metadata)),
        (Signing { expires: Some(9), ..later }, Some(Difference::Expiry)),
        // Somebody else.
        (Signing { chain: "rsa2048", ..later }, None),
    ] {
        let expected = [Fate::Kept { is_expired: false, because: difference }, kept()];
        assert_eq!(fates(&[PLAIN, later], 3), expected, "{difference:?}");
    }
}

type Change<'c> = &'c dyn Fn(&mut SignedAttributes, &mut SignedAttributes);

/// What no signer here can make: the attributes are changed in what was read.
#[test]
fn an_earlier_signature_stays_where_the_attributes_differ() {
    let (earlier, later) = (signed(PLAIN), signed(Signing { day: 2, ..PLAIN }));
    let now = day(3);
    let extended = |value: Option<&str>| {
        vec![ExtendedAttribute { name: "x".into(), value: value.map(str::to_owned), is_critical: false }]
    };
    let plugin = || Some(PluginDemand { name: "p".into(), minimum_version: None });
    let cases: [(Change<'_>, Result<(), Difference>); 9] = [
        (&|_, _| {}, Ok(())),
        (&|_, later| later.scheme = SigningScheme::SigningAuthority, Err(Difference::Scheme)),
        (
            &|earlier, later| {
                earlier.scheme = SigningScheme::SigningAuthority;
                later.scheme = SigningScheme::SigningAuthority;
            },
            Err(Difference::SigningAuthority),
        ),
        (&|earlier, _| earlier.plugin = plugin(), Err(Difference::Plugin)),
        (&|_, later| later.extended = extended(Some("1")), Err(Difference::Attributes)),
        (&|earlier, _| earlier.extended = extended(Some("1")), Err(Difference::Attributes)),
        (
            &|earlier, later| {
                earlier.extended = extended(Some("1"));
                later.extended = extended(Some("1"));
            },
            Ok(()),
        ),
        (
            &|earlier, later| {
                earlier.extended = extended(None);
                later.extended = extended(None);
            },
            Err(Difference::Attributes),
        ),
        (&|_, later| later.signing_time = "2099-01-01T00:00:00Z".parse().unwrap(), Err(Difference::SigningTime)),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let (mut first, mut second) =
            (earlier.envelope.signed_attributes().clone(), later.envelope.signed_attributes().clone());
        change(&mut first, &mut second);
        let first = Facts { attributes: &first, ..Facts::of(0, &earlier, now) };
        let second = Facts { attributes: &second, ..Facts::of(1, &later, now) };
        assert_eq!(second.takes_the_place_of(&first), expected, "{number}");
    }
    let mut other = signed(Signing { day: 2, ..PLAIN });
    other.manifest.media_type = media_type::ARTIFACT_MANIFEST.to_owned();
    let difference = Facts::of(1, &other, now).takes_the_place_of(&Facts::of(0, &earlier, now));
    assert_eq!(difference, Err(Difference::Manifest));
}

#[test]
fn an_expired_signature_goes_when_another_stands_in_for_it_or_when_told_to() {
    let expired = Signing { expires: Some(5), ..PLAIN };
    let good = Signing { day: 2, ..PLAIN };
    assert_eq!(fates(&[expired, good], 5), [Fate::Expired { by: Some(1) }, kept()]);
    assert_eq!(fates(&[expired, good], 4), [Fate::Superseded { by: 1 }, kept()]);
    assert_eq!(fates(&[expired], 5), [Fate::Kept { is_expired: true, because: None }]);
    assert_eq!(prune(&[signed(expired)], true, day(5)), [Fate::Expired { by: None }]);
    assert_eq!(prune(&[signed(expired)], true, day(4)), [kept()]);
    let both = [signed(expired), signed(Signing { day: 2, ..expired })];
    assert_eq!(prune(&both, true, day(5)), [Fate::Expired { by: None }, Fate::Expired { by: None }]);
    let cose = Signing { format: Format::Cose, ..good };
    let because = Some(Difference::Format);
    assert_eq!(fates(&[expired, cose], 5), [Fate::Kept { is_expired: true, because }, kept()]);
}

#[test]
fn of_equal_ones_one_stays_and_what_something_refers_to_stays() {
    let twins = [signed(PLAIN), signed(PLAIN)];
    let fates = prune(&twins, false, day(3));
    assert_eq!(fates.iter().filter(|fate| **fate == kept()).count(), 1, "{fates:?}");
    let [first, second] = twins;
    let first = Candidate { is_referred_to: true, ..first };
    let stays = Fate::Kept { is_expired: false, because: Some(Difference::ReferredTo) };
    assert_eq!(prune(&[first, second], false, day(3)), [stays.clone(), Fate::Superseded { by: 0 }]);
    // At the same second the one that says more stays.
    let more = Signing { metadata: &[("build", "7"), ("more", "x")], ..PLAIN };
    assert_eq!(self::fates(&[PLAIN, more], 3), [Fate::Superseded { by: 1 }, kept()]);
    let earlier = Candidate { is_referred_to: true, ..signed(PLAIN) };
    assert_eq!(prune(&[earlier, signed(Signing { day: 2, ..PLAIN })], false, day(3)), [stays, kept()]);
}

#[test]
fn whatever_goes_has_one_that_stays_in_its_place() {
    let mut signings = Vec::new();
    for (day, expires) in [(1, None), (1, Some(5)), (2, Some(4)), (2, Some(9)), (3, None)] {
        for format in [Format::Jws, Format::Cose] {
            signings.push(Signing { format, day, expires, ..PLAIN });
            signings.push(Signing { format, day, expires, metadata: &[], ..PLAIN });
        }
    }
    let all: Vec<Candidate> = signings.iter().map(|signing| signed(*signing)).collect();
    for now in [3, 4, 5, 9] {
        let fates = prune(&all, false, day(now));
        for (own, fate) in fates.iter().enumerate() {
            let (Fate::Superseded { by } | Fate::Expired { by: Some(by) }) = fate else {
                assert!(matches!(fate, Fate::Kept { .. }), "{fate:?}");
                continue;
            };
            assert!(matches!(fates[*by], Fate::Kept { .. }), "{now}: {own} has {by} in its place");
            let (stays, goes) = (Facts::of(*by, &all[*by], day(now)), Facts::of(own, &all[own], day(now)));
            assert_eq!(stays.takes_the_place_of(&goes), Ok(()));
        }
    }
}

#[test]
fn a_time_stamp_is_replaced_by_one_of_the_same_authority_alone() {
    let stamped = |name: &str| {
        let one = candidate(Format::Jws, &vector(&format!("envelopes/{name}.jws")));
        Stamped::of(&one.envelope, &one.sound.chain)
    };
    let covered = stamped("timestamp-expired-leaf-covered");
    assert!(matches!(covered, Stamped::Whole(..)));
    assert!(covered.vouches_like(&stamped("timestamp-expired-leaf-covered")));
    assert!(covered.vouches_like(&Stamped::None) && !Stamped::None.vouches_like(&covered));
    for other in ["timestamp-untrusted-tsa", "timestamp-after-expiry", "timestamp-other-signature"] {
        let other = stamped(other);
        assert!(!covered.vouches_like(&other) && !other.vouches_like(&covered));
    }
}
