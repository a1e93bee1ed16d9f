//! `hook.sock`: questions without HTTP, one after the other on a connection, each with its length in front.
//!
//! No connection can hurt another: each has a task of its own, a bound on what it may send, and a deadline; and there is
//! a bound on how many there are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::desk::Desk;
use super::sockets::Socket;
use crate::proto::frame::{self, TooLong};
use crate::proto::{Answer, CheckRequest, CheckResponse};
use crate::remedy::one_line;

/// How many connections are served at once; more wait in the socket's queue. Each is an image being pulled: kubelet
/// starts a few at a time, and a node that is drained onto another some hundred.
const CONNECTIONS: usize = 256;
/// How long a connection may take to send its next question, and to take an answer. Hooks send theirs at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at a time, in bytes. A question has about 300.
const BUFFER: usize = 1024;

/// Serves until `draining` turns true, and then until the questions that were asked are answered.
pub(super) async fn serve(socket: Socket, desk: Arc<Desk>, draining: watch::Receiver<bool>) {
    serve_patiently(socket, desk, draining, PATIENCE).await;
}

async fn serve_patiently(socket: Socket, desk: Arc<Desk>, mut draining: watch::Receiver<bool>, patience: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            next = next_connection(&socket, &places) => match next {
                Some(next) => next,
                None => break,
            },
            Some(_) = connections.join_next() => continue,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        let conversation = Conversation { desk: Arc::clone(&desk), patience, _place: place };
        connections.spawn(conversation.hold(stream, draining.clone()));
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// A place first, so that whoever finds none waits in the queue and takes nothing.
async fn next_connection(socket: &Socket, places: &Arc<Semaphore>) -> Option<(UnixStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    Some((socket.accept().await, place))
}

/// Why a connection ends before its peer ends it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("nothing came, or was taken, for too long")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("the next message cannot be found")]
    TooLong(#[from] TooLong),
}

/// One connection and its place among the others.
struct Conversation {
    desk: Arc<Desk>,
    patience: Duration,
    _place: OwnedSemaphorePermit,
}

impl Conversation {
    async fn hold(self, mut stream: UnixStream, mut draining: watch::Receiver<bool>) {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let mut bytes = Vec::new();
        loop {
            // Only between questions: one that was asked is answered.
            let question = tokio::select! {
                biased;
                question = timeout(self.patience, read_message(&mut reader, &mut bytes)) => question,
                _ = draining.wait_for(|draining| *draining) => return,
            };
            let next = match question.map_err(Broken::from).flatten() {
                Ok(true) => self.answer(&bytes, &mut writer).await,
                Ok(false) => return,
                Err(broken) => self.refuse(broken, &mut writer).await,
            };
            if let Err(broken) = next {
                tracing::warn!(reason = one_line(&broken), "a connection to hook.sock was ended");
                return;
            }
        }
    }

    async fn answer(&self, bytes: &[u8], writer: &mut WriteHalf<'_>) -> Result<(), Broken> {
        let response = match CheckRequest::decode(bytes) {
            Ok(request) => self.desk.check(request).await,
            Err(error) => not_understood(&one_line(&error)),
        };
        self.send(&response, writer).await
    }

    /// Tells a peer that cannot be understood any more; whether it listens is its own matter.
    async fn refuse(&self, broken: Broken, writer: &mut WriteHalf<'_>) -> Result<(), Broken> {
        if let Broken::TooLong(_) = broken {
            self.send(&not_understood(&one_line(&broken)), writer).await?;
        }
        Err(broken)
    }

    async fn send(&self, response: &CheckResponse, writer: &mut WriteHalf<'_>) -> Result<(), Broken> {
        Ok(timeout(self.patience, writer.write_all(&frame::encode(response))).await??)
    }
}

/// The next message, in `bytes`. False where the peer has ended the connection between two messages.
async fn read_message(reader: &mut BufReader<ReadHalf<'_>>, bytes: &mut Vec<u8>) -> Result<bool, Broken> {
    let mut header = [0; frame::HEADER];
    let (first, rest) = header.split_at_mut(1);
    if reader.read(first).await? == 0 {
        return Ok(false);
    }
    reader.read_exact(rest).await?;
    let length = frame::length(header)?;
    bytes.clear();
    // Grows with what comes, not with what was announced.
    let got = reader.take(length as u64).read_to_end(bytes).await?;
    if got < length { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(true) }
}

fn not_understood(why: &str) -> CheckResponse {
    CheckResponse {
        answer: Answer::Inconclusive.into(),
        code: "request-malformed".into(),
        line: format!("could not tell: an image [request-malformed]: the question cannot be understood: {why}"),
        proceed: false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::sockets::{self, SocketFile};
    use super::super::testing::{self, OPEN, SHUT};
    use super::*;
    use crate::policy::Mode;

    struct Serving {
        path: PathBuf,
        drain: watch::Sender<bool>,
        server: tokio::task::JoinHandle<()>,
        _file: SocketFile,
        _dir: tempfile::TempDir,
    }

    async fn serving() -> Serving {
        serving_with(PATIENCE).await
    }

    async fn serving_with(patience: Duration) -> Serving {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.sock");
        let (socket, file) = sockets::listen(&path).await.unwrap();
        let (drain, draining) = watch::channel(false);
        let desk = Arc::new(Desk::new(testing::judge(), Mode::Enforce));
        Serving {
            path,
            drain,
            server: tokio::spawn(serve_patiently(socket, desk, draining, patience)),
            _file: file,
            _dir: dir,
        }
    }

    async fn exchange(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<CheckResponse> {
        stream.write_all(bytes).await?;
        let mut header = [0; frame::HEADER];
        stream.read_exact(&mut header).await?;
        let mut body = vec![0; frame::length(header).unwrap()];
        stream.read_exact(&mut body).await?;
        Ok(CheckResponse::decode(body.as_slice()).unwrap())
    }

    async fn ask(path: &Path, name: &str) -> CheckResponse {
        let mut stream = UnixStream::connect(path).await.unwrap();
        exchange(&mut stream, &frame::encode(&testing::request(name))).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_carries_several_questions() {
        let serving = serving().await;
        let mut stream = UnixStream::connect(&serving.path).await.unwrap();
        for (name, proceed) in [(OPEN, true), (SHUT, false), (OPEN, true)] {
            let answer = exchange(&mut stream, &frame::encode(&testing::request(name))).await.unwrap();
            assert_eq!(answer.proceed, proceed);
        }
    }

    #[tokio::test]
    async fn a_hostile_peer_is_refused_and_nobody_else_notices() {
        let serving = serving().await;
        let mut giant = UnixStream::connect(&serving.path).await.unwrap();
        assert_eq!(exchange(&mut giant, &[0xff; 4]).await.unwrap().code, "request-malformed");
        assert_eq!(giant.read(&mut [0; 1]).await.unwrap(), 0, "the connection ends");

        let mut garbage = UnixStream::connect(&serving.path).await.unwrap();
        let answer = exchange(&mut garbage, &[0, 0, 0, 3, 0xff, 0xff, 0xff]).await.unwrap();
        assert_eq!((answer.answer(), answer.proceed), (Answer::Inconclusive, false));
        let next = exchange(&mut garbage, &frame::encode(&testing::request(OPEN))).await.unwrap();
        assert!(next.proceed, "a message that is no question does not hide the next one");

        let mut slow = UnixStream::connect(&serving.path).await.unwrap();
        slow.write_all(&[0, 0]).await.unwrap();
        let mut half = UnixStream::connect(&serving.path).await.unwrap();
        half.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        half.shutdown().await.unwrap();
        assert!(ask(&serving.path, OPEN).await.proceed);
        assert_eq!(half.read(&mut [0; 1]).await.unwrap(), 0, "half a question has no answer");
    }

    #[tokio::test]
    async fn an_empty_question_names_no_image() {
        let serving = serving().await;
        let mut stream = UnixStream::connect(&serving.path).await.unwrap();
        assert_eq!(exchange(&mut stream, &[0; 4]).await.unwrap().code, "invalid-descriptor");
    }

    #[tokio::test]
    async fn a_peer_that_sends_nothing_is_cut_off() {
        let serving = serving_with(Duration::from_millis(20)).await;
        let mut idle = UnixStream::connect(&serving.path).await.unwrap();
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn draining_ends_connections_that_ask_nothing() {
        let serving = serving().await;
        let mut idle = UnixStream::connect(&serving.path).await.unwrap();
        assert!(exchange(&mut idle, &frame::encode(&testing::request(OPEN))).await.unwrap().proceed);
        serving.drain.send(true).unwrap();
        serving.server.await.unwrap();
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(UnixStream::connect(&serving.path).await.is_err());
    }
}
