//! `notation certificate`: trust anchors, and certificates for testing.

use std::fs;
use std::path::{Path, PathBuf};

use super::artifact::system_words;
use super::flags::Parsed;
use super::output::{is_confirmed, table};
use super::{Refusal, Said, environment, output};
use crate::cli::cert::add::{name_in_store, read_anchors};
use crate::cli::cert::generate_test::test_not_after;
use crate::cli::cert::write_new;
use crate::cli::test_certificate;
use crate::config::names_in;
use crate::pki::{Certificate, KeySpec};
use crate::policy::{StoreKind, TrustStore, is_safe_name};

const TIME: &str = "%Y-%m-%d %H:%M:%S +0000 UTC";

/// The store that the flags name.
fn store(parsed: &Parsed) -> Result<TrustStore, Refusal> {
    let kind = parsed.text("type");
    if kind.is_empty() {
        return Err(Refusal::new("store type cannot be empty"));
    }
    let known = StoreKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| Refusal(format!("unsupported store type: {kind}")))?;
    let unsafe_name = |_| Refusal::new("named store name needs to follow [a-zA-Z0-9_.-]+ format");
    TrustStore::new(kind, parsed.text("store")).map_err(unsafe_name)
}

/// Each file on its own: one that cannot be added does not keep the others out.
pub(super) fn add(parsed: &Parsed) -> Said {
    let store = store(parsed)?;
    let (mut added, mut failed) = (Vec::new(), Vec::new());
    for file in &parsed.rest {
        match add_one(&store, Path::new(file)) {
            Ok(()) => added.push(file.clone()),
            Err(Refusal(problem)) => failed.push(format!("{file}, with error {problem:?}\n")),
        }
    }
    let named = format!("named store {} of type {}", store.name(), store.kind().as_str());
    if !added.is_empty() {
        output::say(&format!("Successfully added following certificates to {named}:\n{}", added.join("\n")));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Refusal(format!("Failed to add following certificates to {named}:\n{}", failed.concat())))
}

fn add_one(store: &TrustStore, file: &Path) -> Said {
    let content = read(file)?;
    parse(&content)?;
    let content = read_anchors(file, store.kind()).map_or_else(|failure| Err(Refusal::from_failure(failure)), Ok)?;
    let target = environment::configuration().trust_store(store).join(name_in_store(file));
    write_new(&target, &content, 0o600).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Refusal::new("certificate already exists in the Trust Store"),
        _ => Refusal(format!("open {}: {}", target.display(), system_words(&error))),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Refusal> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let did = if file.is_dir() { "read" } else { "open" };
    fs::read(&file).map_err(|error| Refusal(format!("{did} {}: {}", file.display(), system_words(&error))))
}

fn parse(content: &[u8]) -> Result<Vec<Certificate>, Refusal> {
    Certificate::read_all(content).map_err(|_| Refusal::new("x509: malformed certificate"))
}

/// A store that is not there has no certificates.
pub(super) fn list(parsed: &Parsed) -> Said {
    let failed = |Refusal(problem)| {
        let (kind, store) = (parsed.text("type"), parsed.text("store"));
        let which = match (kind, store) {
            ("", "") => "all certificates stored in the trust store".to_owned(),
            (kind, "") => format!("all certificates stored of type {kind}"),
            ("", store) => format!("all certificates stored in the named store {store}"),
            (kind, store) => format!("all certificates stored in the named store {store} of type {kind}"),
        };
        Refusal(format!("failed to list {which}, with error: {problem}"))
    };
    let mut rows = vec![["STORE TYPE", "STORE NAME", "CERTIFICATE"].map(str::to_owned)];
    for kind in StoreKind::ALL.into_iter().filter(|kind| ["", kind.as_str()].contains(&parsed.text("type"))) {
        let stores = environment::configuration().trust_stores(kind);
        for store in
            names_of(&stores).map_err(failed)?.into_iter().filter(|store| ["", store].contains(&parsed.text("store")))
        {
            let directory = stores.join(&store);
            for name in names_of(&directory).map_err(failed)? {
                read(&directory.join(&name)).and_then(|content| parse(&content)).map_err(failed)?;
                rows.push([kind.as_str().to_owned(), store.clone(), name]);
            }
        }
    }
    if rows.len() > 1 {
        output::say(&table(&rows));
    }
    Ok(())
}

fn names_of(directory: &Path) -> Result<Vec<String>, Refusal> {
    names_in(directory).map_err(|error| Refusal(format!("open {}: {}", directory.display(), system_words(&error))))
}

/// A file of the store that the flags name. What leads out of the store is refused.
fn in_store(parsed: &Parsed) -> Result<(TrustStore, PathBuf), Refusal> {
    let (store, name) = (store(parsed)?, parsed.first());
    if Path::new(name).file_name().is_none_or(|file| file != name) {
        return Err(Refusal::new("certificate file name must be a plain file name"));
    }
    let path = environment::configuration().trust_store(&store).join(name);
    Ok((store, path))
}

