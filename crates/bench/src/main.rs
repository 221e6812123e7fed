//! `milescale-bench`: what milescale costs, measured beside the least that the same work could cost.
//!
//! `milescale-bench BINARY [--quick] [--only ROWS] [--output FILE]` measures everything in one run, medians of at least five,
//! prints a table and writes it into a page, between two marks: what people wrote around it stays. `--quick` takes tiny
//! sizes: that the measurements run, not what they say.
#![allow(clippy::disallowed_methods, reason = "tests look with their own eyes")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step that fails is no measurement")]
#![allow(clippy::unchecked_time_subtraction, reason = "clocks that go backwards are no measurement")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod bare;
mod cpu;
mod figures;
mod files;
mod growth;
mod idle;
mod log;
mod machine;
mod moves;
mod run;
mod table;
mod verbs;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use run::Run;
use table::Table;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = arguments.into_iter();
    let (mut binary, mut output, mut only, mut quick) = (None, None, Vec::new(), false);
    while let Some(option) = options.next() {
        match option.as_str() {
            "--quick" => quick = true,
            "--only" => only = options.next().unwrap_or_default().split(',').map(str::to_owned).collect(),
            "--output" => output = options.next().map(PathBuf::from),
            _ => binary = Some(PathBuf::from(option)),
        }
    }
    let Some(binary) = binary else {
        eprintln!("usage: milescale-bench BINARY [--quick] [--only ROW,…] [--output FILE]");
        return ExitCode::from(2);
    };
    let mut run = Run::new(&binary, quick, only);
    let head = machine::describe();
    // After each group: a run that is cut off has measured something.
    measure(&mut run, &mut |table| {
        if let Some(output) = &output {
            let page = std::fs::read_to_string(output).unwrap_or_default();
            std::fs::write(output, table::in_page(&page, &table.text(&head))).unwrap();
        }
    });
    println!("{}", run.table.text(&head));
    ExitCode::SUCCESS
}

fn measure(run: &mut Run, keep: &mut dyn FnMut(&Table)) {
    for group in [files::measure, log::measure, moves::measure, verbs::measure, idle::measure, growth::measure] {
        group(run);
        keep(&run.table);
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, measure};

    /// That the measurements run, with tiny sizes; not what they say.
    #[test]
    fn every_row_can_be_measured() {
        let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        let binary = folder.join("milescale");
        assert!(binary.exists(), "{} is not built; `cargo build` builds it", binary.display());
        let mut run = Run::new(&binary, true, Vec::new());
        let mut kept = 0;
        measure(&mut run, &mut |_| kept += 1);
        assert_eq!(kept, 6);
        let text = run.table.text("");
        assert!(text.lines().count() > 12, "{text}");
    }
}
