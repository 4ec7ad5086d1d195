//! The command line: which front end runs, and the options that hold for all of them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::diffusion::device::{DTypeChoice, DeviceChoice};
use crate::diffusion::memory_plan::{AttentionSlicing, MemoryBudget, MemoryWishes, VaeTiling};
use crate::term::{ColorChoice, Protocol};

/// Type a prompt, watch the picture develop, type the next one.
#[derive(Debug, Parser)]
#[command(name = "tintype", version)]
pub struct Cli {
    /// Options of every front end.
    #[command(flatten)]
    pub options: Options,
    /// Options of the prompt.
    #[command(flatten)]
    pub prompt: PromptOptions,
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
    /// Never use the network (also HF_HUB_OFFLINE=1)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Attention over so many heads at a time: auto (as memory needs), off, max (one head), or a number
    #[arg(long, global = true, value_name = "HEADS", default_value = "auto", hide_default_value = true)]
    pub attention_slicing: AttentionSlicing,
    /// Decode in tiles: auto (as memory needs), on or off
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub vae_tiling: VaeTiling,
    /// Memory that a picture may take: auto (what is free), off, or an amount such as 6GiB
    #[arg(long, global = true, value_name = "BYTES", default_value = "auto", hide_default_value = true)]
    pub memory_budget: MemoryBudget,
    /// Write where the time goes, op by op, into a trace for chrome://tracing or Perfetto (on a GPU this costs time)
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// One JSON line a picture on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// A scripted engine instead of a model, for trying and testing the front ends; milliseconds per step
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "MS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "120"
    )]
    pub fake: Option<u64>,
}

/// Options of the prompt alone.
#[derive(Clone, Debug, Default, Args)]
pub struct PromptOptions {
    /// How pictures are shown: kitty, placeholder, iterm2, sixel, half-blocks or none
    #[arg(long, value_name = "PROTOCOL")]
    pub images: Option<Protocol>,
    /// Colours: auto, always or never (NO_COLOR is never)
    #[arg(long, value_name = "WHEN", value_parser = color_choice, default_value = "auto", hide_default_value = true)]
    pub color: ColorChoice,
    /// A theme; /theme in the prompt shows them
    #[arg(long, value_name = "NAME")]
    pub theme: Option<String>,
    /// Without a live panel: a progress line, and one picture after another
    #[arg(long)]
    pub plain: bool,
}

fn color_choice(text: &str) -> Result<ColorChoice, String> {
    match text {
        "auto" => Ok(ColorChoice::Auto),
        "always" => Ok(ColorChoice::Always),
        "never" => Ok(ColorChoice::Never),
        other => Err(format!("`{other}` is none of auto, always and never")),
    }
}

/// The front ends.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make pictures and leave
    // The arguments are the prompt's own switches, so the prompt's own parser reads them.
    #[command(disable_help_flag = true)]
    Generate {
        /// The prompt and its switches
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROMPT")]
        args: Vec<String>,
    },
    /// Tell how pictures were made, whatever tool made them
    Inspect(crate::front::inspect::InspectArgs),
    /// List the models that are here
    Models,
    /// Say what this machine is and whether this build computes right on it (--json for bug reports)
    Doctor,
}

/// Runs the front end that the command line names.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Some(Command::Generate { args }) => match split_options(&args, &cli.options) {
            Ok((options, args)) => crate::front::generate::run(&args, &options),
            Err(error) => {
                let _ = error.print();
                ExitCode::from(2)
            }
        },
        Some(Command::Inspect(args)) => crate::front::inspect::run(&args, &cli.options),
        Some(Command::Models) => crate::front::models::run(&cli.options),
        Some(Command::Doctor) => crate::front::doctor::run(&cli.options),
        None => crate::front::repl::run(&cli.options, &cli.prompt),
    }
}

/// Takes the options of every front end out of what follows `generate`: everything else is the prompt's.
fn split_options(args: &[String], given: &Options) -> Result<(Options, Vec<String>), clap::Error> {
    #[derive(Parser)]
    #[command(name = "tintype generate", disable_help_flag = true, disable_version_flag = true)]
    struct Only {
        #[command(flatten)]
        options: Options,
    }

    let known = Only::command();
    let option = |arg: &str| {
        let (name, value) =
            arg.strip_prefix("--")?.split_once('=').map_or((&arg[2..], false), |(n, _)| (n, true));
        let found = known.get_arguments().find(|known| known.get_long() == Some(name))?;
        Some(found.get_action().takes_values() && !value && !found.is_require_equals_set())
    };
    let (mut ours, mut rest) = (vec![String::from("tintype generate")], Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match option(word) {
            None if word == "--" => {
                rest.push(word.clone());
                rest.extend(words.by_ref().cloned());
            }
            None => rest.push(word.clone()),
            Some(takes_next) => {
                ours.push(word.clone());
                if takes_next {
                    ours.extend(words.next().cloned());
                }
            }
        }
    }
    let mut options = Only::try_parse_from(ours)?.options;
    options.merge(given);
    Ok((options, rest))
}

impl Options {
    /// Takes over what was given before the subcommand and not again after it.
    fn merge(&mut self, before: &Self) {
        if self.device == DeviceChoice::Auto {
            self.device = before.device;
        }
        if self.dtype == DTypeChoice::Auto {
            self.dtype = before.dtype;
        }
        if self.attention_slicing == AttentionSlicing::Auto {
            self.attention_slicing = before.attention_slicing;
        }
        if self.vae_tiling == VaeTiling::Auto {
            self.vae_tiling = before.vae_tiling;
        }
        if self.memory_budget == MemoryBudget::Auto {
            self.memory_budget = before.memory_budget;
        }
        self.offline |= before.offline;
        self.json |= before.json;
        self.fake = self.fake.or(before.fake);
        if self.profile.is_none() {
            self.profile.clone_from(&before.profile);
        }
    }

    /// What they ask of the memory plan.
    pub fn memory_wishes(&self) -> MemoryWishes {
        MemoryWishes {
            attention_slicing: self.attention_slicing,
            vae_tiling: self.vae_tiling,
            budget: self.memory_budget,
        }
    }

    /// Help for them, as lines of two columns.
    pub fn help() -> String {
        let mut command = Self::augment_args(clap::Command::new("tintype"))
            .disable_help_flag(true)
            .help_template("{options}");
        command.render_help().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_told_from_switches_wherever_they_stand() {
        let args = ["a fox", "--json", "-s", "4", "--device=cpu", "--dtype", "f32", "--", "--json"];
        let args: Vec<String> = args.map(String::from).to_vec();
        let given = Options { offline: true, ..Options::default() };
        let (options, rest) = split_options(&args, &given).unwrap();
        assert_eq!(rest, ["a fox", "-s", "4", "--", "--json"]);
        assert!(options.json && options.offline);
        assert_eq!((options.device, options.dtype), (DeviceChoice::Cpu, DTypeChoice::F32));
    }
}
