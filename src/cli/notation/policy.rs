//! `notation policy`: the trust policy, put into force and shown.

use std::fs;

use super::artifact::system_words;
use super::flags::Parsed;
use super::{Refusal, Said, environment, output, policy_fault};
use crate::config::{Existing, FileError, ImportError, LoadError, NotationDir, PolicyKind};
use crate::policy::PolicyFault;

/// A policy that is in force is not replaced without a yes. One that breaks the rules is not in force.
pub(super) fn import(parsed: &Parsed) -> Said {
    let (file, directory) = (parsed.first(), environment::configuration());
    let text = fs::read(file)
        .map_err(|error| Refusal(format!("failed to read trust policy file: open {file}: {}", system_words(&error))))?;
    directory.parse_policy(PolicyKind::Image, &text).map_err(|invalid| match invalid.fault() {
        PolicyFault::Json(_) | PolicyFault::Malformed(_) => {
            let is_cut_off = invalid.to_string().contains("EOF");
            let words = if is_cut_off { "unexpected end of JSON input".to_owned() } else { invalid.to_string() };
            Refusal(format!("failed to parse trust policy configuration: {words}"))
        }
        _ => Refusal(format!("failed to validate trust policy: {}", policy_fault::words(&invalid))),
    })?;
    put(&directory, &text, parsed, "Trust policy configuration imported successfully.")
}

/// Puts a valid policy into force, once that is wanted.
fn put(directory: &NotationDir, text: &[u8], parsed: &Parsed, done: &str) -> Said {
    if parsed.is_on("force") {
        output::warn("Warning: existing trust policy configuration file will be overwritten");
    } else if directory.load_policy(PolicyKind::Image).is_ok()
        && !output::is_confirmed("The trust policy file already exists, do you want to overwrite it?")
    {
        return Ok(());
    }
    directory.import_policy(PolicyKind::Image, text, Existing::Replace).map_err(|error| match error {
        ImportError::Unwritable { .. } => {
            Refusal(format!("failed to write trust policy file: {}", Refusal::of(&error).0))
        }
        error => Refusal::of(&error),
    })?;
    output::say(done);
    Ok(())
}

/// A policy of one statement, at level strict. notation has the like for blobs alone.
pub(super) fn init(parsed: &Parsed) -> Said {
    let directory = environment::configuration();
    let mut scopes = parsed.texts("registry-scope").to_vec();
    if scopes.is_empty() {
        scopes.push("*".to_owned());
    }
    let policy = serde_json::json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": parsed.text("name"),
            "registryScopes": scopes,
            "signatureVerification": { "level": "strict" },
            "trustStores": parsed.texts("trust-store"),
            "trustedIdentities": parsed.texts("trusted-identity"),
        }],
    });
    let text = format!("{policy:#}\n").into_bytes();
    directory
        .parse_policy(PolicyKind::Image, &text)
        .map_err(|invalid| Refusal(format!("invalid trust policy: {}", policy_fault::words(&invalid))))?;
    put(&directory, &text, parsed, "Successfully initialized trust policy configuration.")
}

/// The file as it is. One that breaks the rules is shown too, and said to.
pub(super) fn show(_: &Parsed) -> Said {
    let directory = environment::configuration();
    let text = directory.policy_text(PolicyKind::Image).map_err(|error| match error {
        LoadError::Missing { .. } => Refusal::new(
            "failed to show trust policy as the trust policy file does not exist.\n\
             You can import one using `notation policy import <path-to-policy.json>`",
        ),
        LoadError::Unreadable { path, source: FileError::Io(source) } => {
            Refusal(format!("failed to show trust policy: open {}: {}", path.display(), system_words(&source)))
        }
        error => Refusal(format!("failed to show trust policy: {}", Refusal::of(&error).0)),
    })?;
    if let Err(invalid) = directory.parse_policy(PolicyKind::Image, &text) {
        output::warn(&format!(
            "Error: {}\nExisting trust policy configuration is invalid, you may update or create a new one via \
             `notation policy import <path-to-policy.json>`",
            policy_fault::words(&invalid)
        ));
    }
    output::to_stdout_whole(&text);
    Ok(())
}
