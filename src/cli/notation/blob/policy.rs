//! `notation blob policy`: the trust policy for blobs, begun, put in force and shown.

use std::fs;

use super::super::flags::Parsed;
use super::super::{Refusal, Said, environment, output};
use super::unopened;
use crate::config::{Existing, ImportError, LoadError, PolicyKind};
use crate::policy::{FirstStatement, InvalidPolicy, Policy, PolicyFault};

pub(in super::super) fn import(parsed: &Parsed) -> Said {
    let file = parsed.first();
    let text = fs::read(file)
        .map_err(|error| Refusal(format!("failed to read blob trust policy file: {}", unopened(file, &error))))?;
    Policy::parse_blob(&text).map_err(|invalid| {
        let done = if is_unreadable(&invalid) { "parse" } else { "validate" };
        Refusal(format!("failed to {done} blob trust policy configuration: {invalid}"))
    })?;
    put(&text, parsed, "Successfully imported blob trust policy configuration to")
}

pub(in super::super) fn init(parsed: &Parsed) -> Said {
    let first = FirstStatement {
        name: parsed.text("name").to_owned(),
        registry_scopes: Vec::new(),
        is_global: parsed.is_on("global"),
        trust_stores: parsed.texts("trust-store").to_vec(),
        trusted_identities: parsed.texts("trusted-identity").to_vec(),
    };
    let text = first.document();
    Policy::parse_blob(text.as_bytes()).map_err(|invalid| Refusal(format!("invalid blob policy: {invalid}")))?;
    put(text.as_bytes(), parsed, "Successfully initialized blob trust policy file to")
}

fn is_unreadable(invalid: &InvalidPolicy) -> bool {
    matches!(invalid.fault(), PolicyFault::Json(_) | PolicyFault::Malformed(_))
}

/// A policy that is there is not replaced without a yes. One that is malformed is not there.
fn put(text: &[u8], parsed: &Parsed, done: &str) -> Said {
    let directory = environment::configuration();
    let is_there = match directory.load_policy(PolicyKind::Blob) {
        Ok(_) => true,
        Err(LoadError::Invalid { source, .. }) => !is_unreadable(&source),
        Err(_) => false,
    };
    if is_there {
        if parsed.is_on("force") {
            output::warn("Warning: existing blob trust policy configuration will be overwritten");
        } else if !output::is_confirmed(
            "The blob trust policy configuration already exists, do you want to overwrite it?",
        ) {
            return Ok(());
        }
    }
    let path = directory.import_policy(PolicyKind::Blob, text, Existing::Replace).map_err(|error| match error {
        ImportError::Refused(_) => Refusal::of(&error),
        error => Refusal(format!("failed to write blob trust policy configuration: {}", Refusal::of(&error).0)),
    })?;
    output::say(&format!("{done} {}.", path.display()));
    Ok(())
}

/// The file as it is. One that breaks the rules is shown too, and said to.
pub(in super::super) fn show(_: &Parsed) -> Said {
    let directory = environment::configuration();
    let text = directory.policy_text(PolicyKind::Blob).map_err(|error| match error {
        LoadError::Missing { .. } => Refusal::new(
            "failed to show blob trust policy as the configuration does not exist.\n\
             You can import one using `notation blob policy import <path-to-policy.json>`",
        ),
        error => Refusal(format!("failed to show trust policy: {}", Refusal::of(&error).0)),
    })?;
    let invalid = Policy::parse_blob(&text).err();
    if invalid.is_some() {
        output::warn(
            "Existing blob trust policy configuration is invalid, you may update or create a new one via \
             `notation blob policy import <path-to-policy.json>`.",
        );
    }
    output::to_stdout_whole(&text);
    invalid.map_or(Ok(()), |invalid| Err(Refusal(invalid.to_string())))
}
