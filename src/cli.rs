//! The command line: which front end runs, and the options that hold for all of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config};
use crate::diffusion::device::{DTypeChoice, DeviceChoice};
use crate::gallery::naming;
use crate::logging;
use crate::paths::{Paths, expand_tilde, log_filter};
use crate::request::{AttentionSlicing, GenerateRequest, MemoryBudget, MemoryWishes, VaeTiling};
use crate::session::Session;
use crate::term::{ColorChoice, EditMode, Protocol};
use crate::theme::ThemeChoice;

/// Type a prompt, watch the picture develop, type the next one.
#[derive(Debug, Parser)]
#[command(name = "tintype", version)]
pub struct Cli {
    /// Switches of every front end.
    #[command(flatten)]
    pub switches: Switches,
    /// Options of the prompt.
    #[command(flatten)]
    pub prompt: PromptOptions,
    /// What to do; nothing starts the prompt.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Switches of every front end. What is left open is the environment's and the configuration's to say.
#[derive(Clone, Debug, Default, Args)]
pub struct Switches {
    /// Where the model runs: auto, metal, cuda or cpu
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Floats of the model: auto (f16 on a GPU, f32 on the CPU), f32, f16 or bf16
    #[arg(long, global = true, value_name = "DTYPE")]
    pub dtype: Option<DTypeChoice>,
    /// Never use the network (also HF_HUB_OFFLINE=1)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Attention over so many heads at a time: auto (as memory needs), off, max (one head), or a number
    #[arg(long, global = true, value_name = "HEADS")]
    pub attention_slicing: Option<AttentionSlicing>,
    /// Decode in tiles: auto (as memory needs), on or off
    #[arg(long, global = true, value_name = "WHEN")]
    pub vae_tiling: Option<VaeTiling>,
    /// Memory that a picture may take: auto (what is free), off, or an amount such as 6GiB
    #[arg(long, global = true, value_name = "BYTES")]
    pub memory_budget: Option<MemoryBudget>,
    /// Names of pictures within the output folder, such as {date}/{session}/{job}-{prompt}-{seed}
    #[arg(long, global = true, value_name = "TEMPLATE")]
    pub file_name: Option<String>,
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

/// What holds for every front end: switches over the environment over `config.toml`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the model runs.
    pub device: DeviceChoice,
    /// Floats of the model.
    pub dtype: DTypeChoice,
    /// Never use the network.
    pub offline: bool,
    /// How attention is cut.
    pub attention_slicing: AttentionSlicing,
    /// Whether the VAE decodes in tiles.
    pub vae_tiling: VaeTiling,
    /// Memory that a picture may take.
    pub memory_budget: MemoryBudget,
    /// Where a trace of the time goes.
    pub profile: Option<PathBuf>,
    /// One JSON line a picture on standard output.
    pub json: bool,
    /// A scripted engine, with so many milliseconds a step.
    pub fake: Option<u64>,
    /// Everything else that the configuration says.
    pub config: Config,
    /// What every line starts from.
    pub defaults: GenerateRequest,
    /// What is wrong in the configuration, a line each. What is wrong does not hold.
    pub problems: Vec<String>,
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
    /// Take an earlier session up again: the last one, or the one named
    #[arg(long, value_name = "SESSION", num_args = 0..=1, default_missing_value = "")]
    pub resume: Option<String>,
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
    /// Make the pictures of a session or of files again, compare them with the record, or play them back
    Replay(crate::front::replay::ReplayArgs),
    /// Write a session as a script of prompt lines, as JSON, or as a page with all pictures in it
    Export(crate::front::export::ExportArgs),
    /// List the models that are here
    Models,
    /// Say what this machine is and whether this build computes right on it (--json for bug reports)
    Doctor,
}

/// Runs the front end that the command line names.
pub fn run(cli: Cli) -> ExitCode {
    // A file that grows beyond what the system allows is an error to tell, not the end of the program.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let paths = Paths::from_env();
    // where nothing can be written there is no log, and that stops nobody
    let _ = logging::start(&paths.log_file(), log_filter().as_deref());
    let options = |switches: &Switches| Options::load(switches, &paths);
    match cli.command {
        Some(Command::Generate { args }) => match split_switches(&args, &cli.switches) {
            Ok((switches, args)) => crate::front::generate::run(&args, &options(&switches)),
            Err(error) => {
                let _ = error.print();
                ExitCode::from(2)
            }
        },
        Some(Command::Inspect(args)) => crate::front::inspect::run(&args, &options(&cli.switches)),
        Some(Command::Replay(args)) => crate::front::replay::run(&args, &options(&cli.switches), &cli.prompt),
        Some(Command::Export(args)) => crate::front::export::run(&args, &options(&cli.switches)),
        Some(Command::Models) => crate::front::models::run(&options(&cli.switches)),
        Some(Command::Doctor) => crate::front::doctor::run(&options(&cli.switches)),
        None => crate::front::repl::run(&options(&cli.switches), &cli.prompt),
    }
}

/// Takes the switches of every front end out of what follows `generate`: everything else is the prompt's.
fn split_switches(args: &[String], given: &Switches) -> Result<(Switches, Vec<String>), clap::Error> {
    #[derive(Parser)]
    #[command(name = "tintype generate", disable_help_flag = true, disable_version_flag = true)]
    struct Only {
        #[command(flatten)]
        switches: Switches,
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
    let mut switches = Only::try_parse_from(ours)?.switches;
    switches.merge(given);
    Ok((switches, rest))
}

impl Switches {
    /// Takes over what was given before the subcommand and not again after it.
    fn merge(&mut self, before: &Self) {
        self.device = self.device.or(before.device);
        self.dtype = self.dtype.or(before.dtype);
        self.attention_slicing = self.attention_slicing.or(before.attention_slicing);
        self.vae_tiling = self.vae_tiling.or(before.vae_tiling);
        self.memory_budget = self.memory_budget.or(before.memory_budget);
        self.offline |= before.offline;
        self.json |= before.json;
        self.fake = self.fake.or(before.fake);
        if self.file_name.is_none() {
            self.file_name.clone_from(&before.file_name);
        }
        if self.profile.is_none() {
            self.profile.clone_from(&before.profile);
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

impl Options {
    /// Lays the switches over the environment over the file in `paths`.
    pub fn load(switches: &Switches, paths: &Paths) -> Self {
        let file = paths.config_file();
        let (mut config, problems) = config::load(&file);
        let mut problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let (defaults, wrong) = Session::defaults_of(&config);
        problems.extend(wrong.into_iter().map(|(name, problem)| {
            format!("{}: {problem}", config::place_of(&file, &format!("defaults.{name}")))
        }));
        if let Err(problem) = naming::check_template(&config.file_name) {
            problems.push(format!("{}: {problem}", config::place_of(&file, "file_name")));
            config.file_name = Config::default().file_name;
        }
        if let Some(template) = &switches.file_name {
            match naming::check_template(template) {
                Ok(()) => config.file_name.clone_from(template),
                Err(problem) => problems.push(format!("--file-name: {problem}")),
            }
        }
        Self { defaults, problems, ..Self::new(switches, config) }
    }

    fn new(switches: &Switches, config: Config) -> Self {
        Self {
            device: switches.device.unwrap_or(match config.device {
                config::Device::Auto => DeviceChoice::Auto,
                config::Device::Metal => DeviceChoice::Metal,
                config::Device::Cuda => DeviceChoice::Cuda,
                config::Device::Cpu => DeviceChoice::Cpu,
            }),
            dtype: switches.dtype.unwrap_or(match config.dtype {
                config::Dtype::Auto => DTypeChoice::Auto,
                config::Dtype::F32 => DTypeChoice::F32,
                config::Dtype::F16 => DTypeChoice::F16,
                config::Dtype::Bf16 => DTypeChoice::Bf16,
            }),
            offline: switches.offline || config.offline,
            attention_slicing: switches.attention_slicing.unwrap_or(config.attention_slicing),
            vae_tiling: switches.vae_tiling.unwrap_or(config.vae_tiling),
            memory_budget: switches.memory_budget.unwrap_or(config.memory_budget),
            profile: switches.profile.clone(),
            json: switches.json,
            fake: switches.fake,
            config,
            ..Self::default()
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

    /// After how long without a job the model's memory is given back, if ever.
    pub fn release_after(&self) -> Option<Duration> {
        let minutes = self.config.idle_release_minutes;
        (minutes > 0).then(|| Duration::from_secs(60 * u64::from(minutes)))
    }

    /// Where things lie, with the folder for pictures that the configuration names.
    pub fn paths(&self) -> Paths {
        let paths = Paths::from_env();
        let wanted = &self.config.output_dir;
        if wanted.as_os_str().is_empty() {
            return paths;
        }
        Paths { output_dir: expand_tilde(&wanted.to_string_lossy()), ..paths }
    }

    /// The keys of the prompt line.
    pub fn edit_mode(&self) -> EditMode {
        match self.config.edit_mode {
            config::EditMode::Emacs => EditMode::Emacs,
            config::EditMode::Vi => EditMode::Vi,
        }
    }

    /// Says on standard error what is wrong in the configuration.
    pub fn tell_problems(&self) {
        for problem in &self.problems {
            eprintln!("tintype: {problem}");
        }
    }
}

impl PromptOptions {
    /// How pictures are shown; `None` is what the terminal can do best.
    pub fn images(&self, options: &Options) -> Option<Protocol> {
        self.images.or(match options.config.images {
            config::Images::Auto => None,
            config::Images::Kitty => Some(Protocol::Kitty),
            config::Images::Placeholder => Some(Protocol::Placeholder),
            config::Images::Iterm2 => Some(Protocol::ITerm2),
            config::Images::Sixel => Some(Protocol::Sixel),
            config::Images::HalfBlocks => Some(Protocol::HalfBlocks),
            config::Images::None => Some(Protocol::None),
        })
    }

    /// Which theme.
    pub fn theme(&self, options: &Options) -> ThemeChoice {
        self.theme.clone().map_or_else(|| options.config.theme.clone(), ThemeChoice::One)
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
        let given = Switches { offline: true, ..Switches::default() };
        let (switches, rest) = split_switches(&args, &given).unwrap();
        assert_eq!(rest, ["a fox", "-s", "4", "--", "--json"]);
        assert!(switches.json && switches.offline);
        assert_eq!((switches.device, switches.dtype), (Some(DeviceChoice::Cpu), Some(DTypeChoice::F32)));
    }

    #[test]
    fn a_switch_wins_over_the_configuration_also_when_it_says_auto() {
        let config = Config {
            device: config::Device::Cpu,
            dtype: config::Dtype::Bf16,
            attention_slicing: AttentionSlicing::Heads(4),
            memory_budget: MemoryBudget::Bytes(1 << 30),
            idle_release_minutes: 2,
            edit_mode: config::EditMode::Vi,
            images: config::Images::Sixel,
            ..Config::default()
        };
        let options = Options::new(&Switches::default(), config.clone());
        assert_eq!((options.device, options.dtype), (DeviceChoice::Cpu, DTypeChoice::Bf16));
        let wishes = options.memory_wishes();
        assert_eq!(wishes.attention_slicing, AttentionSlicing::Heads(4));
        assert_eq!(wishes.budget, MemoryBudget::Bytes(1 << 30));
        assert_eq!(options.release_after(), Some(Duration::from_mins(2)));
        assert_eq!(options.edit_mode(), EditMode::Vi);
        assert_eq!(PromptOptions::default().images(&options), Some(Protocol::Sixel));
        let forced = PromptOptions { images: Some(Protocol::Kitty), ..PromptOptions::default() };
        assert_eq!(forced.images(&options), Some(Protocol::Kitty));

        let switches = Switches { device: Some(DeviceChoice::Auto), ..Switches::default() };
        assert_eq!(Options::new(&switches, config).device, DeviceChoice::Auto);
        let never = Config { idle_release_minutes: 0, ..Config::default() };
        assert_eq!(Options::new(&switches, never).release_after(), None);
    }
}
