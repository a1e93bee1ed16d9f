//! `notation certificate cleanup-test`: takes back what `generate-test` has made. As in notation 2; notation 1.3 has no such
//! command.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::artifact::system_words;
use super::flags::Parsed;
use super::{Refusal, Said, environment, output};
use crate::config::SigningKeyError;
use crate::policy::{StoreKind, TrustStore, is_safe_name};

pub(super) fn check(parsed: &Parsed) -> Said {
    match parsed.rest.first() {
        None => Err(Refusal::new("missing certificate common name")),
        Some(name) if !is_safe_name(name) => {
            Err(Refusal::new("certificate common name must follow [a-zA-Z0-9_.-]+ format"))
        }
        Some(_) => Ok(()),
    }
}

/// Each part on its own: one that is gone already is told, and does not stand in the way of the others.
pub(super) fn run(parsed: &Parsed) -> Said {
    let (name, directory) = (parsed.first(), environment::configuration());
    let key = directory.local_key(name).map_err(|error| Refusal::of(&error))?;
    let certificate = directory.local_certificate(name).map_err(|error| Refusal::of(&error))?;
    let store = TrustStore::new(StoreKind::Ca, name).map_err(|error| Refusal::of(&error))?;
    let question = format!(
        "The test key {name} and its corresponding certificate will be cleaned up with the following changes:\n\
         - Delete certificate {name}.crt from trust store {name} of type ca\n\
         - Remove key {name} from the key list\n\
         - Delete key file: {}\n\
         - Delete certificate file: {}\n\n\
         Are you sure you want to continue?",
        key.display(),
        certificate.display()
    );
    if !parsed.is_on("yes") && !output::is_confirmed(&question) {
        return Ok(());
    }
    distrust(name, &directory.trust_store(&store))?;
    match directory.remove_signing_keys(&[name.to_owned()]) {
        Ok(()) => output::say(&format!("Successfully removed key {name} from the key list")),
        Err(SigningKeyError::Unknown { .. }) => output::say(&format!("Key {name} does not exist in the key list")),
        Err(error) => {
            let words = Refusal::of(&error).0;
            return Err(Refusal(format!("failed to remove key {name} from the key list: {words}")));
        }
    }
    delete("key", &key)?;
    delete("certificate", &certificate)?;
    output::say("Cleanup completed successfully");
    Ok(())
}

/// Takes the certificate out of its trust store, and the store away when nothing else is in it.
fn distrust(name: &str, store: &Path) -> Said {
    let place = format!("from trust store {name} of type ca");
    match fs::remove_file(store.join(format!("{name}.crt"))) {
        Ok(()) => {
            // A store that is not empty stays.
            let _ = fs::remove_dir(store);
            output::say(&format!("Successfully deleted {name}.crt {place}"));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            output::say(&format!("Certificate {name}.crt does not exist in trust store {name} of type ca"));
            Ok(())
        }
        Err(error) => {
            let words = system_words(&error);
            Err(Refusal(format!("failed to delete certificate {name}.crt {place}: {words}")))
        }
    }
}

fn delete(what: &str, path: &Path) -> Said {
    let shown = path.display();
    match fs::remove_file(path) {
        Ok(()) => output::say(&format!("Successfully deleted {what} file: {shown}")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut named = what.to_owned();
            named.get_mut(..1).map(str::make_ascii_uppercase);
            output::say(&format!("{named} file {shown} does not exist"));
        }
        Err(error) => {
            return Err(Refusal(format!("failed to delete {what} file {shown}: {}", system_words(&error))));
        }
    }
    Ok(())
}
