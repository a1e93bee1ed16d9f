//! Help texts: usage and flags laid out as the Notary Project's own command lays them out.

use std::fmt::Write as _;

use super::Command;
use super::flags::{Flag, Kind, Stage};
use super::output::pad;

/// The width to which names of commands are padded; the command's own layout never takes less.
const COMMAND_WIDTH: usize = 11;

/// The help of a command that is reached by this path.
pub(super) fn of(command: &Command, path: &str, is_experimental: bool) -> String {
    let mut text = format!("{}\n\nUsage:\n  ", command.about);
    if command.children.is_empty() {
        let parent = path.rsplit_once(' ').map_or(path, |(parent, _)| parent);
        let _ = writeln!(text, "{parent} {}", command.usage);
    } else {
        let _ = writeln!(text, "{path} [command]");
    }
    if !command.aliases.is_empty() {
        let _ = writeln!(text, "\nAliases:\n  {}, {}", command.name, command.aliases.join(", "));
    }
    if !command.children.is_empty() {
        text.push_str("\nAvailable Commands:\n");
        let help = (!path.contains(' ')).then_some(("help", "Help about any command"));
        let mut children: Vec<_> = command
            .children
            .iter()
            .filter(|child| !child.is_hidden)
            .map(|child| (child.name, child.summary))
            .chain(help)
            .collect();
        children.sort_unstable();
        let width = children.iter().map(|(name, _)| name.len()).fold(COMMAND_WIDTH, usize::max);
        for (name, summary) in children {
            let _ = writeln!(text, "  {} {summary}", pad(name, width));
        }
    }
    let _ = write!(text, "\nFlags:\n{}", flags(command, is_experimental));
    if !command.children.is_empty() {
        let _ = writeln!(text, "\nUse \"{path} [command] --help\" for more information about a command.");
    }
    text
}

fn flags(command: &Command, is_experimental: bool) -> String {
    let help = Flag { usage: "", ..Flag::new("help", Kind::Switch, "").short('h') };
    let about_help = format!("help for {}", command.name);
    let is_shown = |flag: &&Flag| match flag.stage {
        Stage::Stable => true,
        Stage::Experimental => is_experimental,
        Stage::Deprecated => false,
    };
    let mut flags: Vec<(&Flag, &str)> =
        command.flags.iter().filter(is_shown).map(|flag| (flag, flag.usage)).chain([(&help, &*about_help)]).collect();
    flags.sort_by_key(|(flag, _)| flag.long);
    let heads: Vec<String> = flags.iter().map(|(flag, _)| head(flag)).collect();
    let width = heads.iter().map(|head| head.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (head, (flag, usage)) in heads.iter().zip(flags) {
        let _ = writeln!(text, "{}   {usage}{}", pad(head, width), default(flag));
    }
    text
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let kind = match flag.kind {
        Kind::Switch => "",
        Kind::Text => " string",
        Kind::Texts => " stringArray",
        Kind::Number => " int",
        Kind::Duration => " duration",
    };
    format!("  {short}--{}{kind}", flag.long)
}

fn default(flag: &Flag) -> String {
    match flag.kind {
        _ if flag.default.is_empty() => String::new(),
        Kind::Text => format!(" (default {:?})", flag.default),
        _ => format!(" (default {})", flag.default),
    }
}
