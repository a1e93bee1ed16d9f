//! JWS envelopes: the flattened JSON serialization of RFC 7515, read strictly.
//!
//! Follows the Notary specification "Signature Envelope: JWS". Nothing goes through a generic JSON value, which would
//! silently drop one of two members of the same name.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Serialize;

use super::attributes::{
    AUTHENTIC_SIGNING_TIME, EXPIRY, RawAttributes, SIGNING_AGENT, SIGNING_SCHEME, SIGNING_TIME, SigningScheme,
    TIMESTAMP_SIGNATURE, UnsignedAttributes, VERIFICATION_PLUGIN, VERIFICATION_PLUGIN_MIN_VERSION,
};
use super::error::InvalidEnvelope;
use super::members::Members;
use super::{Envelope, Format, Unsigned};
use crate::oci::media_type::NOTARY_PAYLOAD;
use crate::pki::SignatureAlgorithm;
use crate::remedy::excerpt;

/// Reads a JWS envelope.
pub(super) fn parse(bytes: &[u8]) -> Result<Envelope, InvalidEnvelope> {
    let mut members = Members::parse(bytes)?;
    // First the certificates: who has none has nothing to be verified with.
    let header: Box<serde_json::value::RawValue> =
        members.require("header", "an object").map_err(|error| general_or(error, bytes))?;
    let protected: String = members.require("protected", "text").map_err(|error| general_or(error, bytes))?;
    let payload: String = members.require("payload", "text")?;
    let signature: String = members.require("signature", "text")?;
    if let Some((name, _)) = members.rest().next() {
        return Err(InvalidEnvelope::UnknownMember(excerpt(&name)));
    }

    let protected_bytes = base64url("protected", &protected)?;
    let (algorithm, raw) = read_protected(&protected_bytes)?;
    let (certificates, unsigned_attributes) = read_unprotected(header.get())?;
    let to_be_signed = format!("{protected}.{payload}").into_bytes();
    let payload = base64url("payload", &payload)?;
    if payload.is_empty() {
        return Err(InvalidEnvelope::NoPayload);
    }
    Ok(Envelope {
        format: Format::Jws,
        algorithm,
        payload,
        signed_attributes: raw.check()?,
        unsigned_attributes,
        certificates,
        signature: base64url("signature", &signature)?,
        to_be_signed,
    })
}

/// An envelope without `protected` but with `signatures` is the general serialization, which deserves its own name.
fn general_or(error: InvalidEnvelope, bytes: &[u8]) -> InvalidEnvelope {
    let is_general = Members::parse(bytes).is_ok_and(|members| members.rest().any(|(name, _)| name == "signatures"));
    if is_general { InvalidEnvelope::GeneralSerialization } else { error }
}

fn read_protected(bytes: &[u8]) -> Result<(SignatureAlgorithm, RawAttributes), InvalidEnvelope> {
    let mut members = Members::parse(bytes)?;
    let name: String = members.require("alg", "text")?;
    let algorithm = algorithm_of(&name).ok_or_else(|| InvalidEnvelope::Algorithm(excerpt(&name)))?;
    let content_type: String = members.require("cty", "text")?;
    if content_type != NOTARY_PAYLOAD {
        return Err(InvalidEnvelope::ContentType(excerpt(&content_type)));
    }
    let raw = RawAttributes {
        critical: members.take("crit", "a list of names")?.unwrap_or_default(),
        scheme: members.require(SIGNING_SCHEME, "text")?,
        signing_time: time(&mut members, SIGNING_TIME)?,
        authentic_signing_time: time(&mut members, AUTHENTIC_SIGNING_TIME)?,
        expiry: time(&mut members, EXPIRY)?,
        plugin: members.take(VERIFICATION_PLUGIN, "text")?,
        plugin_minimum_version: members.take(VERIFICATION_PLUGIN_MIN_VERSION, "text")?,
        extended: members.rest().map(|(name, value)| (name, primitive(value.get()))).collect(),
    };
    Ok((algorithm, raw))
}

/// The text of a JSON value that holds no others.
fn primitive(value: &str) -> Option<String> {
    (!value.starts_with(['{', '['])).then(|| value.to_owned())
}

