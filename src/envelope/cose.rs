//! COSE envelopes: a tagged `COSE_Sign1` (RFC 9052), read strictly.
//!
//! Follows the Notary specification "Signature Envelope: COSE". The decoder keeps the protected header as received, and
//! the signature is checked over those bytes; [`super::cbor`] refuses what it would let pass.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ciborium::Value;
use coset::iana::{Algorithm, EnumI64 as _, HeaderParameter};
use coset::{
    CoseSign1, Header, Label, ProtectedHeader, RegisteredLabel, RegisteredLabelWithPrivate, TaggedCborSerializable as _,
};
use jiff::{SignedDuration, Timestamp};

use super::attributes::{
    AUTHENTIC_SIGNING_TIME, EXPIRY, RawAttributes, SIGNING_AGENT, SIGNING_SCHEME, SIGNING_TIME, SigningScheme,
    TIMESTAMP_SIGNATURE, UnsignedAttributes, VERIFICATION_PLUGIN, VERIFICATION_PLUGIN_MIN_VERSION,
};
use super::error::InvalidEnvelope;
use super::{Envelope, Format, Unsigned, cbor};
use crate::oci::media_type::NOTARY_PAYLOAD;
use crate::pki::SignatureAlgorithm;
use crate::remedy::excerpt;

/// CBOR tag 18 and the head of an array of four: how every `COSE_Sign1` begins.
const COSE_SIGN1_HEAD: [u8; 2] = [0xd2, 0x84];
/// The tag of a time in seconds since 1970 (RFC 8949 section 3.4.2).
const EPOCH_TIME: u64 = 1;
/// The label of the certificate chain (RFC 9360).
const X5CHAIN: i64 = 33;

/// Reads a COSE envelope.
pub(super) fn parse(bytes: &[u8]) -> Result<Envelope, InvalidEnvelope> {
    if !bytes.starts_with(&COSE_SIGN1_HEAD) {
        return Err(InvalidEnvelope::NotCoseSign1);
    }
    cbor::check(bytes).map_err(InvalidEnvelope::Cbor)?;
    let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| InvalidEnvelope::NotCoseSign1)?;
    check_protected_bytes(&sign1.protected)?;
    check_buckets(&sign1.protected.header, &sign1.unprotected)?;
    let payload = sign1.payload.clone().filter(|payload| !payload.is_empty()).ok_or(InvalidEnvelope::NoPayload)?;
    let (algorithm, raw) = read_protected(&sign1.protected.header)?;
    let certificates = read_chain(&sign1.protected.header, &sign1.unprotected)?;
    Ok(Envelope {
        format: Format::Cose,
        algorithm,
        payload,
        signed_attributes: raw.check()?,
        unsigned_attributes: read_unprotected(&sign1.unprotected),
        certificates,
        to_be_signed: sign1.tbs_data(&[]),
        signature: sign1.signature,
    })
}

/// The protected header is CBOR inside a byte string, which the outer check has not looked into.
fn check_protected_bytes(protected: &ProtectedHeader) -> Result<(), InvalidEnvelope> {
    match protected.original_data.as_deref() {
        Some(bytes) if !bytes.is_empty() => cbor::check(bytes).map_err(InvalidEnvelope::Cbor),
        _ => Err(InvalidEnvelope::Missing("protected header")),
    }
}

/// No label may stand in both buckets, and what must be signed may not stand outside (RFC 9052 section 3).
fn check_buckets(protected: &Header, unprotected: &Header) -> Result<(), InvalidEnvelope> {
    let wrong = |name: &str| Err(InvalidEnvelope::WrongBucket(excerpt(name)));
    if unprotected.alg.is_some() {
        return wrong("alg");
    }
    if !unprotected.crit.is_empty() {
        return wrong("crit");
    }
    if unprotected.content_type.is_some() {
        return wrong("content type");
    }
    match unprotected.rest.iter().find(|(label, _)| find(protected, label).is_some()) {
        Some((label, _)) => wrong(&name_of(label)),
        None => Ok(()),
    }
}

