//! The `notation` command, for scripts and templates that call it: the same commands, flags, files, words and exit
//! statuses as version 1.3 of the Notary Project's own, over pratique's verification and signing.
//!
//! A file here knows arguments and words only. What is verified, signed, read and stored is done where `pratique`'s own
//! commands have it done.

mod account;
mod artifact;
mod blob;
mod cert;
mod cleanup;
mod completion;
mod duration;
mod environment;
mod flags;
mod help;
mod inspect;
mod key;
mod list;
mod log;
mod login;
mod output;
mod plugin;
mod plugin_fault;
mod policy;
mod policy_fault;
mod servers;
mod sign;
mod terminal;
mod timestamping;
mod tree;
mod verify;
mod version;

use std::ffi::OsString;
use std::path::Path;

use self::flags::{Flag, Parsed, Stage};
use super::exit::Exit;
use crate::remedy::{Remedy, one_line};

/// Why a command was not done, in the words that follow `Error: `.
#[derive(Debug)]
struct Refusal(String);

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An error for which there are no other words.
    fn of(error: &impl Remedy) -> Self {
        Self(one_line(error))
    }

    fn from_failure(failure: super::exit::Failure) -> Self {
        Self(failure.message)
    }
}

/// Done, or refused.
type Said = Result<(), Refusal>;

/// A command, and those below it.
struct Command {
    name: &'static str,
    aliases: &'static [&'static str],
    /// In the list of the command above.
    summary: &'static str,
    /// At the head of its own help.
    about: &'static str,
    /// Its usage after the command above; nothing for one that has commands below it.
    usage: &'static str,
    flags: &'static [Flag],
    required: &'static [&'static str],
    groups: &'static [Group],
    children: &'static [Command],
    /// Whether it stands in no list: what notation 1.3 does not have.
    is_hidden: bool,
    /// Looks at how many arguments there are, before anything else is looked at.
    arity: fn(&Parsed) -> Said,
    run: fn(&Parsed) -> Said,
}

/// Flags that belong together, or do not.
enum Group {
    Together(&'static [&'static str]),
    OneOf(&'static [&'static str]),
    Exclusive(&'static [&'static str]),
}

impl Command {
    /// A command without flags, without commands below it, and for any number of arguments.
    const BLANK: Self = Self {
        name: "",
        aliases: &[],
        summary: "",
        about: "",
        usage: "",
        flags: &[],
        required: &[],
        groups: &[],
        children: &[],
        is_hidden: false,
        arity: |_| Ok(()),
        run: |_| Ok(()),
    };
}

const ROOT: Command = Command {
    name: "notation",
    about: "Notation - a tool to sign and verify artifacts",
    children: tree::COMMANDS,
    ..Command::BLANK
};

/// Whether the program was called under the name `notation`.
pub(super) fn is_called_so(program: &OsString) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "notation")
}

/// Runs the command with the arguments that follow its name. It knows two exit statuses.
pub(super) fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<String> = arguments.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    if let Some((first, words)) = arguments.split_first()
        && first == "__complete"
    {
        output::say(&completion::complete(words));
        return Exit::Done;
    }
    match dispatch(&arguments) {
        Ok(()) => Exit::Done,
        Err(Refusal(message)) => {
            output::warn(&format!("Error: {message}"));
            Exit::Denied
        }
    }
}

fn dispatch(arguments: &[String]) -> Said {
    let (is_help, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "help" => (true, rest),
        _ => (false, arguments),
    };
    let (mut command, mut path, mut arguments) = (&ROOT, ROOT.name.to_owned(), arguments.to_vec());
    // The first argument that is not a flag is the name of a command, where there are commands below.
    while let Some(at) = first_name(&arguments) {
        let named = |child: &&Command| arguments.get(at).is_some_and(|name| child.is_named(name));
        let Some(child) = command.children.iter().find(named) else { break };
        path = format!("{path} {}", child.name);
        command = child;
        arguments.remove(at);
    }
    if is_help {
        output::to_stdout_whole(help::of(command, &path, environment::is_experimental()).as_bytes());
        return Ok(());
    }
    command.call(&path, &arguments)
}

