//! `notation inspect`: what the signatures of an artifact say. Nothing is judged.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::Timestamp;
use serde::Serialize;

use super::artifact::{Artifact, MAY_HAVE_MOVED, max_signatures};
use super::flags::Parsed;
use super::list::{over_the_limit, without_signature};
use super::output::Node;
use super::{Refusal, Said, block_on, output};
use crate::cli::inspect::{CertificateFields, Fields, certificate_fields, read};
use crate::oci::{Descriptor, media_type};
use crate::pki::TimestampToken;

/// The form of a time in C's `asctime`, which the text has.
pub(super) const TEXT_TIME: &str = "%a %b %e %H:%M:%S %Y";
/// And in JSON.
pub(super) const JSON_TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    #[serde(rename = "Signatures")]
    signatures: Vec<Signature<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the names are the document's")]
struct Signature<'a> {
    media_type: &'a str,
    digest: String,
    signature_algorithm: &'a str,
    signed_attributes: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// What a signature says besides, in an image's and in a file's alike.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rest<'a> {
    user_defined_attributes: Option<&'a BTreeMap<String, String>>,
    unsigned_attributes: BTreeMap<&'static str, Unsigned<'a>>,
    certificates: Vec<Certificate>,
    signed_artifact: Option<SignedArtifact<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    #[serde(rename = "SHA256Fingerprint")]
    fingerprint: String,
    issued_to: String,
    issued_by: String,
    expiry: String,
}

/// An unsigned attribute.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Unsigned<'a> {
    Text(&'a str),
    Stamp(Stamp),
    NoStamp { error: String },
}

/// What a time-stamp says, and the certificates that it holds.
#[derive(Serialize)]
pub(super) struct Stamp {
    timestamp: String,
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignedArtifact<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
}

pub(super) fn run(parsed: &Parsed) -> Said {
    let is_json = is_json(parsed, "text")?;
    let limit = max_signatures(parsed)?;
    block_on(async {
        let artifact = Artifact::resolve(parsed, "inspect", MAY_HAVE_MOVED).await?;
        let referrers = artifact.signatures(limit).await?;
        let (mut signatures, mut is_any_skipped) = (Vec::new(), false);
        for descriptor in &referrers.descriptors {
            match read(artifact.place.source(), &artifact.repository, descriptor).await {
                Ok(fields) => signatures.push((descriptor, fields)),
                Err(problem) => {
                    is_any_skipped = true;
                    output::warn(&format!(
                        "Warning: Skipping signature {} because of error: {}",
                        descriptor.digest, problem.message
                    ));
                }
            }
        }
        if is_json {
            output::say(&document(&artifact.descriptor.media_type, &signatures)?);
        } else if referrers.descriptors.is_empty() {
            output::say(&without_signature(&artifact));
        } else {
            let signatures = signatures.iter().map(|(descriptor, fields)| tree(descriptor, fields)).collect();
            let tree = Node::of(artifact.pinned(), vec![Node::of(media_type::NOTARY_SIGNATURE, signatures)]);
            output::say(&format!("Inspecting all signatures for signed artifact\n{}", tree.draw()));
        }
        if referrers.truncated && !is_json {
            output::say(&over_the_limit(limit));
        }
        if is_any_skipped {
            return Err(Refusal::new("at least one signature was skipped and not displayed"));
        }
        Ok(())
    })
}

/// Whether a document is asked for, and not the form for people, which the two commands name in different ways.
pub(super) fn is_json(parsed: &Parsed, for_people: &str) -> Result<bool, Refusal> {
    match parsed.text("output") {
        "json" => Ok(true),
        other if other == for_people => Ok(false),
        other => Err(Refusal(format!("unrecognized output format {other}"))),
    }
}

pub(super) fn time(time: Timestamp, form: &str) -> String {
    time.strftime(form).to_string()
}

fn document(media_type: &str, signatures: &[(&Descriptor, Fields)]) -> Result<String, Refusal> {
    let signatures = signatures.iter().map(|(descriptor, fields)| signature(descriptor, fields)).collect();
    output::json(&Document { media_type, signatures }, "    ")
}

fn signature<'a>(descriptor: &Descriptor, fields: &'a Fields) -> Signature<'a> {
    Signature {
        media_type: &fields.media_type,
        digest: descriptor.digest.to_string(),
        signature_algorithm: &fields.signature_algorithm,
        signed_attributes: signed_attributes(fields, JSON_TIME).into_iter().collect(),
        rest: Rest::of(fields, JSON_TIME),
    }
}

impl<'a> Rest<'a> {
    pub(super) fn of(fields: &'a Fields, form: &str) -> Self {
        Self {
            user_defined_attributes: Some(&fields.user_defined_attributes).filter(|metadata| !metadata.is_empty()),
            unsigned_attributes: unsigned_attributes(fields, form).into_iter().collect(),
            certificates: certificates(fields, form),
            signed_artifact: fields.signed_artifact.as_ref().map(SignedArtifact::from),
        }
    }
}

impl<'a> From<&'a Descriptor> for SignedArtifact<'a> {
    fn from(artifact: &'a Descriptor) -> Self {
        Self { media_type: &artifact.media_type, digest: artifact.digest.to_string(), size: artifact.size }
    }
}

