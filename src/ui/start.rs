//! Taking the terminal: the order in which everything has to begin.
//!
//! The terminal is asked what it can do before anybody reads keys; rustyline's terminal is swapped while the process
//! has one thread; the engine starts last.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::app::App;
use super::prompt::{PromptHelper, PromptState};
use super::run::{Pace, Ui};
use super::submit::Session;
use super::terminal::Terminal;
use crate::engine::{EngineEvent, EngineHandle};
use crate::term::{
    self, Capabilities, ColorChoice, ColorDepth, EditMode, Environment, Events, Guard, PromptError,
    PromptOptions, PromptPty, Protocol, probe,
};
use crate::theme::{Background, Theme, ThemeChoice, ThemeError};

/// Takes the engine's events; called from its thread.
pub type Sink = Box<dyn Fn(EngineEvent) + Send + Sync>;

/// What the user interface needs from outside.
pub struct Setup {
    /// Starts the engine, which sends its events into the sink.
    pub engine: Box<dyn FnOnce(Sink) -> io::Result<EngineHandle>>,
    /// Where the prompt's history lies.
    pub history: Option<PathBuf>,
    /// The person's themes.
    pub themes: Option<PathBuf>,
    /// Which theme.
    pub theme: ThemeChoice,
    /// How pictures are shown; `None` is what the terminal can do best.
    pub images: Option<Protocol>,
    /// Whether colours are used.
    pub color: ColorChoice,
    /// What the environment says about the terminal.
    pub environment: Environment,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// emacs' or vi's keys.
    pub edit_mode: EditMode,
}

/// Why the prompt cannot run on this terminal.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// rustyline could not be put on a terminal of our own.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The terminal failed.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Runs the prompt until the person leaves. Returns the exit code.
///
/// # Errors
/// When the terminal cannot be used.
pub fn start(setup: Setup) -> Result<u8, StartError> {
    let mut events = Events::from_stdin()?;
    let guard = Guard::enter()?;
    let capabilities = ask_terminal(&mut events, &setup)?;
    let size = events.size();
    let (theme, trouble) = theme(&setup, &capabilities);
    let prompt_state = Arc::new(PromptState::default());
    prompt_state.set_theme(theme.clone());
    let options = PromptOptions {
        edit_mode: setup.edit_mode,
        history: setup.history.clone(),
        ..PromptOptions::default()
    };
    let helper = PromptHelper::new(Arc::clone(&prompt_state));
    let prompt = PromptPty::start(&options, helper, size, events.waker())?;
    events.catch_signals()?;
    let (sender, inbox) = channel();
    let waker = events.waker();
    let engine = (setup.engine)(Box::new(move |event| {
        // the loop has ended: nobody is left to be told
        let _ = sender.send(event);
        waker.wake();
    }))?;
    let mut app = App::default();
    (app.theme, app.home) = (theme, setup.home);
    let mut ui = Ui {
        app,
        session: Session::default(),
        engine,
        inbox,
        terminal: Terminal::new(guard, capabilities, size)?,
        prompt,
        prompt_state,
        events,
        loader: None,
        pace: Pace::new(Instant::now()),
        full_behind: false,
        interrupted: None,
        failure: None,
        exit: None,
    };
    if let Some(trouble) = trouble {
        let lines = super::views::result::problem(&trouble.to_string(), &ui.app.theme);
        ui.say(lines)?;
    }
    Ok(ui.run()?)
}

fn ask_terminal(events: &mut Events, setup: &Setup) -> io::Result<Capabilities> {
    let answers = probe::query(events, &mut term::output()?, &setup.environment, probe::TIMEOUT)?;
    Ok(Capabilities::new(&answers, &setup.environment, term::window(), setup.color, setup.images))
}

/// The theme for this terminal; a broken one gives way to the default.
fn theme(setup: &Setup, capabilities: &Capabilities) -> (Theme, Option<ThemeError>) {
    let background = if capabilities.dark { Background::Dark } else { Background::Light };
    let (theme, trouble) = match Theme::load(setup.theme.name(background), setup.themes.as_deref()) {
        Ok(theme) => (theme, None),
        Err(error) => (Theme::default(), Some(error)),
    };
    let theme = if capabilities.color == ColorDepth::None { theme.without_color() } else { theme };
    (theme, trouble)
}
