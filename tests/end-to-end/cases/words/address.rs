//! An address of a server that cannot be read.

use milescale_testkit::until;

use super::{configure, text, with_milestones};

#[test]
fn an_address_that_cannot_be_read_is_not_taken_into_force() {
    let workspace = with_milestones();
    let configured = |kind: &str, parameter: &str| {
        let url = format!("postgresql://ada@127.0.0.1:1/plans{parameter}");
        configure(&workspace, &format!("storage:\n  database:\n    type: {kind}\n    url: {url}\n"));
    };
    configured("sqlite", "?sslmode=foo");
    assert!(text(&workspace, 2, "config check").contains("storage.database.url: "));
    configured("sqlite", "");
    let daemon = workspace.daemon(["--interval", "600"]);
    configured("postgresql", "?sslmode=foo");
    let rejected = workspace.until_event("config_rejected", 1);
    assert!(rejected["details"].to_string().contains("sslmode"), "{rejected}");
    assert!(workspace.events_named("config_reloaded").is_empty());
    let kept = workspace.read(".milescale/last-good-config.yaml");
    assert!(kept.contains("type: sqlite") && !kept.contains("sslmode"), "{kept}");
    configured("postgresql", "");
    workspace.until_event("config_reloaded", 1);
    until("it is kept", || workspace.read(".milescale/last-good-config.yaml").contains("postgresql\n").then_some(()));
    daemon.stop();
}
