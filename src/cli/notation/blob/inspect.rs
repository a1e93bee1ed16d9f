//! `notation blob inspect`: what the signature of a file says. Nothing is judged.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::super::flags::Parsed;
use super::super::inspect::{
    Rest, TEXT_TIME, artifact_node, certificates, certificates_node, is_json, pairs, time, unsigned_attributes,
    unsigned_node,
};
use super::super::output::Node;
use super::super::{Refusal, Said, output};
use super::{first_of, format_of};
use crate::cli::blob::read_signature;
use crate::cli::inspect::{Fields, fields};
use crate::oci::media_type;

/// RFC 3339, with as many digits of a second as there are.
const JSON_TIME: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

pub(in super::super) fn check(parsed: &Parsed) -> Said {
    first_of(parsed, "signature path", "inspect")
}

pub(in super::super) fn run(parsed: &Parsed) -> Said {
    let is_json = is_json(parsed, "tree")?;
    let path = parsed.first();
    let signature = read_signature(Path::new(path), format_of(path)?)
        .map_err(|failure| Refusal(format!("failed to read signature file: {}", failure.message)))?;
    let envelope =
        signature.map_err(|error| Refusal(format!("failed to parse signature: {}", Refusal::of(&error).0)))?;
    let fields = fields(&envelope).map_err(|problem| Refusal(problem.message))?;
    if is_json {
        output::say(&output::json(&document(&fields), "  ")?);
    } else {
        output::say(&tree(path, &fields).draw());
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the names are the document's")]
struct Document<'a> {
    signature_algorithm: &'a str,
    signature_envelope_type: &'a str,
    signed_attributes: BTreeMap<&'a str, String>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

fn document(fields: &Fields) -> Document<'_> {
    let signed = signed_attributes(fields, ["contentType", "signingScheme", "signingTime"], JSON_TIME);
    Document {
        signature_algorithm: &fields.signature_algorithm,
        signature_envelope_type: &fields.media_type,
        signed_attributes: signed.into_iter().collect(),
        rest: Rest::of(fields, JSON_TIME),
    }
}

/// Under the names that the first three of them have in this form.
fn signed_attributes<'a>(fields: &Fields, names: [&'a str; 3], form: &str) -> Vec<(&'a str, String)> {
    let signed = &fields.signed_attributes;
    let values =
        [media_type::NOTARY_PAYLOAD.to_owned(), signed.signing_scheme.to_owned(), time(signed.signing_time, form)];
    let mut attributes: Vec<(&str, String)> = names.into_iter().zip(values).collect();
    attributes.extend(signed.expiry.map(|expiry| ("expiry", time(expiry, form))));
    attributes
        .extend(signed.verification_plugin.iter().map(|plugin| ("io.cncf.notary.verificationPlugin", plugin.clone())));
    attributes
}

fn tree(path: &str, fields: &Fields) -> Node {
    let signed = signed_attributes(fields, ["content type", "signing scheme", "signing time"], TEXT_TIME);
    let unsigned = unsigned_attributes(fields, TEXT_TIME).into_iter().map(|(key, value)| match key {
        "signingAgent" => unsigned_node("signing agent", value),
        key => unsigned_node(key, value),
    });
    Node::of(
        path,
        vec![
            Node::leaf(format!("signature algorithm: {}", fields.signature_algorithm)),
            Node::leaf(format!("signature envelope type: {}", fields.media_type)),
            pairs("signed attributes", signed),
            pairs("user defined attributes", &fields.user_defined_attributes),
            Node::of("unsigned attributes", unsigned.collect()),
            certificates_node(&certificates(fields, TEXT_TIME)),
            artifact_node(fields.signed_artifact.as_ref()),
        ],
    )
}
