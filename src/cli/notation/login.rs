//! `notation login` and `logout`. A password is never kept in plain text, so there must be a program that keeps it.

use std::io::Read as _;

use super::flags::Parsed;
use super::{Refusal, Said, environment, output};

/// How long a password on stdin may be, in bytes: registries issue tokens of a few kilobytes.
const MAX_PASSWORD: u64 = 64 * 1024;

pub(super) fn login(parsed: &Parsed) -> Said {
    let server = parsed.first();
    let username = environment::or_variable(parsed.text("username"), "NOTATION_USERNAME");
    if username.is_empty() {
        return Err(Refusal::new("username required: give it with --username or NOTATION_USERNAME"));
    }
    let password = if parsed.is_on("password-stdin") {
        let mut password = String::new();
        let read = std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut password);
        read.map_err(|error| Refusal(format!("failed to read password from stdin: {error}")))?;
        password.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        environment::or_variable(parsed.text("password"), "NOTATION_PASSWORD")
    };
    if password.is_empty() {
        return Err(Refusal::new("password required"));
    }
    Err(Refusal(format!(
        "failed to log in to {server}: the credential could not be saved because a credentials store is required to \
         securely store the password. See https://notaryproject.dev/docs/how-to/registry-authentication/"
    )))
}

/// Nothing was kept, so there is nothing to take back.
#[allow(clippy::unnecessary_wraps, reason = "the form that every command has")]
pub(super) fn logout(_: &Parsed) -> Said {
    output::say("Logout Succeeded");
    Ok(())
}
