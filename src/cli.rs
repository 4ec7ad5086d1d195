//! The command line: which front end runs, and the options that hold for all of them.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::diffusion::device::{DTypeChoice, DeviceChoice};

/// Type a prompt, watch the picture develop, type the next one.
#[derive(Debug, Parser)]
#[command(name = "tintype", version, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Options of every front end.
    #[command(flatten)]
    pub options: Options,
    /// What to do; nothing starts the prompt.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that hold for every front end.
#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Where the model runs: auto, metal, cuda or cpu
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", hide_default_value = true)]
    pub device: DeviceChoice,
    /// Floats of the model: auto (f16 on a GPU, f32 on the CPU), f32, f16 or bf16
    #[arg(long, global = true, value_name = "DTYPE", default_value = "auto", hide_default_value = true)]
    pub dtype: DTypeChoice,
    /// Never touch the network (also HF_HUB_OFFLINE=1)
    #[arg(long, global = true)]
    pub offline: bool,
    /// One JSON line a picture on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// A scripted engine instead of a model, for trying and testing the front end
    #[arg(long, global = true, hide = true)]
    pub fake: bool,
}

/// The front ends.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make pictures and leave
    Generate(crate::front::generate::GenerateArgs),
    /// List the models that are here
    Models,
}

/// Runs the front end that the command line names.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Some(Command::Generate(args)) => crate::front::generate::run(&args, &cli.options),
        Some(Command::Models) => crate::front::models::run(),
        None => crate::front::repl::run(&cli.options),
    }
}