fn read_protected(header: &Header) -> Result<(SignatureAlgorithm, RawAttributes), InvalidEnvelope> {
    let algorithm = algorithm_of(header.alg.as_ref().ok_or(InvalidEnvelope::Missing("alg"))?)?;
    match &header.content_type {
        Some(RegisteredLabel::Text(text)) if text == NOTARY_PAYLOAD => {}
        Some(other) => return Err(InvalidEnvelope::ContentType(excerpt(&format!("{other:?}")))),
        None => return Err(InvalidEnvelope::Missing("content type")),
    }
    let raw = RawAttributes {
        critical: header.crit.iter().map(critical_name).collect::<Result<_, _>>()?,
        scheme: text(header, SIGNING_SCHEME)?.ok_or(InvalidEnvelope::Missing(SIGNING_SCHEME))?,
        signing_time: time(header, SIGNING_TIME)?,
        authentic_signing_time: time(header, AUTHENTIC_SIGNING_TIME)?,
        expiry: time(header, EXPIRY)?,
        plugin: text(header, VERIFICATION_PLUGIN)?,
        plugin_minimum_version: text(header, VERIFICATION_PLUGIN_MIN_VERSION)?,
        extended: header.rest.iter().filter_map(|(label, value)| extended(label, value)).collect(),
    };
    Ok((algorithm, raw))
}

/// An attribute that is not Notary's own. A number is no name: it cannot be critical, and no plugin is told of it.
fn extended(label: &Label, value: &Value) -> Option<(String, Option<String>)> {
    match label {
        Label::Text(name) if !is_own(name) => Some((name.clone(), primitive(value))),
        Label::Text(_) | Label::Int(_) => None,
    }
}

/// The value as JSON, where JSON has it, too. Bytes are told in base64, as the reference implementation tells them.
fn primitive(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(number) => Some(i128::from(*number).to_string()),
        Value::Float(number) => serde_json::to_string(number).ok().filter(|_| number.is_finite()),
        Value::Text(text) => serde_json::to_string(text).ok(),
        Value::Bytes(bytes) => serde_json::to_string(&BASE64_STANDARD.encode(bytes)).ok(),
        _ => None,
    }
}

/// Whether a name is one that Notary defines.
fn is_own(name: &str) -> bool {
    const OWN: [&str; 6] = [
        SIGNING_SCHEME,
        SIGNING_TIME,
        AUTHENTIC_SIGNING_TIME,
        EXPIRY,
        VERIFICATION_PLUGIN,
        VERIFICATION_PLUGIN_MIN_VERSION,
    ];
    OWN.contains(&name)
}

/// Notary's critical headers have text labels. The numbers 0 to 8 may not be listed (RFC 9052 section 3.1), and no other
/// number is a header that anybody here understands.
fn critical_name(label: &RegisteredLabelWithPrivate<HeaderParameter>) -> Result<String, InvalidEnvelope> {
    match label {
        RegisteredLabelWithPrivate::Text(name) => Ok(name.clone()),
        RegisteredLabelWithPrivate::PrivateUse(number) => Err(InvalidEnvelope::UnknownCritical(number.to_string())),
        RegisteredLabelWithPrivate::Assigned(parameter) => match parameter.to_i64() {
            number @ 0..=8 => Err(InvalidEnvelope::WronglyCritical(number.to_string())),
            number => Err(InvalidEnvelope::UnknownCritical(number.to_string())),
        },
    }
}

/// The chain stands in an array, even for one certificate, in either bucket but not in both.
fn read_chain(protected: &Header, unprotected: &Header) -> Result<Vec<Vec<u8>>, InvalidEnvelope> {
    let label = Label::Int(X5CHAIN);
    let value =
        find(unprotected, &label).or_else(|| find(protected, &label)).ok_or(InvalidEnvelope::Missing("x5chain"))?;
    let malformed = || InvalidEnvelope::Malformed { name: "x5chain".to_owned(), expected: "an array of byte strings" };
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(malformed)?;
    items.iter().map(|item| item.as_bytes().cloned().ok_or_else(malformed)).collect()
}

/// Unsigned: what has another type than it should is as good as absent.
fn read_unprotected(header: &Header) -> UnsignedAttributes {
    let value = |name: &str| find(header, &Label::Text(name.to_owned()));
    UnsignedAttributes {
        timestamp_signature: value(TIMESTAMP_SIGNATURE).and_then(Value::as_bytes).cloned(),
        signing_agent: value(SIGNING_AGENT).and_then(Value::as_text).map(str::to_owned),
    }
}

fn find<'a>(header: &'a Header, label: &Label) -> Option<&'a Value> {
    header.rest.iter().find(|(known, _)| known == label).map(|(_, value)| value)
}

fn name_of(label: &Label) -> String {
    match label {
        Label::Int(number) => number.to_string(),
        Label::Text(name) => name.clone(),
    }
}

fn text(header: &Header, name: &str) -> Result<Option<String>, InvalidEnvelope> {
    let malformed = || InvalidEnvelope::Malformed { name: name.to_owned(), expected: "text" };
    find(header, &Label::Text(name.to_owned()))
        .map(|value| value.as_text().map(str::to_owned).ok_or_else(malformed))
        .transpose()
}

