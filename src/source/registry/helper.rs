//! Programs that keep credentials, such as `docker-credential-pass`.
//!
//! A helper is somebody else's code: it is started by a name without a path, read as far as a token is long, and killed
//! when the question that it is needed for runs out of time. Nothing that it wrote gets into an error.
//!
//! Follows the protocol of docker-credential-helpers.

use std::io;
use std::process::Stdio;

use serde::Deserialize;
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
    let program = format!("docker-credential-{name}");
    // A name with a slash would start any file.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(is_plain) {
        let fault = "it is not the plain name of a program".to_owned();
        return Err(SourceError::CredentialHelper { helper: program, host: server.to_owned(), fault });
    }
    ask_program(&program, server).await
}

/// Asks a program that speaks docker's credential helper protocol. It is killed when the time of the question is over.
async fn ask_program(program: &str, server: &str) -> Result<Option<Credential>, SourceError> {
    let failed =
        |fault: String| SourceError::CredentialHelper { helper: program.to_owned(), host: server.to_owned(), fault };
    let mut child = spawn(program).map_err(|error| failed(format!("it cannot be started, {error}")))?;
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

fn spawn(program: &str) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("get");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()
}

/// Whether the helper succeeded, and what it wrote.
async fn converse(child: &mut Child, server: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(server.as_bytes()).await {
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

    #[tokio::test]
    async fn a_helper_is_a_plain_name() {
        for name in ["../evil", "/bin/sh", "a b", "x;y"] {
            let error = ask(name, "registry.example").await.unwrap_err();
            assert!(error.to_string().contains("plain name"), "{error}");
        }
    }
}
