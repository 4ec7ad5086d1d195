//! `tintype models`: what can be used without a download.

use std::process::ExitCode;

/// Prints the models.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
