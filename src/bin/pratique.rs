//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    pratique::cli::main()
}
