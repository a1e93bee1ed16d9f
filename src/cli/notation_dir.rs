//! The argument that names the directory with policy, trust stores and keys.

use std::path::PathBuf;

use clap::Args;

use crate::config::NotationDir;

#[derive(Clone, Debug, Args)]
pub(super) struct NotationDirArgument {
    /// The directory with trust policy, trust stores and keys, laid out as notation lays it out.
    #[arg(long = "notation-dir", value_name = "DIR", env = "PRATIQUE_NOTATION_DIR", default_value = "/etc/pratique")]
    path: PathBuf,
}

impl NotationDirArgument {
    pub(super) fn open(self) -> NotationDir {
        NotationDir::new(self.path)
    }
}
