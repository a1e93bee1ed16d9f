//! `pratique sign`: signs an image in a registry and stores the signature beside it.

use std::fs;
use std::path::Path;

use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::registry::{RegistryArguments, Target};
use super::{Output, output};
use crate::clock;
use crate::config::{NotationDir, SigningKey, SigningKeyError};
use crate::envelope::Format;
use crate::oci::{Descriptor, Reference, media_type};
use crate::pki::{Certificate, PrivateKey};
use crate::sign::{LocalKey, SignError, SignRequest, Signed, sign};
use crate::source::registry::Registry;
use crate::source::{Sink, SourceError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest.
    image: String,
    /// The key, by its name in `signingkeys.json`; the default key without it.
    #[arg(long, short = 'k', value_name = "NAME")]
    key: Option<String>,
    /// The format of the envelope: jws or cose.
    #[arg(long, value_name = "FORMAT", default_value = "jws")]
    signature_format: Format,
    /// How long the signature is good, such as 24h or 90s; for ever without it.
    #[arg(long, short = 'e', value_name = "DURATION", value_parser = duration)]
    expiry: Option<SignedDuration>,
    /// Pairs to sign with the image (may be given again).
    #[arg(long = "user-metadata", short = 'm', value_name = "KEY=VALUE", value_parser = super::verify::pair)]
    user_metadata: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A duration in hours, minutes and seconds, such as `1h30m`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration.as_secs() < 1 || duration.subsec_nanos() != 0 => Err(SignError::Expiry.to_string()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a duration such as 24h or 90s".to_owned()),
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let user_metadata = super::verify::metadata(arguments.user_metadata)?;
    let directory = arguments.notation_dir.open();
    let key = load_key(&directory, arguments.key.as_deref())?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure)?;
    let target = Target::resolve(&registry, &arguments.image).await?;
    output::warn_about_tag(&target.reference, "signs");
    let request =
        SignRequest { format: arguments.signature_format, user_metadata, expiry: arguments.expiry, now: clock::now() };
    let signed = sign(&target.descriptor, &request, &key).map_err(|error| match error {
        SignError::Key(_) | SignError::NotValidNow(_) => Failure::of(&error),
        error => Failure::usage_of(&error),
    })?;
    store(&registry, &target, &signed).await.map_err(|error| Failure::of(&error))?;
    report(output, &target.pinned(), &signed);
    Ok(Exit::Done)
}

/// Content first, and last the manifest that makes it a signature.
async fn store(registry: &Registry, target: &Target, signed: &Signed) -> Result<(), SourceError> {
    let repository = target.reference.repository();
    registry.push_blob(repository, &signed.config).await?;
    registry.push_blob(repository, &signed.envelope).await?;
    registry.push_referrer(repository, &target.descriptor, &signed.manifest, media_type::NOTARY_SIGNATURE).await
}

fn load_key(directory: &NotationDir, name: Option<&str>) -> Result<LocalKey, Failure> {
    let entry = directory.signing_key(name).map_err(|error| match error {
        SigningKeyError::Unknown { .. } | SigningKeyError::NoDefault => Failure::usage_of(&error),
        error => Failure::of(&error),
    })?;
    let (key_path, certificate_path) = match entry.key() {
        SigningKey::Files { key, certificates } => (key, certificates),
        SigningKey::Plugin { plugin, .. } => return Err(needs_plugin(entry.name(), plugin)),
    };
    let key = PrivateKey::from_pem(&read(key_path)?).map_err(|error| Failure::of(&error).in_file(key_path))?;
    let certificates = Certificate::read_all(&read(certificate_path)?)
        .map_err(|error| Failure::of(&error).in_file(certificate_path))?;
    LocalKey::new(key, certificates).map_err(|error| Failure::of(&error).in_file(certificate_path))
}

fn needs_plugin(key: &str, plugin: &str) -> Failure {
    let message =
        format!("the key `{key}` is held by the plugin `{plugin}`, and signing plugins are not supported yet");
    Failure::unreadable("signing-plugin-unsupported", message, Some("sign with a key in a PEM file"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("signing-key-unreadable", message, Some("see the paths in `signingkeys.json`"))
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    reference: String,
    signature: &'a Descriptor,
    envelope: &'a Descriptor,
}

fn report(output: Output, reference: &Reference, signed: &Signed) {
    let report = Report {
        reference: reference.to_string(),
        signature: signed.manifest.descriptor(),
        envelope: signed.envelope.descriptor(),
    };
    output::print(output, &report, || {
        format!("signed {}\n  signature  {}, {}", report.reference, report.signature.digest, report.envelope.media_type)
    });
}
