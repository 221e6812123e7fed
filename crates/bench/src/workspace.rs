//! Workspaces to measure on: milestones of about 1.85 KB, as people and agents write them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use milescale_testkit::Workspace;

/// The id of one.
pub(crate) fn id(number: usize) -> String {
    format!("milestone-{number:07}")
}

/// The text of one, of about 1.85 KB.
pub(crate) fn text(number: usize) -> String {
    let statuses = ["planning", "in_progress", "pending", "completed"];
    let mut text = format!(
        "# Written by hand; comments matter to the people who keep them.\nid: \"{id}\"\ntitle: \"Milestone number {number}\"\n\
         description: \"What it is about, in one line that is long enough to look like those that people write\"\n\
         status: \"{status}\"\npriority: \"{priority}\"\ncategory: \"feature\"\n\ntimeline:\n  estimated_start: \"2026-10-{day:02}\"\n  \
         estimated_hours: {hours}\n\nprogress:\n  percentage: {percentage}\n  last_update: \"2026-10-09T15:20:00Z\"\n\ntasks:\n",
        id = id(number),
        status = statuses[number % 4],
        priority = ["low", "medium", "high"][number % 3],
        day = number % 28 + 1,
        hours = number % 40,
        percentage = number % 100,
    );
    for task in 0..6 {
        let _ = write!(
            text,
            "  - id: \"task-{task:03}\"\n    title: \"Work item {task} of milestone {number}, in words that say what is to be done\"\n    \
             status: \"{}\"\n    type: \"task\"\n    kiro_workflow:\n      enabled: {}\n      current_phase: \"design\"\n",
            if task % 3 == 0 { "completed" } else { "pending" },
            task % 4 == 0,
        );
    }
    let _ = write!(
        text,
        "\ndependencies:\n  requires: [\"{}\", '{}']\n  enables: []\nnotes: |\n  What was said about it, kept by those who were \
         there,\n  over a few lines.\n",
        id(number * 7 + 1),
        id(number * 13 + 5)
    );
    text
}

/// A workspace with so many milestone files.
pub(crate) fn make(binary: &Path, count: usize) -> Workspace {
    let workspace = Workspace::new(binary);
    let active = workspace.path("active");
    fs::create_dir_all(&active).unwrap();
    for number in 0..count {
        fs::write(active.join(format!("{}.yaml", id(number))), text(number)).unwrap();
    }
    workspace
}
