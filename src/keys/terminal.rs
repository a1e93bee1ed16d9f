//! Asks a person for a secret: at the terminal itself, whatever stdin and stdout are, and without showing what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

use super::PassphraseError;

/// The longest line that is taken: as long as a passphrase may be, and a byte to see that it is longer.
const MAX_LINE: usize = 4097;

/// The answer to a question.
pub(super) fn ask(question: &str) -> Result<Zeroizing<String>, PassphraseError> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let file = terminal.map_err(|_| PassphraseError::NoTerminal)?;
    let mut terminal = &file;
    let unreadable = |source: io::Error| PassphraseError::Unreadable { from: "the terminal".into(), source };
    // First of all: what was typed before is dropped, and what is typed from here on is not shown.
    let silence = Silence::begin(&file).map_err(unreadable)?;
    terminal.write_all(question.as_bytes()).map_err(unreadable)?;
    let line = read_line(terminal);
    drop(silence);
    // The line that was typed was not shown, its end neither.
    terminal.write_all(b"\n").map_err(unreadable)?;
    let line = line.map_err(unreadable)?.ok_or(PassphraseError::BrokenOff)?;
    let text = std::str::from_utf8(&line).map(|text| Zeroizing::new(text.to_owned()));
    text.map_err(|_| PassphraseError::Unusable { from: "the terminal".into(), fault: "not a text" })
}

/// Until the end of the line; nothing where the person broke off (control-C, control-D on an empty line).
fn read_line(mut terminal: &File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = [0];
    loop {
        if terminal.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match byte {
            [b'\r' | b'\n'] => return Ok(Some(line)),
            [3] => return Ok(None),
            [4] if line.is_empty() => return Ok(None),
            [8 | 127] => take_back_character(&mut line),
            [byte] if line.len() < MAX_LINE => line.push(byte),
            _ => {}
        }
    }
}

/// All bytes of the last character.
fn take_back_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
}

/// A terminal that shows nothing, until this is dropped. Control-C is read like any other byte, so that nobody ends the
/// process while the terminal is silent.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = termios::tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}
