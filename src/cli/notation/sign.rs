//! `notation sign`: signs an artifact and stores the signature beside it.

use super::artifact::{Artifact, REFERRERS_API_DEPRECATED};
use super::flags::Parsed;
use super::version::SIGNING_AGENT;
use super::{Refusal, Said, block_on, duration, environment, output, timestamping};
use crate::cli::key_access::KeyAccess;
use crate::cli::place::Place;
use crate::cli::sign::store;
use crate::cli::signing::stamps_itself;
use crate::cli::signing_key::{self, Made};
use crate::clock;
use crate::config::NotationDir;
use crate::envelope::Format;
use crate::plugin::PluginKey;
use crate::sign::{SignError, SignRequest};

const TAGS_MOVE: &str = "tags are mutable and a tag reference can point to a different artifact than the one signed.";

pub(super) fn run(parsed: &Parsed) -> Said {
    timestamping::check_arguments(parsed)?;
    if parsed.has("allow-referrers-api") {
        let instead =
            if parsed.is_on("allow-referrers-api") { ", use '--force-referrers-tag=false' instead" } else { "" };
        output::warn(&format!("{REFERRERS_API_DEPRECATED}{instead}."));
    }
    let directory = environment::configuration();
    let name = Some(parsed.text("key")).filter(|name| !name.is_empty());
    let plugin_config = parsed.pairs("plugin-config")?;
    let (plugin, id) = (parsed.text("plugin").to_owned(), parsed.text("id").to_owned());
    let opened = if !plugin.is_empty() && !id.is_empty() && name.is_none() {
        signing_key::open_plugin(&directory, PluginKey { plugin, id, config: plugin_config })
    } else {
        signing_key::open(&directory, name, plugin_config, &KeyAccess::default())
    };
    let key = opened.map_err(|failure| match failure.code.as_str() {
        "signing-key-no-default" => {
            Refusal::new("default signing key not set. Please set default signing key or specify a key name")
        }
        "signing-key-unknown" => Refusal(format!("signing key {} not found", name.unwrap_or_default())),
        _ => Refusal::from_failure(failure),
    })?;
    let request = request(parsed, &directory)?;
    let authority = timestamping::authority(parsed)?;
    block_on(async {
        let artifact = Artifact::resolve(parsed, "sign", TAGS_MOVE).await?;
        let signed = match key.sign(&artifact.descriptor, &request).map_err(|error| refused(&error))? {
            Made::Whole(..) if authority.is_some() => return Err(Refusal::from_failure(stamps_itself())),
            Made::Whole(signed, _) => *signed,
            Made::Unsealed(unsealed) => {
                let unsealed = match artifact.place {
                    Place::Registry(_) | Place::Containerd(_) => unsealed.with_agent(SIGNING_AGENT),
                    Place::Layout(_) => unsealed.with_agent(SIGNING_AGENT).typed_by_config(),
                };
                match &authority {
                    Some(authority) => timestamping::stamp(authority, unsealed, parsed).await?,
                    None => unsealed.seal(),
                }
            }
        };
        let stored = store(artifact.place.sink(), &artifact.repository, &artifact.descriptor, &signed).await;
        stored.map_err(|error| Refusal::of(&error))?;
        output::say(&format!("Successfully signed {}", artifact.pinned()));
        Ok(())
    })
}

fn request(parsed: &Parsed, directory: &NotationDir) -> Result<SignRequest, Refusal> {
    // A file that cannot be read does not say anything else than the default.
    let configured = directory.signature_format().ok().flatten().filter(|format| !format.is_empty());
    let format = match configured.as_deref().filter(|_| !parsed.has("signature-format")) {
        Some(configured) => configured,
        None => parsed.text("signature-format"),
    };
    let format = match format {
        "jws" => Format::Jws,
        "cose" => Format::Cose,
        other => {
            return Err(Refusal(format!(
                "signature format {other:?} not supported\nSupported signature envelope formats are \"jws\" and \"cose\""
            )));
        }
    };
    let user_metadata = parsed.pairs("user-metadata")?;
    let expiry = duration::parse(if parsed.has("expiry") { parsed.text("expiry") } else { "0" }).map_err(Refusal)?;
    if expiry.is_negative() {
        return Err(Refusal::new("expiry duration cannot be a negative value"));
    }
    if expiry.subsec_nanos() != 0 {
        return Err(Refusal::new("expiry duration supports minimum granularity of seconds"));
    }
    // No expiry and an expiry of nothing are the same.
    let expiry = Some(expiry).filter(|expiry| !expiry.is_zero());
    Ok(SignRequest { format, user_metadata, expiry, now: clock::now() })
}

fn refused(error: &SignError) -> Refusal {
    match error {
        SignError::ReservedMetadata(key) => {
            Refusal(format!("error adding user metadata: metadata key {key} has reserved prefix io.cncf.notary"))
        }
        SignError::MetadataTaken(key) => {
            Refusal(format!("error adding user metadata: metadata key {key} is already present in the target artifact"))
        }
        error => Refusal::of(error),
    }
}
