//! What is wrong with a plugin, in the words of the Notary Project's own command: scripts look for them. What it does not
//! know, or lets pass, is told in pratique's words.

use std::path::Path;

use super::Refusal;
use crate::envelope::{Format, InvalidEnvelope};
use crate::pki::SignatureAlgorithm;
use crate::plugin::{MAX_SOURCE, PluginError, PluginFault};
use crate::verify::{PluginCheck, PluginReport};

/// Why the plugin has not signed.
pub(super) fn signing(error: &PluginError, format: Format) -> Refusal {
    let words = match &error.fault {
        PluginFault::Key { command, asked, answered } => {
            format!("keyID in {} response {answered:?} does not match request {asked:?}", in_one_word(command))
        }
        PluginFault::Signature { algorithm, .. } => {
            let library = library(*algorithm, format);
            format!("generated signature failed verification: signature is invalid. Error: {library}verification error")
        }
        PluginFault::Certificate(_) => "x509: malformed certificate".to_owned(),
        PluginFault::EnvelopeType { wanted, given } => {
            format!("signatureEnvelopeType in generateEnvelope response {given:?} does not match request {wanted:?}")
        }
        PluginFault::EnvelopeForm(InvalidEnvelope::Missing("header" | "x5c")) => {
            "generated signature failed verification: certificate chain is not present".to_owned()
        }
        PluginFault::Says { command: "generate-envelope", message, .. } => {
            format!("plugin failed to sign with following error: {message}")
        }
        PluginFault::Says { message, .. } => message.clone(),
        _ => return Refusal::of(error),
    };
    Refusal(format!("failed to sign with the plugin {}: {words}", error.plugin))
}

/// `generateSignature`, as the original's messages write a command.
fn in_one_word(command: &str) -> String {
    let mut parts = command.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |word, part| {
        let (head, rest) = part.split_at_checked(1).unwrap_or_default();
        word + &head.to_uppercase() + rest
    })
}

/// The library that the original verifies with says the same of every signature, under its own name.
fn library(algorithm: SignatureAlgorithm, format: Format) -> &'static str {
    match (format, algorithm) {
        (Format::Cose, _) => "",
        (_, SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 | SignatureAlgorithm::EcdsaSha512) => {
            "crypto/ecdsa: "
        }
        (_, SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512) => {
            "crypto/rsa: "
        }
    }
}

/// That there is no program at this path.
pub(super) fn not_installed(path: &Path) -> Refusal {
    Refusal(format!(
        "plugin executable file is either not found or inaccessible: stat {}: no such file or directory",
        path.display()
    ))
}

/// Why a check does not hold that a verification plugin was asked about; nothing where the plugin has not said so.
pub(super) fn refusal(report: &PluginReport, check: PluginCheck) -> Option<String> {
    let (name, reason) = (&report.name, report.refusals.get(&check)?);
    Some(match check {
        PluginCheck::TrustedIdentity => {
            format!("trusted identify verification by plugin {name:?} failed with reason {reason:?}")
        }
        PluginCheck::Revocation => {
            format!("revocation check by verification plugin {name:?} failed with reason {reason:?}")
        }
    })
}

/// That the plugin is older than the signer demands.
pub(super) fn too_old(report: &PluginReport) -> Option<String> {
    let (version, minimum) = (&report.version, report.minimum_version.as_ref()?);
    Some(format!(
        "found plugin {} with version {version} but signature verification needs plugin version greater than or equal to \
         {minimum}",
        report.name
    ))
}

/// What `plugin list` says of a program that cannot be run; nothing where it has no words of its own.
pub(super) fn listed(name: &str, error: &PluginError) -> Option<String> {
    match &error.fault {
        PluginFault::NotInstalled(_) => Some(format!(
            "plugin executable file `notation-{name}` not found. Use `notation plugin install` command to install the \
             plugin"
        )),
        PluginFault::NotRun(cause) if cause.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            Some(format!(
                "plugin file `notation-{name}` is not executable. Use `notation plugin install` command to install the \
                 plugin. Please ensure that the plugin executable file is compatible with linux/{}",
                architecture()
            ))
        }
        _ => None,
    }
}

/// This machine's, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// That an archive, or a program alone, is larger than a plugin may be.
pub(super) fn too_large(is_archive: bool) -> String {
    let what = if is_archive { "total file size" } else { "file size" };
    format!("{what} reached the {} MiB size limit", MAX_SOURCE / 1024 / 1024)
}

/// That a name in an archive leads out of it.
pub(super) fn escape(name: &str, is_zip: bool) -> String {
    format!("file name in {} cannot contain '..', but found {name:?}", if is_zip { "zip" } else { "tar.gz" })
}
