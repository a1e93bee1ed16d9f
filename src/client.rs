//! Asks the daemon over `hook.sock`: what the programs that containerd starts have in common.
//!
//! Blocking and small, without a runtime: such a program lives for one question. Every way to fail says what it was
//! about the daemon, because "the daemon does not run" and "the image is refused" look alike to whoever waits for a pod.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use prost::Message;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::proto::frame::{self, TooLong};
use crate::proto::{Answer, CheckRequest, CheckResponse};
use crate::remedy::{Code, Remedy};

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pratique/hook.sock";

/// Why the daemon gave no answer. None of them says anything about the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens, or whoever did has gone.
    #[error("the daemon does not answer on {}", socket.display())]
    Unreachable {
        /// The daemon's socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The time is up.
    #[error("the daemon on {} did not answer within {} ms", socket.display(), after.as_millis())]
    TimedOut {
        /// The daemon's socket.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// Somebody else listens there.
    #[error("what listens on {} belongs to user {uid}, not to root", socket.display())]
    Stranger {
        /// The daemon's socket.
        socket: PathBuf,
        /// The user that it belongs to.
        uid: u32,
    },
    /// What came is not an answer.
    #[error("what listens on {} sent something that is not an answer", socket.display())]
    Malformed {
        /// The daemon's socket.
        socket: PathBuf,
        /// What is wrong with it.
        source: MalformedAnswer,
    },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedAnswer {
    /// Longer than an answer can be.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// Not a message of the protocol.
    #[error("the message cannot be decoded")]
    Message(#[from] prost::DecodeError),
    /// It neither admits nor refuses, or both.
    #[error("the message neither admits nor refuses")]
    Undecided,
}

impl Remedy for ClientError {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code("daemon-unreachable"),
            Self::TimedOut { .. } => Code("daemon-timeout"),
            Self::Stranger { .. } => Code("daemon-not-trusted"),
            Self::Malformed { .. } => Code("daemon-answer-malformed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "only root may ask the daemon".into()
            }
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "see `systemctl status pratiqued` on this machine".into()
            }
            Self::Stranger { socket, .. } => {
                format!("let nobody but root write to the directory of {}", socket.display())
            }
            Self::Malformed { .. } => {
                "see whether pratiqued and the hooks are of the same version, `pratiqued --version`".into()
            }
        })
    }
}

/// Asks one question on a connection of its own, and waits no longer than `within` for everything together.
pub fn ask(socket: &Path, request: &CheckRequest, within: Duration) -> Result<CheckResponse, ClientError> {
    let (answer, answered) = mpsc::channel();
    let (path, request) = (socket.to_owned(), request.clone());
    // On a thread of its own, since nothing else bounds how long `connect` may take when the daemon hangs and its queue
    // is full, or how often a daemon may send one byte just in time.
    let asking = thread::Builder::new().spawn(move || {
        let result = Connection::open(&path, within).and_then(|mut connection| connection.ask(&request));
        let _ = answer.send(result); // nobody listens any more once the time is up
    });
    let unreachable = |source| ClientError::Unreachable { socket: socket.to_owned(), source };
    asking.map_err(unreachable)?;
    match answered.recv_timeout(within) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(ClientError::TimedOut { socket: socket.to_owned(), after: within }),
        Err(RecvTimeoutError::Disconnected) => Err(unreachable(io::Error::other("the question ended in a panic"))),
    }
}

/// A connection to the daemon that may carry several questions, one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    socket: PathBuf,
    patience: Duration,
}

