//! `pratique cert add`: root certificates into a trust store.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{StoreArguments, unwritable, write_new};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, output};
use crate::config::is_certificate_file_name;
use crate::pki::Certificate;
use crate::policy::{StoreKind, TrustStore};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files with certificates, PEM or DER.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    trust_store: String,
    files: Vec<PathBuf>,
    /// Those of the files that were there already, to the byte.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchanged: Vec<PathBuf>,
}

impl Added {
    fn text(&self) -> String {
        let added = self.files.len().saturating_sub(self.unchanged.len());
        let unchanged = self.unchanged.iter().map(|path| format!("  there already  {}", path.display()));
        let first = format!("added {added} file(s) to the trust store {}", self.trust_store);
        [first].into_iter().chain(unchanged).collect::<Vec<_>>().join("\n")
    }
}

/// Every file is looked at before the first one is put in place.
pub(super) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let (notation, store) = arguments.store.open()?;
    let directory = notation.trust_store(&store);
    let anchors = arguments.files.iter().map(|file| read_anchors(file, store.kind())).collect::<Result<Vec<_>, _>>()?;
    let (mut files, mut unchanged) = (Vec::new(), Vec::new());
    for (file, content) in arguments.files.iter().zip(anchors) {
        let target = directory.join(name_in_store(file));
        match write_new(&target, &content, 0o644) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check_same(&target, &content, &store)?;
                unchanged.push(target.clone());
            }
            written => written.map_err(|error| unwritable(&target, &error))?,
        }
        files.push(target);
    }
    let added = Added { trust_store: store.to_string(), files, unchanged };
    output::print(output, &added, || added.text());
    Ok(Exit::Done)
}

/// Refuses to take another file for this one.
fn check_same(target: &Path, content: &[u8], store: &TrustStore) -> Result<(), Failure> {
    if fs::read(target).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let message = format!("the trust store `{store}` has another file of the name `{name}`");
    let kind = store.kind().as_str();
    Err(Failure::usage("trust-store-file-taken", message).hint(format!(
        "give the file another name, or take the old one away with `pratique cert rm --type {kind} --store {} {name}`",
        store.name()
    )))
}

/// The file's own name, made into one that a trust store takes for a certificate's where it is not.
pub(in crate::cli) fn name_in_store(file: &Path) -> OsString {
    let name = file.file_name().unwrap_or_default();
    if is_certificate_file_name(name) {
        return name.to_owned();
    }
    let mut name = OsString::from(name.to_string_lossy().trim_start_matches('.'));
    name.push(".crt");
    name
}

/// The file's bytes, if every certificate in it may be an anchor of a store of this kind.
pub(in crate::cli) fn read_anchors(file: &Path, kind: StoreKind) -> Result<Vec<u8>, Failure> {
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
