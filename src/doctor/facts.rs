//! The facts about a node, as they were found.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Attempt;
use crate::effective::{Effective, Version};

/// Everything that is looked at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// containerd's version.
    pub version: Version,
    /// What containerd's configuration comes to.
    pub effective: Effective,
    /// What the running containerd is made of; none where it does not answer.
    pub parts: Option<Vec<Part>>,
    /// The directory of the image verifiers; none where this containerd has none.
    pub verifiers: Option<VerifierDirectory>,
    /// Where runtimes are looked for, and what lies there.
    pub runtimes: Vec<RuntimePath>,
    /// The daemon's sockets.
    pub sockets: Vec<Socket>,
    /// What the daemon says of itself, or why it says nothing.
    pub daemon: Result<Daemon, String>,
    /// The node's configuration; none where it cannot be read.
    pub node: Option<Node>,
    /// The trust anchors of the policy that somebody has to renew.
    pub anchors: Vec<Anchor>,
    /// Sockets through which the gates can be gone around.
    pub permissions: Vec<Permissions>,
    /// What was tried, and how it ended; empty where nothing was.
    pub attempts: Vec<Attempt>,
    /// What could not be found out, one sentence each.
    pub unknown: Vec<String>,
}

/// A part of the running containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for, such as `io.containerd.snapshotter.v1`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why it does not work; none where it does.
    pub fault: Option<String>,
}

/// Where containerd looks for image verifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierDirectory {
    /// The directory.
    pub path: PathBuf,
    /// What lies in it, in the order in which it is called; none where there is no such directory.
    pub programs: Option<Vec<Program>>,
}

/// Something in the verifiers' directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Whether it can be started.
    pub is_executable: bool,
    /// Whether it is ours.
    pub is_ours: bool,
}

/// A path at which a runtime is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimePath {
    /// The path.
    pub path: PathBuf,
    /// What lies there.
    pub lies: Lying,
}

/// What lies at a runtime's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lying {
    /// Our link.
    Ours,
    /// Something else, in the end this.
    Other(PathBuf),
    /// Nothing.
    Missing,
}

/// One of the daemon's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: PathBuf,
    /// Who listens.
    pub listener: Listener,
}

/// Who listens on a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Somebody who may.
    Daemon,
    /// There is no such socket.
    Absent,
    /// There is a socket, and nobody listens.
    Refused,
    /// Somebody who is not root.
    Stranger(u32),
    /// It cannot be found out, and why.
    Unknown(String),
}

/// What the daemon says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// `enforce` or `audit`.
    pub mode: String,
    /// Why the policy on disk is not the one in force; empty where it is.
    pub reload_error: String,
}

/// What the node's configuration says about the gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The directory of the daemon's sockets.
    pub sockets: PathBuf,
    /// containerd's socket, as the daemon knows it.
    pub containerd: PathBuf,
    /// Whatever is chosen that closes a gate or makes it wider.
    pub choices: BTreeSet<Choice>,
    /// The containerd namespaces of builders.
    pub builders: Vec<String>,
    /// How many digests are admitted without a signature.
    pub pinned: usize,
    /// The repository as which images without one are judged.
    pub local_scope: Option<String>,
}

/// A setting that closes a gate, or makes it wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// No question about a layer is answered.
    NoLayers,
    /// No question about a start is answered.
    NoStarts,
    /// Containers that name no image are started.
    StartsWithoutImage,
    /// Sandboxes are started whose image is not admitted.
    AnySandbox,
    /// Images that are mounted into containers are not looked at.
    AnyImageVolume,
    /// Layers that no image lists are unpacked.
    Orphans,
    /// Nobody looks for what came past the gates.
    NotWatched,
}

/// A trust anchor that has ended, or ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its trust store, as a policy names it.
    pub store: String,
    /// Whose certificate it is.
    pub subject: String,
    /// The whole days until it ends; none when it has.
    pub days_left: Option<i64>,
}

/// Who may use a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The socket.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
}
