//! The files of containerd's configuration: read in containerd's order, and the main one changed in one place by one
//! line.
//!
//! containerd reads its main file first, and then what `imports` names: paths or globs, relative to the main file, those
//! of a glob in the order of their names. What comes later wins, table by table; `disabled_plugins` only grows. Measured
//! with containerd 2.1.9: a file is only searched for by pattern when there is a `*` in it; and **a drop-in that says
//! `version = 3` beside a main file of version 2 keeps containerd from converting the main file, whose CRI settings are
//! then silently lost**. So a drop-in says what the main file says, and nothing where that says nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::InstallError;
use super::candidate::{Candidate, Import, Shown};
use crate::effective::{CRI, CRI_RUNTIME, IMAGE_VERIFIERS};

/// The largest file of containerd's configuration that is read, in bytes. The dump of every default has 20 KiB.
const MAX_FILE_SIZE: u64 = 1024 * 1024;
/// CRI's name in version 1, which has short names.
const CRI_SHORT: &str = "cri";

/// The main file and what it imports.
#[derive(Debug)]
pub(super) struct Files {
    /// The main file, at its usual place: relative imports count from there.
    main: PathBuf,
    /// Its text.
    pub(super) text: String,
    /// The version, as written.
    pub(super) version: Option<String>,
    /// What is imported, in containerd's order; a pattern where it is one that is not understood here.
    imports: Vec<PathBuf>,
    /// The files that say something about CRI, by the name that they have for it. The last one counts in containerd 1.7.
    pub(super) cri: Vec<(PathBuf, &'static str)>,
}

impl Files {
    /// Reads the main file's text, and what it imports.
    pub(super) fn read(main: &Path, text: &str, drop_in: &Path) -> Result<Self, InstallError> {
        let document = parse(main, text)?;
        refuse_disabled(main, document.get_ref())?;
        let imports = imported(main, imports(document.get_ref()), drop_in)?;
        let mut cri: Vec<(PathBuf, &'static str)> = names_of_cri(main, document.get_ref()).collect();
        for path in imports.iter().filter(|path| *path != drop_in) {
            // A pattern that is not understood names no file.
            let Some(text) = read_text(path)? else { continue };
            let document = parse(path, &text)?;
            refuse_disabled(path, document.get_ref())?;
            cri.extend(names_of_cri(path, document.get_ref()));
        }
        let version = version(document.get_ref(), text);
        Ok(Self { main: main.to_owned(), text: text.to_owned(), version, imports, cri })
    }

    /// The main file's text with an import of our drop-in; as it is where something imports it already.
    pub(super) fn importing(&self, drop_in: &Path) -> Result<String, InstallError> {
        let document = parse(&self.main, &self.text)?;
        let is_imported = patterns(imports(document.get_ref())).any(|p| covers(&absolute(&self.main, p), drop_in));
        if is_imported {
            return Ok(self.text.clone());
        }
        with_import(&self.main, &self.text, document.get_ref(), &import_of(drop_in)?)
    }

    /// The files that containerd reads after ours.
    pub(super) fn after<'a>(&'a self, drop_in: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.imports.iter().skip_while(move |path| *path != drop_in).skip(1)
    }

