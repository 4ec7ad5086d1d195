//! `tintype generate`: pictures from the shell.

pub(super) mod progress;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;

use serde_json::json;

use self::progress::ProgressLine;
use super::setup::contact_sheet;
use crate::cli::{Options, Switches};
use crate::command::switches;
use crate::engine::{EngineEvent, Job};
use crate::gallery::{metadata, png_file};
use crate::request::{GenerateRequest, JobId, Picture, Recipe};
use crate::session::settings;
use crate::session::sheet::Sheet;

/// Exit codes beside 0.
const FAILED: u8 = 1;
const REFUSED: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Makes the pictures that `args`, a prompt and its switches, ask for.
pub fn run(args: &[String], options: &Options) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return print(&help()).map_or(ExitCode::from(FAILED), |()| ExitCode::SUCCESS);
    }
    options.tell_problems();
    let request = match request(args, &options.defaults) {
        Ok(request) => request,
        Err(message) => {
            eprintln!("tintype: {message}");
            return ExitCode::from(REFUSED);
        }
    };
    match generate(request, options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// What was asked for, checked as far as no model is needed.
fn request(args: &[String], defaults: &GenerateRequest) -> Result<GenerateRequest, String> {
    let typed = switches::parse_argv(args).map_err(|error| error.to_string())?;
    let request = settings::merge(&typed.request, defaults);
    if let Some(axis) = typed.axes.first() {
        return Err(format!("{} has several values; one picture takes one of each", axis.setting.name));
    }
    if request.prompt.trim().is_empty() {
        return Err("the prompt is empty; type: tintype generate \"what the picture should show\"".into());
    }
    if request.is_for_stdout() {
        if std::io::stdout().is_terminal() {
            return Err("-o - writes a PNG, which a terminal cannot show; redirect it: > picture.png".into());
        }
        if request.num_images.is_some_and(|count| count > 1) {
            return Err("-o - holds one picture; name a file for several: -o picture.png".into());
        }
    }
    Ok(request)
}

fn generate(request: GenerateRequest, options: &Options) -> std::io::Result<ExitCode> {
    let (to_stdout, sheet) = (request.is_for_stdout(), request.grid == Some(true));
    let mut paths = Vec::new();
    let (sender, events) = mpsc::channel();
    let engine_events = sender.clone();
    let engine = super::engine::start(options, "generate", false, move |event| {
        let _ = engine_events.send(Message::Engine(event));
    })?;
    let job = JobId(1);
    engine.submit(Job { id: job, request });
    listen_for_interrupts(sender)?;

    let mut progress = ProgressLine::new(std::io::stderr().is_terminal());
    let (mut interrupted, mut code) = (false, 0);
    for message in events {
        let event = match message {
            Message::Interrupt if interrupted => {
                progress.clear();
                // The step in hand may take long; whoever asks twice does not want to wait for it.
                #[expect(clippy::exit, reason = "the engine thread cannot be stopped within a step")]
                std::process::exit(INTERRUPTED.into());
            }
            Message::Interrupt => {
                interrupted = true;
                progress.say("stopping after this step (Ctrl-C again leaves at once)");
                engine.cancel(job);
                continue;
            }
            Message::Engine(event) => event,
        };
        progress.show(&event);
        match event {
            EngineEvent::Finished { recipe, picture, .. } => {
                progress.clear();
                deliver(&recipe, &picture, to_stdout, options.json)?;
                paths.push(recipe.path);
            }
            EngineEvent::Unsaved { error, .. } => {
                progress.clear();
                eprintln!("tintype: {error}; -o - writes to standard output instead");
                code = FAILED;
            }
            EngineEvent::Cancelled { .. } => code = INTERRUPTED,
            EngineEvent::Failed { error, refused, .. } => {
                progress.clear();
                eprintln!("tintype: {error}");
                code = if refused { REFUSED } else { FAILED };
            }
            EngineEvent::Ended { .. } => break,
            _ => {}
        }
    }
    progress.clear();
    if sheet && paths.len() > 1 {
        match contact_sheet(&options.paths().output_dir, &Sheet::unlabelled(paths.len()), &paths) {
            Ok((path, _)) => eprintln!("contact sheet: {}", path.display()),
            Err(error) => {
                eprintln!("tintype: {error}");
                code = FAILED;
            }
        }
    }
    Ok(ExitCode::from(code))
}

/// What the front end waits for.
enum Message {
    Engine(EngineEvent),
    Interrupt,
}

fn listen_for_interrupts(messages: mpsc::Sender<Message>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if messages.send(Message::Interrupt).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Prints where the picture is, or everything about it, or the picture itself.
fn deliver(recipe: &Recipe, picture: &Picture, to_stdout: bool, as_json: bool) -> std::io::Result<()> {
    if to_stdout {
        return write_png(recipe, picture);
    }
    if as_json {
        return print(&format!("{}\n", json_line(recipe)));
    }
    match &recipe.path {
        Some(path) => print(&format!("{}\n", path.display())),
        None => Ok(()),
    }
}

/// Writes the picture itself to standard output.
pub(super) fn write_png(recipe: &Recipe, picture: &Picture) -> std::io::Result<()> {
    let bytes = png_file::encode(picture, &metadata::texts(recipe)).map_err(std::io::Error::other)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&bytes)?;
    stdout.flush()
}

/// One line of JSON: path, every resolved parameter, seconds and peak memory.
pub(super) fn json_line(recipe: &Recipe) -> serde_json::Value {
    let mut line = json!({ "path": recipe.path, "seed": recipe.params.seed });
    if let (Some(line), Ok(serde_json::Value::Object(params))) =
        (line.as_object_mut(), serde_json::to_value(&recipe.params))
    {
        line.extend(params);
        line.insert("device".into(), json!(recipe.device));
        line.insert("dtype".into(), json!(recipe.dtype));
        line.insert("seconds".into(), json!(recipe.timings));
        line.insert("peak_memory".into(), json!(recipe.peak_memory));
        line.insert("swap_grown".into(), json!(recipe.swap_grown));
        line.insert("memory".into(), json!(recipe.memory));
        line.insert("pixels_sha256".into(), json!(recipe.pixels_sha256));
        line.insert("notices".into(), json!(recipe.notices));
    }
    line
}

fn help() -> String {
    let rows = switches::help();
    let width = rows.iter().map(|(forms, _)| forms.chars().count()).max().unwrap_or(0);
    let switches: String = rows.iter().map(|(forms, help)| format!("  {forms:width$}  {help}\n")).collect();
    format!(
        "Make pictures and leave\n\nUsage: tintype generate PROMPT [SWITCHES] [OPTIONS]\n\n\
         Switches:\n{switches}\nOptions:\n{}",
        Switches::help()
    )
}

pub(super) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
