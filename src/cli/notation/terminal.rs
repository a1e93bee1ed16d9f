//! Reading from a terminal what nobody beside is to see.

use std::io::{self, BufRead as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// One line, typed without being shown. The terminal is as it was afterwards, also where reading fails.
pub(super) fn read_unseen() -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
    let _shown_again = Restored(before);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Puts the terminal back.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
