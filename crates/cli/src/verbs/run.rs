//! `milescale run`.

use std::process::ExitCode;

use milescale_daemon::Options;

use crate::args::RunOptions;
use crate::context::{Context, Failure};
use crate::logging;

pub(crate) fn run(context: &Context, options: &RunOptions) -> Result<ExitCode, Failure> {
    logging::start(options.log_format, options.log_level);
    let options = Options { interval: options.interval, environment: Context::environment() };
    milescale_daemon::run(context.workspace()?, options)?;
    Ok(ExitCode::SUCCESS)
}
