//! `milescale events`: what milescale has said, from `logs/scale-events.jsonl` and its rotated files.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use milescale_core::line::EventName;
use milescale_document::text::harmless;
use milescale_document::timestamp;
use milescale_workspace::Place;
use milescale_workspace::Workspace;
use milescale_workspace::folder::File;
use milescale_workspace::jsonl::rotated;
use serde_json::Value;

use crate::args::EventsOptions;
use crate::context::{Context, Failure};
use crate::terminal::{self, Line, Screen, Style};

/// Events printed where no time is given.
const LAST: usize = 20;

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
    // Opened before what is there is read, so that nothing said in between is missed.
    let path = workspace.scale_events();
    let mut follower = Follower { path: path.clone(), open: None, partial: Vec::new() };
    let lines = lines(&workspace, since.is_some(), &mut follower)?;
    let wanted: Vec<&String> = lines.iter().filter(|line| printer.wants(line)).collect();
    let skipped = if since.is_some() { 0 } else { wanted.len().saturating_sub(LAST) };
    wanted.into_iter().skip(skipped).for_each(|line| printer.print(line));
    if !options.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        for line in follower.new_lines().map_err(|error| unreadable(&path, &error))? {
            if printer.wants(&line) {
                printer.print(&line);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The last events, oldest first.
pub(crate) fn last(workspace: &Workspace, count: usize) -> Vec<Value> {
    let mut follower = Follower { path: workspace.scale_events(), open: None, partial: Vec::new() };
    let lines = lines(workspace, false, &mut follower).unwrap_or_default();
    let objects: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let skipped = objects.len().saturating_sub(count);
    objects.into_iter().skip(skipped).collect()
}

/// All lines that are there, oldest first; the rotated files too where they are wanted or the current one is short.
fn lines(workspace: &Workspace, all: bool, follower: &mut Follower) -> Result<Vec<String>, Failure> {
    let path = workspace.scale_events();
    let current = follower.new_lines().map_err(|error| unreadable(&path, &error))?;
    let mut older: Vec<Vec<String>> = Vec::new();
    for number in 1.. {
        let short = current.len() + older.iter().map(Vec::len).sum::<usize>() < LAST;
        if !all && !short {
            break;
        }
        match rotated(&path, number).open() {
            Ok((file, _)) => older.push(BufReader::new(file).lines().map_while(Result::ok).collect()),
            Err(_) => break,
        }
    }
    Ok(older.into_iter().rev().flatten().chain(current).collect())
}

fn unreadable(path: &Place, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.path().display()))
}

/// Reads a log that is appended to and rotated, as `tail -F` does.
struct Follower {
    path: Place,
    open: Option<File>,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
}

impl Follower {
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = std::mem::take(&mut self.partial);
        if let Some(file) = &mut self.open {
            file.read_to_end(&mut bytes)?;
        }
        // What was still written to the old file is read; now its successor, if there is one.
        match self.path.open() {
            Ok((mut file, metadata)) => {
                let same = match &self.open {
                    Some(open) => open.metadata()?.ino() == metadata.ino(),
                    None => false,
                };
                if !same {
                    file.read_to_end(&mut bytes)?;
                    self.open = Some(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.open = None,
            Err(error) => return Err(error),
        }
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        self.partial = bytes.split_off(end);
        Ok(bytes.lines().map_while(Result::ok).collect())
    }
}

struct Printer<'a> {
    screen: Screen,
    options: &'a EventsOptions,
    since: Option<Timestamp>,
}

impl Printer<'_> {
    fn wants(&self, line: &str) -> bool {
        // Half a line that a full disk left is no event.
        let Ok(event) = serde_json::from_str::<Value>(line) else { return false };
        let name = event["event"].as_str().unwrap_or_default();
        let stamp = event["timestamp"].as_str().and_then(timestamp::from_text);
        (self.options.event.is_empty() || self.options.event.iter().any(|wanted| wanted == name))
            && self.since.is_none_or(|since| stamp.is_some_and(|stamp| stamp >= since))
    }

    fn print(&self, line: &str) {
        if self.options.json {
            return terminal::json_text(line);
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else { return };
        let text = |key: &str| harmless(event[key].as_str().unwrap_or_default());
        let (name, current, optimal) = (text("event"), text("current_backend"), text("optimal_backend"));
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
        let details = match &event["details"] {
            Value::Object(details) if details.is_empty() => String::new(),
            details => details.to_string(),
        };
        let plain = format!("{} {name:<27} {move_to}", text("timestamp"));
        let fitted = self.screen.fit(format!("{plain}  {details}").trim_end());
        terminal::line(match (style, fitted.split_once(&name)) {
            (Some(style), Some((before, after))) => {
                Line::from(before).then(self.screen.paint(style, &name)).then(after)
            }
            _ => Line::from(&fitted),
        });
    }
}
