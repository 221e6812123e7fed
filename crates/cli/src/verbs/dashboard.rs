//! `milescale dashboard`: every line of the reference's dashboard, its labels and its order.

use std::process::ExitCode;

use milescale_core::decision::Verdict;
use milescale_daemon::status::Status;
use milescale_document::text::harmless;
use serde_json::{Value, json};

use super::events;
use super::status::figure;
use crate::args::JsonOptions;
use crate::context::{Context, Failure};
use crate::terminal::{self, Screen, Style};

pub(crate) fn run(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let engine = context.looked_at()?;
    let status = Status::of(&engine);
    let recent = events::last(engine.workspace(), 3);
    if options.json {
        let mut object = json!(status);
        object["recent_events"] = json!(recent);
        terminal::json(&object);
    } else {
        print(&Screen::new(), &status, &recent);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(screen: &Screen, status: &Status, recent: &[Value]) {
    let heading = |text: &str| terminal::line(screen.paint(Style::Heading, &screen.fit(text)));
    let line = |text: String| terminal::line(&screen.fit(&text));
    let (current, optimal) = (&status.current_backend, &status.optimal_backend);
    heading("=== MILESTONE SCALE DETECTION DASHBOARD ===");
    terminal::line("");
    line(format!("Current Storage Backend: {}", or_unknown(current)));
    line(format!("Optimal Backend: {}", or_unknown(optimal)));
    let (style, text) = match status.status {
        Verdict::Optimal => (Style::Good, "✅ Migration Status: OPTIMAL".to_owned()),
        Verdict::Monitoring => (Style::Attention, format!("👀 Migration Status: MONITORING ({current} → {optimal})")),
        Verdict::MigrationRecommended => {
            (Style::Attention, format!("🔄 Migration Status: RECOMMENDED ({current} → {optimal})"))
        }
        Verdict::Unavailable => (Style::Bad, "❔ Migration Status: UNAVAILABLE (see milescale status)".to_owned()),
    };
    terminal::line(screen.paint(style, &screen.fit(&text)));
    if let Some(confidence) = status.migration_confidence
        && status.status != Verdict::Optimal
    {
        line(format!("Migration Confidence: {confidence}%"));
    }
    terminal::line("");
    heading("SCALE METRICS:");
    line(format!("├── Active Milestones: {}", figure(status.milestone_count)));
    line(format!("├── Concurrent Users: {} (last hour)", figure(status.concurrent_users)));
    line(format!("├── Complexity Score: {}", figure(status.complexity_score)));
    line(format!("└── Kiro Workflows: {}", figure(status.kiro_enabled_count)));
    terminal::line("");
    heading("PERFORMANCE METRICS:");
    line(format!("├── Avg Read Time: {}ms", figure(status.recent_avg_read_time_ms)));
    line(format!("├── Avg Write Time: {}ms", figure(status.recent_avg_write_time_ms)));
    line(format!("└── Avg Query Time: {}ms", figure(status.recent_avg_query_time_ms)));
    terminal::line("");
    heading("SCALE THRESHOLDS:");
    let thresholds = status.config.thresholds.milestone_count;
    line(format!("├── File → Hybrid: {} milestones", thresholds.file_to_hybrid));
    line(format!("└── Hybrid → Database: {} milestones", thresholds.hybrid_to_database));
    terminal::line("");
    heading("RECENT SCALE EVENTS:");
    if recent.is_empty() {
        line("No scale events recorded".to_owned());
    }
    for event in recent {
        let text = |key: &str| harmless(event[key].as_str().unwrap_or_default());
        line(format!(
            "{} {}: {} → {}",
            text("timestamp"),
            text("event"),
            text("current_backend"),
            text("optimal_backend")
        ));
    }
    for stale in &status.stale_sources {
        let text = format!("Not of now: {}: {}", stale.source, stale.reason);
        terminal::line(screen.paint(Style::Bad, &screen.fit(&text)));
    }
    heading("=================================");
}

fn or_unknown(word: &str) -> &str {
    if word.is_empty() { "?" } else { word }
}
