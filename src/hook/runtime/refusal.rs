//! How a container is refused: in the form in which runtimes tell their errors.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use serde::Serialize;

use super::Call;
use crate::clock;
use crate::proto::frame::clipped;
use crate::remedy::printable;

/// The reason why a container is not started: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A line of runc's log.
#[derive(Serialize)]
struct Entry<'a> {
    level: &'static str,
    msg: &'a str,
    time: String,
}

impl Refusal {
    /// Tells whoever has called: in the log where there is one, and on standard error. Nobody who listens there changes
    /// anything about the refusal, so what cannot be written is passed over.
    pub(super) fn tell(&self, call: &Call) {
        let line = format!("pratique: {}", clipped(printable(self.0.trim())));
        let _ = writeln!(io::stderr(), "{line}");
        if let Some(path) = &call.log {
            let log = OpenOptions::new().append(true).create(true).open(path);
            let _ = log.and_then(|mut log| log.write_all(entry(&line, call.json).as_bytes()));
        }
    }
}

/// The line for the log, in the form that was asked for.
fn entry(line: &str, json: bool) -> String {
    let time = clock::now().to_string();
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    if json {
        let entry = Entry { level: "error", msg: line, time };
        return format!("{}\n", serde_json::to_string(&entry).unwrap_or_default());
    }
    format!("time={} level=error msg={}\n", quoted(&time), quoted(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_log_is_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log.json");
        std::fs::write(&log, "{\"level\":\"info\",\"msg\":\"before\"}\n").unwrap();
        let call = Call { log: Some(log.clone()), json: true, start: None };
        Refusal("denied: \"app\"\n[no-signature]".into()).tell(&call);
        let text = std::fs::read_to_string(&log).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["level"], "error");
        assert_eq!(last["msg"], "pratique: denied: \"app\" [no-signature]");
        assert!(last["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_log_for_people_is_written_for_people() {
        assert!(entry("a \"b\"", false).ends_with(" level=error msg=\"a \\\"b\\\"\"\n"));
    }
}