/// The unprotected header: anybody may have written it, so what is not known there is ignored.
fn read_unprotected(text: &str) -> Result<(Vec<Vec<u8>>, UnsignedAttributes), InvalidEnvelope> {
    let mut members = Members::parse(text.as_bytes())?;
    let x5c: Vec<String> = members.require("x5c", "a list of base64 texts")?;
    if x5c.is_empty() {
        return Err(InvalidEnvelope::Missing("x5c"));
    }
    let certificates = x5c.iter().map(|certificate| base64_standard("x5c", certificate)).collect::<Result<_, _>>()?;
    let token: Option<String> = members.take(TIMESTAMP_SIGNATURE, "base64 text")?;
    let timestamp_signature = token.map(|token| base64_standard(TIMESTAMP_SIGNATURE, &token)).transpose()?;
    let signing_agent = members.take(SIGNING_AGENT, "text")?;
    Ok((certificates, UnsignedAttributes { timestamp_signature, signing_agent }))
}

fn time(members: &mut Members<'_>, name: &'static str) -> Result<Option<Timestamp>, InvalidEnvelope> {
    let text: Option<String> = members.take(name, "text")?;
    let parse = |text: String| {
        rfc3339(&text).ok_or(InvalidEnvelope::Malformed { name: name.to_owned(), expected: "an RFC 3339 time" })
    };
    text.map(parse).transpose()
}

/// A date and time with an offset in the one form of RFC 3339 section 5.6; the library would take several others.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let digits_at =
        |positions: &[usize]| positions.iter().all(|&i| text.as_bytes().get(i).is_some_and(u8::is_ascii_digit));
    let byte = |i: usize| text.as_bytes().get(i).copied();
    let date_and_time = digits_at(&[0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
        && (byte(4), byte(7), byte(10), byte(13), byte(16))
            == (Some(b'-'), Some(b'-'), Some(b'T'), Some(b':'), Some(b':'));
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return None;
            }
            zone
        }
        None => rest,
    };
    let is_offset = |zone: &str| {
        let bytes = zone.as_bytes();
        bytes.len() == 6
            && matches!(bytes.first(), Some(b'+' | b'-'))
            && bytes.get(3) == Some(&b':')
            && [1, 2, 4, 5].iter().all(|&i| bytes.get(i).is_some_and(u8::is_ascii_digit))
    };
    if date_and_time && (zone == "Z" || is_offset(zone)) { text.parse().ok() } else { None }
}

fn base64url(name: &str, text: &str) -> Result<Vec<u8>, InvalidEnvelope> {
    let expected = "base64url text without padding";
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidEnvelope::Malformed { name: name.to_owned(), expected })
}

fn base64_standard(name: &str, text: &str) -> Result<Vec<u8>, InvalidEnvelope> {
    let expected = "base64 text";
    BASE64_STANDARD.decode(text).map_err(|_| InvalidEnvelope::Malformed { name: name.to_owned(), expected })
}

const ALGORITHMS: [(&str, SignatureAlgorithm); 6] = [
    ("PS256", SignatureAlgorithm::RsaPssSha256),
    ("PS384", SignatureAlgorithm::RsaPssSha384),
    ("PS512", SignatureAlgorithm::RsaPssSha512),
    ("ES256", SignatureAlgorithm::EcdsaSha256),
    ("ES384", SignatureAlgorithm::EcdsaSha384),
    ("ES512", SignatureAlgorithm::EcdsaSha512),
];

fn algorithm_of(name: &str) -> Option<SignatureAlgorithm> {
    ALGORITHMS.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
}

fn name_of(algorithm: SignatureAlgorithm) -> &'static str {
    ALGORITHMS.into_iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

/// The protected header of a signature under `notary.x509`.
pub(super) fn protected_header(
    algorithm: SignatureAlgorithm,
    signing_time: Timestamp,
    expiry: Option<Timestamp>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Protected {
        alg: &'static str,
        crit: Vec<&'static str>,
        cty: &'static str,
        #[serde(rename = "io.cncf.notary.expiry", skip_serializing_if = "Option::is_none")]
        expiry: Option<String>,
        #[serde(rename = "io.cncf.notary.signingScheme")]
        scheme: &'static str,
        #[serde(rename = "io.cncf.notary.signingTime")]
        signing_time: String,
    }
    let seconds = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let critical = [Some(SIGNING_SCHEME), expiry.map(|_| EXPIRY)];
    let header = Protected {
        alg: name_of(algorithm),
        crit: critical.into_iter().flatten().collect(),
        cty: NOTARY_PAYLOAD,
        expiry: expiry.map(seconds),
        scheme: SigningScheme::X509.as_str(),
        signing_time: seconds(signing_time),
    };
    // A struct of text always has a JSON form.
    serde_json::to_vec(&header).unwrap_or_default()
}

