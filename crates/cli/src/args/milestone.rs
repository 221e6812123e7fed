//! The arguments of `milescale milestone`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use milescale_document::digest::Digest;
use milescale_document::id::Id;

use super::JsonOptions;

#[derive(Debug, Subcommand)]
pub(crate) enum MilestoneCommand {
    /// The milestones, a line each.
    #[command(
        after_help = "Examples:\n  milescale milestone list\n  milescale milestone list --status active --json\n\nArchived milestones are left out, unless --all or --status archived asks for them."
    )]
    List(ListOptions),
    /// One milestone's text to standard output, its digest to standard error.
    #[command(
        after_help = "Examples:\n  milescale milestone show release-2\n  milescale milestone show release-2 --json | jq .data.tasks"
    )]
    Show(ShowOptions),
    /// Write a milestone, if nobody has changed it meanwhile.
    #[command(
        after_help = "Examples:\n  milescale milestone put release-2 draft.yaml                      a new one\n  digest=$(milescale milestone show release-2 --digest)\n  milescale milestone put release-2 draft.yaml --if-match \"$digest\"  in place of what was seen\n\nTakes YAML or JSON. Without --if-match only a new id is written."
    )]
    Put(PutOptions),
    /// Set a milestone's status to archived, so that it counts no more.
    #[command(
        after_help = "Example:\n  milescale milestone archive release-1\n\nA file is moved to completed/, never over another one. Comments and layout are kept."
    )]
    Archive(ArchiveOptions),
    /// Bring a milestone back from the archive.
    #[command(
        after_help = "Examples:\n  milescale milestone unarchive release-1\n  milescale milestone unarchive release-1 --status planned\n\nIts status becomes active where it is archived, unless --status names another one. A file goes back to active/, never over\nanother one. Comments and layout are kept."
    )]
    Unarchive(UnarchiveOptions),
    /// The milestones that have a text in their id, title or any other text, a line each.
    #[command(after_help = "Example:\n  milescale milestone search 'database migration'")]
    Search(SearchOptions),
    /// Every milestone, archived ones too: as JSON, one a line, to standard output; or as YAML files into a folder.
    #[command(
        after_help = "Examples:\n  milescale milestone export > milestones.jsonl\n  milescale milestone export --dir copy     every text byte for byte; nothing there is overwritten"
    )]
    Export(ExportOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// Only those of this status.
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only those of this priority.
    #[arg(long, value_name = "PRIORITY")]
    pub(crate) priority: Option<String>,
    /// Archived ones too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// The milestone.
    pub(crate) id: Id,
    /// Print only the digest.
    #[arg(long, conflicts_with = "json")]
    pub(crate) digest: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PutOptions {
    /// The milestone.
    pub(crate) id: Id,
    /// The file; - or nothing: standard input.
    pub(crate) file: Option<PathBuf>,
    /// The digest of the text that this one replaces, as `show` gives it.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) if_match: Option<Digest>,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveOptions {
    /// The milestone.
    pub(crate) id: Id,
    /// Only if its text still has this digest, as `show` gives it.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) if_match: Option<Digest>,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct UnarchiveOptions {
    /// The milestone.
    pub(crate) id: Id,
    /// The status that it gets.
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only if its text still has this digest, as `show` gives it.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) if_match: Option<Digest>,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct SearchOptions {
    /// The text; upper and lower case are the same.
    pub(crate) text: String,
    /// Archived ones too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Archived ones too; that is so without it, for an export leaves nothing out.
    #[arg(long)]
    pub(crate) all: bool,
    /// Write ID.yaml files into this folder; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
