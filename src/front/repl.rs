//! The prompt: `tintype` with no arguments.

use std::process::ExitCode;

use crate::cli::Options;

/// Runs the prompt until the person leaves.
pub fn run(_options: &Options) -> ExitCode {
    eprintln!("tintype: the prompt is being built; try: tintype generate \"a red house under a yellow sun\"");
    ExitCode::from(2)
}
