//! Goes and looks: gathers the facts that the doctor judges.
//!
//! It changes nothing, but for the canaries, which are only sent where somebody asks for them and which clean up behind
//! themselves. What cannot be found out is a fact as well, and is said.

mod anchors;
pub mod canary;
mod files;
mod sockets;

use std::path::{Path, PathBuf};

use crate::config::NodeConfig;
use crate::doctor::{Choice, Facts, Listener, Node, Part};
use crate::effective::Effective;
use crate::install::{InstallError, Installed, Program};
use crate::policy::{ImageVolumes, OrphanLayers, Reconcile, SandboxImage, WithoutImage};
use crate::remedy::one_line;
use crate::source::containerd::{Containerd, Introspection};

/// The names of the daemon's sockets, in its directory.
const SOCKETS: [&str; 4] = ["hook.sock", "diff.sock", "diff-transfer.sock", "pratiqued.sock"];
/// The daemon's own API among them.
const API: &str = "pratiqued.sock";
/// docker's socket, at its usual place.
const DOCKER: &str = "/var/run/docker.sock";

/// Where is looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// containerd's program.
    pub containerd: PathBuf,
    /// containerd's main configuration file.
    pub containerd_config: PathBuf,
    /// The node's configuration file; none for the usual one.
    pub config: Option<PathBuf>,
    /// The directory of the record of what was installed.
    pub state_dir: PathBuf,
}

/// Looks at everything. Only a containerd that cannot say what its configuration comes to ends it: nothing else would
/// mean anything.
pub async fn gather(place: &Where) -> Result<Facts, InstallError> {
    let program = Program::new(place.containerd.clone());
    let version = program.version()?;
    let effective = program.in_force(&place.containerd_config)?;
    let installed = Installed::read(&place.state_dir)?;
    let mut unknown = Vec::new();
    let config = config(place.config.as_deref(), &mut unknown);
    let anchors = config.as_ref().map(|config| anchors::due(&config.notation_dir)).unwrap_or_default();
    let node = config.map(of);
    let directory = node.clone().unwrap_or_else(|| of(NodeConfig::default())).sockets;
    let sockets = sockets::listeners(SOCKETS.map(|name| directory.join(name)).into()).await;
    let daemon = sockets::daemon(&directory.join(API)).await;
    for socket in &sockets {
        if let Listener::Unknown(reason) = &socket.listener {
            unknown.push(format!("who listens on {}: {reason}", socket.path.display()));
        }
    }
    let is_there = sockets.iter().any(|socket| socket.path.ends_with(API) && socket.listener == Listener::Daemon);
    if let (Err(reason), true) = (&daemon, is_there) {
        unknown.push(format!("whether the daemon enforces what it is asked: {reason}"));
    }
    Ok(Facts {
        version,
        parts: parts(&effective, &mut unknown).await,
        verifiers: effective.verifiers().map(|v| files::verifiers(&v.directory, &installed, &mut unknown)),
        runtimes: files::runtimes(&effective, &installed, &mut unknown),
        sockets,
        daemon,
        node,
        anchors,
        permissions: files::permissions([effective.address(), DOCKER.into()], &mut unknown),
        attempts: Vec::new(),
        effective,
        unknown,
    })
}

fn config(path: Option<&Path>, unknown: &mut Vec<String>) -> Option<NodeConfig> {
    match NodeConfig::load(path) {
        Ok(config) => Some(config),
        Err(error) => {
            unknown.push(format!("what the node's configuration says: {}", one_line(&error)));
            None
        }
    }
}

fn of(config: NodeConfig) -> Node {
    let choices = [
        (!config.gates.diff, Choice::NoLayers),
        (!config.gates.run, Choice::NoStarts),
        (config.run.without_image == WithoutImage::Allow, Choice::StartsWithoutImage),
        (config.run.sandbox == SandboxImage::Allow, Choice::AnySandbox),
        (config.run.image_volumes == ImageVolumes::Allow, Choice::AnyImageVolume),
        (config.gates.orphan_layers == OrphanLayers::Defer, Choice::Orphans),
        (config.reconcile == Reconcile::Off, Choice::NotWatched),
    ];
    Node {
        sockets: config.sockets.dir,
        containerd: config.containerd.socket,
        choices: choices.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, choice)| choice).collect(),
        builders: config.run.builder_namespaces,
        pinned: config.boot_floor.len(),
        local_scope: config.local_images.scope.map(|scope| scope.to_string()),
    }
}

async fn parts(effective: &Effective, unknown: &mut Vec<String>) -> Option<Vec<Part>> {
    let asked = match Containerd::new(&effective.address()) {
        Ok(containerd) => containerd.plugins().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(plugins) => {
            let part = |plugin: crate::source::containerd::Plugin| Part {
                kind: plugin.kind,
                name: plugin.name,
                fault: plugin.fault,
            };
            Some(plugins.into_iter().map(part).collect())
        }
        Err(error) => {
            unknown.push(format!("what containerd runs with: {}", one_line(&error)));
            None
        }
    }
}
