//! `tintype replay`: the pictures of a record made again, compared with it, or played back.

mod show;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use clap::Args;
use serde_json::json;

use super::generate::print;
use super::generate::progress::ProgressLine;
use super::lines::{After, Lines};
use super::setup;
use crate::cli::{Options, PromptOptions};
use crate::engine::{EngineEvent, EngineHandle, Job};
use crate::request::{GenerateRequest, JobId, Picture, Recipe};
use crate::session::replay::{Recorded, Remade, Source, compare};

/// Exit code when what was asked for makes no sense.
const REFUSED: u8 = 2;

/// What `tintype replay` takes.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Sessions (a name, the beginning of one, or `last`), sessions' files, pictures, folders of pictures
    #[arg(required = true, value_name = "SESSION|FILE")]
    pub what: Vec<String>,
    /// Compare with the record and write nothing; fails when a picture is not the recorded one
    #[arg(long, conflicts_with = "show")]
    pub check: bool,
    /// With --check: let pictures pass that are this near to the recorded file, as PSNR in dB
    #[arg(long, value_name = "DB", requires = "check", value_parser = positive)]
    pub tolerance: Option<f64>,
    /// Make nothing; play the prompts and pictures back in the terminal
    #[arg(long)]
    pub show: bool,
    /// With --show: so many times as fast
    #[arg(long, value_name = "N", requires = "show", value_parser = positive, default_value = "1", hide_default_value = true)]
    pub speed: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0. && number.is_finite() => Ok(number),
        _ => Err("type a number above 0".into()),
    }
}

/// Replays what `args` name.
pub fn run(args: &ReplayArgs, options: &Options, prompt: &PromptOptions) -> ExitCode {
    options.tell_problems();
    let done = match read(args, options) {
        Ok(_) if args.show => show::run(args, options, prompt),
        Ok(pictures) if args.check => check(&pictures, args.tolerance, options),
        Ok(pictures) => again(&pictures, options),
        Err(error) => {
            eprintln!("tintype: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    match done {
        Ok(all_well) => ExitCode::from(u8::from(!all_well)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The pictures of each argument; says what of it could not be read.
fn read(args: &ReplayArgs, options: &Options) -> Result<Vec<Vec<Recorded>>, String> {
    let folder = options.paths().session_dir();
    let mut all = Vec::new();
    for name in &args.what {
        let source = Source::read(name, Some(&folder)).map_err(|error| error.to_string())?;
        for note in &source.notes {
            eprintln!("tintype: {note}");
        }
        all.push(source.pictures);
    }
    Ok(all)
}

/// Makes all of them in a new session. Whether all could be made.
fn again(sources: &[Vec<Recorded>], options: &Options) -> io::Result<bool> {
    let (session, _) = setup::session(options, None, &options.paths());
    let id = session.id().to_owned();
    let mut lines = Lines::start(options, session, None)?;
    let mut all_well = true;
    for pictures in sources {
        // Jobs have numbers of their own in each record.
        let mut remade = Remade::default();
        for recorded in pictures {
            all_well &= !matches!(lines.confirmed(&remade.plan(recorded))?, After::Failed);
            let made = lines.session().ledger().entries().next_back();
            if let Some((job, recipe)) = made.and_then(|entry| Some((entry.id, entry.recipe.as_ref()?))) {
                remade.add(recorded, job, recipe.path.as_deref());
            }
        }
    }
    eprintln!("tintype: session {id}");
    Ok(all_well)
}

/// Makes each and compares it with its record. Whether all passed.
fn check(sources: &[Vec<Recorded>], tolerance: Option<f64>, options: &Options) -> io::Result<bool> {
    let mut checker = Checker::start(options)?;
    let (mut all, mut identical, mut failed) = (0, 0, 0);
    for pictures in sources {
        let width = pictures.iter().map(|recorded| recorded.name.chars().count()).max().unwrap_or(0);
        for recorded in pictures {
            all += 1;
            let line = match checker.make(Remade::default().request(recorded))? {
                Ok((recipe, picture)) => {
                    let comparison = compare(recorded, &recipe, &picture);
                    let passed = comparison.passes(tolerance);
                    identical += usize::from(comparison.identical);
                    failed += usize::from(!passed);
                    if options.json {
                        json!({ "name": recorded.name, "passed": passed, "comparison": comparison })
                            .to_string()
                    } else {
                        line(recorded, width, passed, &comparison.describe())
                    }
                }
                Err(error) => {
                    failed += 1;
                    if options.json {
                        json!({ "name": recorded.name, "passed": false, "error": error }).to_string()
                    } else {
                        line(recorded, width, false, &error)
                    }
                }
            };
            print(&format!("{line}\n"))?;
        }
    }
    eprintln!("tintype: {all} checked, {identical} identical, {failed} failed");
    Ok(failed == 0)
}

/// `ok    #3  a red fox · identical`
fn line(recorded: &Recorded, width: usize, passed: bool, verdict: &str) -> String {
    const PROMPT: usize = 40;
    let mark = if passed { "ok  " } else { "FAIL" };
    let prompt: String = recorded.recipe.params.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = prompt.chars().filter(|c| !c.is_control()).take(PROMPT).collect();
    let dots = if prompt.chars().count() > PROMPT { "…" } else { "" };
    let name: String = recorded.name.chars().filter(|c| !c.is_control()).collect();
    format!("{mark}  {name:<width$}  {cut}{dots} · {verdict}")
}

/// An engine whose pictures are looked at and not kept.
struct Checker {
    engine: EngineHandle,
    events: Receiver<EngineEvent>,
    progress: ProgressLine,
    job: JobId,
}

impl Checker {
    fn start(options: &Options) -> io::Result<Self> {
        use std::io::IsTerminal as _;
        let (sender, events) = channel();
        let engine = super::engine::start(options, "check", false, move |event| {
            let _ = sender.send(event);
        })?;
        let progress = ProgressLine::new(io::stderr().is_terminal());
        Ok(Self { engine, events, progress, job: JobId(0) })
    }

    /// The picture, or why there is none.
    fn make(&mut self, request: GenerateRequest) -> io::Result<Result<(Recipe, Picture), String>> {
        self.job.0 += 1;
        let mut made = Err("no picture was made".into());
        // What would go to standard output goes to no file.
        let request = GenerateRequest { output: Some(Path::new("-").into()), ..request };
        self.engine.submit_anew(Job { id: self.job, request });
        loop {
            let event = self.events.recv().map_err(io::Error::other)?;
            self.progress.show(&event);
            match event {
                EngineEvent::Finished { recipe, picture, .. } => made = Ok((*recipe, picture)),
                EngineEvent::Failed { error, .. } => made = Err(error),
                EngineEvent::Ended { .. } => break,
                _ => {}
            }
        }
        self.progress.clear();
        Ok(made)
    }
}
