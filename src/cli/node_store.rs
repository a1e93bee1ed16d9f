//! The node's own signature store, where the gates look first: signatures of containerd's images stay there when containerd has
//! let go of its copy.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::output;
use super::sign::store;
use crate::config::NodeConfig;
use crate::oci::{Descriptor, Location, Repository};
use crate::sign::Signed;
use crate::source::SourceError;
use crate::source::layout::Layout;
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(super) struct NodeStoreArguments {
    /// Where signatures of containerd's images are kept for the gates of this node, too. By default `signatures` in the
    /// `state_dir` of `/etc/pratique/config.toml`, on a node that has that directory.
    #[arg(long, value_name = "DIR")]
    node_store: Option<PathBuf>,
}

impl NodeStoreArguments {
    /// Keeps a signature that is stored beside its image already. On a node that was not named, not to be able to is worth
    /// a warning, no more.
    pub(super) async fn keep(&self, image: &Location, artifact: &Descriptor, signed: &Signed) -> Result<(), Failure> {
        if !matches!(image, Location::Containerd(_)) {
            return Ok(());
        }
        if let Some(directory) = &self.node_store {
            return write(directory.clone(), artifact, signed).await.map_err(|error| Failure::of(&error));
        }
        match usual_directory() {
            Ok(None) => {}
            Ok(Some(directory)) => {
                if let Err(error) = write(directory, artifact, signed).await {
                    not_kept(Problem::of(&error));
                }
            }
            Err(problem) => not_kept(problem),
        }
        Ok(())
    }
}

/// The store of the daemon on this machine; none where no daemon has been set up.
fn usual_directory() -> Result<Option<PathBuf>, Problem> {
    let config = NodeConfig::load(None).map_err(|error| Problem::of(&error))?;
    Ok(config.state_dir.is_dir().then(|| config.signature_store()))
}

async fn write(directory: PathBuf, artifact: &Descriptor, signed: &Signed) -> Result<(), SourceError> {
    let layout = Layout::create(directory).await?;
    store(&layout, &Repository::nowhere(), &[(artifact, signed)]).await
}

fn not_kept(problem: Problem) {
    let message = format!("the signature lies in containerd, and not in this node's own store: {}", problem.message);
    output::problem(&Problem { message, ..problem });
}
