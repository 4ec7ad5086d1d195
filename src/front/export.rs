//! `tintype export`: an earlier session as a script, as JSON, or as a page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::generate::print;
use crate::cli::Options;
use crate::gallery::save;
use crate::paths::expand_tilde;
use crate::session::export::{Format, export};
use crate::session::history;

/// What `tintype export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A session: its name, the beginning of it, `last`, or its file
    pub session: String,
    /// Where to: `.json`, `.html` with all pictures in it, or else a script of prompt lines; `-` is standard output
    #[arg(default_value = "-", hide_default_value = true)]
    pub file: PathBuf,
}

/// Writes the session.
pub fn run(args: &ExportArgs, options: &Options) -> ExitCode {
    match write(args, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(args: &ExportArgs, options: &Options) -> Result<(), String> {
    let path = expand_tilde(&args.session);
    let folder = options.paths().session_dir();
    let path = if path.is_file() {
        path
    } else {
        history::find(Some(&folder), &args.session).map_err(|error| error.to_string())?
    };
    let (ledger, bad) = history::load(&path).map_err(|error| error.to_string())?;
    for line in &bad {
        eprintln!("tintype: {line}");
    }
    let text = export(&ledger, Format::of(&args.file));
    if args.file == Path::new("-") {
        return print(&text).map_err(|error| error.to_string());
    }
    save::write_new(&args.file, text.as_bytes()).map_err(|error| error.to_string())
}
