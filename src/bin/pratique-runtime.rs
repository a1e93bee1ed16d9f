//! Stands in the place of an OCI runtime: asks the daemon before a container is started, and becomes the real one.

use std::process::ExitCode;

fn main() -> ExitCode {
    pratique::hook::runtime::stand_in()
}
