//! The `tintype` program: error hooks, the command line, an exit code.

use std::process::ExitCode;

use clap::Parser;
use tintype::cli::Cli;

fn main() -> ExitCode {
    tintype::cli::run(Cli::parse())
}
