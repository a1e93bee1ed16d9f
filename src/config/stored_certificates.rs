//! What lies in the trust stores, file by file, for whoever looks after them.
//!
//! A store is trusted whole or not at all, by [`load`](super::load_trust_store). Here the files stand side by side, each with
//! what is wrong with it by the same rules, so that somebody can see which one to mend.

use std::fs;
use std::io;
use std::path::Path;

use super::NotationDir;
use super::trust_store::Loading;
use crate::pki::Certificate;
use crate::policy::{StoreKind, StoreProblem, TrustStore};

/// A file of a trust store.
#[derive(Debug)]
pub struct StoredCertificates {
    /// The name of the file, which leads nowhere else.
    pub name: String,
    /// What is in it, at least one certificate; or why the store cannot be used because of it.
    pub certificates: Result<Vec<Certificate>, StoreProblem>,
}

impl NotationDir {
    /// The names of what lies among the trust stores of a kind, sorted. None where nothing does.
    pub fn trust_store_names(&self, kind: StoreKind) -> io::Result<Vec<String>> {
        names_in(&self.trust_stores(kind))
    }

    /// The files of a trust store, sorted by name, without those that are passed over when it is loaded. At least one.
    pub fn stored_certificates(&self, store: &TrustStore) -> Result<Vec<StoredCertificates>, StoreProblem> {
        let directory = self.trust_store(store);
        let loading = Loading { directory: &directory, store };
        loading.check_directory()?;
        let mut stored = Vec::new();
        for entry in loading.entries()? {
            let certificates = match loading.certificate_file(&entry) {
                Ok(None) => continue,
                Ok(Some(path)) => loading.read_anchors(&path),
                Err(problem) => Err(problem),
            };
            stored.push(StoredCertificates { name: entry.file_name().to_string_lossy().into_owned(), certificates });
        }
        if stored.is_empty() {
            return Err(loading.empty());
        }
        stored.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stored)
    }
}

/// What stands in a directory, sorted; nothing where there is none.
pub fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>()?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    #[test]
    fn every_file_is_shown_with_what_it_holds_or_what_is_wrong_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let notation = NotationDir::new(directory.path().to_owned());
        let store: TrustStore = "ca:acme".parse().unwrap();
        assert_eq!(notation.trust_store_names(StoreKind::Ca).unwrap(), Vec::<String>::new());
        assert_eq!(notation.stored_certificates(&store).unwrap_err().code(), StoreProblem::MISSING);
        let path = notation.trust_store(&store);
        fs::create_dir_all(path.join("below")).unwrap();
        let root = "tests/vectors/truststores/acme/x509/ca/acme-rockets/p256-root.pem";
        fs::copy(root, path.join("root.pem")).unwrap();
        fs::write(path.join(".hidden"), "").unwrap();
        fs::write(path.join("README"), "").unwrap();
        fs::write(path.join("broken.crt"), "").unwrap();
        assert_eq!(notation.trust_store_names(StoreKind::Ca).unwrap(), ["acme"]);
        let shown: Vec<String> = notation.stored_certificates(&store).unwrap().iter().map(shown).collect();
        let wanted = [
            "README: trust-store-foreign-file",
            "broken.crt: trust-store-not-a-certificate",
            "root.pem: 1 certificates",
        ];
        assert_eq!(shown, wanted);
    }

    fn shown(stored: &StoredCertificates) -> String {
        match &stored.certificates {
            Ok(certificates) => format!("{}: {} certificates", stored.name, certificates.len()),
            Err(problem) => format!("{}: {}", stored.name, problem.code()),
        }
    }
}
