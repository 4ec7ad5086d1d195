//! `tintype inspect`: what pictures say about how they were made, whoever made them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::Options;
use crate::command::prompt_line;
use crate::diffusion::schedulers;
use crate::gallery::{self, Imported, ReadError};

/// What `tintype inspect` takes.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Pictures (PNG, JPEG, WebP), or text or JSON files that were written beside one
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Prints each file's prompt line, who wrote it and what could not be mapped; fails when one could not be read.
pub fn run(args: &InspectArgs, options: &Options) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut stdout = std::io::stdout().lock();
    for path in &args.files {
        let imported = gallery::read(path, &scheduler_name);
        if let Err(error) = &imported {
            eprintln!("tintype: {error}");
            code = ExitCode::FAILURE;
        }
        let text = match (imported, options.json) {
            (imported, true) => format!("{}\n", json_line(path, imported)),
            (Ok(imported), false) if args.files.len() > 1 => {
                format!("# {}\n{}\n", path.display(), report(&imported))
            }
            (Ok(imported), false) => report(&imported),
            (Err(_), false) => continue,
        };
        // A closed pipe is no failure: `tintype inspect *.png | head`.
        if stdout.write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    code
}

/// Our name for any tool's scheduler.
pub fn scheduler_name(name: &str) -> Option<String> {
    schedulers::resolve_name(name).ok().map(|name| name.to_string())
}

/// The prompt line, then comment lines: all of it can be pasted at the prompt.
pub fn report(imported: &Imported) -> String {
    let mut text = format!("{}\n# made by {}\n", prompt_line(&imported.request), imported.source);
    if !imported.unmapped.is_empty() {
        text.push_str("# what has no counterpart here:\n");
    }
    let width = imported.unmapped.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).min(24);
    for (key, value) in &imported.unmapped {
        let (key, value) = (printable(key), printable(value));
        text.push_str(&format!("#   {key:width$}  {value}\n"));
    }
    text
}

fn json_line(path: &std::path::Path, imported: Result<Imported, ReadError>) -> serde_json::Value {
    match imported {
        Ok(Imported { request, source, unmapped }) => json!({
            "path": path,
            "source": source,
            "line": prompt_line(&request),
            "request": request,
            "unmapped": unmapped.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "path": path, "error": error.problem.to_string() }),
    }
}

/// A stranger's text on one line, without anything that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
