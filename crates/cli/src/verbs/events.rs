//! `milescale events`: what milescale has said, from `logs/scale-events.jsonl` and its rotated files.

use std::borrow::Cow;
use std::io::{self, Read, Seek as _};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milescale_core::line::EventName;
use milescale_document::text::{as_told, harmless};
use milescale_document::timestamp;
use milescale_workspace::Place;
use milescale_workspace::Workspace;
use milescale_workspace::folder::File;
use milescale_workspace::jsonl::rotated;
use milescale_workspace::tail::lines_backwards;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::args::EventsOptions;
use crate::context::{Context, Failure};
use crate::terminal::{self, Line, Screen, Style};

/// Events printed where no time is given.
const LAST: usize = 20;

/// Bytes of a line that may be an event. milescale's own are far shorter.
const LONGEST_EVENT: usize = 1 << 20;

/// What is shown of an event. Its details are no more than a text here: whatever they hold, it takes no more than that.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default, borrow)]
    timestamp: Cow<'a, str>,
    #[serde(rename = "event", default, borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    current_backend: Cow<'a, str>,
    #[serde(default, borrow)]
    optimal_backend: Cow<'a, str>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// The event of a line; `None` for one that is none, such as half a line that a full disk left.
fn event(line: &str) -> Option<Event<'_>> {
    (line.len() <= LONGEST_EVENT).then(|| serde_json::from_str(line).ok())?
}

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(context: &Context, options: &EventsOptions) -> Result<ExitCode, Failure> {
    let workspace = context.workspace()?;
    let known: Vec<&str> = EventName::ALL.iter().map(|event| event.as_str()).collect();
    if let Some(unknown) = options.event.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Failure::Usage(format!("--event {unknown}: no such event; there are {}", known.join(", "))));
    }
    let since = options.since.map(|span| Timestamp::try_from(std::time::SystemTime::now() - span).unwrap_or_default());
    let printer = Printer { screen: Screen::new(), options, since };
    let log = workspace.scale_events();
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", workspace.shown(&log)));
    let print = |line: &[u8]| {
        if let Ok(line) = std::str::from_utf8(line)
            && printer.wants(line)
        {
            printer.print(line);
        }
    };
    let mut follower = from_the_first(&log, &printer, &print).map_err(failed)?;
    while follower.new_lines(&print).map_err(failed)? {}
    if !options.follow {
        return Ok(ExitCode::SUCCESS);
    }
    workspace.follow_its_name();
    loop {
        // Another folder may have the name by now.
        let _ = workspace.is_there();
        while follower.new_lines(&print).map_err(failed)? {}
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Prints what is wanted of the rotated files, and follows the current one from where what is wanted of it begins. Read is what is
/// needed, from the end backwards, and none of it is kept.
fn from_the_first(log: &Place, printer: &Printer<'_>, print: &dyn Fn(&[u8])) -> io::Result<Follower> {
    let mut follower = Follower { log: log.clone(), open: None, lines: Lines::default() };
    // The current one is opened first, so that nothing said in between is missed.
    let (mut found, mut rotated_files, mut first) = (0, Vec::new(), 0);
    for number in 0.. {
        let place = if number == 0 { log.clone() } else { rotated(log, number) };
        let (file, metadata) = match place.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(_) if number > 0 => break,
            other => other?,
        };
        let (mut begins, mut is_enough, mut long_before) = (None, false, 0);
        lines_backwards(&file, metadata.len(), |offset, line| {
            let Some(line) = line.text() else { return ControlFlow::Continue(()) };
            if printer.wants(line) {
                (found, begins) = (found + 1, Some(offset));
            }
            long_before = if printer.is_long_before(line) { long_before + 1 } else { 0 };
            is_enough = if printer.since.is_some() { long_before == LONG_BEFORE } else { found == LAST };
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let begins = begins.unwrap_or(metadata.len());
        if number == 0 {
            (follower.open, first) = (Some(file), begins);
        } else {
            rotated_files.push((file, begins));
        }
        if is_enough {
            break;
        }
    }
    for (mut file, begins) in rotated_files.into_iter().rev() {
        file.seek(io::SeekFrom::Start(begins))?;
        let mut lines = Lines::default();
        while lines.read(&mut file, print)? {}
    }
    if let Some(file) = &mut follower.open {
        file.seek(io::SeekFrom::Start(first))?;
    }
    Ok(follower)
}

/// The last events, oldest first.
pub(crate) fn last(workspace: &Workspace, count: usize) -> Vec<Value> {
    let (log, mut events) = (workspace.scale_events(), Vec::new());
    for place in [log.clone(), rotated(&log, 1)] {
        let Ok((file, metadata)) = place.open() else { continue };
        let read = lines_backwards(&file, metadata.len(), |_, line| {
            let short = line.text().filter(|line| line.len() <= LONGEST_EVENT);
            events.extend(short.and_then(|line| serde_json::from_str::<Value>(line).ok()));
            if events.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if read.is_err() || events.len() >= count {
            break;
        }
    }
    events.reverse();
    events
}

/// Lines that are read piece by piece.
#[derive(Debug, Default)]
struct Lines {
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    /// It is longer than any event, and left out.
    is_skipped: bool,
}

/// Bytes read at once.
const PIECE: usize = 256 << 10;

impl Lines {
    /// Reads some more and hands over each line that is whole. Whether there was anything.
    fn read(&mut self, file: &mut File, print: &dyn Fn(&[u8])) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece)?;
        for part in piece[..count].split_inclusive(|byte| *byte == b'\n') {
            if !self.is_skipped {
                self.partial.extend(part);
            }
            if self.partial.len() > LONGEST_EVENT {
                (self.is_skipped, self.partial) = (true, Vec::new());
            }
            if part.ends_with(b"\n") {
                print(self.partial.trim_ascii_end());
                (self.is_skipped, self.partial) = (false, Vec::new());
            }
        }
        Ok(count > 0)
    }
}

/// Reads a log that is appended to and rotated, as `tail -F` does.
struct Follower {
    log: Place,
    open: Option<File>,
    lines: Lines,
}

impl Follower {
    /// Hands over what has come. Whether there may be more at once.
    fn new_lines(&mut self, print: &dyn Fn(&[u8])) -> io::Result<bool> {
        if let Some(file) = &mut self.open
            && self.lines.read(file, print)?
        {
            return Ok(true);
        }
        // What was still written to the old file is read; now its successor, if there is one.
        match self.log.open() {
            Ok((file, metadata)) => {
                let is_same = match &self.open {
                    Some(open) => open.metadata()?.ino() == metadata.ino(),
                    None => false,
                };
                if !is_same {
                    self.open = Some(file);
                    return Ok(true);
                }
                // It was emptied, and grows anew: what is there by now was not read.
                if let Some(open) = &mut self.open
                    && open.stream_position()? > metadata.len()
                {
                    open.rewind()?;
                    self.lines = Lines::default();
                    return Ok(true);
                }
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

struct Printer<'a> {
    screen: Screen,
    options: &'a EventsOptions,
    since: Option<Timestamp>,
}

/// How far clocks are put back at most while lines are still taken for one after the other.
const OUT_OF_ORDER: SignedDuration = SignedDuration::from_hours(1);

/// Lines in a row that were said long before what is wanted, before which nothing else is looked for: a clock that was wrong for
/// a moment hides nothing.
const LONG_BEFORE: usize = 1000;

impl Printer<'_> {
    /// Whether a line was said so long before what is wanted that nothing before it is.
    fn is_long_before(&self, line: &str) -> bool {
        let stamp = event(line).and_then(|event| timestamp::from_text(&event.timestamp));
        let end = self.since.and_then(|since| since.checked_sub(OUT_OF_ORDER).ok());
        stamp.zip(end).is_some_and(|(stamp, end)| stamp < end)
    }

    fn wants(&self, line: &str) -> bool {
        let Some(event) = event(line) else { return false };
        let stamp = timestamp::from_text(&event.timestamp);
        (self.options.event.is_empty() || self.options.event.iter().any(|wanted| *wanted == event.name))
            && self.since.is_none_or(|since| stamp.is_some_and(|stamp| stamp >= since))
    }

    fn print(&self, line: &str) {
        if self.options.json {
            return terminal::json_text(line);
        }
        let Some(event) = event(line) else { return };
        let (name, current, optimal) =
            (harmless(&event.name), harmless(&event.current_backend), harmless(&event.optimal_backend));
        let style = match name.as_str() {
            "scale_status" | "migration_monitoring" => None,
            "config_rejected" | "source_unavailable" | "state_unreadable" => Some(Style::Bad),
            "source_recovered" | "milestones_mended" => Some(Style::Good),
            _ => Some(Style::Attention),
        };
        let move_to = match (current.as_str(), optimal.as_str()) {
            (current, "") => current.to_owned(),
            (current, optimal) if current == optimal => current.to_owned(),
            (current, optimal) => format!("{current} → {optimal}"),
        };
        let details = event.details.map_or("null", RawValue::get);
        let details = if details.trim_matches(['{', '}', ' ']).is_empty() { "" } else { details };
        let plain = format!("{} {name:<27} {move_to}", harmless(&event.timestamp));
        // Whoever may write the log may have written it.
        let fitted = self.screen.fit(as_told(&format!("{plain}  {details}")).trim_end());
        terminal::line(match (style, fitted.split_once(&name)) {
            (Some(style), Some((before, after))) => {
                Line::from(before).then(self.screen.paint(style, &name)).then(after)
            }
            _ => Line::from(&fitted),
        });
    }
}
