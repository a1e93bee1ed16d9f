//! `notation sign`: signs an artifact and stores the signature beside it.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::artifact::{Artifact, REFERRERS_API_DEPRECATED};
use super::flags::Parsed;
use super::version::SIGNING_AGENT;
use super::{Refusal, Said, block_on, duration, environment, output, plugin_fault, timestamping};
use crate::cli::key_access::KeyAccess;
use crate::cli::plugins::folder;
use crate::cli::sign::store;
use crate::cli::signing::{Authority, stamps_itself};
use crate::cli::signing_key::{self, HeldKey, Made};
use crate::clock;
use crate::config::{NotationDir, SigningKey};
use crate::envelope::Format;
use crate::oci::Descriptor;
use crate::plugin::PluginKey;
use crate::sign::{SignError, SignRequest, Signed};

const TAGS_MOVE: &str = "tags are mutable and a tag reference can point to a different artifact than the one signed.";

pub(super) fn run(parsed: &Parsed) -> Said {
    timestamping::check_arguments(parsed)?;
    if parsed.has("allow-referrers-api") {
        let instead =
            if parsed.is_on("allow-referrers-api") { ", use '--force-referrers-tag=false' instead" } else { "" };
        output::warn(&format!("{REFERRERS_API_DEPRECATED}{instead}."));
    }
    let signing = Signing::open(parsed)?;
    block_on(async {
        let artifact = Artifact::resolve(parsed, "sign", TAGS_MOVE).await?;
        let signed = signing.sign(&artifact.descriptor, parsed).await?;
        let signed = artifact.place.in_its_form(signed);
        let stored = store(artifact.place.sink(), &artifact.repository, &[(&artifact.descriptor, &signed)]).await;
        stored.map_err(|error| Refusal::of(&error))?;
        output::say(&format!("Successfully signed {}", artifact.pinned()));
        Ok(())
    })
}

/// What to sign with, and how.
pub(super) struct Signing {
    pub(super) key: HeldKey,
    pub(super) request: SignRequest,
    authority: Option<Authority>,
}

impl Signing {
    /// The order is the original's: it decides which of several mistakes is told.
    pub(super) fn open(parsed: &Parsed) -> Result<Self, Refusal> {
        let directory = environment::configuration();
        let key = key(parsed, &directory)?;
        Ok(Self { key, request: request(parsed, &directory)?, authority: timestamping::authority(parsed)? })
    }

    /// A signature of this, with a time-stamp where one is wanted.
    pub(super) async fn sign(&self, artifact: &Descriptor, parsed: &Parsed) -> Result<Signed, Refusal> {
        let made = self.key.sign(artifact, &self.request).map_err(|error| refused(&error, self.request.format))?;
        let unsealed = match made {
            Made::Whole(..) if self.authority.is_some() => return Err(Refusal::from_failure(stamps_itself())),
            Made::Whole(signed, _) => return Ok(*signed),
            Made::Unsealed(unsealed) => unsealed.with_agent(SIGNING_AGENT),
        };
        match &self.authority {
            Some(authority) => timestamping::stamp(authority, unsealed, parsed).await,
            None => Ok(unsealed.seal()),
        }
    }
}

fn key(parsed: &Parsed, directory: &NotationDir) -> Result<HeldKey, Refusal> {
    let name = Some(parsed.text("key")).filter(|name| !name.is_empty());
    let plugin_config = parsed.pairs("plugin-config")?;
    let (plugin, id) = (parsed.text("plugin").to_owned(), parsed.text("id").to_owned());
    let opened = if !plugin.is_empty() && !id.is_empty() && name.is_none() {
        signing_key::open_plugin(directory, PluginKey { plugin, id, config: plugin_config })
    } else {
        signing_key::open(directory, name, plugin_config, &KeyAccess::default())
    };
    opened.map_err(|failure| match failure.code.as_str() {
        "signing-key-no-default" => {
            Refusal::new("default signing key not set. Please set default signing key or specify a key name")
        }
        "plugin-unavailable" => match plugin_path(parsed, directory) {
            Some(path) => plugin_fault::not_installed(&path),
            None => Refusal::from_failure(failure),
        },
        "signing-key-unknown" => Refusal(format!("signing key {} not found", name.unwrap_or_default())),
        _ => Refusal::from_failure(failure),
    })
}

/// Where the plugin of the key would lie.
fn plugin_path(parsed: &Parsed, directory: &NotationDir) -> Option<PathBuf> {
    let name = Some(parsed.text("key")).filter(|name| !name.is_empty());
    let plugin = match Some(parsed.text("plugin")).filter(|plugin| !plugin.is_empty()) {
        Some(given) => given.to_owned(),
        None => match directory.signing_key(name).ok()?.key() {
            SigningKey::Plugin { plugin, .. } => plugin.clone(),
            _ => return None,
        },
    };
    Some(folder(directory).path().join(&plugin).join(format!("notation-{plugin}")))
}

fn request(parsed: &Parsed, directory: &NotationDir) -> Result<SignRequest, Refusal> {
    // A file that cannot be read does not say anything else than the default.
    let configured = directory.signature_format().ok().flatten().filter(|format| !format.is_empty());
    let format = format_named(match configured.as_deref().filter(|_| !parsed.has("signature-format")) {
        Some(configured) => configured,
        None => parsed.text("signature-format"),
    })?;
    let user_metadata = parsed.pairs("user-metadata")?;
    Ok(SignRequest { format, user_metadata, expiry: expiry(parsed)?, now: clock::now() })
}

pub(super) fn format_named(name: &str) -> Result<Format, Refusal> {
    match name {
        "jws" => Ok(Format::Jws),
        "cose" => Ok(Format::Cose),
        other => Err(Refusal(format!(
            "signature format {other:?} not supported\nSupported signature envelope formats are \"jws\" and \"cose\""
        ))),
    }
}

/// No expiry and an expiry of nothing are the same.
fn expiry(parsed: &Parsed) -> Result<Option<SignedDuration>, Refusal> {
    let expiry = duration::parse(if parsed.has("expiry") { parsed.text("expiry") } else { "0" }).map_err(Refusal)?;
    if expiry.is_negative() {
        return Err(Refusal::new("expiry duration cannot be a negative value"));
    }
    if expiry.subsec_nanos() != 0 {
        return Err(Refusal::new("expiry duration supports minimum granularity of seconds"));
    }
    Ok(Some(expiry).filter(|expiry| !expiry.is_zero()))
}

fn refused(error: &SignError, format: Format) -> Refusal {
    match error {
        SignError::Holder(error) => match error.of_kind() {
            Some(error) => plugin_fault::signing(error, format),
            None => Refusal::of(error),
        },
        SignError::ReservedMetadata(key) => {
            Refusal(format!("error adding user metadata: metadata key {key} has reserved prefix io.cncf.notary"))
        }
        SignError::MetadataTaken(key) => {
            Refusal(format!("error adding user metadata: metadata key {key} is already present in the target artifact"))
        }
        error => Refusal::of(error),
    }
}
