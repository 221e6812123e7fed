//! The daemon's log on standard error.

use std::fmt;
use std::io::{self, Write};

use milescale_document::text::is_harmful;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::args::LogFormat;

/// Starts the log.
pub(crate) fn start(format: LogFormat, level: Level) {
    // What cannot be written is not complained about: there is nowhere to complain to.
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(|| Lossy).log_internal_errors(false);
    let for_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    match format {
        LogFormat::Json => builder.json().with_target(false).flatten_event(true).init(),
        LogFormat::Text if for_journal => builder.with_ansi(false).event_format(ForJournal::default()).init(),
        LogFormat::Text => {
            let colour = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).with_target(false).init();
        }
    }
}

/// Standard error, whose lines are dropped where it cannot be written: full, closed, or a terminal that has gone. A
/// daemon does not end for that.
struct Lossy;

impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(harmless_log(&String::from_utf8_lossy(line)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of the log in which nothing does something to a terminal, but for the log's own colours: those are all that it writes with an
/// ESC, which stands in nobody else's text, for that has it as an escape.
fn harmless_log(lines: &str) -> String {
    let mut harmless = String::with_capacity(lines.len());
    let mut rest = lines;
    while let Some(at) = rest.find(|character: char| character != '\n' && is_harmful(character)) {
        harmless.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = COLOURS.iter().find(|colour| rest.starts_with(**colour));
        let length = colour.map_or_else(|| rest.chars().next().map_or(0, char::len_utf8), |colour| colour.len());
        match colour {
            Some(colour) => harmless.push_str(colour),
            None => harmless.extend(rest[..length].chars().flat_map(char::escape_default)),
        }
        rest = &rest[length..];
    }
    harmless + rest
}

/// What the log writes in colour.
const COLOURS: [&str; 9] =
    ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m"];

/// Lines for the journal: the priority in front, no time and no level, for the journal has both.
struct ForJournal(Format<Full, ()>);

impl Default for ForJournal {
    fn default() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false))
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_logs_own_colours_are_left() {
        let line = "\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m w=/a\x1b]0;PWN\x07\u{9b}31m b\n";
        let shown = super::harmless_log(line);
        assert_eq!(shown, "\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m w=/a\\u{1b}]0;PWN\\u{7}\\u{9b}31m b\n");
    }
}
