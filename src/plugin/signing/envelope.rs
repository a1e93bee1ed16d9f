//! Plugins that make whole envelopes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Held;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Payload};
use crate::oci::media_type::NOTARY_PAYLOAD;
use crate::oci::{Blob, Descriptor, JsonMembers, parse_json};
use crate::pki::Chain;
use crate::plugin::contract::{CONTRACT_VERSION, PluginConfig, Request};
use crate::plugin::error::{PluginError, PluginFault};
use crate::remedy::{excerpt, one_line};
use crate::sign::{SignError, SignRequest, Signed, payload};
use crate::verify::check_integrity;

/// How far the clocks of a plugin's service and of this machine may be apart.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);
/// The members of a signed descriptor: those that it was asked to sign.
const DESCRIPTOR_MEMBERS: [&str; 4] = ["mediaType", "digest", "size", "annotations"];

/// A key of a plugin that makes envelopes.
#[derive(Debug)]
pub struct EnvelopePlugin {
    held: Held,
}

impl EnvelopePlugin {
    pub(super) fn of(held: Held) -> Self {
        Self { held }
    }

    /// A signature of an image, and the certificates that it carries.
    pub fn sign(&self, artifact: &Descriptor, request: &SignRequest) -> Result<(Signed, Chain), SignError> {
        let holder = |error: PluginError| SignError::Holder(error.into_holder());
        let payload = payload(artifact, &request.user_metadata)?;
        let expiry = request.expiry.map(|expiry| u64::try_from(expiry.as_secs()).map_err(|_| SignError::Expiry));
        let made = self.generate(&payload, request, expiry.transpose()?).map_err(holder)?;
        let command = GenerateEnvelope::COMMAND;
        let bytes = self.held.decode(command, &made.signature_envelope).map_err(holder)?;
        let media_type = request.format.media_type();
        let envelope = Envelope::parse(media_type, &bytes, DEFAULT_ENVELOPE_SIZE);
        let envelope = envelope.map_err(|error| holder(self.held.fault(PluginFault::Envelope(one_line(&error)))))?;
        let sound = check_integrity(&envelope, artifact)
            .map_err(|problem| holder(self.held.fault(PluginFault::Envelope(problem.message))))?;
        self.check_payload(&payload, sound.payload(), envelope.payload()).map_err(holder)?;
        self.check_expiry(&envelope, request).map_err(holder)?;
        sound.chain().check_validity(request.now).map_err(|error| SignError::NotValidNow(error.to_string()))?;
        let blob = Blob::of(media_type, bytes);
        let signing_time = envelope.signed_attributes().signing_time;
        let (chain, annotations) = (sound.into_chain(), made.annotations.unwrap_or_default());
        let signed = Signed::storing_annotated(blob, artifact, chain.certificates(), signing_time, &annotations)
            .map_err(|key| holder(self.held.fault(PluginFault::Annotation(excerpt(&key)))))?;
        Ok((signed, chain))
    }

    fn generate(
        &self,
        payload: &Payload,
        request: &SignRequest,
        expiry_duration_in_seconds: Option<u64>,
    ) -> Result<GeneratedEnvelope, PluginError> {
        let held = &self.held;
        let media_type = request.format.media_type();
        let made = held.call(&GenerateEnvelope {
            contract_version: CONTRACT_VERSION,
            key_id: &held.id,
            plugin_config: &held.config,
            expiry_duration_in_seconds,
            payload: BASE64_STANDARD.encode(payload.to_bytes()),
            payload_type: NOTARY_PAYLOAD,
            signature_envelope_type: media_type,
        })?;
        if made.signature_envelope_type != media_type {
            let given = excerpt(&made.signature_envelope_type);
            return Err(held.fault(PluginFault::EnvelopeType { wanted: media_type, given }));
        }
        Ok(made)
    }

    /// A plugin may sign more annotations, and nothing else that it was not asked to sign.
    fn check_payload(&self, asked: &Payload, signed: &Payload, bytes: &[u8]) -> Result<(), PluginError> {
        let changed = |what: String| self.held.fault(PluginFault::Payload(what));
        let given = &signed.target_artifact.annotations;
        let kept = |(key, value): &(&String, &String)| given.get(*key) == Some(*value);
        if let Some((key, _)) = asked.target_artifact.annotations.iter().find(|pair| !kept(pair)) {
            return Err(changed(format!("the annotation `{}` is not the one to be signed", excerpt(key))));
        }
        match unknown_member(bytes) {
            None => Ok(()),
            Some(name) => Err(changed(format!("it has a member `{}` that was not to be signed", excerpt(&name)))),
        }
    }

    fn check_expiry(&self, envelope: &Envelope, request: &SignRequest) -> Result<(), PluginError> {
        let Some(asked) = request.expiry else { return Ok(()) };
        let latest = request.now.saturating_add(asked + CLOCKS_APART).unwrap_or(Timestamp::MAX);
        match envelope.signed_attributes().expiry {
            Some(expiry) if expiry <= latest => Ok(()),
            _ => Err(self.held.fault(PluginFault::Expiry)),
        }
    }
}

/// A member of the payload that is none of those that were asked for.
fn unknown_member(payload: &[u8]) -> Option<String> {
    let JsonMembers(members) = parse_json(payload).ok()?;
    for (name, value) in members {
        if name != "targetArtifact" {
            return Some(name);
        }
        let JsonMembers(members) = parse_json(value.get().as_bytes()).ok()?;
        let unknown =
            members.into_iter().map(|(name, _)| name).find(|name| !DESCRIPTOR_MEMBERS.contains(&name.as_str()));
        if unknown.is_some() {
            return unknown;
        }
    }
    None
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateEnvelope<'a> {
    contract_version: &'static str,
    key_id: &'a str,
    #[serde(skip_serializing_if = "PluginConfig::is_empty")]
    plugin_config: &'a PluginConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_duration_in_seconds: Option<u64>,
    payload: String,
    payload_type: &'static str,
    signature_envelope_type: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeneratedEnvelope {
    signature_envelope: String,
    signature_envelope_type: String,
    annotations: Option<BTreeMap<String, String>>,
}

impl Request for GenerateEnvelope<'_> {
    const COMMAND: &'static str = "generate-envelope";
    type Answer = GeneratedEnvelope;
}
