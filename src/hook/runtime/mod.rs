//! The OCI runtime's place: asked before a container is started.
//!
//! containerd's shim starts a program called `runc` for everything that is done to a container. Here this one stands in
//! its place. Where a container is to be started (`create`, `run`, `restore`) it asks the daemon first; everything else,
//! and what may go on, becomes the real runtime by `exec`: the same process, with the same arguments, environment and
//! file descriptors. Follows runc's command line, which crun, youki and runsc share, and the runtime specification,
//! "Operations".
//!
//! A refusal goes where a runtime's errors go: as the last line of the file named by `--log`, which the shim reads and
//! passes on to `ctr`, nerdctl, docker and the kubelet; and to standard error. Every error of our own is a refusal.

mod arguments;
mod bundle;
mod program;
mod refusal;

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

pub use arguments::{Call, Start};
pub use bundle::BundleError;
pub use program::RuntimeError;

use self::refusal::Refusal;
use crate::client::{self, ClientError};
use crate::proto::{CheckRequest, CheckResponse, Stage};
use crate::remedy::{Remedy, could_not_tell};

/// How long a start may be kept waiting: longer than the daemon's own limit, so that its reason arrives.
const PATIENCE: Duration = Duration::from_secs(9);
/// Names the daemon's socket where it is not the default one.
const SOCKET_VARIABLE: &str = "PRATIQUE_SOCKET";

/// Answers containerd's shim as a process. Returns only when the real runtime was not started.
pub fn stand_in() -> ExitCode {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let call = Call::parse(&arguments);
    let Err(refusal) = check(&call, |request| ask(&request)).and_then(|()| become_runtime(&name, &arguments));
    refusal.tell(&call);
    ExitCode::FAILURE
}

/// Whether the call may reach the real runtime.
pub fn check(call: &Call, ask: impl FnOnce(CheckRequest) -> Result<CheckResponse, ClientError>) -> Result<(), Refusal> {
    let Some(start) = &call.start else { return Ok(()) };
    let container = start.for_people();
    let request = CheckRequest {
        stage: Stage::Run.into(),
        containerd_namespace: start.namespace(),
        start: Some(bundle::read(start).map_err(|error| no_answer(&container, &error))?),
        ..CheckRequest::default()
    };
    match ask(request) {
        Ok(answer) if answer.proceed => Ok(()),
        Ok(answer) => Err(Refusal(answer.line)),
        Err(error) => Err(no_answer(&container, &error)),
    }
}

fn ask(request: &CheckRequest) -> Result<CheckResponse, ClientError> {
    let socket = env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(client::DEFAULT_SOCKET), PathBuf::from);
    client::ask(&socket, request, PATIENCE)
}

/// Becomes the real runtime.
fn become_runtime(name: &OsString, arguments: &[OsString]) -> Result<Infallible, Refusal> {
    let failed = |error: RuntimeError| no_answer("the container", &error);
    let runtime = program::find(Path::new(name)).map_err(failed)?;
    let source = Command::new(&runtime).arg0(name).args(arguments).exec();
    Err(failed(RuntimeError::Exec { runtime, source }))
}

fn no_answer(what: &str, error: &impl Remedy) -> Refusal {
    Refusal(could_not_tell(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Answer;

    fn call(arguments: &[&str]) -> Call {
        Call::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_start_is_asked_about() {
        for arguments in [&["--root", "/r", "delete", "run"][..], &["state", "create"], &["--version"], &[]] {
            let answer = check(&call(arguments), |_| panic!("{arguments:?} is asked about"));
            assert!(answer.is_ok());
        }
    }

    #[test]
    fn a_start_goes_on_when_the_daemon_says_so_and_its_line_is_the_reason_when_not() {
        let bundle = tempfile::tempdir().unwrap();
        let bundle = bundle.path().join("default/c1");
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        std::fs::write(bundle.join("config.json"), r#"{"root": {"path": "rootfs"}}"#).unwrap();
        let call = call(&["create", "--bundle", bundle.to_str().unwrap(), "c1"]);
        let answered = |answer: Answer, proceed: bool| {
            check(&call, |request| {
                assert_eq!((request.stage(), request.containerd_namespace.as_str()), (Stage::Run, "default"));
                assert_eq!(request.start.unwrap().id, "c1");
                let line = "denied: registry.example/app".to_owned();
                Ok(CheckResponse { answer: answer.into(), proceed, line, ..CheckResponse::default() })
            })
        };
        assert!(answered(Answer::Admit, true).is_ok());
        assert!(answered(Answer::Deny, true).is_ok(), "audit mode");
        assert_eq!(answered(Answer::Deny, false).unwrap_err().0, "denied: registry.example/app");
    }

    #[test]
    fn a_daemon_that_is_down_and_a_bundle_that_cannot_be_read_start_nothing() {
        let bundle = tempfile::tempdir().unwrap();
        let call = call(&["run", "-b", bundle.path().to_str().unwrap(), "c1"]);
        let refusal = check(&call, |_| panic!("there is nothing to ask about")).unwrap_err();
        assert!(refusal.0.starts_with("could not tell: container c1 [bundle-unreadable]: "), "{}", refusal.0);
        std::fs::write(bundle.path().join("config.json"), r#"{"root": {"path": "/"}}"#).unwrap();
        let down = |_| {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            Err(ClientError::Unreachable { socket: "/none.sock".into(), source })
        };
        let refusal = check(&call, down).unwrap_err();
        assert!(refusal.0.starts_with("could not tell: container c1 [daemon-unreachable]: "), "{}", refusal.0);
    }
}
