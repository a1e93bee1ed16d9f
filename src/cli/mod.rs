//! The command line, for people and pipelines.
//!
//! Every command gives one of four exit statuses: 0 done or admitted, 1 denied, 2 wrong usage, 3 could not tell. Results
//! go to stdout, hints and warnings to stderr, and `--output json` has the same codes as the text.

mod approval;
mod attach;
mod attaching;
mod blob;
mod cert;
mod certificate_summary;
mod confirm;
mod copy;
mod court;
mod crl;
mod descriptor;
mod doctor;
mod enroll;
mod exit;
mod inspect;
mod install;
mod judging;
mod key;
mod key_access;
mod ls;
mod node_store;
mod notation;
mod notation_dir;
mod output;
mod patience;
mod payload;
mod place;
mod plugin;
mod plugins;
mod policy;
mod prune;
mod push;
mod registry;
mod revocation;
mod rm;
mod sign;
mod signing;
mod signing_key;
mod test_certificate;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

use exit::{Exit, Failure};

const EXIT_STATUSES: &str = "Exit status: 0 done or admitted, 1 denied, 2 wrong usage, 3 could not tell";

/// Admits container images to a node only when their signatures satisfy the node's policy.
#[derive(Debug, Parser)]
#[command(name = "pratique", version, about, max_term_width = 100, after_help = EXIT_STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed.
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs: stable members and codes.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign an image, in a registry or on this machine.
    Sign(Box<sign::Arguments>),
    /// Agree to a signature that somebody has asked for with `sign --request`.
    Approve(Box<approval::approve::Arguments>),
    /// Show who has agreed to a signature, and the record of all such steps.
    #[command(subcommand)]
    Approvals(approval::list::Command),
    /// Write the OCI descriptor of an image, which can be signed elsewhere.
    Descriptor(descriptor::Arguments),
    /// Attach a signature that was made over a descriptor to its image in a registry; or with `--sign`, sign an image of this
    /// machine and push it there.
    Push(Box<push::Arguments>),
    /// Write what an external signing service is to sign.
    #[command(subcommand)]
    Payload(payload::Command),
    /// Attach the envelopes that an external signing service has made.
    Attach(attach::Arguments),
    /// Verify an image against the trust policy.
    Verify(verify::Arguments),
    /// Copy an image with its signatures and everything else that refers to it.
    Copy(Box<copy::Arguments>),
    /// Take an image away with everything that hangs on it, or signatures of one that stays.
    Rm(rm::Arguments),
    /// Take signatures away that nobody misses: dangling, superseded and expired ones. Without --yes it only tells which.
    Prune(prune::Arguments),
    /// List the signatures of an image, or everything that hangs on it.
    Ls(ls::Arguments),
    /// Show what the signatures of an image say, without judging them.
    Inspect(place::ListArguments),
    /// List the keys that sign here, add and take them away, choose the default.
    #[command(subcommand)]
    Key(key::Command),
    /// Add, list and remove trust anchors; make certificates for testing.
    #[command(subcommand)]
    Cert(cert::Command),
    /// Begin, put in force and show the trust policy for images.
    #[command(subcommand)]
    Policy(policy::Command<policy::Images>),
    /// Sign and verify files that lie in no registry.
    #[command(subcommand)]
    Blob(blob::Command),
    /// Import revocation lists, for a site without a way to the issuers' servers.
    #[command(subcommand)]
    Crl(crl::Command),
    /// Have the daemon take what was unpacked before it was there into its ledger, once it is verified.
    Enroll(enroll::Arguments),
    /// Install and show the plugins that signatures and keys ask for.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Put pratique's hooks into containerd's configuration.
    Install(install::InstallArguments),
    /// Take exactly those hooks out again.
    Uninstall(install::UninstallArguments),
    /// Look for ways round the gates of this node.
    Doctor(doctor::Arguments),
    /// Behave as the Notary Project's own command, for scripts that call it; also when called by the name `notation`.
    #[command(disable_help_flag = true)]
    Notation {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Runs the command line with the process's arguments.
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(rest) = as_notation(&arguments) {
        return notation::run(rest.iter().cloned());
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = cli.output;
    dispatch(cli.command, output).unwrap_or_else(|failure| {
        output::failure(output, &failure);
        failure.exit
    })
}

/// The arguments of the command `notation`, if it is what was called: by its own name, or as the first argument.
fn as_notation(arguments: &[OsString]) -> Option<&[OsString]> {
    match arguments {
        [program, rest @ ..] if notation::is_called_so(program) => Some(rest),
        [_, first, rest @ ..] if first == "notation" => Some(rest),
        _ => None,
    }
}

/// Help and version are asked for and go to stdout; everything else is wrong usage.
fn usage(error: &clap::Error) -> Exit {
    // Nothing to do about a closed terminal.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

fn dispatch(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Sign(arguments) => block_on(sign::run(*arguments, output)),
        Command::Approve(arguments) => block_on(approval::approve::run(*arguments, output)),
        Command::Approvals(command) => block_on(approval::list::run(command, output)),
        Command::Descriptor(arguments) => block_on(descriptor::run(arguments, output)),
        Command::Push(arguments) => block_on(push::run(*arguments, output)),
        Command::Payload(command) => block_on(payload::run(command, output)),
        Command::Attach(arguments) => block_on(attach::run(arguments, output)),
        Command::Verify(arguments) => block_on(verify::run(arguments, output)),
        Command::Copy(arguments) => block_on(copy::run(*arguments, output)),
        Command::Rm(arguments) => block_on(rm::run(arguments, output)),
        Command::Prune(arguments) => block_on(prune::run(arguments, output)),
        Command::Ls(arguments) => block_on(ls::run(arguments, output)),
        Command::Inspect(arguments) => block_on(inspect::run(arguments, output)),
        Command::Key(command) => key::run(command, output),
        Command::Cert(command) => cert::run(command, output),
        Command::Policy(command) => policy::run(command, output),
        Command::Blob(command) => block_on(blob::run(command, output)),
        Command::Crl(command) => crl::run(command, output),
        Command::Enroll(arguments) => block_on(enroll::run(arguments, output)),
        Command::Plugin(command) => block_on(plugin::run(command, output)),
        Command::Install(arguments) => block_on(install::install(arguments, output)),
        Command::Uninstall(arguments) => install::uninstall(arguments, output),
        Command::Doctor(arguments) => block_on(doctor::run(arguments, output)),
        Command::Notation { arguments } => Ok(notation::run(arguments)),
    }
}

/// One thread is enough: a command asks one registry a handful of questions, and more threads only cost start-up time.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::unreadable("no-runtime", format!("cannot start: {error}"), None))?.block_on(work)
}