/// RFC 7515 section 5.1: the two encoded parts, joined by a full stop.
pub(super) fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(protected), BASE64_URL_SAFE_NO_PAD.encode(payload)).into_bytes()
}

/// The envelope's bytes.
pub(super) fn seal(protected: &[u8], payload: &[u8], signature: &[u8], unsigned: Unsigned<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Flattened<'a> {
        payload: String,
        protected: String,
        header: Header<'a>,
        signature: String,
    }
    #[derive(Serialize)]
    struct Header<'a> {
        x5c: Vec<String>,
        #[serde(rename = "io.cncf.notary.timestampSignature", skip_serializing_if = "Option::is_none")]
        timestamp_signature: Option<String>,
        #[serde(rename = "io.cncf.notary.signingAgent")]
        signing_agent: &'a str,
    }
    let envelope = Flattened {
        payload: BASE64_URL_SAFE_NO_PAD.encode(payload),
        protected: BASE64_URL_SAFE_NO_PAD.encode(protected),
        header: Header {
            x5c: unsigned.chain.iter().map(|certificate| BASE64_STANDARD.encode(certificate.der())).collect(),
            timestamp_signature: unsigned.timestamp_signature.map(|token| BASE64_STANDARD.encode(token)),
            signing_agent: unsigned.signing_agent,
        },
        signature: BASE64_URL_SAFE_NO_PAD.encode(signature),
    };
    // A struct of text always has a JSON form.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy;

    const PROTECTED: &str = r#"{"alg":"ES256","crit":["io.cncf.notary.signingScheme"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":"2026-01-02T03:04:05Z"}"#;

    fn envelope(protected: &str) -> String {
        format!(
            r#"{{"payload":"e30","protected":"{}","header":{{"x5c":["MAA="]}},"signature":"AAAA"}}"#,
            BASE64_URL_SAFE_NO_PAD.encode(protected)
        )
    }

    fn code(text: &str) -> &'static str {
        match parse(text.as_bytes()) {
            Ok(_) => "parsed",
            Err(error) => error.code().as_str(),
        }
    }

    #[test]
    fn a_flattened_envelope_parses_and_each_departure_has_its_code() {
        let good = envelope(PROTECTED);
        assert_eq!(code(&good), "parsed");
        assert_eq!(code(&format!("{good}\n ")), "parsed");
        for (from, to, expected) in [
            (r#""payload":"e30""#, r#""payload":"e30=""#, "envelope-header-malformed"),
            (r#""payload":"e30""#, r#""payload":"e31""#, "envelope-header-malformed"),
            (r#""payload":"e30""#, r#""payload":"""#, "envelope-no-payload"),
            (r#""payload":"e30","#, "", "envelope-header-missing"),
            (r#""payload":"e30""#, r#""payload":"e30","payload":"e30""#, "envelope-duplicate-member"),
            (r#""payload":"e30""#, r#""Payload":"e30""#, "envelope-header-missing"),
            (r#""payload":"e30""#, r#""payload":"e30","extra":1"#, "envelope-unknown-member"),
            (r#""protected""#, r#""signatures""#, "envelope-general-serialization"),
            (r#"["MAA="]"#, "[]", "envelope-header-missing"),
            (r#"["MAA="]"#, r#""MAA=""#, "envelope-header-malformed"),
            (r#"["MAA="]"#, r#"["MA_="]"#, "envelope-header-malformed"),
            (r#""x5c""#, r#""x5C""#, "envelope-header-missing"),
            (r#""signature":"AAAA"}"#, r#""signature":"AAAA"}x"#, "envelope-not-json"),
            (r#""signature":"AAAA"}"#, r#""signature":"AAAA""#, "envelope-not-json"),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(code(&good.replacen(from, to, 1)), expected, "{to}");
        }
    }

    #[test]
    fn each_fault_of_the_protected_header_has_its_code() {
        for (from, to, expected) in [
            ("ES256", "ES384", "parsed"),
            ("ES256", "none", "algorithm-not-allowed"),
            ("ES256", "HS256", "algorithm-not-allowed"),
            ("ES256", "es256", "algorithm-not-allowed"),
            ("application/vnd.cncf.notary.payload.v1+json", "vnd.cncf.notary.payload.v1+json", "payload-content-type"),
            (r#""crit":["io.cncf.notary.signingScheme"],"#, "", "critical-headers-missing"),
            (r#"["io.cncf.notary.signingScheme"]"#, "[]", "critical-headers-missing"),
            (r#"["io.cncf.notary.signingScheme"]"#, r#"["x"]"#, "header-not-critical"),
            (
                r#"["io.cncf.notary.signingScheme"]"#,
                r#"["io.cncf.notary.signingScheme","x"]"#,
                "header-wrongly-critical",
            ),
            (
                r#"["io.cncf.notary.signingScheme"]"#,
                r#"["io.cncf.notary.signingScheme","io.cncf.notary.signingScheme"]"#,
                "header-wrongly-critical",
            ),
            (
                r#"["io.cncf.notary.signingScheme"]"#,
                r#"["io.cncf.notary.signingScheme","alg"]"#,
                "header-wrongly-critical",
            ),
            (
                r#"["io.cncf.notary.signingScheme"]"#,
                r#"["io.cncf.notary.signingScheme","x"],"x":1"#,
                "unknown-critical-attribute",
            ),
            (r#""alg""#, r#""x":1,"alg""#, "parsed"),
            (r#""alg":"ES256""#, r#""alg":"ES256","alg":"ES256""#, "envelope-duplicate-member"),
            (r#""notary.x509""#, r#""notary.x510""#, "signing-scheme-unknown"),
            ("io.cncf.notary.signingTime", "io.cncf.notary.authenticSigningTime", "time-not-of-scheme"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+01:00", "parsed"),
            ("2026-01-02T03:04:05Z", "2026-01-02", "envelope-header-malformed"),
            ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05Z", "envelope-header-malformed"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "envelope-header-malformed"),
            ("2026-01-02T03:04:05Z", "2026-02-30T03:04:05Z", "envelope-header-malformed"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.Z", "envelope-header-malformed"),
            (
                r#"["io.cncf.notary.signingScheme"],"#,
                r#"["io.cncf.notary.signingScheme","io.cncf.notary.expiry"],"io.cncf.notary.expiry":"2026-01-02T03:04:05Z","#,
                "expiry-before-signing",
            ),
            (
                r#"["io.cncf.notary.signingScheme"],"#,
                r#"["io.cncf.notary.signingScheme"],"io.cncf.notary.expiry":"2027-01-02T03:04:05Z","#,
                "header-not-critical",
            ),
            (
                r#"["io.cncf.notary.signingScheme"],"#,
                r#"["io.cncf.notary.signingScheme"],"io.cncf.notary.verificationPlugin":"p","#,
                "plugin-attribute-invalid",
            ),
            (
                r#"["io.cncf.notary.signingScheme"],"#,
                r#"["io.cncf.notary.signingScheme","io.cncf.notary.verificationPlugin"],"io.cncf.notary.verificationPlugin":"p","#,
                "parsed",
            ),
        ] {
            assert!(PROTECTED.contains(from), "{from}");
            assert_eq!(code(&envelope(&PROTECTED.replacen(from, to, 1))), expected, "{to}");
        }
    }

    /// By the protected headers of signatures that notation made.
    #[test]
    fn what_is_signed_is_encoded_as_notation_encodes_it() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/envelopes");
        let mut compared = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with("cli-") || path.extension().is_none_or(|extension| extension != "jws") {
                continue;
            }
            let envelope: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let theirs = BASE64_URL_SAFE_NO_PAD.decode(envelope["protected"].as_str().unwrap()).unwrap();
            let header: serde_json::Value = serde_json::from_slice(&theirs).unwrap();
            if header[SIGNING_SCHEME] != "notary.x509" {
                continue;
            }
            let time = |name: &str| header[name].as_str().map(|time| time.parse().unwrap());
            let algorithm = algorithm_of(header["alg"].as_str().unwrap()).unwrap();
            let ours = protected_header(algorithm, time(SIGNING_TIME).unwrap(), time(EXPIRY));
            assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(theirs).unwrap(), "{name}");
            compared.push((algorithm, time(EXPIRY).is_some()));
        }
        for (name, algorithm) in ALGORITHMS {
            assert!(compared.iter().any(|(known, _)| *known == algorithm), "none with {name}");
        }
        assert!(compared.iter().any(|(_, expires)| *expires), "none that expires");
    }
}
