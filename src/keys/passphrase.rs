//! Passphrases and PINs: from a variable, a descriptor, a file or a person, and never from the command line, which everybody
//! on the machine can read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::terminal;
use crate::remedy::{Code, Remedy};

/// The longest passphrase, in bytes: a long sentence, or a kilobyte of random bytes in hexadecimal digits.
const MAX_PASSPHRASE: u64 = 4096;

/// A passphrase or a PIN. Never shown, and wiped when dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The text, for the one who checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase([secret])")
    }
}

/// Where a passphrase comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A variable of the environment.
    Variable(String),
    /// A descriptor that the caller has opened.
    Descriptor(u32),
    /// A file.
    File(PathBuf),
    /// A person at the terminal.
    Terminal,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// No such variable, or none that is text.
    #[error("the variable `{0}` is not set to a text")]
    NotSet(String),
    /// It cannot be read.
    #[error("the passphrase cannot be read from {from}")]
    Unreadable {
        /// What was read.
        from: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nothing, more than is read, or not a text.
    #[error("the passphrase from {from} is {fault}")]
    Unusable {
        /// What was read.
        from: String,
        /// What it is.
        fault: &'static str,
    },
    /// There is nobody to ask.
    #[error("a passphrase is needed, and there is no terminal to ask at")]
    NoTerminal,
    /// Whoever was asked broke off.
    #[error("no passphrase was given")]
    BrokenOff,
}

impl Remedy for PassphraseError {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotSet(_) | Self::Unreadable { .. } => "passphrase-unreadable",
            Self::Unusable { .. } => "passphrase-unusable",
            Self::NoTerminal | Self::BrokenOff => "passphrase-missing",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unusable { .. } => "put the passphrase on the first line, and nothing else".into(),
            _ => "give it with `--passphrase-env`, `--passphrase-fd` or `--passphrase-file`".into(),
        })
    }
}

impl PassphraseSource {
    /// The passphrase. `what` is what it opens, for the question at a terminal.
    pub fn read(&self, what: &str) -> Result<Passphrase, PassphraseError> {
        match self {
            Self::Variable(name) => {
                let text = std::env::var(name).map_err(|_| PassphraseError::NotSet(name.clone()))?;
                usable(Zeroizing::new(text), &self.to_string())
            }
            Self::Descriptor(number) => self.read_file(&PathBuf::from(format!("/proc/self/fd/{number}"))),
            Self::File(path) => self.read_file(path),
            Self::Terminal => usable(terminal::ask(&format!("Passphrase for {what}: "))?, &self.to_string()),
        }
    }

    /// The passphrase is the first line.
    fn read_file(&self, path: &Path) -> Result<Passphrase, PassphraseError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        let read = File::open(path).and_then(|file| file.take(MAX_PASSPHRASE + 1).read_to_end(&mut bytes));
        read.map_err(|source| PassphraseError::Unreadable { from: self.to_string(), source })?;
        let unusable = |fault| PassphraseError::Unusable { from: self.to_string(), fault };
        let text = std::str::from_utf8(&bytes).map_err(|_| unusable("not a text"))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        if text.contains('\n') {
            return Err(unusable("more than one line"));
        }
        usable(Zeroizing::new(text.to_owned()), &self.to_string())
    }

    /// Whether others than its owner can read the file that it comes from.
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::File(path) if is_exposed(path))
    }
}

fn usable(text: Zeroizing<String>, from: &str) -> Result<Passphrase, PassphraseError> {
    let unusable = |fault| PassphraseError::Unusable { from: from.to_owned(), fault };
    match text.len() as u64 {
        0 => Err(unusable("empty")),
        1..=MAX_PASSPHRASE => Ok(Passphrase(text)),
        _ => Err(unusable("too long")),
    }
}

impl fmt::Display for PassphraseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the variable `{name}`"),
            Self::Descriptor(number) => write!(f, "the descriptor {number}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Terminal => f.write_str("the terminal"),
        }
    }
}

/// Whether others than a file's owner can read it. A file that is not there is nobody's.
pub fn is_exposed(path: &Path) -> bool {
    const READABLE_BY_OTHERS: u32 = 0o044;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & READABLE_BY_OTHERS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<String, &'static str> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        let read = PassphraseSource::File(path).read("a key");
        read.map(|passphrase| passphrase.expose().to_owned()).map_err(|error| error.code().as_str())
    }

    #[test]
    fn the_one_line_of_a_file_is_the_passphrase() {
        for content in [&b"open sesame"[..], b"open sesame\n", b"open sesame\r\n"] {
            assert_eq!(from_file(content), Ok("open sesame".to_owned()));
        }
        assert_eq!(from_file(b" open \n"), Ok(" open ".to_owned()), "blanks belong to it");
        let longest = vec![b'a'; 4096];
        assert!(from_file(&longest).is_ok());
        for content in [&b""[..], b"\n", b"open\nsesame", b"\xff", &[&longest[..], b"a"].concat()] {
            assert_eq!(from_file(content), Err("passphrase-unusable"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_passphrase_never_is() {
        let missing = PassphraseSource::File("/nowhere/passphrase".into()).read("a key").unwrap_err();
        assert_eq!(missing.code().as_str(), "passphrase-unreadable");
        let variable = PassphraseSource::Variable("PRATIQUE_TEST_NOT_SET".into()).read("a key").unwrap_err();
        assert_eq!(variable.to_string(), "the variable `PRATIQUE_TEST_NOT_SET` is not set to a text");
        assert_eq!(format!("{:?}", Passphrase(Zeroizing::new("secret".into()))), "Passphrase([secret])");
    }
}
