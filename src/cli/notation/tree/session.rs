//! Commands about registries that ask for a name, and about the program itself.

use super::super::completion;
use super::super::flags::{Flag, Kind, Parsed};
use super::super::{Command, Refusal, Said, login, version};
use super::{DEBUG, INSECURE, PASSWORD, USERNAME, VERBOSE, at_least_one};

pub(super) const LOGIN: Command = Command {
    name: "login",
    summary: "Login to registry",
    about: "Log in to an OCI registry",
    usage: "login [flags] <server>",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        Flag::new("password-stdin", Kind::Switch, "take the password from stdin"),
    ],
    arity: |parsed| at_least_one(parsed, "no hostname specified"),
    run: login::login,
    ..Command::BLANK
};

pub(super) const LOGOUT: Command = Command {
    name: "logout",
    summary: "Log out from the logged in registries",
    about: "Log out from the logged in registries",
    usage: "logout [flags] <server>",
    flags: &[DEBUG, VERBOSE],
    arity: |parsed| at_least_one(parsed, "no hostname specified"),
    run: login::logout,
    ..Command::BLANK
};

pub(super) const VERSION: Command = Command {
    name: "version",
    summary: "Show the notation version information",
    about: "Show the notation version information",
    usage: "version [flags]",
    arity: |parsed| no_arguments(parsed, "notation version"),
    run: version::run,
    ..Command::BLANK
};

/// What would be an argument is taken for the name of a command.
fn no_arguments(parsed: &Parsed, path: &str) -> Said {
    match parsed.rest.first() {
        Some(argument) => Err(Refusal(format!("unknown command {argument:?} for {path:?}"))),
        None => Ok(()),
    }
}

const NO_DESCRIPTIONS: Flag = Flag::new("no-descriptions", Kind::Switch, "disable completion descriptions");

const fn script(
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    arity: fn(&Parsed) -> Said,
    run: fn(&Parsed) -> Said,
) -> Command {
    Command { name, summary, about: summary, usage, flags: &[NO_DESCRIPTIONS], arity, run, ..Command::BLANK }
}

pub(super) const COMPLETION: Command = Command {
    name: "completion",
    summary: "Generate the autocompletion script for the specified shell",
    about: "Generate the autocompletion script for notation for the specified shell.\n\
            See each sub-command's help for details on how to use the generated script.",
    children: &[
        script(
            "bash",
            "bash",
            "Generate the autocompletion script for bash",
            |parsed| no_arguments(parsed, "notation completion bash"),
            completion::bash,
        ),
        script(
            "fish",
            "fish [flags]",
            "Generate the autocompletion script for fish",
            |parsed| no_arguments(parsed, "notation completion fish"),
            completion::fish,
        ),
        script(
            "powershell",
            "powershell [flags]",
            "Generate the autocompletion script for powershell",
            |parsed| no_arguments(parsed, "notation completion powershell"),
            completion::powershell,
        ),
        script(
            "zsh",
            "zsh [flags]",
            "Generate the autocompletion script for zsh",
            |parsed| no_arguments(parsed, "notation completion zsh"),
            completion::zsh,
        ),
    ],
    ..Command::BLANK
};
