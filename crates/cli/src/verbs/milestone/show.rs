//! `milestone show`.

use milescale_document::value::Value;
use serde::Serialize;

use super::{Desk, Listed};
use crate::args::ShowOptions;
use crate::context::Failure;
use crate::terminal;

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    /// The text as it is kept.
    text: String,
    /// Its value; null where it cannot be read.
    data: Option<Value>,
}

pub(super) fn run(desk: &mut Desk, options: &ShowOptions) -> Result<(), Failure> {
    let milestone = desk.archive.get(&mut *desk.access.store, &options.id)?;
    let digest = milestone.digest();
    if options.digest {
        terminal::line(&digest.to_string());
    } else if options.json {
        let text = String::from_utf8_lossy(&milestone.text).into_owned();
        let data = milestone.value.clone().ok();
        terminal::json(&Shown { listed: Listed::of(milestone), text, data });
    } else {
        terminal::document(&milestone.text);
        terminal::error(&format!("digest {digest}"));
    }
    Ok(())
}
