//! Plugins that are asked about signatures: the questions of `verify` in the words of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Plugins;
use super::contract::{CONTRACT_VERSION, PluginConfig, Request};
use super::error::{PluginError, PluginFault};
use super::folder::{PluginFolder, Program};
use crate::oci::media_type::NOTARY_PAYLOAD;
use crate::verify::{PluginAnswer, PluginCheck, PluginQuestion, PluginResult, Problem, SignatureQuestion};

/// What stands for no expiry. The reference implementation sends it, and plugins refuse a question without the member.
const NO_EXPIRY: &str = "0001-01-01T00:00:00Z";

/// How plugins are asked.
#[derive(Clone, Debug)]
pub struct VerifierOptions {
    /// The longest that one command may take.
    pub timeout: Duration,
    /// How long an answer is good. The contract has no word for that.
    pub good_for: Duration,
    /// What is passed on to every plugin.
    pub config: BTreeMap<String, String>,
}

impl Default for VerifierOptions {
    fn default() -> Self {
        Self {
            // Leaves time for the registry within the 8 s of a question.
            timeout: Duration::from_secs(5),
            // A signer whom the plugin does not trust any more is refused after this time.
            good_for: Duration::from_secs(5 * 60),
            config: BTreeMap::new(),
        }
    }
}

/// The plugins of a directory.
#[derive(Clone, Debug)]
pub struct Verifiers {
    folder: PluginFolder,
    options: VerifierOptions,
}

impl Verifiers {
    /// Those in this directory. Nothing is read yet.
    pub fn new(folder: PluginFolder, options: VerifierOptions) -> Self {
        Self { folder, options }
    }

    async fn answer(&self, question: &PluginQuestion) -> Result<PluginAnswer, PluginError> {
        let program = match self.folder.find(question.plugin()) {
            Err(PluginError { fault: PluginFault::NotInstalled(_), .. }) => return Ok(PluginAnswer::NotInstalled),
            program => program?,
        };
        match question {
            PluginQuestion::Metadata { .. } => {
                let metadata = program.metadata(&self.options.config, self.options.timeout).await?;
                let checks = PluginCheck::ALL.into_iter().filter(|check| metadata.can(check.capability())).collect();
                Ok(PluginAnswer::Metadata { version: metadata.version, checks })
            }
            PluginQuestion::Signature(question) => self.about(question, &program).await,
        }
    }

    async fn about(&self, question: &SignatureQuestion, program: &Program) -> Result<PluginAnswer, PluginError> {
        let request = SignatureRequest::of(question, &self.options.config);
        let SignatureAnswer { mut verification_results, processed_attributes } =
            program.call(&request, self.options.timeout).await?;
        let result = |check: PluginCheck| {
            let Verified { success, reason } = verification_results.remove(check.capability())?;
            Some((check, PluginResult { success, reason }))
        };
        let results = PluginCheck::ALL.into_iter().filter_map(result).collect();
        Ok(PluginAnswer::Signature { results, processed: processed_attributes.unwrap_or_default() })
    }
}

#[async_trait]
impl Plugins for Verifiers {
    async fn ask(&self, question: &PluginQuestion) -> Result<PluginAnswer, Problem> {
        self.answer(question).await.map_err(|error| Problem::of(&error))
    }

    fn good_for(&self) -> Option<Duration> {
        Some(self.options.good_for)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignatureRequest<'a> {
    contract_version: &'static str,
    signature: Signature<'a>,
    trust_policy: TrustPolicy<'a>,
    #[serde(skip_serializing_if = "PluginConfig::is_empty")]
    plugin_config: &'a PluginConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature<'a> {
    critical_attributes: CriticalAttributes<'a>,
    unprocessed_attributes: &'a [String],
    certificate_chain: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CriticalAttributes<'a> {
    content_type: &'static str,
    signing_scheme: &'static str,
    expiry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentic_signing_time: Option<Timestamp>,
    verification_plugin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_plugin_min_version: Option<String>,
    extended_attributes: BTreeMap<&'a str, &'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrustPolicy<'a> {
    trusted_identities: &'a [String],
    signature_verification: Vec<&'static str>,
}

impl<'a> SignatureRequest<'a> {
    fn of(question: &'a SignatureQuestion, plugin_config: &'a PluginConfig) -> Self {
        // What is told was read as JSON, or written as it.
        let raw = |value: &'a String| serde_json::from_str(value).ok();
        let extended = question.extended.iter().filter_map(|(name, value)| Some((name.as_str(), raw(value)?)));
        Self {
            contract_version: CONTRACT_VERSION,
            signature: Signature {
                critical_attributes: CriticalAttributes {
                    content_type: NOTARY_PAYLOAD,
                    signing_scheme: question.scheme.as_str(),
                    expiry: question.expiry.map_or_else(|| NO_EXPIRY.to_owned(), |expiry| expiry.to_string()),
                    authentic_signing_time: question.authentic_signing_time,
                    verification_plugin: &question.plugin,
                    verification_plugin_min_version: question.minimum_version.as_ref().map(ToString::to_string),
                    extended_attributes: extended.collect(),
                },
                unprocessed_attributes: &question.unprocessed,
                certificate_chain: question.certificates.iter().map(|der| BASE64_STANDARD.encode(der)).collect(),
            },
            trust_policy: TrustPolicy {
                trusted_identities: &question.trusted_identities,
                signature_verification: question.checks.iter().map(|check| check.capability()).collect(),
            },
            plugin_config,
        }
    }
}

impl Request for SignatureRequest<'_> {
    const COMMAND: &'static str = "verify-signature";
    type Answer = SignatureAnswer;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureAnswer {
    verification_results: BTreeMap<String, Verified>,
    /// Plugins in Go write `null` for none. The member itself must be there.
    #[serde(deserialize_with = "Option::deserialize")]
    processed_attributes: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Verified {
    success: bool,
    #[serde(default)]
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::parse_json;

    #[test]
    fn nothing_processed_may_be_null_and_must_be_said() {
        let read = |rest: &str| {
            let text = format!(r#"{{"verificationResults":{{}}{rest}}}"#);
            parse_json::<SignatureAnswer>(text.as_bytes()).map(|answer| answer.processed_attributes.unwrap_or_default())
        };
        assert!(read(r#","processedAttributes":null"#).unwrap().is_empty());
        assert_eq!(read(r#","processedAttributes":["a"]"#).unwrap().len(), 1);
        read("").unwrap_err();
        read(r#","processedAttributes":7"#).unwrap_err();
    }
}
