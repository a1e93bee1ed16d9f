//! Asks before something is done that cannot be undone.

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A clear yes.
    Yes,
    /// Anything else.
    No,
    /// Nobody was there to answer.
    Nothing,
}

/// Shows a question, and reads one line from the standard input.
pub(super) fn ask(show: impl FnOnce()) -> Answer {
    show();
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(0) | Err(_) => Answer::Nothing,
        Ok(_) if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") => Answer::Yes,
        Ok(_) => Answer::No,
    }
}
