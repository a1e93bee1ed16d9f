//! `pratique sign`: signs an image in a registry and stores the signature beside it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::registry::{RegistryArguments, Target};
use super::{Output, output};
use crate::clock;
use crate::config::{NotationDir, SigningKey, SigningKeyError};
use crate::envelope::Format;
use crate::oci::{Descriptor, Reference, Repository, media_type};
use crate::pki::{Certificate, PrivateKey};
use crate::policy::StoreKind;
use crate::remedy::printable;
use crate::sign::{LocalKey, SignError, SignRequest, Signed, Unsealed, prepare};
use crate::source::registry::Registry;
use crate::source::{Sink, SourceError};
use crate::stamping::{StampingError, TimestampAuthority};

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
    /// The http or https URL of an RFC 3161 time-stamp authority, which vouches for the time of signing.
    #[arg(long, value_name = "URL", requires = "timestamp_root_cert")]
    timestamp_url: Option<String>,
    /// The root certificate of that authority, in a file of its own.
    #[arg(long, value_name = "FILE", requires = "timestamp_url")]
    timestamp_root_cert: Option<PathBuf>,
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
    let authority = Authority::open(arguments.timestamp_url, arguments.timestamp_root_cert)?;
    let directory = arguments.notation_dir.open();
    let key = load_key(&directory, arguments.key.as_deref())?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure)?;
    let target = Target::resolve(&registry, &arguments.image).await?;
    output::warn_about_tag(&target.reference, "signs");
    let request =
        SignRequest { format: arguments.signature_format, user_metadata, expiry: arguments.expiry, now: clock::now() };
    let unsealed = prepare(&target.descriptor, &request, &key).map_err(|error| match error {
        SignError::Key(_) | SignError::NotValidNow(_) => Failure::of(&error),
        error => Failure::usage_of(&error),
    })?;
    let (signed, stamped) = match authority {
        Some(authority) => authority.stamp(unsealed).await.map(|(signed, stamped)| (signed, Some(stamped)))?,
        None => (unsealed.seal(), None),
    };
    store(&registry, target.reference.repository(), &target.descriptor, &signed)
        .await
        .map_err(|error| Failure::of(&error))?;
    report(output, &target.pinned(), &signed, stamped);
    Ok(Exit::Done)
}

/// Who vouches for the time of signing, and whom that is believed of.
struct Authority {
    authority: TimestampAuthority,
    root: Certificate,
}

impl Authority {
    fn open(url: Option<String>, root: Option<PathBuf>) -> Result<Option<Self>, Failure> {
        let (Some(url), Some(root)) = (url, root) else { return Ok(None) };
        let authority = TimestampAuthority::new(&url).map_err(|error| match error {
            StampingError::Url(_) => Failure::usage_of(&error),
            error => Failure::of(&error),
        })?;
        Ok(Some(Self { authority, root: timestamp_root(&root)? }))
    }

    /// Only a stamp that holds gets into the envelope, and without one nothing is stored: whoever asked for a time-stamp
    /// relies on it when the certificate is long expired.
    async fn stamp(&self, unsealed: Unsealed<'_>) -> Result<(Signed, Stamped), Failure> {
        let anchors = std::slice::from_ref(&self.root);
        let stamping = self.authority.stamp(unsealed.signature(), unsealed.hash(), anchors);
        let (token, stamp) = stamping.await.map_err(|error| Failure::of(&error))?;
        let authority = stamp.chain().first().map(|signer| signer.subject().to_string()).unwrap_or_default();
        let stamped = Stamped { time: token.info().time, authority };
        let signed = unsealed.stamped(&token, &stamp).map_err(|error| Failure::of(&error))?;
        Ok((signed, stamped))
    }
}

/// One root, of the kind that a `tsa` trust store takes.
fn timestamp_root(path: &Path) -> Result<Certificate, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("timestamp-root-unreadable", message, Some("name the file with the authority's root"))
    })?;
    let certificates = Certificate::read_all(&bytes).map_err(|error| Failure::of(&error).in_file(path))?;
    let unsuitable = |fault: &str| {
        let message = format!("{}: {fault}", path.display());
        Failure::unreadable("timestamp-root-unsuitable", message, Some("give the authority's one root certificate"))
    };
    let [root] = &certificates[..] else { return Err(unsuitable("there is more than one certificate")) };
    match StoreKind::Tsa.fault_of(root) {
        None => Ok(root.clone()),
        Some(fault) => Err(unsuitable(&format!("the certificate `{}` is {fault}", root.subject()))),
    }
}

/// Content first, and last the manifest that makes it a signature.
pub(super) async fn store(
    registry: &Registry,
    repository: &Repository,
    artifact: &Descriptor,
    signed: &Signed,
) -> Result<(), SourceError> {
    registry.push_blob(repository, &signed.config).await?;
    registry.push_blob(repository, &signed.envelope).await?;
    registry.push_referrer(repository, artifact, &signed.manifest, media_type::NOTARY_SIGNATURE).await
}

/// The key of this name in `signingkeys.json`, or the default one.
pub(super) fn load_key(directory: &NotationDir, name: Option<&str>) -> Result<LocalKey, Failure> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
}

/// Who vouches for which time.
#[derive(Serialize)]
struct Stamped {
    time: Timestamp,
    authority: String,
}

fn report(output: Output, reference: &Reference, signed: &Signed, timestamp: Option<Stamped>) {
    let report = Report {
        reference: reference.to_string(),
        signature: signed.manifest.descriptor(),
        envelope: signed.envelope.descriptor(),
        timestamp,
    };
    output::print(output, &report, || {
        let signature = format!("{}, {}", report.signature.digest, report.envelope.media_type);
        match &report.timestamp {
            None => format!("signed {}\n  signature  {signature}", report.reference),
            Some(Stamped { time, authority }) => format!(
                "signed {}\n  signature   {signature}\n  time-stamp  {time}, by {}",
                report.reference,
                printable(authority)
            ),
        }
    });
}