    /// What containerd is shown of these files.
    pub(super) fn candidate(&self, shown: impl Fn(&Path) -> Shown) -> Candidate {
        let import = |path: &PathBuf| match shown(path) {
            Shown::AsItLies => Some(Import::File(path.clone())),
            Shown::As(text) => Some(Import::Text { path: path.clone(), text }),
            Shown::NotAtAll => None,
        };
        let imports: Vec<Import> = self.imports.iter().filter_map(import).collect();
        Candidate { main: self.main.clone(), text: self.text.clone(), imports }
    }
}

/// The text with this array for its `imports`, and every other byte as it was.
pub(super) fn with_imports(main: &Path, text: &str, imported: &[String]) -> Result<String, InstallError> {
    let document = parse(main, text)?;
    let written: Vec<String> = imported.iter().map(|path| toml::Value::from(path.as_str()).to_string()).collect();
    let written = written.join(", ");
    let (start, end, inserted) = if let Some(array) = imports(document.get_ref()) {
        (array.span().start, array.span().end, format!("[{written}]"))
    } else {
        let (at, line) = the_first(document.get_ref(), text, &written);
        (at, at, line)
    };
    Ok(format!("{}{inserted}{}", text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default()))
}

fn refuse_disabled(path: &Path, document: &DeTable<'_>) -> Result<(), InstallError> {
    let disabled = document.get("disabled_plugins").and_then(|value| value.get_ref().as_array());
    if disabled.is_some_and(|disabled| disabled.iter().any(|name| name.get_ref().as_str() == Some(IMAGE_VERIFIERS))) {
        return Err(InstallError::Disabled { path: path.to_owned() });
    }
    Ok(())
}

fn names_of_cri(path: &Path, document: &DeTable<'_>) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let plugins = document.get("plugins").and_then(|value| value.get_ref().as_table());
    let known = [CRI_RUNTIME, CRI, CRI_SHORT].into_iter();
    let used = known.filter(move |name| plugins.is_some_and(|plugins| plugins.get(*name).is_some()));
    used.map(|name| (path.to_owned(), name))
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

pub(super) fn parse<'a>(path: &Path, text: &'a str) -> Result<Spanned<DeTable<'a>>, InstallError> {
    DeTable::parse(text).map_err(|error| {
        let start = error.span().unwrap_or_default().start;
        let line = text.get(..start).unwrap_or_default().split('\n').count();
        InstallError::Config { path: path.to_owned(), line, message: error.message().to_owned() }
    })
}

fn version(document: &DeTable<'_>, text: &str) -> Option<String> {
    text.get(document.get("version")?.span()).map(str::to_owned)
}

fn imports<'a, 'i>(document: &'a DeTable<'i>) -> Option<&'a Spanned<DeValue<'i>>> {
    document.get("imports")
}

fn patterns<'a>(imports: Option<&'a Spanned<DeValue<'_>>>) -> impl Iterator<Item = &'a str> {
    let array = imports.and_then(|imports| imports.get_ref().as_array());
    array.into_iter().flat_map(|array| array.iter()).filter_map(|pattern| pattern.get_ref().as_str())
}

/// The files that are imported, in containerd's order, our drop-in among them where it is found or would be.
fn imported(main: &Path, imports: Option<&Spanned<DeValue<'_>>>, drop_in: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut found = Vec::new();
    for pattern in patterns(imports) {
        let path = absolute(main, pattern);
        if !pattern.contains('*') || !is_understood(&path) {
            found.push(path);
            continue;
        }
        let Some(directory) = path.parent() else { continue };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.extend(covers(&path, drop_in).then(|| drop_in.to_owned()));
                continue;
            }
            Err(source) => return Err(InstallError::Read { path: directory.to_owned(), source }),
        };
        let files = entries.filter_map(|entry| Some(entry.ok()?.path())).chain([drop_in.to_owned()]);
        let mut matching: Vec<PathBuf> = files.filter(|file| covers(&path, file)).collect();
        matching.sort();
        matching.dedup();
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
    pattern.parent() == file.parent()
        && is_understood(pattern)
        && matches(name(pattern).as_bytes(), name(file).as_bytes())
}

