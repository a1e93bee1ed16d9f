//! Who listens on the daemon's sockets, and what the daemon says of itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::doctor::{Daemon, Listener, Socket};
use crate::proto::StatusRequest;
use crate::proto::pratique_client::PratiqueClient;
use crate::remedy::{cut, excerpt};

/// How long each may take to answer. Each question is of a kind that is answered from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a reason is shown, in characters: two lines of a terminal.
const MAX_WORDS: usize = 160;

/// Who listens on each.
pub(super) async fn listeners(paths: Vec<PathBuf>) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for path in paths {
        let listener = listener(&path).await;
        sockets.push(Socket { path, listener });
    }
    sockets
}

async fn listener(path: &Path) -> Listener {
    let Ok(connected) = timeout(PATIENCE, UnixStream::connect(path)).await else {
        return Listener::Unknown("it takes no connection".to_owned());
    };
    let peer = match connected.and_then(|stream| stream.peer_cred()) {
        Ok(peer) => peer.uid(),
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Listener::Absent,
                io::ErrorKind::ConnectionRefused => Listener::Refused,
                _ => Listener::Unknown(error.to_string()),
            };
        }
    };
    // The same as `client` asks for before it believes an answer.
    if peer == 0 || peer == rustix::process::geteuid().as_raw() { Listener::Daemon } else { Listener::Stranger(peer) }
}

/// What the daemon says of itself, or why it says nothing.
pub(super) async fn daemon(socket: &Path) -> Result<Daemon, String> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| error.to_string())?;
    let mut client = PratiqueClient::new(endpoint.connect_lazy());
    let asked = timeout(PATIENCE, client.status(Request::new(StatusRequest {}))).await;
    let answer = asked.map_err(|_| "it does not answer".to_owned())?;
    let status = answer.map_err(|status| cut(status.message(), MAX_WORDS))?.into_inner();
    Ok(Daemon { mode: excerpt(&status.mode), reload_error: cut(&status.reload_error, MAX_WORDS) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn absent_refused_and_answering_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let [absent, refused, answering] = ["absent", "refused", "answering"].map(|name| dir.path().join(name));
        drop(UnixListener::bind(&refused).unwrap());
        let _listening = UnixListener::bind(&answering).unwrap();
        assert_eq!(listener(&absent).await, Listener::Absent);
        assert_eq!(listener(&refused).await, Listener::Refused);
        assert_eq!(listener(&answering).await, Listener::Daemon);
        assert!(daemon(&absent).await.is_err());
    }
}