pub(super) fn show(parsed: &Parsed) -> Said {
    let (_, path) = in_store(parsed)?;
    let failed = |Refusal(problem)| {
        Refusal(format!("failed to show details of certificate {}, with error: {problem}", parsed.first()))
    };
    let certificates = read(&path).and_then(|content| parse(&content)).map_err(failed)?;
    let details: Vec<String> = certificates.iter().map(details).collect();
    output::say(&format!("Certificate details\n{}", details.join("\n")));
    Ok(())
}

fn details(certificate: &Certificate) -> String {
    format!(
        "{}\nIssuer: {}\nSubject: {}\nValid from: {}\nValid to: {}\nIsCA: {}\nSHA256 Thumbprint: {}",
        "-".repeat(80),
        certificate.issuer().in_reference_order(),
        certificate.subject().in_reference_order(),
        certificate.not_before().strftime(TIME),
        certificate.not_after().strftime(TIME),
        certificate.is_ca(),
        certificate.thumbprint()
    )
}

pub(super) fn check_delete(parsed: &Parsed) -> Said {
    match (parsed.is_on("all"), parsed.rest.is_empty()) {
        (false, true) => Err(Refusal::new(
            "delete requires either the certificate file name that needs to be deleted or --all flag to delete all \
             certificates in the given named trust store",
        )),
        (true, false) => Err(Refusal::new(
            "cannot delete a single certificate file when --all flag is set. use --help flag for more details",
        )),
        _ => Ok(()),
    }
}

pub(super) fn delete(parsed: &Parsed) -> Said {
    let (what, path, named) = if parsed.is_on("all") {
        let store = store(parsed)?;
        let what = format!("all certificates in {:?} of type {:?}", store.name(), store.kind().as_str());
        let path = environment::configuration().trust_store(&store);
        (what, path.clone(), path.display().to_string())
    } else {
        let (store, path) = in_store(parsed)?;
        let name = parsed.first();
        (format!("{name:?} in {:?} of type {:?}", store.name(), store.kind().as_str()), path, name.to_owned())
    };
    if !parsed.is_on("yes") && !is_confirmed(&format!("Are you sure you want to delete {what}?")) {
        return Ok(());
    }
    let thing = if parsed.is_on("all") { "named trust store" } else { "certificate file" };
    let failed = |error: std::io::Error| {
        Refusal(format!("failed to delete the {thing}: stat {}: {}", path.display(), system_words(&error)))
    };
    if parsed.is_on("all") { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(failed)?;
    output::say(&format!("Successfully deleted {named}"));
    Ok(())
}

pub(super) fn generate_test(parsed: &Parsed) -> Said {
    let (name, bits) = (parsed.first(), parsed.number("bits"));
    if !is_safe_name(name) {
        return Err(Refusal::new("name needs to follow [a-zA-Z0-9_.-]+ format"));
    }
    let spec = match bits {
        2048 => KeySpec::Rsa2048,
        3072 => KeySpec::Rsa3072,
        4096 => KeySpec::Rsa4096,
        _ => return Err(Refusal(format!("RSA keys of {bits} bits cannot sign: use 2048, 3072 or 4096"))),
    };
    output::say(&format!("generating RSA Key with {bits} bits"));
    let not_after = test_not_after();
    let made = test_certificate::make(name, spec, not_after).map_err(Refusal::from_failure)?;
    output::say(&format!("generated certificate expiring on {}", not_after.strftime("%Y-%m-%dT%H:%M:%SZ")));
    let directory = environment::configuration();
    let key = directory.local_key(name).map_err(|error| Refusal::of(&error))?;
    let certificate = directory.local_certificate(name).map_err(|error| Refusal::of(&error))?;
    put(&key, &made.key_pem, 0o600, "key")?;
    output::say(&format!("wrote key: {}", key.display()));
    put(&certificate, &made.certificate_pem, 0o644, "certificate")?;
    output::say(&format!("wrote certificate: {}", certificate.display()));
    trust(name, &certificate)?;
    directory
        .add_signing_key(name, &key, &certificate, parsed.is_on("default"))
        .map_err(|error| Refusal::of(&error))?;
    output::say(&format!("{name}: added to the key list"));
    if parsed.is_on("default") {
        output::say(&format!("{name}: mark as default signing key"));
    }
    Ok(())
}

fn trust(name: &str, certificate: &Path) -> Said {
    let store = TrustStore::new(StoreKind::Ca, name).map_err(|error| Refusal::of(&error))?;
    add_one(&store, certificate)?;
    output::say(&format!("Successfully added {name}.crt to named store {name} of type ca"));
    Ok(())
}

fn put(path: &Path, content: &str, mode: u32, what: &str) -> Said {
    write_new(path, content.as_bytes(), mode).map_err(|error| {
        Refusal(format!("failed to write {what} file: open {}: {}", path.display(), system_words(&error)))
    })
}