/// Whether the pattern is one of a file's name, and of stars alone.
fn is_understood(pattern: &Path) -> bool {
    let is_plain = |path: &Path| !path.to_string_lossy().contains(['*', '?', '[', '\\']);
    let only_stars = pattern.file_name().is_some_and(|name| !name.to_string_lossy().contains(['?', '[', '\\']));
    only_stars && pattern.parent().is_some_and(is_plain)
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

/// How the drop-in is imported: with all its neighbours to come, as everybody does; alone where there are neighbours
/// already, which nobody has asked containerd to read.
fn import_of(drop_in: &Path) -> Result<PathBuf, InstallError> {
    let all = drop_in.with_file_name("*.toml");
    let has_neighbours = match fs::read_dir(drop_in.parent().unwrap_or(drop_in)) {
        Ok(entries) => {
            entries.filter_map(Result::ok).any(|entry| entry.path() != drop_in && covers(&all, &entry.path()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(InstallError::Read { path: drop_in.to_owned(), source }),
    };
    Ok(if has_neighbours { drop_in.to_owned() } else { all })
}

/// The text with one more import and every other byte as it was.
fn with_import(main: &Path, text: &str, document: &DeTable<'_>, import: &Path) -> Result<String, InstallError> {
    let unusable = || InstallError::UnusablePath { path: import.to_owned() };
    let pattern = toml::Value::from(import.to_str().ok_or_else(unusable)?).to_string();
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
        let drop_in = Path::new("/none/containerd/conf.d/99-pratique.toml");
        Files::read(main, text, drop_in).unwrap().importing(drop_in).unwrap()
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
    fn the_imports_are_found_in_containerds_order_and_ours_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (main, conf) = (dir.path().join("config.toml"), dir.path().join("conf.d"));
        let drop_in = conf.join("99-pratique.toml");
        fs::create_dir(&conf).unwrap();
        for name in ["zz.toml", "10.toml", "left.conf"] {
            fs::write(conf.join(name), format!("[plugins.\"{CRI}\"]\n")).unwrap();
        }
        let text = "version = 2\nimports = ['first.toml', 'conf.d/*.toml', '/x/*/y.toml']\n";
        let files = Files::read(&main, text, &drop_in).unwrap();
        let expected = [
            dir.path().join("first.toml"),
            conf.join("10.toml"),
            drop_in.clone(),
            conf.join("zz.toml"),
            "/x/*/y.toml".into(),
        ];
        assert_eq!(files.imports, expected);
        assert_eq!(files.after(&drop_in).collect::<Vec<_>>(), [&expected[3], &expected[4]]);
        assert_eq!(files.cri, [(conf.join("10.toml"), CRI), (conf.join("zz.toml"), CRI)]);
        let shown = files.candidate(|path| if path == drop_in { Shown::NotAtAll } else { Shown::AsItLies });
        assert_eq!(shown.imports.len(), 4);
    }

    #[test]
    fn neighbours_that_nobody_imports_are_not_imported_with_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (main, conf) = (dir.path().join("config.toml"), dir.path().join("conf.d"));
        let drop_in = conf.join("99-pratique.toml");
        fs::create_dir(&conf).unwrap();
        let import = || Files::read(&main, "", &drop_in).unwrap().importing(&drop_in).unwrap();
        assert_eq!(import(), format!("imports = [\"{}\"]\n", conf.join("*.toml").display()));
        fs::write(conf.join("left-over.toml"), "root = '/elsewhere'").unwrap();
        assert_eq!(import(), format!("imports = [\"{}\"]\n", drop_in.display()));
    }

    #[test]
    fn all_imports_are_replaced_and_every_other_byte_stays() {
        let replaced =
            |text: &str| with_imports(Path::new("/none"), text, &["/a".to_owned(), "/b".to_owned()]).unwrap();
        assert_eq!(
            replaced("version = 3\nimports = [\n 'x', # x\n] # y\n"),
            "version = 3\nimports = [\"/a\", \"/b\"] # y\n"
        );
        assert_eq!(replaced("version = 3\n[a]\n"), "version = 3\nimports = [\"/a\", \"/b\"]\n[a]\n");
    }

    #[test]
    fn a_configuration_that_containerd_would_refuse_is_refused() {
        let main = Path::new("/none/containerd/config.toml");
        let drop_in = Path::new("/none/containerd/conf.d/99-pratique.toml");
        let error =
            |text: &str| Files::read(main, text, drop_in).and_then(|files| files.importing(drop_in)).err().unwrap();
        assert!(matches!(error("version = 3\n[grpc\n"), InstallError::Config { line: 2, .. }));
        assert!(matches!(error("version = 3\nimports = 'a'\n"), InstallError::Config { line: 2, .. }));
        let disabled = format!("disabled_plugins = ['{IMAGE_VERIFIERS}']");
        assert!(matches!(error(&disabled), InstallError::Disabled { .. }));
    }
}
