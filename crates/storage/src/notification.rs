//! The notification's file (contract §7): there whole or not at all.

use std::io;

use milescale_core::notification::Notification;

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;

/// The notification that lies there; `None` where none does or it is not one of milescale's.
pub fn read(workspace: &Workspace) -> Option<Notification> {
    let (content, _) = read_regular(&workspace.notification(), Symlinks::Refuse, 1 << 20).ok()?;
    serde_yaml::from_slice(&content).ok()
}

/// Writes it, durably.
pub fn write(workspace: &Workspace, notification: &Notification) -> io::Result<()> {
    let mut text = String::from(
        "# Written by milescale while a recommendation stands; renamed to migration-notification.previous.yaml after it.\n",
    );
    text.push_str(&serde_yaml::to_string(notification).map_err(io::Error::other)?);
    durable::replace(&workspace.notification(), text.as_bytes())
}

/// Withdraws it. Whether there was one.
pub fn withdraw(workspace: &Workspace) -> io::Result<bool> {
    durable::rename(&workspace.notification(), &workspace.previous_notification())
}
