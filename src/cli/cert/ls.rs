//! `pratique cert ls`: every certificate of the trust stores, file by file, with what calls for somebody.

use clap::Args;
use serde::Serialize;

use super::store_kind;
use crate::cli::certificate_summary::CertificateSummary;
use crate::cli::exit::{Exit, Failure};
use crate::cli::notation_dir::NotationDirArgument;
use crate::cli::{Output, output};
use crate::clock;
use crate::config::{NotationDir, StoredCertificates};
use crate::policy::{StoreKind, TrustStore};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Only trust stores of this type: ca, signingAuthority or tsa.
    #[arg(long = "type", short = 't', value_name = "TYPE", value_parser = store_kind)]
    kind: Option<StoreKind>,
    /// Only trust stores of this name.
    #[arg(long, short = 's', value_name = "NAME")]
    store: Option<String>,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A file of a trust store, or a trust store of which no file can be shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    trust_store: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    certificates: Vec<CertificateSummary>,
    /// Why nothing is trusted by this store.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// A store that cannot be used fails the statements that name it, so a list with one is no clean answer.
pub(super) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let directory = arguments.notation_dir.open();
    let mut listed = Vec::new();
    for kind in StoreKind::ALL.into_iter().filter(|kind| arguments.kind.is_none_or(|wanted| wanted == *kind)) {
        for name in names(&directory, kind)? {
            if arguments.store.as_ref().is_none_or(|wanted| *wanted == name) {
                listed.extend(list(&directory, kind, &name));
            }
        }
    }
    output::print(output, &listed, || text(&listed));
    let is_clean = listed.iter().all(|file| file.problem.is_none());
    Ok(if is_clean { Exit::Done } else { Exit::Inconclusive })
}

fn names(directory: &NotationDir, kind: StoreKind) -> Result<Vec<String>, Failure> {
    directory.trust_store_names(kind).map_err(|error| {
        let path = directory.trust_stores(kind);
        let remedy = "see its permissions, or name another directory with `--notation-dir`";
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", path.display()), Some(remedy))
    })
}

/// The files of one store. What cannot be the name of a store is shown as what it is: no policy can name it.
fn list(directory: &NotationDir, kind: StoreKind, name: &str) -> Vec<Listed> {
    let whole = |store: String, problem| Listed {
        trust_store: store,
        file: None,
        certificates: Vec::new(),
        problem: Some(problem),
    };
    let store = match TrustStore::new(kind, name) {
        Ok(store) => store,
        Err(error) => return vec![whole(format!("{kind}:{name}"), Problem::of(&error))],
    };
    match directory.stored_certificates(&store) {
        Ok(files) => files.into_iter().map(|file| Listed::of(&store, file)).collect(),
        Err(problem) => vec![whole(store.to_string(), Problem::of(&problem))],
    }
}

impl Listed {
    fn of(store: &TrustStore, file: StoredCertificates) -> Self {
        let now = clock::now();
        let (certificates, problem) = match file.certificates {
            Ok(certificates) => (certificates, None),
            Err(problem) => (Vec::new(), Some(Problem::of(&problem))),
        };
        let certificates = certificates.iter().map(|certificate| CertificateSummary::of(certificate, now)).collect();
        Self { trust_store: store.to_string(), file: Some(file.name), certificates, problem }
    }

    fn text(&self) -> String {
        let file = self.file.as_ref().map(|file| format!(" {file}")).unwrap_or_default();
        let certificates = self.certificates.iter().map(|certificate| format!("\n  {certificate}"));
        let problem = self.problem.iter().map(|problem| format!("\n  error [{}]: {}", problem.code, problem.message));
        format!("{}{file}{}", self.trust_store, certificates.chain(problem).collect::<String>())
    }
}

fn text(listed: &[Listed]) -> String {
    match listed {
        [] => "there is no certificate".to_owned(),
        listed => listed.iter().map(Listed::text).collect::<Vec<_>>().join("\n"),
    }
}
