//! `tintype generate`: pictures from the shell.

use std::process::ExitCode;

use clap::Args;

use crate::cli::Options;

/// What `tintype generate` takes.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What the picture shows
    pub prompt: Vec<String>,
}

/// Makes the pictures.
pub fn run(_args: &GenerateArgs, _options: &Options) -> ExitCode {
    ExitCode::from(2)
}
