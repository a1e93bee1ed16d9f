//! A signing key, as it is shown.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::cli::certificate_summary::CertificateSummary;
use crate::cli::exit::Failure;
use crate::cli::key_access::read_certificates;
use crate::clock;
use crate::config::{SigningKey, SigningKeyEntry};
use crate::pki::{Certificate, Renewal};
use crate::remedy::printable;
use crate::verify::Problem;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    name: String,
    is_default: bool,
    #[serde(flatten)]
    held: Held,
    /// The one that signatures are made with, where it is known before the key has signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateSummary>,
    /// What is to be said about the certificates above it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
    /// Why the key cannot sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// What holds it. What is passed on to a plugin is not shown: there may be secrets in it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Held {
    File {
        key_path: String,
        certificate_path: String,
    },
    Token {
        uri: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate_path: Option<String>,
    },
    Plugin {
        plugin: String,
        id: String,
    },
}

impl Listed {
    pub(super) fn of(entry: &SigningKeyEntry, default: Option<&str>) -> Self {
        let seen = match entry.key() {
            SigningKey::Files { key, certificates } => {
                read_certificates(certificates).and_then(|read| find(key).map(|()| read))
            }
            SigningKey::Token { certificates: Some(path), .. } => read_certificates(path),
            SigningKey::Token { certificates: None, .. } | SigningKey::Plugin { .. } => Ok(Vec::new()),
        };
        let now = clock::now();
        let certificates = seen.as_deref().unwrap_or_default();
        let leaf = certificates.first();
        let of_leaf = leaf.and_then(|leaf| leaf.renewal(now));
        let of_chain = Renewal::first_of(certificates, now).filter(|first| of_leaf.as_ref() != Some(first));
        Self {
            name: entry.name().to_owned(),
            is_default: default == Some(entry.name()),
            held: Held::of(entry.key()),
            certificate: leaf.map(|leaf: &Certificate| CertificateSummary::of(leaf, now)),
            warnings: of_chain.iter().map(Problem::of).collect(),
            problem: seen.as_ref().err().map(problem),
        }
    }

    pub(super) fn is_unreadable(&self) -> bool {
        self.problem.is_some()
    }
}

/// Whether there is such a key file. It is not read.
fn find(key: &Path) -> Result<(), Failure> {
    fs::metadata(key).map(|_| ()).map_err(|error| {
        let message = format!("cannot read {}: {error}", key.display());
        Failure::unreadable("signing-key-unreadable", message, Some("see the paths in `signingkeys.json`"))
    })
}

fn problem(failure: &Failure) -> Problem {
    Problem { code: failure.code, message: failure.message.clone(), remedy: failure.remedy.clone() }
}

impl Held {
    fn of(key: &SigningKey) -> Self {
        let shown = |path: &std::path::PathBuf| path.display().to_string();
        match key {
            SigningKey::Files { key, certificates } => {
                Self::File { key_path: shown(key), certificate_path: shown(certificates) }
            }
            SigningKey::Token { uri, certificates } => {
                Self::Token { uri: uri.to_string(), certificate_path: certificates.as_ref().map(shown) }
            }
            SigningKey::Plugin { plugin, id, .. } => Self::Plugin { plugin: plugin.clone(), id: id.clone() },
        }
    }
}

/// Several lines, the first of which has the name.
impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", printable(&self.name), if self.is_default { " (default)" } else { "" })?;
        let mut line = |name: &str, value: &str| write!(f, "\n  {name:<11}  {}", printable(value));
        match &self.held {
            Held::File { key_path, .. } => line("key", key_path)?,
            Held::Token { uri, .. } => line("token", uri)?,
            Held::Plugin { plugin, id } => line("plugin", &format!("{plugin}, {id}"))?,
        }
        match (&self.certificate, &self.held, &self.problem) {
            (Some(certificate), ..) => line("certificate", &certificate.to_string())?,
            (None, Held::Token { .. }, None) => line("certificate", "on the token")?,
            (None, Held::Plugin { .. }, _) => line("certificate", "the plugin's")?,
            (None, ..) => {}
        }
        let mut told =
            |word: &str, problem: &Problem| write!(f, "\n  {word} [{}]: {}", problem.code, printable(&problem.message));
        self.warnings.iter().try_for_each(|warning| told("warning", warning))?;
        self.problem.iter().try_for_each(|problem| told("error", problem))
    }
}
