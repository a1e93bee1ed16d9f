//! `notation login` and `logout`. A password is never kept in plain text, so there must be a program that keeps it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

use super::flags::Parsed;
use super::{Refusal, Said, block_on, environment, output, terminal};
use crate::cli::registry::{MAX_PASSWORD, RegistryAccess};
use crate::oci::Repository;
use crate::source::SourceError;
use crate::source::registry::{Credential, Credentials, HelperFault, KeepError, Keepers, Registry, Secret};

const HOW_TO: &str = "https://notaryproject.dev/docs/how-to/registry-authentication/";

pub(super) fn login(parsed: &Parsed) -> Said {
    let server = parsed.first();
    let credential = credential(parsed)?;
    let registry = open(parsed, credential.clone())?;
    block_on(async {
        let failed = |what: String| Refusal(format!("failed to log in to {server}: {what}"));
        let address = registry.address(server).map_err(|_| {
            Refusal(format!("failed to get registry client: invalid reference: invalid registry {server:?}"))
        })?;
        registry.check_login(server).await.map_err(|error| {
            failed(format!("failed to validate the credentials for {server}: {}", refusal(&error, &address)))
        })?;
        match keepers().keep(server, &credential).await {
            Ok(()) => {}
            Err(KeepError::NoHelper) if is_kept_in_plain_text(server, &credential).await => {
                output::warn(&format!(
                    "Warning: The credentials store is not set up. It is recommended to configure the credentials store \
                     to securely store your credentials. See {HOW_TO}."
                ));
                output::say("Authenticated with existing credentials");
            }
            Err(KeepError::NoHelper) => {
                return Err(failed(format!(
                    "the credential could not be saved because a credentials store is required to securely store the \
                     password. See {HOW_TO}"
                )));
            }
            Err(error) => {
                return Err(failed(format!("failed to store the credentials for {server}: {}", words(&error))));
            }
        }
        output::say("Login Succeeded");
        Ok(())
    })
}

pub(super) fn logout(parsed: &Parsed) -> Said {
    let server = parsed.first();
    block_on(async {
        keepers().erase(server).await.map_err(|error| {
            let words = words(&error);
            Refusal(format!("failed to log out of {server}: failed to delete the credential for {server}: {words}"))
        })?;
        output::say("Logout Succeeded");
        Ok(())
    })
}

/// From the flags or the environment, or else asked for. Without a user name it is a token.
fn credential(parsed: &Parsed) -> Result<Credential, Refusal> {
    let mut username = environment::or_variable(parsed.text("username"), "NOTATION_USERNAME");
    let mut password = if parsed.is_on("password-stdin") {
        rest_of_stdin().map_err(|error| Refusal(format!("failed to read password from stdin: {error}")))?
    } else {
        environment::or_variable(parsed.text("password"), "NOTATION_PASSWORD")
    };
    if password.is_empty() {
        if username.is_empty() {
            username = ask_username()?;
        }
        let kind = if username.is_empty() { "token" } else { "password" };
        password = ask_secret(kind)?;
        if password.is_empty() {
            return Err(Refusal(format!("{kind} required")));
        }
    }
    Ok(credential_of(username, password))
}

/// Without a user name a password is a token.
pub(super) fn credential_of(username: String, password: String) -> Credential {
    let secret = Secret::new(password);
    if username.is_empty() { Credential::Identity(secret) } else { Credential::Password { username, password: secret } }
}

fn ask_username() -> Result<String, Refusal> {
    output::ask("Username: ");
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(length) if length > 0 && line.ends_with('\n') => Ok(line.trim().to_owned()),
        Ok(_) => Err(Refusal::new("error reading username: EOF")),
        Err(error) => Err(Refusal(format!("error reading username: {error}"))),
    }
}

/// On a terminal without showing it; from anything else, all that is left.
fn ask_secret(kind: &str) -> Result<String, Refusal> {
    output::ask(if kind == "token" { "Token: " } else { "Password: " });
    let secret = if io::stdin().is_terminal() { terminal::read_unseen() } else { rest_of_stdin() };
    let secret = secret.map_err(|error| Refusal(format!("error reading {kind}: {error}")))?;
    output::say("");
    Ok(secret)
}

fn rest_of_stdin() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The registry, asked with this credential and no other.
fn open(parsed: &Parsed, credential: Credential) -> Result<Registry, Refusal> {
    let mut insecure = environment::configuration().insecure_registries().map_err(|error| Refusal::of(&error))?;
    if parsed.is_on("insecure-registry") {
        insecure.push(parsed.first().to_owned());
    }
    let server = parsed.first();
    // What is no registry's name is refused later, where the original does.
    let registry =
        format!("{server}/login").parse::<Repository>().map_or(server.to_owned(), |login| login.registry().to_owned());
    let given = Some((registry, credential));
    Ok(RegistryAccess { insecure, given, own: None, docker: None, lists_by_tag: false, hosts_dirs: Vec::new() }.open())
}

fn keepers() -> Keepers {
    Keepers::new(files())
}

/// notation's own file, then docker's.
fn files() -> Vec<PathBuf> {
    let docker = environment::docker().map(|directory| directory.join("config.json"));
    std::iter::once(environment::configuration().path().join("config.json")).chain(docker).collect()
}

async fn is_kept_in_plain_text(server: &str, credential: &Credential) -> bool {
    Credentials::Files(files()).find(server, "login").await.is_ok_and(|kept| kept.as_ref() == Some(credential))
}

/// Why the registry did not believe it.
fn refusal(error: &SourceError, address: &str) -> String {
    match error {
        SourceError::Unauthorized { words, .. } => {
            let words = match words.0.split_once(": ") {
                Some((code, message)) => format!(": {}: {message}", code.to_lowercase().replace('_', " ")),
                None => String::new(),
            };
            format!("GET {address:?}: response status code 401{words}")
        }
        error => Refusal::of(error).0,
    }
}

fn words(error: &KeepError) -> String {
    match error {
        KeepError::Helper { helper, fault: HelperFault::Absent, .. } => {
            format!("exec: {helper:?}: executable file not found in $PATH")
        }
        error => Refusal::of(error).0,
    }
}
