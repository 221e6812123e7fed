//! The notification's file (contract §7): there whole or not at all.

use std::io;

use milescale_core::notification::Notification;
use serde_json::Value;

use crate::Workspace;
use crate::durable;
use crate::read::{from_yaml, read_regular};

/// The notification that lies there; `None` where none does or it is not one of milescale's.
pub fn read(workspace: &Workspace) -> Option<Notification> {
    let (content, _) = read_regular(&workspace.notification(), 1 << 20).ok()?;
    from_yaml(&content).ok()
}

/// Writes it, durably.
pub fn write(workspace: &Workspace, notification: &Notification) -> io::Result<()> {
    let text = text(&serde_json::to_value(notification)?);
    durable::replace(&workspace.notification(), text.as_bytes())
}

/// Sections of keys, each text in double quotes: so no reader of YAML takes a time or a word for something else. A JSON
/// scalar is a YAML scalar.
fn text(notification: &Value) -> String {
    let mut text = String::from("# Written by milescale while a recommendation stands, and renamed to\n");
    text.push_str("# migration-notification.previous.yaml when it no longer does.\n");
    for (section, keys) in notification.as_object().into_iter().flatten() {
        text.push_str(&format!("{section}:\n"));
        for (key, value) in keys.as_object().into_iter().flatten() {
            text.push_str(&format!("  {key}: {value}\n"));
        }
    }
    text
}

/// Withdraws it. Whether there was one.
pub fn withdraw(workspace: &Workspace) -> io::Result<bool> {
    durable::rename(&workspace.notification(), &workspace.previous_notification())
}
