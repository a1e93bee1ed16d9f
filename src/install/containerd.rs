//! containerd's configuration, as far as the image verifier goes: read in containerd's order, and changed in one place
//! by one line.
//!
//! containerd reads its main file first, and then what `imports` names: paths or globs, relative to the main file, those
//! of a glob in the order of their names. What comes later wins, table by table; `disabled_plugins` only grows. Measured
//! with containerd 2.1.9: a file is only searched for by pattern when there is a `*` in it; and **a drop-in that says
//! `version = 3` beside a main file of version 2 keeps containerd from converting the main file, whose CRI settings are
//! then silently lost**. So a drop-in says what the main file says, and nothing where that says nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::InstallError;

/// containerd's name for what calls the verifiers.
pub(super) const PLUGIN: &str = "io.containerd.image-verifier.v1.bindir";
/// The largest file of containerd's configuration that is read, in bytes. The dump of every default has 20 KiB.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// What containerd's configuration says about image verifiers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The version of the main file, as written.
    pub(super) version: Option<String>,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) max_verifiers: Option<i64>,
    /// With the text that says it.
    pub(super) per_verifier_timeout: Option<(Duration, String)>,
    /// Files that are read after ours and say something about verifiers too.
    pub(super) later: Vec<PathBuf>,
}

/// The main file and what is to become of it.
pub(super) struct Main {
    pub(super) settings: Settings,
    /// The text that imports our drop-in; equal to the old one where that does already.
    pub(super) text: String,
}

/// Reads the main file (none where it is absent) and what it imports, without our own drop-in.
pub(super) fn read(main: &Path, text: Option<&str>, drop_in: &Path) -> Result<Main, InstallError> {
    let text = text.unwrap_or("version = 3\n");
    let document = parse(main, text)?;
    let mut settings = Settings { version: version(document.get_ref(), text), ..Settings::default() };
    settings.take(main, document.get_ref())?;
    let imports = imports(document.get_ref());
    let mut ours_was_read = false;
    for path in imported(main, imports)? {
        if path == drop_in {
            ours_was_read = true;
            continue;
        }
        let Some(text) = read_text(&path)? else { continue };
        let said_something = settings.take(&path, parse(&path, &text)?.get_ref())?;
        // A glob finds the files that are there; ours may be about to be.
        let is_later = ours_was_read || path.parent() == drop_in.parent() && path > drop_in;
        if said_something && is_later {
            settings.later.push(path);
        }
    }
    let is_imported = patterns(imports).any(|pattern| covers(&absolute(main, pattern), drop_in));
    let text = if is_imported { text.to_owned() } else { with_import(main, text, document.get_ref(), drop_in)? };
    Ok(Main { settings, text })
}

/// Whether a file that is read after ours keeps containerd from calling what lies in this directory.
pub(super) fn overrides(path: &Path, bin_dir: &Path) -> Result<bool, InstallError> {
    let Some(text) = read_text(path)? else { return Ok(false) };
    let mut own = Settings::default();
    own.take(path, parse(path, &text)?.get_ref())?;
    Ok(own.max_verifiers == Some(0) || own.bin_dir.is_some_and(|directory| directory != bin_dir))
}

/// The text of a file, or none where there is no file.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, InstallError> {
    let unreadable = |source| InstallError::Read { path: path.to_owned(), source };
    let too_large = || InstallError::Config { path: path.to_owned(), line: 1, message: "the file is too large".into() };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_SIZE => return Err(too_large()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    fs::read_to_string(path).map(Some).map_err(unreadable)
}

fn parse<'a>(path: &Path, text: &'a str) -> Result<Spanned<DeTable<'a>>, InstallError> {
    DeTable::parse(text).map_err(|error| {
        let start = error.span().unwrap_or_default().start;
        let line = text.get(..start).unwrap_or_default().split('\n').count();
        InstallError::Config { path: path.to_owned(), line, message: error.message().to_owned() }
    })
}

fn version(document: &DeTable<'_>, text: &str) -> Option<String> {
    text.get(document.get("version")?.span()).map(str::to_owned)
}