fn time(header: &Header, name: &str) -> Result<Option<Timestamp>, InvalidEnvelope> {
    let malformed = || InvalidEnvelope::Malformed { name: name.to_owned(), expected: "a time with tag 1" };
    let read = |value: &Value| match value {
        Value::Tag(EPOCH_TIME, inner) => epoch(inner).ok_or_else(malformed),
        _ => Err(malformed()),
    };
    find(header, &Label::Text(name.to_owned())).map(read).transpose()
}

/// Seconds since 1970, whole or with a fraction.
fn epoch(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Integer(seconds) => Timestamp::from_second(i64::try_from(*seconds).ok()?).ok(),
        Value::Float(seconds) => {
            Timestamp::UNIX_EPOCH.checked_add(SignedDuration::try_from_secs_f64(*seconds).ok()?).ok()
        }
        _ => None,
    }
}

const ALGORITHMS: [(Algorithm, SignatureAlgorithm); 6] = [
    (Algorithm::PS256, SignatureAlgorithm::RsaPssSha256),
    (Algorithm::PS384, SignatureAlgorithm::RsaPssSha384),
    (Algorithm::PS512, SignatureAlgorithm::RsaPssSha512),
    (Algorithm::ES256, SignatureAlgorithm::EcdsaSha256),
    (Algorithm::ES384, SignatureAlgorithm::EcdsaSha384),
    (Algorithm::ES512, SignatureAlgorithm::EcdsaSha512),
];

fn algorithm_of(label: &coset::Algorithm) -> Result<SignatureAlgorithm, InvalidEnvelope> {
    let found = ALGORITHMS.into_iter().find(|(known, _)| *label == coset::Algorithm::Assigned(*known));
    found.map(|(_, algorithm)| algorithm).ok_or_else(|| {
        InvalidEnvelope::Algorithm(match label {
            RegisteredLabelWithPrivate::Assigned(known) => format!("{known:?}"),
            RegisteredLabelWithPrivate::PrivateUse(number) => number.to_string(),
            RegisteredLabelWithPrivate::Text(name) => excerpt(name),
        })
    })
}

/// The protected header of a signature under `notary.x509`, in core deterministic encoding (RFC 8949 section 4.2.1).
pub(super) fn protected_header(
    algorithm: SignatureAlgorithm,
    signing_time: Timestamp,
    expiry: Option<Timestamp>,
) -> Vec<u8> {
    let time = |time: Timestamp| Value::Tag(EPOCH_TIME, Box::new(Value::from(time.as_second())));
    let number = ALGORITHMS.into_iter().find(|(_, known)| *known == algorithm).map_or(0, |(known, _)| known.to_i64());
    let critical = [Some(SIGNING_SCHEME), expiry.map(|_| EXPIRY)];
    let mut pairs = vec![
        (Value::from(1), Value::from(number)),
        (Value::from(2), Value::Array(critical.into_iter().flatten().map(Value::from).collect())),
        (Value::from(3), Value::from(NOTARY_PAYLOAD)),
    ];
    // Shorter labels sort first: expiry, signingTime, signingScheme.
    pairs.extend(expiry.map(|expiry| (Value::from(EXPIRY), time(expiry))));
    pairs.push((Value::from(SIGNING_TIME), time(signing_time)));
    pairs.push((Value::from(SIGNING_SCHEME), Value::from(SigningScheme::X509.as_str())));
    encode(&Value::Map(pairs))
}

/// The `Sig_structure` of RFC 9052 section 4.4.
pub(super) fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.to_vec()),
    ]))
}

/// The envelope's bytes.
pub(super) fn seal(protected: &[u8], payload: &[u8], signature: &[u8], unsigned: Unsigned<'_>) -> Vec<u8> {
    let chain = unsigned.chain.iter().map(|certificate| Value::Bytes(certificate.der().to_vec())).collect();
    let mut pairs = vec![
        (Value::from(X5CHAIN), Value::Array(chain)),
        (Value::from(SIGNING_AGENT), Value::from(unsigned.signing_agent)),
    ];
    let token = unsigned.timestamp_signature.map(|token| Value::Bytes(token.to_vec()));
    pairs.extend(token.map(|token| (Value::from(TIMESTAMP_SIGNATURE), token)));
    let unprotected = Value::Map(pairs);
    let message = Value::Array(vec![
        Value::Bytes(protected.to_vec()),
        unprotected,
        Value::Bytes(payload.to_vec()),
        Value::Bytes(signature.to_vec()),
    ]);
    encode(&Value::Tag(CoseSign1::TAG, Box::new(message)))
}

