//! `pratique cert generate-test`: a key to try things out with.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{unwritable, write_new};
use crate::cli::exit::{Exit, Failure};
use crate::cli::notation_dir::NotationDirArgument;
use crate::cli::signing_key;
use crate::cli::{Output, output, test_certificate};
use crate::clock;
use crate::config::SigningKeyError;
use crate::pki::KeySpec;
use crate::policy::{StoreKind, TrustStore};

/// As short as notation's: a key for trying things out should not be found in production a year later.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: String,
    key: PathBuf,
    certificate: PathBuf,
    trust_store: String,
    not_after: Timestamp,
}

pub(super) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
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
    directory
        .add_signing_key(&name, &key, &certificate, arguments.default)
        .map_err(|error| signing_key::failure(&error))?;

    let report = Report { name, key, certificate, trust_store: store.to_string(), not_after };
    output::print(output, &report, || text(&report));
    Ok(Exit::Done)
}

/// When a test certificate that is made now ends. Certificates carry whole seconds.
pub(in crate::cli) fn test_not_after() -> Timestamp {
    let not_after = clock::now().saturating_add(VALIDITY).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(not_after.as_second()).unwrap_or(not_after)
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