fn signed_attributes(fields: &Fields, form: &str) -> Vec<(&'static str, String)> {
    let signed = &fields.signed_attributes;
    let time_name = match signed.signing_scheme {
        "notary.x509.signingAuthority" => "authenticSigningTime",
        _ => "signingTime",
    };
    let mut attributes =
        vec![("signingScheme", signed.signing_scheme.to_owned()), (time_name, time(signed.signing_time, form))];
    attributes.extend(signed.expiry.map(|expiry| ("expiry", time(expiry, form))));
    attributes
        .extend(signed.verification_plugin.iter().map(|plugin| ("io.cncf.notary.verificationPlugin", plugin.clone())));
    attributes
}

pub(super) fn unsigned_attributes<'a>(fields: &'a Fields, form: &str) -> Vec<(&'static str, Unsigned<'a>)> {
    let unsigned = &fields.unsigned_attributes;
    let agent = unsigned.signing_agent.iter().map(|agent| ("signingAgent", Unsigned::Text(agent)));
    let stamp = unsigned.token.iter().map(|token| ("timestampSignature", stamp(token, &fields.signature, form)));
    agent.chain(stamp).collect()
}

/// What the time-stamp says, if it is over this signature. Nobody's word is asked for: nothing is judged here.
fn stamp(token: &[u8], signature: &[u8], form: &str) -> Unsigned<'static> {
    let read = TimestampToken::parse(token).and_then(|token| Ok((token.unverified_window(signature)?, token)));
    match read {
        Ok(((earliest, latest), token)) => Unsigned::Stamp(Stamp {
            timestamp: format!("[{}, {}]", time(earliest, form), time(latest, form)),
            certificates: token
                .unverified_certificates()
                .iter()
                .map(|held| certificate(&certificate_fields(held), form))
                .collect(),
        }),
        Err(error) => Unsigned::NoStamp {
            error: format!("failed to parse timestamp countersignature: {}", Refusal::of(&error).0),
        },
    }
}

/// The certificates of the signer.
pub(super) fn certificates(fields: &Fields, form: &str) -> Vec<Certificate> {
    fields.certificates.iter().map(|fields| certificate(fields, form)).collect()
}

fn certificate(fields: &CertificateFields, form: &str) -> Certificate {
    Certificate {
        fingerprint: fields.fingerprint.clone(),
        issued_to: fields.subject.in_reference_order(),
        issued_by: fields.issuer.in_reference_order(),
        expiry: time(fields.expiry, form),
    }
}

fn tree(descriptor: &Descriptor, fields: &Fields) -> Node {
    let unsigned = unsigned_attributes(fields, TEXT_TIME).into_iter().map(|(key, value)| unsigned_node(key, value));
    Node::of(
        descriptor.digest.to_string(),
        vec![
            Node::leaf(format!("media type: {}", fields.media_type)),
            Node::leaf(format!("signature algorithm: {}", fields.signature_algorithm)),
            pairs("signed attributes", signed_attributes(fields, TEXT_TIME)),
            pairs("user defined attributes", &fields.user_defined_attributes),
            Node::of("unsigned attributes", unsigned.collect()),
            certificates_node(&certificates(fields, TEXT_TIME)),
            artifact_node(fields.signed_artifact.as_ref()),
        ],
    )
}

/// A node with `key: value` for each pair.
pub(super) fn pairs<K: Display, V: Display>(name: &str, pairs: impl IntoIterator<Item = (K, V)>) -> Node {
    let leaves: Vec<Node> = pairs.into_iter().map(|(key, value)| Node::leaf(format!("{key}: {value}"))).collect();
    Node::of(name, if leaves.is_empty() { vec![Node::leaf("(empty)")] } else { leaves })
}

pub(super) fn unsigned_node(key: &str, value: Unsigned<'_>) -> Node {
    match value {
        Unsigned::Text(text) => Node::leaf(format!("{key}: {text}")),
        Unsigned::Stamp(Stamp { timestamp, certificates }) => Node::of(
            "timestamp signature",
            vec![Node::leaf(format!("timestamp: {timestamp}")), certificates_node(&certificates)],
        ),
        Unsigned::NoStamp { error } => Node::of("timestamp signature", vec![Node::leaf(format!("error: {error}"))]),
    }
}

pub(super) fn certificates_node(certificates: &[Certificate]) -> Node {
    Node::of("certificates", certificates.iter().map(certificate_node).collect())
}

fn certificate_node(certificate: &Certificate) -> Node {
    Node::of(
        format!("SHA256 fingerprint: {}", certificate.fingerprint),
        vec![
            Node::leaf(format!("issued to: {}", certificate.issued_to)),
            Node::leaf(format!("issued by: {}", certificate.issued_by)),
            Node::leaf(format!("expiry: {}", certificate.expiry)),
        ],
    )
}

pub(super) fn artifact_node(artifact: Option<&Descriptor>) -> Node {
    let leaves = artifact.into_iter().flat_map(|artifact| {
        [
            Node::leaf(format!("media type: {}", artifact.media_type)),
            Node::leaf(format!("digest: {}", artifact.digest)),
            Node::leaf(format!("size: {}", artifact.size)),
        ]
    });
    Node::of("signed artifact", leaves.collect())
}
