//! `notation inspect`: what the signatures of an artifact say. Nothing is judged.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::artifact::{Artifact, MAY_HAVE_MOVED, max_signatures};
use super::flags::Parsed;
use super::list::{over_the_limit, without_signature};
use super::output::Node;
use super::{Refusal, Said, block_on, output};
use crate::cli::inspect::{CertificateFields, Fields, read};
use crate::oci::{Descriptor, media_type};

/// The form of a time in C's `asctime`, which the text has.
const TEXT_TIME: &str = "%a %b %e %H:%M:%S %Y";
/// And in JSON.
const JSON_TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

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
    user_defined_attributes: Option<&'a BTreeMap<String, String>>,
    unsigned_attributes: BTreeMap<&'static str, &'a str>,
    certificates: Vec<Certificate<'a>>,
    signed_artifact: Option<SignedArtifact<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'a> {
    #[serde(rename = "SHA256Fingerprint")]
    fingerprint: &'a str,
    issued_to: &'a str,
    issued_by: &'a str,
    expiry: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedArtifact<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
}

pub(super) fn run(parsed: &Parsed) -> Said {
    let is_json = match parsed.text("output") {
        "json" => true,
        "text" => false,
        other => return Err(Refusal(format!("unrecognized output format {other}"))),
    };
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
                        "Error: unable to inspect signature {}: {}",
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

fn time(time: Timestamp, form: &str) -> String {
    time.strftime(form).to_string()
}

/// The document, with `<`, `>` and `&` escaped as the original escapes them.
fn document(media_type: &str, signatures: &[(&Descriptor, Fields)]) -> Result<String, Refusal> {
    let signatures = signatures.iter().map(|(descriptor, fields)| signature(descriptor, fields)).collect();
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    let written = Document { media_type, signatures }.serialize(&mut serializer);
    written.map_err(|error| Refusal::new(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| Refusal::new(error.to_string()))?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

fn signature<'a>(descriptor: &Descriptor, fields: &'a Fields) -> Signature<'a> {
    let certificate = |certificate: &'a CertificateFields| Certificate {
        fingerprint: &certificate.fingerprint,
        issued_to: &certificate.issued_to,
        issued_by: &certificate.issued_by,
        expiry: time(certificate.expiry, JSON_TIME),
    };
    Signature {
        media_type: &fields.media_type,
        digest: descriptor.digest.to_string(),
        signature_algorithm: &fields.signature_algorithm,
        signed_attributes: signed_attributes(fields, JSON_TIME).into_iter().collect(),
        user_defined_attributes: Some(&fields.user_defined_attributes).filter(|metadata| !metadata.is_empty()),
        unsigned_attributes: unsigned_attributes(fields).into_iter().collect(),
        certificates: fields.certificates.iter().map(certificate).collect(),
        signed_artifact: fields.signed_artifact.as_ref().map(|artifact| SignedArtifact {
            media_type: &artifact.media_type,
            digest: artifact.digest.to_string(),
            size: artifact.size,
        }),
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

fn unsigned_attributes(fields: &Fields) -> Vec<(&'static str, &str)> {
    fields.unsigned_attributes.signing_agent.iter().map(|agent| ("signingAgent", agent.as_str())).collect()
}

fn tree(descriptor: &Descriptor, fields: &Fields) -> Node {
    let pairs = |name: &str, pairs: Vec<(String, String)>| {
        let leaves = pairs.into_iter().map(|(key, value)| Node::leaf(format!("{key}: {value}"))).collect::<Vec<_>>();
        Node::of(name, if leaves.is_empty() { vec![Node::leaf("(empty)")] } else { leaves })
    };
    let signed = signed_attributes(fields, TEXT_TIME).into_iter().map(|(key, value)| (key.to_owned(), value));
    let metadata = fields.user_defined_attributes.iter().map(|(key, value)| (key.clone(), value.clone()));
    let unsigned = unsigned_attributes(fields).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let certificates = fields.certificates.iter().map(|certificate| {
        Node::of(
            format!("SHA256 fingerprint: {}", certificate.fingerprint),
            vec![
                Node::leaf(format!("issued to: {}", certificate.issued_to)),
                Node::leaf(format!("issued by: {}", certificate.issued_by)),
                Node::leaf(format!("expiry: {}", time(certificate.expiry, TEXT_TIME))),
            ],
        )
    });
    let artifact = fields.signed_artifact.iter().flat_map(|artifact| {
        [
            Node::leaf(format!("media type: {}", artifact.media_type)),
            Node::leaf(format!("digest: {}", artifact.digest)),
            Node::leaf(format!("size: {}", artifact.size)),
        ]
    });
    Node::of(
        descriptor.digest.to_string(),
        vec![
            Node::leaf(format!("media type: {}", fields.media_type)),
            Node::leaf(format!("signature algorithm: {}", fields.signature_algorithm)),
            pairs("signed attributes", signed.collect()),
            pairs("user defined attributes", metadata.collect()),
            pairs("unsigned attributes", unsigned.collect()),
            Node::of("certificates", certificates.collect()),
            Node::of("signed artifact", artifact.collect()),
        ],
    )
}
