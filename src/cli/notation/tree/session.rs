//! Commands about registries that ask for a name, and about the program itself.

use super::super::flags::{Flag, Kind};
use super::super::{Command, Refusal, login, version};
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
    arity: |parsed| match parsed.rest.first() {
        Some(argument) => Err(Refusal(format!("unknown command {argument:?} for \"notation version\""))),
        None => Ok(()),
    },
    run: version::run,
    ..Command::BLANK
};
