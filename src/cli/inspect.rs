//! `pratique inspect`: what the signatures of an image say, field by field. Nothing is judged and nothing believed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::place::{ListArguments, Listed};
use super::{Output, output};
use crate::envelope::limits::MAX_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Payload};
use crate::oci::{Descriptor, Repository, SignatureManifest};
use crate::pki::{Certificate, DistinguishedName, TimestampToken};
use crate::source::Source;
use crate::verify::Problem;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    reference: String,
    media_type: String,
    signatures: Vec<Shown>,
    /// Whether there are more than are shown.
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    digest: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Readable(Box<Fields>),
    Unreadable { problem: Problem },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields {
    pub(super) media_type: String,
    pub(super) signature_algorithm: String,
    pub(super) signed_attributes: SignedFields,
    pub(super) user_defined_attributes: std::collections::BTreeMap<String, String>,
    pub(super) unsigned_attributes: UnsignedFields,
    pub(super) certificates: Vec<CertificateFields>,
    pub(super) signed_artifact: Option<Descriptor>,
    /// The signature's own bytes, which a time-stamp is over.
    #[serde(skip)]
    pub(super) signature: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignedFields {
    pub(super) signing_scheme: &'static str,
    pub(super) signing_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiry: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verification_plugin: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extended_critical: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnsignedFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signing_agent: Option<String>,
    pub(super) has_timestamp: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<TimestampFields>,
    /// The time-stamp as it stands there.
    #[serde(skip)]
    pub(super) token: Option<Vec<u8>>,
}

/// What the time-stamp says, or why it cannot be read. Whether it is over this signature is for `verify` to say.
#[derive(Serialize)]
#[serde(untagged)]
enum TimestampFields {
    Readable(TimestampClaims),
    Unreadable { problem: Problem },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimestampClaims {
    time: Timestamp,
    /// How far off the time may be to either side, as ISO 8601 writes a duration.
    accuracy: SignedDuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    policy: String,
    hash_algorithm: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateFields {
    #[serde(rename = "SHA256Fingerprint")]
    pub(super) fingerprint: String,
    pub(super) issued_to: String,
    pub(super) issued_by: String,
    #[serde(skip)]
    pub(super) subject: DistinguishedName,
    #[serde(skip)]
    pub(super) issuer: DistinguishedName,
    pub(super) not_before: Timestamp,
    pub(super) expiry: Timestamp,
}

pub(super) async fn run(arguments: ListArguments, output: Output) -> Result<Exit, Failure> {
    let Listed { target, referrers } = arguments.list("inspects").await?;
    let (source, repository) = (target.place.source(), &target.repository);
    let mut signatures = Vec::new();
    for descriptor in &referrers.descriptors {
        let content = match read(source, repository, descriptor).await {
            Ok(fields) => Content::Readable(Box::new(fields)),
            Err(problem) => Content::Unreadable { problem },
        };
        signatures.push(Shown { digest: descriptor.digest.to_string(), content });
    }
    let all_readable = signatures.iter().all(|shown| matches!(shown.content, Content::Readable(_)));
    let exit = if all_readable { Exit::Done } else { Exit::Inconclusive };
    let inspection = Inspection {
        reference: target.pinned().to_string(),
        media_type: target.descriptor.media_type,
        signatures,
        truncated: referrers.truncated,
    };
    output::print(output, &inspection, || tree(&inspection));
    Ok(exit)
}

/// One signature, field by field.
pub(super) async fn read(
    source: &dyn Source,
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<Fields, Problem> {
    let manifest = source.manifest(repository, descriptor).await.map_err(|error| Problem::of(&error))?;
    let manifest =
        SignatureManifest::parse(&descriptor.media_type, manifest.bytes()).map_err(|error| Problem::of(&error))?;
    let blob =
        source.blob(repository, &manifest.envelope, MAX_ENVELOPE_SIZE).await.map_err(|error| Problem::of(&error))?;
    let envelope = Envelope::parse(&manifest.envelope.media_type, blob.bytes(), MAX_ENVELOPE_SIZE)
        .map_err(|error| Problem::of(&error))?;
    fields(&envelope)
}

/// What an envelope says.
pub(super) fn fields(envelope: &Envelope) -> Result<Fields, Problem> {
    let signed = envelope.signed_attributes();
    let unsigned = envelope.unsigned_attributes();
    let mut artifact = Payload::parse(envelope.payload()).ok().map(|payload| payload.target_artifact);
    let user_metadata = artifact.as_mut().map(|artifact| std::mem::take(&mut artifact.annotations));
    Ok(Fields {
        media_type: envelope.format().media_type().to_owned(),
        signature_algorithm: envelope.algorithm().to_string(),
        signed_attributes: SignedFields {
            signing_scheme: signed.scheme.as_str(),
            signing_time: signed.signing_time,
            expiry: signed.expiry,
            verification_plugin: signed.plugin.as_ref().map(|plugin| plugin.name.clone()),
            extended_critical: signed.extended_critical().map(str::to_owned).collect(),
        },
        user_defined_attributes: user_metadata.unwrap_or_default(),
        unsigned_attributes: UnsignedFields {
            signing_agent: unsigned.signing_agent.clone(),
            has_timestamp: unsigned.timestamp_signature.is_some(),
            timestamp: unsigned.timestamp_signature.as_deref().map(timestamp),
            token: unsigned.timestamp_signature.clone(),
        },
        certificates: envelope.certificates().iter().map(|der| certificate(der)).collect::<Result<_, _>>()?,
        signed_artifact: artifact,
        signature: envelope.signature().to_vec(),
    })
}

/// A time-stamp is beside the point of the signature, so one that cannot be read does not hide the rest.
fn timestamp(token: &[u8]) -> TimestampFields {
    match TimestampToken::parse(token) {
        Ok(token) => {
            let info = token.info();
            TimestampFields::Readable(TimestampClaims {
                time: info.time,
                accuracy: info.accuracy,
                authority: token.unverified_signer().map(|signer| signer.subject().to_string()),
                policy: info.policy.clone(),
                hash_algorithm: info.hash.as_str(),
            })
        }
        Err(error) => TimestampFields::Unreadable { problem: Problem::of(&error) },
    }
}

fn certificate(der: &[u8]) -> Result<CertificateFields, Problem> {
    let certificate = Certificate::from_der(der).map_err(|error| Problem::of(&error))?;
    Ok(certificate_fields(&certificate))
}

/// What a certificate says of itself.
pub(super) fn certificate_fields(certificate: &Certificate) -> CertificateFields {
    CertificateFields {
        fingerprint: certificate.thumbprint(),
        issued_to: certificate.subject().to_string(),
        issued_by: certificate.issuer().to_string(),
        subject: certificate.subject().clone(),
        issuer: certificate.issuer().clone(),
        not_before: certificate.not_before(),
        expiry: certificate.not_after(),
    }
}

/// The JSON document as a tree of the same names, so that both forms always show the same.
fn tree(inspection: &Inspection) -> String {
    let mut lines = vec![inspection.reference.clone()];
    if inspection.signatures.is_empty() {
        lines.push("└── no signature".to_owned());
    }
    let count = inspection.signatures.len();
    for (index, shown) in inspection.signatures.iter().enumerate() {
        let value = serde_json::to_value(&shown.content).unwrap_or_default();
        branch(&mut lines, "", &shown.digest, value, index + 1 == count);
    }
    if inspection.truncated {
        lines.push(format!("there are more than the {count} shown"));
    }
    lines.iter().map(|line| crate::remedy::printable(line)).collect::<Vec<_>>().join("\n")
}

/// One node of the tree with all that hangs on it.
fn branch(lines: &mut Vec<String>, indent: &str, name: &str, value: Value, is_last: bool) {
    let (joint, below) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
    match value {
        Value::Object(_) | Value::Array(_) => {
            lines.push(format!("{indent}{joint}{name}"));
            branches(lines, &format!("{indent}{below}"), value);
        }
        Value::String(text) => lines.push(format!("{indent}{joint}{name}: {text}")),
        other => lines.push(format!("{indent}{joint}{name}: {other}")),
    }
}

/// The members of an object, or the items of a list, with all that hangs on each.
pub(super) fn branches(lines: &mut Vec<String>, indent: &str, value: Value) {
    let children: Vec<(String, Value)> = match value {
        Value::Object(members) => members.into_iter().collect(),
        Value::Array(items) => items.into_iter().enumerate().map(|(i, item)| ((i + 1).to_string(), item)).collect(),
        _ => return,
    };
    let count = children.len();
    for (index, (name, value)) in children.into_iter().enumerate() {
        branch(lines, indent, &name, value, index + 1 == count);
    }
}
