//! The prompt: `tintype` with no arguments.

use std::process::ExitCode;

use crate::cli::Options;
use crate::paths::Paths;
use crate::term::{EditMode, Environment};
use crate::ui::{Setup, start};

/// Runs the prompt until the person leaves.
pub fn run(options: &Options) -> ExitCode {
    let paths = Paths::from_env();
    let engine_options = options.clone();
    let setup = Setup {
        engine: Box::new(move |sink| super::engine::start(&engine_options, true, sink)),
        history: Some(paths.history_file()),
        themes: Some(paths.theme_dir()),
        theme: crate::theme::ThemeChoice::default(),
        images: None,
        color: crate::term::ColorChoice::Auto,
        environment: Environment::from_lookup(|name| std::env::var_os(name)),
        home: std::env::home_dir(),
        edit_mode: EditMode::Emacs,
    };
    match start(setup) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}
