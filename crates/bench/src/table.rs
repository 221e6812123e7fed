//! The table that is printed and kept.

use std::fmt::Write as _;

/// Whether a figure is what it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Met,
    Missed,
}

impl Judged {
    pub(crate) fn of(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Missed }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
        }
    }
}

#[derive(Debug)]
struct Row {
    what: String,
    ratio: String,
    target: String,
    judged: Judged,
    measured: String,
}

/// Rows in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row, and prints it at once.
    pub(crate) fn row(&mut self, what: &str, ratio: String, target: &str, judged: Judged, measured: String) {
        eprintln!("{what}: {ratio} (target: {target}) {} {measured}", judged.sign());
        self.rows.push(Row { what: what.to_owned(), ratio, target: target.to_owned(), judged, measured });
    }

    /// Adds a row that says how often a limit is in what was measured; the target is a number of times, at most.
    pub(crate) fn times(&mut self, what: &str, (times, target): (f64, f64), limit: &str, measured: String) {
        self.row(what, format!("{times:.2} ×"), &format!("{target} × {limit}"), Judged::of(times <= target), measured);
    }

    /// As Markdown.
    pub(crate) fn text(&self, head: &str) -> String {
        let mut text = format!("{head}\n| what | measured | target | | of which |\n|---|---|---|---|---|\n");
        for Row { what, ratio, target, judged, measured } in &self.rows {
            let _ = writeln!(text, "| {what} | {ratio} | {target} | {} | {measured} |", judged.sign());
        }
        text
    }
}

const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- /measured -->\n";

/// A page with another table between its marks; a page without them is the table alone.
pub(crate) fn in_page(page: &str, table: &str) -> String {
    let around = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = around.unwrap_or_default();
    format!("{before}{BEGIN}{table}{END}{after}")
}

#[cfg(test)]
mod tests {
    use super::in_page;

    #[test]
    fn what_people_wrote_around_a_table_stays() {
        let page = in_page("", "one\n");
        let page = format!("# Costs\n{page}\nWhy.\n");
        assert_eq!(in_page(&page, "two\n"), page.replace("one", "two"));
    }
}
