//! The daemon, started by systemd before containerd.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Answers containerd's hooks: may this image be pulled?
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The node's configuration [default: /etc/pratique/config.toml, or every default where there is no such file]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    pratique::daemon::main(arguments.config.as_deref())
}
