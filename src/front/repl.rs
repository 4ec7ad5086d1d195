//! The prompt: `tintype` with no arguments.

use std::process::ExitCode;

use super::{pipe, plain, setup};
use crate::cli::{Options, PromptOptions};
use crate::store::EMBEDDED;
use crate::term::{Environment, Surroundings, surroundings};
use crate::ui::{Setup, StartError, start};

/// Runs the prompt until the person leaves, in the way that the terminal allows for.
pub fn run(options: &Options, prompt: &PromptOptions) -> ExitCode {
    let environment = Environment::from_lookup(|name| std::env::var_os(name));
    match surroundings(&environment) {
        Surroundings::Pipe => pipe::run(options, prompt),
        Surroundings::Interactive if !prompt.plain => live(options, prompt, &environment),
        Surroundings::Interactive => plain::run(options, prompt, &environment),
        Surroundings::Plain(why) => {
            tracing::info!(why, "the prompt runs without a live panel");
            plain::run(options, prompt, &environment)
        }
    }
}

fn live(options: &Options, prompt: &PromptOptions, environment: &Environment) -> ExitCode {
    let paths = options.paths();
    let (session, notices) = setup::session(options, prompt.resume.as_deref(), &paths);
    let (engine_options, id) = (options.clone(), session.id().to_owned());
    let ui = Setup {
        engine: Box::new(move |sink| super::engine::start(&engine_options, &id, true, sink)),
        session,
        services: setup::services(options, &paths),
        default_model: EMBEDDED.to_owned(),
        notices,
        history: Some(paths.history_file()),
        theme: prompt.theme(options),
        images: prompt.images(options),
        color: prompt.color,
        environment: environment.clone(),
        home: std::env::home_dir(),
        edit_mode: options.edit_mode(),
    };
    match start(ui) {
        Ok(code) => ExitCode::from(code),
        Err(StartError::Prompt(error)) => {
            eprintln!("tintype: {error}");
            plain::run(options, prompt, environment)
        }
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}
