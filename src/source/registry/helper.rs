//! Programs that keep credentials, such as `docker-credential-pass`.
//!
//! A helper is somebody else's code: it is started by a name without a path, read as far as a token is long, and killed
//! when the question that it is needed for runs out of time. Nothing that it wrote gets into an error.
//!
//! Follows the protocol of docker-credential-helpers.

use std::io;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::credentials::{Credential, Secret};
use crate::oci::parse_json;
use crate::source::SourceError;
use crate::source::limits::MAX_HELPER_ANSWER;

/// What helpers answer when they have none (docker-credential-helpers, `credentials.ErrCredentialsNotFound`).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The name that a helper gives to an identity token.
const TOKEN_USER: &str = "<token>";

/// What a helper answers to `get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: Secret,
}

/// Asks `docker-credential-NAME get`.
pub(super) async fn ask(name: &str, server: &str) -> Result<Option<Credential>, SourceError> {
    let program = program(name);
    if !is_plain(name) {
        let fault = "it is not the plain name of a program".to_owned();
        return Err(SourceError::CredentialHelper { helper: program, host: server.to_owned(), fault });
    }
    ask_program(&program, server).await
}

/// Asks a program that speaks docker's credential helper protocol. It is killed when the time of the question is over.
async fn ask_program(program: &str, server: &str) -> Result<Option<Credential>, SourceError> {
    let failed =
        |fault: String| SourceError::CredentialHelper { helper: program.to_owned(), host: server.to_owned(), fault };
    let mut child = spawn(program, "get").map_err(|error| failed(format!("it cannot be started, {error}")))?;
    let (succeeded, output) = converse(&mut child, server).await.map_err(|error| failed(error.to_string()))?;
    if !succeeded {
        let is_miss = String::from_utf8_lossy(&output).trim() == NOT_FOUND;
        return if is_miss { Ok(None) } else { Err(failed("it ended with an error".into())) };
    }
    let answer: HelperAnswer =
        parse_json(&output).map_err(|_| failed("its answer is not what helpers answer".into()))?;
    Ok(match answer {
        HelperAnswer { secret, .. } if secret.is_empty() => None,
        HelperAnswer { username, secret } if username == TOKEN_USER => Some(Credential::Identity(secret)),
        HelperAnswer { username, secret } => Some(Credential::Password { username, password: secret }),
    })
}

/// Why a helper has not kept something, or not forgotten it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperFault {
    /// Its name would start any file.
    #[error("it is not the plain name of a program")]
    Name,
    /// There is no such program.
    #[error("there is no such program")]
    Absent,
    /// It could not be started or spoken to.
    #[error("it cannot be spoken to, {0}")]
    Io(io::Error),
    /// It ended with another status than 0.
    #[error("it ended with an error")]
    Refused,
    /// It took too long.
    #[error("it gave no answer in time")]
    Late,
}

impl From<io::Error> for HelperFault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Io(error) }
    }
}

/// What a helper is given to keep.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HelperRecord<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// Has `docker-credential-NAME store` keep the credential.
pub(super) async fn store(name: &str, server: &str, credential: &Credential) -> Result<(), HelperFault> {
    let (username, secret) = match credential {
        Credential::Password { username, password } => (username.as_str(), password),
        Credential::Identity(token) => (TOKEN_USER, token),
    };
    let record = HelperRecord { server_url: server, username, secret: secret.expose() };
    let record = serde_json::to_string(&record).map_err(|error| HelperFault::Io(error.into()))?;
    tell(name, "store", &record).await
}

/// Has `docker-credential-NAME erase` forget the credential.
pub(super) async fn erase(name: &str, server: &str) -> Result<(), HelperFault> {
    tell(name, "erase", server).await
}

async fn tell(name: &str, action: &str, what: &str) -> Result<(), HelperFault> {
    if !is_plain(name) {
        return Err(HelperFault::Name);
    }
    let mut child = spawn(&program(name), action)?;
    let (succeeded, _) = converse(&mut child, what).await?;
    if succeeded { Ok(()) } else { Err(HelperFault::Refused) }
}

/// The program behind the name of a helper.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// A name with a slash would start any file.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The helper that docker takes where none is configured: `pass` where it is, else the desktop's secret service.
pub(super) fn of_platform() -> Option<&'static str> {
    let helper = if is_in_path("pass") { "pass" } else { "secretservice" };
    is_in_path(&program(helper)).then_some(helper)
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn spawn(program: &str, action: &str) -> io::Result<Child> {
    command(program, action).spawn()
}

fn command(program: &str, action: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(action);
    // A password for one registry is not for whatever program keeps those of others.
    command.env_remove("NOTATION_USERNAME").env_remove("NOTATION_PASSWORD");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Whether the helper succeeded, and what it wrote.
async fn converse(child: &mut Child, told: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(told.as_bytes()).await {
            // A helper may answer without listening.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => drop(input),
        }
    }
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(MAX_HELPER_ANSWER + 1).read_to_end(&mut output).await?;
    }
    if output.len() as u64 > MAX_HELPER_ANSWER {
        return Err(io::Error::other("it wrote more than a token has"));
    }
    Ok((child.wait().await?.success(), output))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a helper that is this shell script.
    async fn helper(script: &str) -> Result<Option<Credential>, SourceError> {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        ask_program(path.to_str().unwrap(), "registry.example").await
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_host_and_believed() {
        let password =
            Credential::Password { username: "ann".into(), password: Secret::new("registry.example".into()) };
        let echo = r#"read -r host; printf '{"ServerURL":"x","Username":"ann","Secret":"%s"}' "$host""#;
        assert_eq!(helper(echo).await.unwrap(), Some(password));
        let token = r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(helper(token).await.unwrap(), Some(Credential::Identity(Secret::new("t".into()))));
        let miss = format!("echo '{NOT_FOUND}'; exit 1");
        assert_eq!(helper(&miss).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_failing_helper_is_an_error_that_does_not_show_what_it_wrote() {
        for script in ["echo hunter2; exit 1", "echo hunter2", "yes hunter2"] {
            let error = helper(script).await.unwrap_err();
            assert!(matches!(error, SourceError::CredentialHelper { .. }), "{script}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{script}");
        }
        let missing = ask_program("/nonexistent/docker-credential-x", "registry.example").await.unwrap_err();
        assert!(missing.to_string().contains("cannot be started"), "{missing}");
    }

    #[test]
    fn a_password_in_the_environment_is_not_handed_on_to_a_helper() {
        for action in ["get", "store", "erase"] {
            let command = command("docker-credential-x", action);
            let changed: Vec<_> = command.as_std().get_envs().collect();
            for withheld in ["NOTATION_USERNAME", "NOTATION_PASSWORD"] {
                assert!(changed.contains(&(withheld.as_ref(), None)), "{action}: {changed:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_helper_is_a_plain_name() {
        for name in ["../evil", "/bin/sh", "a b", "x;y"] {
            let error = ask(name, "registry.example").await.unwrap_err();
            assert!(error.to_string().contains("plain name"), "{error}");
        }
    }
}
