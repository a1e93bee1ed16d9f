//! CRI's handlers in containerd 1.7, which takes a plugin's table from the last file that has one: a drop-in with one line
//! about CRI would take all others away. So there the line goes into the file that has the table, and nothing else in that
//! file moves.

use std::path::Path;

use toml::Table;
use toml::de::{DeTable, DeValue};

use super::InstallError;
use super::containerd::parse;
use super::drop_in::{key_of, plain, quoted};
use super::meaning::is_nothing;

const OPTIONS: &str = "options";
const BINARY: &str = "BinaryName";

/// The text in which this handler calls this runtime. `now` is what containerd knows of the handler, for a file that
/// leaves it to containerd's defaults.
pub(super) fn with_runtime(
    path: &Path,
    text: &str,
    (cri, handler): (&str, &str),
    runtime: &Path,
    now: Option<&Table>,
) -> Result<String, InstallError> {
    let written = quoted(plain(runtime)?);
    let document = parse(path, text)?;
    let candidates = match table(document.get_ref(), &["plugins", cri, "containerd", "runtimes", handler]) {
        None => vec![appended(text, &whole(cri, handler, &written, now))],
        Some(table) => match table.get(OPTIONS) {
            None => vec![appended(text, &options(cri, handler, &written))],
            Some(options) => inside(text, options.span().start, options.get_ref().as_table(), &written),
        },
    };
    // How the table is written decides which one is right, and reading it again tells.
    let is_right = |text: &String| {
        let Ok(document) = parse(path, text) else { return false };
        let options = table(document.get_ref(), &["plugins", cri, "containerd", "runtimes", handler, OPTIONS]);
        options.and_then(|options| options.get(BINARY)?.get_ref().as_str()) == runtime.to_str()
    };
    let not_editable = || InstallError::Config {
        path: path.to_owned(),
        line: 1,
        message: format!("`{BINARY}` of CRI's handler `{handler}` cannot be put into this file"),
    };
    candidates.into_iter().find(is_right).ok_or_else(not_editable)
}

fn table<'a, 'i>(document: &'a DeTable<'i>, path: &[&str]) -> Option<&'a DeTable<'i>> {
    path.iter().try_fold(document, |table, key| table.get(*key)?.get_ref().as_table())
}

/// The ways in which the line may go into the options that are there.
fn inside(text: &str, start: usize, options: Option<&DeTable<'_>>, written: &str) -> Vec<String> {
    let Some(options) = options else { return Vec::new() };
    let spliced = |from: usize, to: usize, with: &str| {
        let (before, after) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
        format!("{before}{with}{after}")
    };
    if let Some(old) = options.get(BINARY) {
        let span = old.span();
        return vec![spliced(span.start, span.end, written)];
    }
    let keys = options.iter().map(|(key, _): (_, &toml::Spanned<DeValue<'_>>)| key.span().start);
    let line_end = |from: usize| text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |n| from + n + 1);
    let Some(first) = keys.min() else {
        let (line, brace) = (line_end(start), start + 1);
        return vec![
            spliced(line, line, &format!("  {BINARY} = {written}\n")),
            spliced(brace, brace, &format!("{BINARY} = {written}")),
        ];
    };
    let line_start = text.get(..first).and_then(|before| before.rfind('\n')).map_or(0, |n| n + 1);
    let indent = text.get(line_start..first).filter(|indent| indent.trim().is_empty()).unwrap_or_default();
    vec![
        spliced(first, first, &format!("{BINARY} = {written}\n{indent}")),
        spliced(first, first, &format!("{BINARY} = {written}, ")),
    ]
}

fn appended(text: &str, addition: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}\n{addition}")
}

/// The handler as containerd has it by default, which it forgets once a file names the handler.
fn whole(cri: &str, handler: &str, written: &str, now: Option<&Table>) -> String {
    let lines = |table: &Table, skip: &str| -> String {
        let said = table.iter().filter(|(key, value)| *key != skip && !value.is_table() && !is_nothing(value));
        said.map(|(key, value)| format!("  {} = {value}\n", key_of(key))).collect::<Vec<_>>().concat()
    };
    let own = now.map(|now| lines(now, "")).unwrap_or_default();
    let more = now.and_then(|now| now.get(OPTIONS)?.as_table()).map(|options| lines(options, BINARY));
    format!("[{}]\n{own}{}{}", header(cri, handler), options(cri, handler, written), more.unwrap_or_default())
}

fn options(cri: &str, handler: &str, written: &str) -> String {
    format!("[{}.{OPTIONS}]\n  {BINARY} = {written}\n", header(cri, handler))
}

fn header(cri: &str, handler: &str) -> String {
    format!("plugins.{}.containerd.runtimes.{}", quoted(cri), key_of(handler))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effective::CRI;

    const RUNTIME: &str = "/opt/containerd/bin/runc";

    fn edited(text: &str) -> String {
        let now: Table = "runtime_type = 'io.containerd.runc.v2'\nruntime_path = ''\n[options]\nSystemdCgroup = true\n"
            .parse()
            .unwrap();
        with_runtime(Path::new("/c.toml"), text, (CRI, "runc"), Path::new(RUNTIME), Some(&now)).unwrap()
    }

    #[test]
    fn one_line_goes_in_and_every_other_byte_stays() {
        let head = format!("[plugins.\"{CRI}\".containerd.runtimes.runc]\nruntime_type = 'x' # mine\n");
        let line = format!("BinaryName = \"{RUNTIME}\"");
        for (before, after) in [
            (
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n    A = 1 # a\n[x]\n"),
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n    {line}\n    A = 1 # a\n[x]\n"),
            ),
            (
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  BinaryName = 'runc' # b\n"),
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  \"{RUNTIME}\" # b\n")
                    .replace("  \"/opt", "  BinaryName = \"/opt"),
            ),
            (
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n"),
                format!("{head}[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  {line}\n"),
            ),
            (format!("{head}options = {{ A = 1 }}\n"), format!("{head}options = {{ {line}, A = 1 }}\n")),
            (format!("{head}options = {{}}\n"), format!("{head}options = {{{line}}}\n")),
            (head.clone(), format!("{head}\n[plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  {line}\n")),
        ] {
            assert_eq!(edited(&before), after);
            assert_eq!(edited(&after), after, "twice is once");
        }
    }

    #[test]
    fn a_handler_that_no_file_names_is_written_whole() {
        let expected = format!(
            "version = 2\n\n[plugins.\"{CRI}\".containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  BinaryName = \"{RUNTIME}\"\n  SystemdCgroup = true\n"
        );
        assert_eq!(edited("version = 2"), expected);
    }

    #[test]
    fn a_table_that_cannot_take_the_line_is_refused() {
        let text = format!("[plugins.\"{CRI}\".containerd.runtimes]\nrunc = {{ runtime_type = 'x' }}\n");
        let error = with_runtime(Path::new("/c.toml"), &text, (CRI, "runc"), Path::new(RUNTIME), None).unwrap_err();
        assert!(matches!(error, InstallError::Config { .. }), "{error}");
    }
}
