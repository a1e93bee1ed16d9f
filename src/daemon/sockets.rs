//! The daemon's sockets: made for root alone, taken over from a dead daemon and never from a living one.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::StartError;

/// How long somebody who holds the socket is given to take a connection before it counts as somebody all the same.
const PROBE: Duration = Duration::from_secs(1);
/// How long accepting rests after it failed, such as for want of file descriptors, so that failing does not take the
/// processor that the other connections need to end.
const REST: Duration = Duration::from_millis(50);

/// A socket that listens.
pub(super) struct Socket {
    listener: UnixListener,
    /// Who may ask besides root.
    owner: u32,
}

/// The socket's file, which goes when this does.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Which file it is, also where the file system gives a removed one's number to the next.
#[derive(PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), changed }
    }
}

/// Listens at this path, for root and for the user that the daemon runs as.
pub(super) async fn listen(path: &Path) -> Result<(Socket, SocketFile), StartError> {
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(|source| StartError::SocketDirectory { path: directory.to_owned(), source })?;
    }
    remove_if_dead(path).await?;
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever connects before this is turned away by the check of the peer.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity: Identity::of(&metadata) };
    Ok((Socket { listener, owner: metadata.uid() }, file))
}

/// Removes what a daemon left behind that ended without a chance to clean up.
async fn remove_if_dead(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(StartError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue has a listener behind it, too.
        Ok(Ok(_)) | Err(_) => Err(StartError::SocketInUse { path: path.to_owned() }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(StartError::SocketInUse { path: path.to_owned() })
        }
        Ok(Err(error)) => Err(failed(error)),
    }
}

impl Socket {
    /// The next connection from somebody who may ask. Everybody else is turned away here.
    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.may_ask(&stream) => return stream,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    fn may_ask(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == self.owner => {
                tracing::debug!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "connected");
                true
            }
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "turned away: may not ask");
                false
            }
            Err(error) => {
                tracing::warn!(error = %error, "turned away: nobody knows who it is");
                false
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Unless somebody else has put theirs there meanwhile.
        let is_ours = |metadata| Identity::of(&metadata) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_goes_when_the_daemon_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/pratique/hook.sock");
        let (socket, file) = listen(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (accepted, connected) = tokio::join!(socket.accept(), UnixStream::connect(&path));
        drop((accepted, connected.unwrap()));
        drop(file);
        assert_eq!(fs::symlink_metadata(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_living_daemons_socket_is_left_alone_and_a_dead_ones_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.sock");
        let (living, file) = listen(&path).await.unwrap();
        assert!(matches!(listen(&path).await, Err(StartError::SocketInUse { .. })));
        drop(living); // the file stays, as after `kill -9`
        let (_next, next_file) = listen(&path).await.unwrap();
        drop(file); // the old daemon's guard does not take the new daemon's file
        assert!(fs::symlink_metadata(&path).is_ok());
        drop(next_file);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path).await, Err(StartError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
