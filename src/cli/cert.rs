//! `pratique cert`: trust anchors, and certificates for trying things out.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::{Output, output, test_certificate};
use crate::clock;
use crate::config::{SigningKeyError, is_certificate_file_name};
use crate::pki::{Certificate, KeySpec};
use crate::policy::{StoreKind, TrustStore};

/// As short as notation's: a key for trying things out should not be found in production a year later.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and a self-signed certificate for testing, valid for 24 hours, and trust it.
    GenerateTest(GenerateTest),
    /// Put root certificates into a trust store.
    Add(Add),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Files with certificates, PEM or DER.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the trust store is for: ca, signingAuthority or tsa.
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "ca", value_parser = store_kind)]
    kind: StoreKind,
    /// The name of the trust store.
    #[arg(long, short = 's', value_name = "NAME")]
    store: String,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

fn store_kind(text: &str) -> Result<StoreKind, String> {
    format!("{text}:x").parse::<TrustStore>().map(|store| store.kind()).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(super) struct GenerateTest {
    /// The common name of the certificate, and the name of key and trust store.
    name: String,
    /// The kind of key: rsa-2048, rsa-3072, rsa-4096, ec-256, ec-384 or ec-521.
    #[arg(long, value_name = "TYPE", default_value = "rsa-2048", value_parser = key_spec)]
    key_type: KeySpec,
    /// Make it the default signing key.
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// `rsa-2048` … `ec-521`: Notary's names in lower case.
fn key_spec(text: &str) -> Result<KeySpec, String> {
    let names = || KeySpec::ALL.map(|spec| spec.to_string().to_lowercase());
    KeySpec::ALL
        .into_iter()
        .find(|spec| spec.to_string().to_lowercase() == text)
        .ok_or_else(|| format!("`{text}` is not one of {}", names().join(", ")))
}

pub(super) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::GenerateTest(arguments) => generate_test(arguments, output),
        Command::Add(arguments) => add(arguments, output),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    trust_store: String,
    files: Vec<PathBuf>,
}

/// Every file is looked at before the first one is put in place.
fn add(arguments: Add, output: Output) -> Result<Exit, Failure> {
    let store = TrustStore::new(arguments.kind, &arguments.store).map_err(|error| Failure::usage_of(&error))?;
    let directory = arguments.notation_dir.open().trust_store(&store);
    let anchors =
        arguments.files.iter().map(|file| read_anchors(file, arguments.kind)).collect::<Result<Vec<_>, _>>()?;
    let mut files = Vec::new();
    for (file, content) in arguments.files.iter().zip(anchors) {
        let target = directory.join(name_in_store(file));
        write_new(&target, &content, 0o644).map_err(|error| unwritable(&target, &error))?;
        files.push(target);
    }
    let added = Added { trust_store: store.to_string(), files };
    output::print(output, &added, || {
        format!("added {} file(s) to the trust store {}", added.files.len(), added.trust_store)
    });
    Ok(Exit::Done)
}

/// The file's own name, made into one that a trust store takes for a certificate's where it is not.
pub(super) fn name_in_store(file: &Path) -> OsString {
    let name = file.file_name().unwrap_or_default();
    if is_certificate_file_name(name) {
        return name.to_owned();
    }
    let mut name = OsString::from(name.to_string_lossy().trim_start_matches('.'));
    name.push(".crt");
    name
}

/// The file's bytes, if every certificate in it may be an anchor of a store of this kind.
pub(super) fn read_anchors(file: &Path, kind: StoreKind) -> Result<Vec<u8>, Failure> {
    let content = fs::read(file).map_err(|error| {
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", file.display()), None)
    })?;
    let certificates = Certificate::read_all(&content).map_err(|error| Failure::usage_of(&error).in_file(file))?;
    match certificates.iter().find_map(|certificate| Some((certificate, kind.fault_of(certificate)?))) {
        None => Ok(content),
        Some((other, fault)) => {
            let message = format!("{}: `{}` is {fault}", file.display(), other.subject());
            let remedy = Some("give the issuing root certificate alone".to_owned());
            Err(Failure { remedy, ..Failure::usage("trust-store-not-an-anchor", message) })
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: String,
    key: PathBuf,
    certificate: PathBuf,
    trust_store: String,
    not_after: Timestamp,
}

fn generate_test(arguments: GenerateTest, output: Output) -> Result<Exit, Failure> {
    let name = arguments.name;
    let directory = arguments.notation_dir.open();
    let key = directory.local_key(&name).map_err(|error| Failure::usage_of(&error))?;
    let certificate = directory.local_certificate(&name).map_err(|error| Failure::usage_of(&error))?;
    let store = TrustStore::new(StoreKind::Ca, &name).map_err(|error| Failure::usage_of(&error))?;
    let anchor = directory.trust_store(&store).join(format!("{name}.crt"));
    let keys = directory.signing_keys().map_err(|error| Failure::of(&error))?;
    if keys.entries().iter().any(|entry| entry.name() == name) {
        return Err(Failure::usage_of(&SigningKeyError::Taken { name }));
    }
    let not_after = test_not_after();
    let made = test_certificate::make(&name, arguments.key_type, not_after)?;

    write_new(&key, made.key_pem.as_bytes(), 0o600).map_err(|error| unwritable(&key, &error))?;
    write_new(&certificate, made.certificate_pem.as_bytes(), 0o644)
        .map_err(|error| unwritable(&certificate, &error))?;
    write_new(&anchor, made.certificate_pem.as_bytes(), 0o644).map_err(|error| unwritable(&anchor, &error))?;
    directory.add_signing_key(&name, &key, &certificate, arguments.default).map_err(|error| Failure::of(&error))?;

    let report = Report { name, key, certificate, trust_store: store.to_string(), not_after };
    output::print(output, &report, || text(&report));
    Ok(Exit::Done)
}

/// When a test certificate that is made now ends. Certificates carry whole seconds.
pub(super) fn test_not_after() -> Timestamp {
    let not_after = clock::now().saturating_add(VALIDITY).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(not_after.as_second()).unwrap_or(not_after)
}

/// Never over a file that is there: it may be the only copy of a key.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::AlreadyExists => "choose another name, or take the old file away first",
        _ => "see whether the directory can be written, or name another with `--notation-dir`",
    };
    Failure::unreadable("file-unwritable", format!("cannot write {}: {error}", path.display()), Some(remedy))
}

fn text(report: &Report) -> String {
    format!(
        "made a test key and certificate `{}`, valid until {}\n  key          {}\n  certificate  {}\n  trusted in   {}",
        report.name,
        report.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        report.key.display(),
        report.certificate.display(),
        report.trust_store
    )
}
