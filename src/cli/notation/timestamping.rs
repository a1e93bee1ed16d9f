//! `notation sign --timestamp-url`: whom the time of signing is asked of, with the original's words for what is wrong.

use std::fs;
use std::path::PathBuf;

use super::artifact::system_words;
use super::flags::Parsed;
use super::{Refusal, Said};
use crate::cli::exit::Failure;
use crate::cli::signing::Authority;
use crate::pki::Certificate;
use crate::sign::{Signed, Unsealed};

/// What must be in the file.
const ONE_ROOT: &str = "Expecting single x509 root certificate in PEM or DER format from the file";

/// Refuses flags without a value, before anything else is looked at.
pub(super) fn check_arguments(parsed: &Parsed) -> Said {
    if !parsed.has("timestamp-url") {
        return Ok(());
    }
    match (parsed.text("timestamp-url"), parsed.text("timestamp-root-cert")) {
        ("", _) => Err(Refusal::new("timestamping: tsa url cannot be empty")),
        (_, "") => Err(Refusal::new("timestamping: tsa root certificate path cannot be empty")),
        _ => Ok(()),
    }
}

/// The authority that the flags name; nothing where they name none.
pub(super) fn authority(parsed: &Parsed) -> Result<Option<Authority>, Refusal> {
    if !parsed.has("timestamp-url") {
        return Ok(None);
    }
    let (url, root) = (parsed.text("timestamp-url"), parsed.text("timestamp-root-cert"));
    tracing::info!("Configured to timestamp with TSA {url:?}");
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "http" | "https") {
        return Err(Refusal(format!(
            "cannot get http timestamper for timestamping: endpoint {url:?}: scheme must be http or https, but got \
             {scheme:?}"
        )));
    }
    check_root(root)?;
    Authority::open(Some(url.to_owned()), Some(PathBuf::from(root))).map_err(Refusal::from_failure)
}

fn check_root(path: &str) -> Said {
    let content = fs::read(path).map_err(|error| Refusal(format!("open {path}: {}", system_words(&error))))?;
    if content.is_empty() {
        return Err(Refusal(format!("cannot find any certificate from {path:?}. {ONE_ROOT}")));
    }
    let certificates = Certificate::read_all(&content).map_err(|_| Refusal::new("x509: malformed certificate"))?;
    let root = match &certificates[..] {
        [] => return Err(Refusal(format!("cannot find any certificate from {path:?}. {ONE_ROOT}"))),
        [root] => root,
        _ => return Err(Refusal(format!("found more than one certificates from {path:?}. {ONE_ROOT}"))),
    };
    if root.verify_signed_by(root).is_err() {
        return Err(Refusal::new("failed to check root certificate with error: crypto/rsa: verification error"));
    }
    if !root.is_self_issued() {
        return Err(Refusal(format!("certificate from {path:?} is not a root certificate. {ONE_ROOT}")));
    }
    Ok(())
}

/// The envelope with a time-stamp that holds.
pub(super) async fn stamp(authority: &Authority, unsealed: Unsealed<'_>, parsed: &Parsed) -> Result<Signed, Refusal> {
    let url = parsed.text("timestamp-url");
    let stamped = authority.stamp(unsealed).await.map(|(signed, _)| signed);
    stamped.map_err(|Failure { code, message, .. }| match code.as_str() {
        "timestamp-authority-unreachable" | "timestamp-authority-timeout" => {
            Refusal(format!("timestamp: Post {url:?}: {message}"))
        }
        _ => Refusal(format!("timestamp: {message}")),
    })
}
