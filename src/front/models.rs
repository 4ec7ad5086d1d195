//! `tintype models`: what can be used without a download.

use std::process::ExitCode;

use crate::cli::Options;

/// Prints the models.
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::SUCCESS
}