/// Where the first argument stands that is neither a flag nor the value of one. No flag is known before the command is, not
/// even the one for help, so what follows a flag is taken for its value.
fn first_name(arguments: &[String]) -> Option<usize> {
    let mut at = 0;
    loop {
        let argument = arguments.get(at)?;
        at += match argument.as_str() {
            "--" => return None,
            flag if flag.contains('=') && flag.starts_with('-') => 1,
            flag if flag.starts_with("--") || flag.starts_with('-') && flag.len() == 2 => 2,
            flag if flag.starts_with('-') => 1,
            _ => return Some(at),
        };
    }
}

impl Command {
    fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// The order is the original's: it decides which of several mistakes is told.
    fn call(&self, path: &str, arguments: &[String]) -> Said {
        if self.name == ROOT.name {
            self.refuse_unknown(arguments)?;
        }
        let parsed = Parsed::of(self.flags, arguments)?;
        let is_experimental = environment::is_experimental();
        if parsed.help || !self.children.is_empty() {
            output::to_stdout_whole(help::of(self, path, is_experimental).as_bytes());
            return Ok(());
        }
        (self.arity)(&parsed)?;
        self.check_stages(path, &parsed, is_experimental)?;
        self.check_required(&parsed)?;
        self.groups.iter().try_for_each(|group| group.check(&parsed))?;
        log::begin(&parsed);
        (self.run)(&parsed)
    }

    fn refuse_unknown(&self, arguments: &[String]) -> Said {
        let Some(name) = first_name(arguments).and_then(|at| arguments.get(at)) else { return Ok(()) };
        let near = self.children.iter().map(|child| child.name).filter(|known| is_near(name, known));
        let near: Vec<String> = near.map(|known| format!("\t{known}\n")).collect();
        let hint = if near.is_empty() { String::new() } else { format!("\nDid you mean this?\n{}\n", near.concat()) };
        Err(Refusal(format!("unknown command {name:?} for \"notation\"\n{hint}Run 'notation --help' for usage.")))
    }

    fn check_stages(&self, path: &str, parsed: &Parsed, is_experimental: bool) -> Said {
        let given: Vec<&Flag> =
            self.flags.iter().filter(|flag| flag.stage != Stage::Stable && parsed.has(flag.long)).collect();
        if given.is_empty() {
            return Ok(());
        }
        if !is_experimental {
            let names: Vec<String> = given.iter().map(|flag| format!("--{}", flag.long)).collect();
            return Err(Refusal(format!(
                "flag(s) {} in {path:?} is experimental and not enabled by default. To use, please set \
                 NOTATION_EXPERIMENTAL=1 environment variable",
                names.join(",")
            )));
        }
        output::warn(
            "Warning: This feature is experimental and may not be fully tested or completed and may be deprecated. \
             Report any issues to \"https://github/notaryproject/notation\"",
        );
        Ok(())
    }

    fn check_required(&self, parsed: &Parsed) -> Said {
        let missing: Vec<String> =
            self.required.iter().filter(|flag| !parsed.has(flag)).map(|flag| format!("{flag:?}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal(format!("required flag(s) {} not set", missing.join(", "))))
    }
}

impl Group {
    fn check(&self, parsed: &Parsed) -> Said {
        let (Self::Together(flags) | Self::OneOf(flags) | Self::Exclusive(flags)) = self;
        let (mut set, mut missing): (Vec<&str>, Vec<&str>) = flags.iter().partition(|flag| parsed.has(flag));
        set.sort_unstable();
        missing.sort_unstable();
        let (flags, set, missing) = (flags.join(" "), set, missing.join(" "));
        match self {
            Self::Together(_) if !set.is_empty() && !missing.is_empty() => Err(Refusal(format!(
                "if any flags in the group [{flags}] are set they must all be set; missing [{missing}]"
            ))),
            Self::OneOf(_) if set.is_empty() => {
                Err(Refusal(format!("at least one of the flags in the group [{flags}] is required")))
            }
            Self::Exclusive(_) if set.len() > 1 => Err(Refusal(format!(
                "if any flags in the group [{flags}] are set none of the others can be; [{}] were all set",
                set.join(" ")
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether a name is a known one but for two letters, or its beginning.
fn is_near(name: &str, known: &str) -> bool {
    known.to_lowercase().starts_with(&name.to_lowercase()) || distance(name, known) <= 2
}

/// How many letters are to be put in, taken out or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        for (above, b) in row.windows(2).zip(to.chars()) {
            let [diagonal, above] = above else { continue };
            let left = next.last().copied().unwrap_or_default();
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Runs what waits for a registry.
fn block_on<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Refusal::new(format!("cannot start: {error}")))?.block_on(work)
}
