//! `notation sign`: signs an artifact and stores the signature beside it.

use super::artifact::{Artifact, Place};
use super::flags::Parsed;
use super::{Refusal, Said, block_on, duration, environment, output};
use crate::cli::sign::store;
use crate::cli::signing_key;
use crate::clock;
use crate::envelope::Format;
use crate::sign::{SignError, SignRequest, sign};

const TAGS_MOVE: &str = "tags are mutable and a tag reference can point to a different artifact than the one signed.";

pub(super) fn run(parsed: &Parsed) -> Said {
    if parsed.has("timestamp-url") {
        return Err(Refusal::new(match parsed.text("timestamp-url") {
            "" => "timestamping: tsa url cannot be empty",
            _ => "timestamping: signing with a time-stamp is not there yet",
        }));
    }
    if parsed.has("plugin") {
        return Err(Refusal::new("signing with a plugin is not there yet"));
    }
    let directory = environment::configuration();
    let name = Some(parsed.text("key")).filter(|name| !name.is_empty());
    let key = signing_key::open(&directory, name).map_err(|failure| match failure.code.as_str() {
        "signing-key-no-default" => {
            Refusal::new("default signing key not set. Please set default signing key or specify a key name")
        }
        "signing-key-unknown" => Refusal(format!("signing key {} not found", name.unwrap_or_default())),
        _ => Refusal::from_failure(failure),
    })?;
    let request = request(parsed)?;
    block_on(async {
        let artifact = Artifact::resolve(parsed, "sign", TAGS_MOVE).await?;
        let Place::Registry(registry) = &artifact.place else {
            return Err(Refusal::new("signing in an OCI image layout is not there yet"));
        };
        let signed = sign(&artifact.descriptor, &request, key.as_ref()).map_err(|error| refused(&error))?;
        let stored = store(registry.as_ref(), &artifact.repository, &artifact.descriptor, &signed).await;
        stored.map_err(|error| Refusal::of(&error))?;
        output::say(&format!("Successfully signed {}", artifact.pinned()));
        Ok(())
    })
}

fn request(parsed: &Parsed) -> Result<SignRequest, Refusal> {
    let format = match parsed.text("signature-format") {
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
