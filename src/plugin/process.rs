//! One process for one command: request in, answer out, and nothing left behind.
//!
//! The plugin leads a process group of its own. When it has ended, when its time is over, when it writes too much, and when
//! nobody waits for it any more, the whole group is killed. A process that has left the group on purpose (`setsid`) is not
//! found by that; it keeps nobody waiting.
//!
//! The environment is inherited, as the reference implementation does it: a key service's plugin finds its credentials, its
//! proxy and its home there. What concerns pratique alone is left out.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::try_join;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// How much of each stream of a plugin is read, in bytes. The specification lets a plugin write up to 64 MiB; the longest
/// answer that could be used is an envelope of 10 MiB, in base64.
pub(super) const MAX_OUTPUT: u64 = 16 * 1024 * 1024;

/// Variables that no plugin gets: the password for a registry, and what a service manager tells a service.
const WITHHELD: [&str; 4] = ["NOTATION_USERNAME", "NOTATION_PASSWORD", "NOTIFY_SOCKET", "WATCHDOG_USEC"];

/// What a plugin has come to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why a plugin has come to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    TimedOut,
    OutputTooLarge,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs the program with this command as its only argument.
pub(super) async fn run(program: &Path, command: &str, request: &[u8], limit: Duration) -> Result<Ended, Fault> {
    let mut child = spawn(program, command)?;
    // Dropped before the child: until that is reaped, its number is nobody else's.
    let mut group = Group::of(&child)?;
    timeout(limit, converse(&mut child, &mut group, request)).await.unwrap_or(Err(Fault::TimedOut))
}

fn spawn(program: &Path, argument: &str) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg(argument).process_group(0).kill_on_drop(true);
    for variable in WITHHELD {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

async fn converse(child: &mut Child, group: &mut Group, request: &[u8]) -> Result<Ended, Fault> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut streams = Box::pin(async { try_join!(write(stdin, request), read(stdout), read(stderr)) });
    let mut ended = Box::pin(group.leader_ended());
    let read = tokio::select! {
        read = &mut streams => Some(read?),
        () = &mut ended => None,
    };
    let ((), stdout, stderr) = if let Some(read) = read {
        ended.await;
        group.end();
        read
    } else {
        // Whoever still holds the streams was started by the plugin, and has nobody to answer to any more.
        group.end();
        streams.await?
    };
    Ok(Ended { status: child.wait().await?, stdout, stderr })
}

/// A plugin may answer without listening.
async fn write(pipe: Option<ChildStdin>, request: &[u8]) -> Result<(), Fault> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    match pipe.write_all(request).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MAX_OUTPUT { Err(Fault::OutputTooLarge) } else { Ok(bytes) }
}

/// A process group that does not outlive this value. It is ended only while its leader has not been reaped.
struct Group {
    leader: Pid,
    is_running: bool,
}

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { leader: leader.ok_or(io::ErrorKind::NotFound)?, is_running: true })
    }

    /// Waits until the leader has ended, and leaves it to be reaped. The thread that waits ends with the group.
    fn leader_ended(&self) -> impl Future<Output = ()> + use<> {
        let leader = self.leader;
        let waiting = tokio::task::spawn_blocking(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(leader), options).err() == Some(rustix::io::Errno::INTR) {}
        });
        // It returns in any case, and whoever is told too early finds out when the process is reaped.
        async { waiting.await.unwrap_or_default() }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_running) {
            // It may have ended on its own.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}