impl Settings {
    /// Takes over what a file says about verifiers; whether it says anything.
    fn take(&mut self, path: &Path, document: &DeTable<'_>) -> Result<bool, InstallError> {
        let disabled = document.get("disabled_plugins").and_then(|value| value.get_ref().as_array());
        if disabled.is_some_and(|disabled| disabled.iter().any(|name| name.get_ref().as_str() == Some(PLUGIN))) {
            return Err(InstallError::Disabled { path: path.to_owned() });
        }
        let plugins = document.get("plugins").and_then(|value| value.get_ref().as_table());
        let Some(table) = plugins.and_then(|plugins| plugins.get(PLUGIN)?.get_ref().as_table()) else {
            return Ok(false);
        };
        let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str());
        if let Some(directory) = text("bin_dir") {
            self.bin_dir = Some(directory.into());
        }
        if let Some(number) = table.get("max_verifiers").and_then(|value| value.get_ref().as_integer()) {
            self.max_verifiers = i64::from_str_radix(number.as_str(), number.radix()).ok();
        }
        if let Some(written) = text("per_verifier_timeout") {
            self.per_verifier_timeout = duration(written).map(|duration| (duration, written.to_owned()));
        }
        Ok(true)
    }
}

/// A duration of one number and one unit, which is how people write them. Go knows more; what is not understood is not
/// taken over.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

fn imports<'a, 'i>(document: &'a DeTable<'i>) -> Option<&'a Spanned<DeValue<'i>>> {
    document.get("imports")
}

fn patterns<'a>(imports: Option<&'a Spanned<DeValue<'_>>>) -> impl Iterator<Item = &'a str> {
    let array = imports.and_then(|imports| imports.get_ref().as_array());
    array.into_iter().flat_map(|array| array.iter()).filter_map(|pattern| pattern.get_ref().as_str())
}

/// The files that are imported, in containerd's order.
fn imported(main: &Path, imports: Option<&Spanned<DeValue<'_>>>) -> Result<Vec<PathBuf>, InstallError> {
    let mut found = Vec::new();
    for pattern in patterns(imports) {
        let path = absolute(main, pattern);
        if !pattern.contains('*') {
            found.push(path);
            continue;
        }
        let Some(directory) = path.parent() else { continue };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(InstallError::Read { path: directory.to_owned(), source }),
        };
        let mut matching: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| covers(&path, file)).collect();
        matching.sort();
        found.extend(matching);
    }
    Ok(found)
}

fn absolute(main: &Path, pattern: &str) -> PathBuf {
    main.parent().unwrap_or(main).join(pattern)
}

/// Whether an import finds this file. Stars are understood in the name of the file, which is where everybody has them;
/// of anything else it is only known that it may not find the file, and then the file gets an import of its own.
fn covers(pattern: &Path, file: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !pattern.to_string_lossy().contains('*') {
        return pattern == file;
    }
    let pattern_name = name(pattern);
    pattern.parent() == file.parent()
        && !pattern_name.contains(['?', '[', '\\'])
        && matches(pattern_name.as_bytes(), name(file).as_bytes())
}

/// Whether a name matches a pattern in which `*` stands for anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, name),
        (Some((b'*', rest)), Some((_, shorter))) => matches(rest, name) || matches(pattern, shorter),
        (Some((wanted, rest)), Some((got, shorter))) => wanted == got && matches(rest, shorter),
        _ => false,
    }
}

/// The text with one more import and every other byte as it was.
fn with_import(main: &Path, text: &str, document: &DeTable<'_>, drop_in: &Path) -> Result<String, InstallError> {
    let pattern = drop_in.with_file_name("*.toml");
    let unusable = || InstallError::UnusablePath { path: pattern.clone() };
    let pattern = toml::Value::from(pattern.to_str().ok_or_else(unusable)?).to_string();
    let (at, inserted) = match imports(document) {
        Some(array) => one_more(main, text, array, pattern)?,
        None => the_first(document, text, &pattern),
    };
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let edited = format!("{before}{inserted}{after}");
    parse(main, &edited)?;
    Ok(edited)
}

/// Where another import goes in the array, and how it is written there.
fn one_more(
    main: &Path,
    text: &str,
    array: &Spanned<DeValue<'_>>,
    pattern: String,
) -> Result<(usize, String), InstallError> {
    let start = array.span().start;
    let not_an_array = || InstallError::Config {
        path: main.to_owned(),
        line: text.get(..start).unwrap_or_default().split('\n').count(),
        message: "`imports` is not an array".into(),
    };
    Ok(match array.get_ref().as_array().ok_or_else(not_an_array)?.iter().last() {
        Some(last) => (last.span().end, format!(", {pattern}")),
        None => (start + 1, pattern),
    })
}

