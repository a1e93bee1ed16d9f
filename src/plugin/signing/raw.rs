//! Plugins that sign bytes.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Held;
use crate::oci::DigestAlgorithm;
use crate::pki::{Certificate, Chain, KeySpec, SignatureAlgorithm};
use crate::plugin::contract::{CONTRACT_VERSION, PluginConfig, Request};
use crate::plugin::error::{PluginError, PluginFault};
use crate::remedy::{excerpt, one_line};
use crate::sign::{SignError, Signer};

/// A key of a plugin that signs bytes.
#[derive(Debug)]
pub struct RawPlugin {
    held: Held,
    spec: KeySpec,
    /// There once it has signed: only then does it say which certificates it has.
    chain: OnceLock<Chain>,
}

impl RawPlugin {
    /// Asks which kind of key it is.
    pub(super) fn of(held: Held) -> Result<Self, PluginError> {
        let described = held.call(&DescribeKey {
            contract_version: CONTRACT_VERSION,
            key_id: &held.id,
            plugin_config: &held.config,
        })?;
        check_key(&held, DescribeKey::COMMAND, &described.key_id)?;
        let spec = KeySpec::ALL.into_iter().find(|spec| spec.to_string() == described.key_spec);
        let spec = spec.ok_or_else(|| held.fault(PluginFault::KeySpec(excerpt(&described.key_spec))))?;
        Ok(Self { held, spec, chain: OnceLock::new() })
    }

    /// The signature, and the certificates that it verifies with.
    fn generate(&self, to_be_signed: &[u8]) -> Result<(Vec<u8>, Chain), PluginError> {
        let held = &self.held;
        let signed = held.call(&GenerateSignature {
            contract_version: CONTRACT_VERSION,
            key_id: &held.id,
            plugin_config: &held.config,
            key_spec: self.spec.to_string(),
            hash_algorithm: match self.spec.signature_algorithm().hash() {
                DigestAlgorithm::Sha256 => "SHA-256",
                DigestAlgorithm::Sha384 => "SHA-384",
                DigestAlgorithm::Sha512 => "SHA-512",
            },
            payload: BASE64_STANDARD.encode(to_be_signed),
        })?;
        check_key(held, GenerateSignature::COMMAND, &signed.key_id)?;
        let wanted = self.spec.signature_algorithm().to_string();
        if signed.signing_algorithm != wanted {
            let given = excerpt(&signed.signing_algorithm);
            return Err(held.fault(PluginFault::Algorithm { wanted, given }));
        }
        let command = GenerateSignature::COMMAND;
        let signature = held.decode(command, &signed.signature)?;
        let chain = self.chain_of(&signed.certificate_chain)?;
        let verified = chain.leaf_key().verify(to_be_signed, &signature);
        verified.map_err(|_| {
            let (subject, algorithm) = (chain.leaf().subject().to_string(), self.spec.signature_algorithm());
            held.fault(PluginFault::Signature { subject, algorithm })
        })?;
        Ok((signature, chain))
    }

    /// Of Notary's profile, and with a key of the kind that was described.
    fn chain_of(&self, certificates: &[String]) -> Result<Chain, PluginError> {
        let held = &self.held;
        let read = |text: &String| {
            let der = held.decode(GenerateSignature::COMMAND, text)?;
            Certificate::from_der(&der).map_err(|error| held.fault(PluginFault::Certificate(error)))
        };
        let certificates = certificates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let chain =
            Chain::code_signing(certificates).map_err(|error| held.fault(PluginFault::Chain(one_line(&error))))?;
        let spec = chain.leaf_key().spec();
        if spec != self.spec {
            let found = format!("the certificate's key is {spec}, the plugin has described {}", self.spec);
            return Err(held.fault(PluginFault::Chain(found)));
        }
        Ok(chain)
    }
}

impl Signer for RawPlugin {
    fn chain(&self) -> &[Certificate] {
        self.chain.get().map_or(&[], Chain::certificates)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.spec.signature_algorithm()
    }

    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let holder = |error: PluginError| SignError::Holder(error.into_holder());
        let (signature, chain) = self.generate(to_be_signed).map_err(holder)?;
        let first = self.chain.get_or_init(|| chain.clone());
        if *first != chain {
            let changed = PluginFault::Chain("the plugin has given other certificates before".to_owned());
            return Err(holder(self.held.fault(changed)));
        }
        Ok(signature)
    }

    fn check_validity(&self, at: Timestamp) -> Result<(), SignError> {
        let Some(chain) = self.chain.get() else { return Ok(()) };
        chain.check_validity(at).map_err(|error| SignError::NotValidNow(error.to_string()))
    }

    fn agent(&self) -> Option<String> {
        Some(format!("{}/{}", self.held.metadata.name, self.held.metadata.version))
    }
}

fn check_key(held: &Held, command: &'static str, answered: &str) -> Result<(), PluginError> {
    if answered == held.id {
        return Ok(());
    }
    Err(held.fault(PluginFault::Key { command, asked: excerpt(&held.id), answered: excerpt(answered) }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribeKey<'a> {
    contract_version: &'static str,
    key_id: &'a str,
    #[serde(skip_serializing_if = "PluginConfig::is_empty")]
    plugin_config: &'a PluginConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedKey {
    key_id: String,
    key_spec: String,
}

impl Request for DescribeKey<'_> {
    const COMMAND: &'static str = "describe-key";
    type Answer = DescribedKey;
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateSignature<'a> {
    contract_version: &'static str,
    key_id: &'a str,
    #[serde(skip_serializing_if = "PluginConfig::is_empty")]
    plugin_config: &'a PluginConfig,
    key_spec: String,
    hash_algorithm: &'static str,
    payload: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeneratedSignature {
    key_id: String,
    signature: String,
    signing_algorithm: String,
    certificate_chain: Vec<String>,
}

impl Request for GenerateSignature<'_> {
    const COMMAND: &'static str = "generate-signature";
    type Answer = GeneratedSignature;
}