/// Writing to memory does not fail.
fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap_or_default();
    bytes
}

#[cfg(test)]
mod tests {
    use coset::HeaderBuilder;

    use super::*;
    use crate::remedy::{Code, Remedy as _};

    /// What becomes of a protected header in which this attribute of this name is critical.
    fn code(name: &str) -> Code {
        let text = |name: &str| RegisteredLabelWithPrivate::Text(name.to_owned());
        let mut header = HeaderBuilder::new()
            .algorithm(Algorithm::ES256)
            .content_type(NOTARY_PAYLOAD.to_owned())
            .text_value(SIGNING_SCHEME.to_owned(), Value::from(SigningScheme::X509.as_str()))
            .text_value(SIGNING_TIME.to_owned(), Value::Tag(EPOCH_TIME, Box::new(Value::from(1_800_000_000))))
            .text_value(name.to_owned(), Value::from(true))
            .build();
        header.crit = vec![text(SIGNING_SCHEME), text(name)];
        let (_, raw) = read_protected(&header).unwrap();
        raw.check().unwrap_err().code()
    }

    /// A text label of Notary's.
    fn own(name: &str) -> Value {
        Value::from(format!("io.cncf.notary.{name}"))
    }

    fn at(seconds: impl Into<Value>) -> Value {
        Value::Tag(EPOCH_TIME, Box::new(seconds.into()))
    }