/// Where the first import goes, and how it is written there. A key of the document stands before its first table: after
/// the version, or at the top.
fn the_first(document: &DeTable<'_>, text: &str, pattern: &str) -> (usize, String) {
    let line = format!("imports = [{pattern}]\n");
    let Some(version) = document.get("version") else { return (0, line) };
    let end = version.span().end;
    match text.get(end..).and_then(|rest| rest.find('\n')) {
        Some(rest) => (end + rest + 1, line),
        None => (text.len(), format!("\n{line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> String {
        let main = Path::new("/none/containerd/config.toml");
        let read = read(main, Some(text), Path::new("/none/containerd/conf.d/99-pratique.toml")).unwrap();
        read.text
    }

    #[test]
    fn one_import_is_added_and_every_other_byte_stays() {
        const GLOB: &str = "\"/none/containerd/conf.d/*.toml\"";
        for (before, after) in [
            ("", format!("imports = [{GLOB}]\n")),
            ("# mine\n[grpc]\n", format!("imports = [{GLOB}]\n# mine\n[grpc]\n")),
            ("version = 3", format!("version = 3\nimports = [{GLOB}]\n")),
            ("version = 2 # old\n\n[grpc]\n", format!("version = 2 # old\nimports = [{GLOB}]\n\n[grpc]\n")),
            (
                "root = 'x'\r\nversion = 3\r\n[a]\r\n",
                format!("root = 'x'\r\nversion = 3\r\nimports = [{GLOB}]\n[a]\r\n"),
            ),
            ("imports = []\n", format!("imports = [{GLOB}]\n")),
            ("imports = [\n  # none yet\n]\n", format!("imports = [{GLOB}\n  # none yet\n]\n")),
            ("imports = ['/a.toml']\n", format!("imports = ['/a.toml', {GLOB}]\n")),
            ("imports = [\n  \"/a.toml\", # a\n]\n", format!("imports = [\n  \"/a.toml\", {GLOB}, # a\n]\n")),
        ] {
            assert_eq!(edited(before), after, "{before}");
        }
    }

    #[test]
    fn an_import_that_finds_the_drop_in_is_enough() {
        for import in ["conf.d/*.toml", "/none/containerd/conf.d/*", "conf.d/99-pratique.toml", "conf.d/9*pra*.toml"] {
            let text = format!("version = 3\nimports = [\"/a.toml\", \"{import}\"]\n");
            assert_eq!(edited(&text), text);
        }
        for import in ["conf.d/*.conf", "*.toml", "conf.d/99-pratique.tom?", "conf.d/[9]*.toml", "/etc/conf.d/*.toml"] {
            let text = format!("version = 3\nimports = [\"{import}\"]\n");
            assert_ne!(edited(&text), text, "{import}");
        }
    }

    #[test]
    fn what_is_said_last_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (main, conf) = (dir.path().join("config.toml"), dir.path().join("conf.d"));
        fs::create_dir(&conf).unwrap();
        let table = |lines: &str| format!("[plugins.\"{PLUGIN}\"]\n{lines}\n");
        fs::write(conf.join("10.toml"), table("bin_dir = '/ten'\nmax_verifiers = 20")).unwrap();
        fs::write(conf.join("99-pratique.toml"), table("bin_dir = '/ours'")).unwrap();
        fs::write(conf.join("zz.toml"), table("per_verifier_timeout = '1m'")).unwrap();
        fs::write(conf.join("zzz.toml"), "[grpc]").unwrap();
        let text = format!("version = 2\nimports = ['conf.d/*.toml']\n{}", table("bin_dir = '/main'"));
        let settings = read(&main, Some(&text), &conf.join("99-pratique.toml")).unwrap().settings;
        assert_eq!(settings.version.as_deref(), Some("2"));
        assert_eq!(settings.bin_dir.as_deref(), Some(Path::new("/ten")));
        assert_eq!(settings.max_verifiers, Some(20));
        assert_eq!(settings.per_verifier_timeout, Some((Duration::from_secs(60), "1m".into())));
        assert_eq!(settings.later, [conf.join("zz.toml")]);
    }

    #[test]
    fn a_configuration_that_containerd_would_refuse_is_refused() {
        let main = Path::new("/none/containerd/config.toml");
        let drop_in = Path::new("/none/containerd/conf.d/99-pratique.toml");
        let error = |text: &str| read(main, Some(text), drop_in).err().unwrap();
        assert!(matches!(error("version = 3\n[grpc\n"), InstallError::Config { line: 2, .. }));
        assert!(matches!(error("version = 3\nimports = 'a'\n"), InstallError::Config { line: 2, .. }));
        let disabled = format!("disabled_plugins = ['{PLUGIN}']");
        assert!(matches!(error(&disabled), InstallError::Disabled { .. }));
    }
}