impl Connection {
    /// Connects. `patience` bounds each read and each write.
    pub fn open(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(stream)
        };
        let unreachable = |source| ClientError::Unreachable { socket: socket.to_owned(), source };
        let stream = open().map_err(unreachable)?;
        let uid = socket_peercred(&stream).map_err(|error| unreachable(error.into()))?.uid;
        // A "yes" counts only from the daemon: whoever could put a socket there could otherwise give it.
        if !uid.is_root() && uid != geteuid() {
            return Err(ClientError::Stranger { socket: socket.to_owned(), uid: uid.as_raw() });
        }
        Ok(Self { stream, socket: socket.to_owned(), patience })
    }

    /// Asks one question and waits for its answer.
    pub fn ask(&mut self, request: &CheckRequest) -> Result<CheckResponse, ClientError> {
        let bytes = self.exchange(&frame::encode(request))?;
        let answer = bytes.and_then(|bytes| decided(CheckResponse::decode(bytes.as_slice())?));
        answer.map_err(|source| ClientError::Malformed { socket: self.socket.clone(), source })
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Result<Vec<u8>, MalformedAnswer>, ClientError> {
        self.stream.write_all(request).map_err(|error| self.failed(error))?;
        let mut header = [0; frame::HEADER];
        self.stream.read_exact(&mut header).map_err(|error| self.failed(error))?;
        let mut bytes = match frame::length(header) {
            Ok(length) => vec![0; length],
            Err(error) => return Ok(Err(error.into())),
        };
        self.stream.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        Ok(Ok(bytes))
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::TimedOut { socket, after: self.patience }
            }
            _ => ClientError::Unreachable { socket, source },
        }
    }
}

/// An answer that says something, and does not contradict itself: what is admitted proceeds.
fn decided(answer: CheckResponse) -> Result<CheckResponse, MalformedAnswer> {
    match answer.answer() {
        Answer::Unspecified => Err(MalformedAnswer::Undecided),
        Answer::Admit if !answer.proceed => Err(MalformedAnswer::Undecided),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Something that listens, takes one request, sends these bytes and keeps the connection open until it is told off.
    fn peer(dir: &Path, bytes: Vec<u8>) -> (PathBuf, JoinHandle<UnixStream>) {
        let socket = dir.join("hook.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; frame::HEADER];
            stream.read_exact(&mut header).unwrap();
            let mut body = vec![0; frame::length(header).unwrap()];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(&bytes).unwrap();
            stream
        });
        (socket, serving)
    }

    fn answered(bytes: Vec<u8>, within: Duration) -> Result<CheckResponse, Code> {
        let dir = tempfile::tempdir().unwrap();
        let (socket, serving) = peer(dir.path(), bytes);
        let result = ask(&socket, &CheckRequest::default(), within).map_err(|error| error.code());
        drop(serving.join());
        result
    }

    fn admitted() -> CheckResponse {
        CheckResponse { answer: Answer::Admit.into(), proceed: true, ..CheckResponse::default() }
    }

    #[test]
    fn an_answer_comes_back_as_it_was_sent() {
        assert_eq!(answered(frame::encode(&admitted()), PATIENCE), Ok(admitted()));
        let refused = CheckResponse { answer: Answer::Deny.into(), proceed: false, ..admitted() };
        assert_eq!(answered(frame::encode(&refused), PATIENCE), Ok(refused));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        let contradiction = CheckResponse { proceed: false, ..admitted() };
        for bytes in [
            vec![0xff; 8],                // a length beyond the limit
            vec![0, 0, 0, 0],             // an empty message decides nothing
            vec![0, 0, 0, 2, 0xff, 0xff], // not a message
            frame::encode(&contradiction),
        ] {
            assert_eq!(answered(bytes.clone(), PATIENCE), Err(Code("daemon-answer-malformed")), "{bytes:?}");
        }
    }

    #[test]
    fn a_daemon_that_says_nothing_or_half_is_waited_for_no_longer_than_asked() {
        for bytes in [vec![], vec![0, 0], vec![0, 0, 0, 9, 1]] {
            assert_eq!(answered(bytes, Duration::from_millis(50)), Err(Code("daemon-timeout")));
        }
    }

    #[test]
    fn nobody_there_is_unreachable_and_the_remedy_is_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join("stale.sock");
        drop(UnixListener::bind(&stale).unwrap());
        for socket in [dir.path().join("none.sock"), stale] {
            let error = ask(&socket, &CheckRequest::default(), PATIENCE).unwrap_err();
            assert_eq!(error.code(), Code("daemon-unreachable"));
            assert!(error.remedy().unwrap().contains("systemctl status pratiqued"));
        }
    }

    #[test]
    fn a_daemon_that_goes_away_in_the_middle_is_unreachable() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("hook.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = thread::spawn(move || drop(listener.accept().unwrap()));
        let error = ask(&socket, &CheckRequest::default(), PATIENCE).unwrap_err();
        serving.join().unwrap();
        assert_eq!(error.code(), Code("daemon-unreachable"));
    }
}
