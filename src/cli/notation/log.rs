//! What `--verbose` and `--debug` show, on standard error, in the form of the Notary Project's own command.
//!
//! Its lines carry the time and differ from run to run, so nobody compares them; but people, and scripts after them, look
//! for the sentence that says why a signature failed. That sentence is the original's; others are pratique's.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::flags::Parsed;
use crate::cli::output::safe;
use crate::clock;

/// Only what pratique itself says: what its libraries do with a request may hold credentials.
const OURS: &str = "pratique";

/// Begins the log that the flags ask for. Without one of them nothing is shown.
pub(super) fn begin(parsed: &Parsed) {
    let level = match (parsed.is_on("debug"), parsed.is_on("verbose")) {
        (true, _) => "trace",
        (_, true) => "info",
        _ => return,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{OURS}={level}")))
        .with_writer(std::io::stderr)
        .event_format(Lines { with_time: level == "trace" });
    // A process has one log, and runs one command.
    let _ = lines.try_init();
}

/// `time="…" level=info msg=…`, as the original's library writes it.
struct Lines {
    with_time: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.with_time {
            write!(writer, "time={} ", clock::now().strftime("%Y-%m-%dT%H:%M:%SZ"))?;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = name(*event.metadata().level());
        writeln!(writer, "level={level} msg={}{}", safe(&text.message), safe(&text.fields))
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// An event's sentence, and its values behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