    /// Something done to both headers, and the code that it must lead to.
    type Change = (fn(&mut Pairs, &mut Pairs), &'static str);
    type Pairs = Vec<(Value, Value)>;

    /// What becomes of an envelope whose headers were changed like this. Nobody has signed it.
    fn changed(change: fn(&mut Pairs, &mut Pairs)) -> Result<Envelope, InvalidEnvelope> {
        let mut protected = vec![
            (Value::from(1), Value::from(-7)),
            (Value::from(2), Value::Array(vec![own("signingScheme")])),
            (Value::from(3), Value::from(NOTARY_PAYLOAD)),
            (own("signingScheme"), Value::from("notary.x509")),
            (own("signingTime"), at(1_800_000_000)),
        ];
        let mut unprotected = vec![(Value::from(X5CHAIN), Value::Array(vec![Value::Bytes(vec![0x30, 0])]))];
        change(&mut protected, &mut unprotected);
        let bytes = |text: &[u8]| Value::Bytes(text.to_vec());
        let parts = vec![bytes(&encode(&Value::Map(protected))), Value::Map(unprotected), bytes(b"{}"), bytes(b"s")];
        parse(&encode(&Value::Tag(CoseSign1::TAG, Box::new(Value::Array(parts)))))
    }

    fn set(pairs: &mut Pairs, label: Value, value: Value) {
        pairs.retain(|(known, _)| *known != label);
        pairs.push((label, value));
    }

    fn critical(pairs: &mut Pairs, labels: Vec<Value>) {
        set(pairs, 2.into(), Value::Array(labels));
    }

    #[test]
    fn each_fault_of_a_header_has_its_code() {
        let changes: [Change; 34] = [
            (|_, _| {}, "parsed"),
            (|protected, _| set(protected, 1.into(), "ES256".into()), "algorithm-not-allowed"),
            (|protected, _| set(protected, 1.into(), (-257).into()), "algorithm-not-allowed"),
            (|protected, _| drop(protected.remove(0)), "envelope-header-missing"),
            (|protected, unprotected| unprotected.push(protected.remove(0)), "envelope-wrong-bucket"),
            (|protected, _| set(protected, 3.into(), 50.into()), "payload-content-type"),
            (|protected, _| set(protected, 3.into(), "application/json".into()), "payload-content-type"),
            (|protected, _| drop(protected.remove(2)), "envelope-header-missing"),
            (|protected, _| drop(protected.remove(1)), "critical-headers-missing"),
            (|protected, unprotected| unprotected.push(protected.remove(1)), "envelope-wrong-bucket"),
            (|protected, _| critical(protected, vec![own("signingTime")]), "header-not-critical"),
            (
                |protected, _| critical(protected, vec![own("signingScheme"), own("signingScheme")]),
                "header-wrongly-critical",
            ),
            (
                |protected, _| critical(protected, vec![own("signingScheme"), "absent".into()]),
                "header-wrongly-critical",
            ),
            (|protected, _| critical(protected, vec![own("signingScheme"), 1.into()]), "header-wrongly-critical"),
            (|protected, _| critical(protected, vec![own("signingScheme"), 4.into()]), "header-wrongly-critical"),
            (|protected, _| critical(protected, vec![own("signingScheme"), 33.into()]), "unknown-critical-attribute"),
            (
                |protected, _| critical(protected, vec![own("signingScheme"), (-70_000).into()]),
                "unknown-critical-attribute",
            ),
            (|protected, _| set(protected, own("signingScheme"), 7.into()), "envelope-header-malformed"),
            (|protected, _| set(protected, own("signingScheme"), "notary.x510".into()), "signing-scheme-unknown"),
            (|protected, _| set(protected, own("signingTime"), 1_800_000_000.into()), "envelope-header-malformed"),
            (|protected, _| set(protected, own("signingTime"), at("2027-01-01")), "envelope-header-malformed"),
            (
                |protected, _| {
                    let text = Value::Tag(0, Box::new("2027-01-15T08:00:00Z".into()));
                    set(protected, own("signingTime"), text);
                },
                "envelope-header-malformed",
            ),
            (|protected, _| set(protected, own("signingTime"), at(1_800_000_000.5)), "parsed"),
            (|protected, _| set(protected, own("signingTime"), at(f64::NAN)), "envelope-header-malformed"),
            (|protected, _| set(protected, own("signingTime"), at(f64::MAX)), "envelope-header-malformed"),
            (|protected, _| set(protected, own("authenticSigningTime"), at(1_800_000_000)), "time-not-of-scheme"),
            (|protected, _| set(protected, own("expiry"), at(1_900_000_000)), "header-not-critical"),
            (
                |protected, _| {
                    set(protected, own("expiry"), at(1_800_000_000));
                    critical(protected, vec![own("signingScheme"), own("expiry")]);
                },
                "expiry-before-signing",
            ),
            (
                |_, unprotected| {
                    let certificate = Value::Bytes(vec![0x30, 0]);
                    set(unprotected, X5CHAIN.into(), certificate);
                },
                "envelope-header-malformed",
            ),
            (|_, unprotected| set(unprotected, X5CHAIN.into(), Value::Array(vec![])), "envelope-header-malformed"),
            (|_, unprotected| unprotected.clear(), "envelope-header-missing"),
            (|protected, unprotected| protected.append(unprotected), "parsed"),
            (|protected, unprotected| protected.extend(unprotected.clone()), "envelope-wrong-bucket"),
            (
                |_, unprotected| {
                    unprotected.extend([(own("timestampSignature"), 7.into()), (own("signingAgent"), 7.into())]);
                },
                "parsed",
            ),
        ];
        let wrong: Vec<_> = changes
            .iter()
            .map(|(change, expected)| {
                (changed(*change).map_or_else(|error| error.code(), |_| Code("parsed")), expected)
            })
            .enumerate()
            .filter(|(_, (got, expected))| got.as_str() != **expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let unsigned = changes[33].0;
        assert_eq!(changed(unsigned).unwrap().unsigned_attributes, UnsignedAttributes::default());
    }

    /// By the protected header of a signature that notation made.
    #[test]
    fn what_is_signed_is_encoded_as_notation_encodes_it() {
        let decoded = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/decoded.json")).unwrap();
        let decoded: Vec<serde_json::Value> = serde_json::from_slice(&decoded).unwrap();
        let mut compared = 0;
        for case in &decoded {
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let Some(theirs) = text(&case["protectedHex"]) else { continue };
            let header = &case["protected"];
            if header[SIGNING_SCHEME] != "notary.x509" || !case["case"].as_str().unwrap().starts_with("cli-") {
                continue;
            }
            let number = header["1"].as_i64().unwrap();
            let (_, algorithm) = ALGORITHMS.into_iter().find(|(known, _)| known.to_i64() == number).unwrap();
            let time = |name: &str| text(&header[name]).map(|time| time.parse().unwrap());
            let ours = protected_header(algorithm, time(SIGNING_TIME).unwrap(), time(EXPIRY));
            assert_eq!(hex::encode(ours), theirs, "{}", case["case"]);
            compared += 1;
        }
        assert!(compared >= 6, "{compared}");
    }

    #[test]
    fn an_attribute_is_the_same_in_the_header_and_in_the_critical_list_however_long_its_name() {
        assert_eq!(code("com.example.rule"), Code("unknown-critical-attribute"));
        assert_eq!(code(&"x".repeat(200)), Code("unknown-critical-attribute"));
    }
}
