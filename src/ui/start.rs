//! Taking the terminal: the order in which everything has to begin.
//!
//! The terminal is asked what it can do before anybody reads keys; rustyline's terminal is swapped while the process
//! has one thread; the engine starts last.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::app::App;
use super::errands::Errands;
use super::prompt::{CountTokens, PromptHelper, PromptState};
use super::run::{Pace, Ui};
use super::terminal::Terminal;
use crate::command::table::COMMANDS;
use crate::engine::{EngineEvent, EngineHandle, StartLines};
use crate::request::{GenerateRequest, Picture};
use crate::session::Session;
use crate::session::sheet::Sheet;
use crate::term::{
    self, Capabilities, ColorChoice, ColorDepth, EditMode, Environment, Events, Guard, PromptError,
    PromptOptions, PromptPty, Protocol, probe,
};
use crate::theme::{Background, Theme, ThemeChoice, ThemeError};

/// Takes the engine's events; called from its thread.
pub type Sink = Box<dyn Fn(EngineEvent) + Send + Sync>;

/// Says what it found, a line each; takes seconds, so it is called on a thread of its own.
pub type Doctor = Arc<dyn Fn(&Capabilities) -> Vec<String> + Send + Sync>;
/// Reads a tokenizer; called on a thread of its own.
pub type Tokenizer = Arc<dyn Fn(&GenerateRequest) -> Option<Arc<dyn CountTokens>> + Send + Sync>;

/// Makes a contact sheet of the files of its cells: where it lies, and what it looks like.
pub type MakeSheet = Box<dyn Fn(&Sheet, &[Option<PathBuf>]) -> Result<(PathBuf, Picture), String>>;

/// What the loop has others do, because it must not know how: closures over the parts of the program.
pub struct Services {
    /// Reads how a picture file was made, whoever made it.
    pub read_recipe: Box<dyn Fn(&Path) -> Result<GenerateRequest, String>>,
    /// Makes a contact sheet of the pictures in these files, and says where it lies.
    pub contact_sheet: MakeSheet,
    /// Looks at terminal, device and caches.
    pub doctor: Doctor,
    /// Counts tokens as the model of these settings does, if it is here.
    pub tokenizer: Tokenizer,
    /// The person's themes.
    pub themes: Option<PathBuf>,
}

/// What the user interface needs from outside.
pub struct Setup {
    /// Starts the engine, which sends its events into the sink.
    pub engine: Box<dyn FnOnce(Sink) -> io::Result<EngineHandle>>,
    /// The session.
    pub session: Session,
    /// What others do for the loop.
    pub services: Services,
    /// The model where none is named.
    pub default_model: String,
    /// What to say at the start: what is wrong with the configuration.
    pub notices: Vec<String>,
    /// Where the prompt's history lies.
    pub history: Option<PathBuf>,
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
    let (waker, wake) = (events.waker(), events.waker());
    let engine = (setup.engine)(Box::new(move |event| {
        // the loop has ended: nobody is left to be told
        let _ = sender.send(event);
        wake.wake();
    }))?;
    let mut app = App::default();
    (app.theme, app.home) = (theme, setup.home);
    app.commands = COMMANDS.iter().map(|command| (command.usage(), command.help.to_owned())).collect();
    let mut ui = Ui {
        app,
        session: setup.session,
        services: setup.services,
        engine,
        inbox,
        terminal: Terminal::new(guard, capabilities, size)?,
        prompt,
        prompt_state,
        events,
        default_model: setup.default_model,
        loader: None,
        errands: Errands::new(waker),
        examining: false,
        counting_for: None,
        pace: Pace::new(Instant::now()),
        asking: false,
        initial: String::new(),
        confirming: None,
        full_behind: false,
        interrupted: None,
        failure: None,
        start_lines: StartLines::default(),
        exit: None,
    };
    ui.session_changed();
    let notices = setup.notices.into_iter().chain(trouble.map(|trouble| trouble.to_string()));
    for notice in notices {
        ui.problem(&notice)?;
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
    let (theme, trouble) = match Theme::load(setup.theme.name(background), setup.services.themes.as_deref()) {
        Ok(theme) => (theme, None),
        Err(error) => (Theme::default(), Some(error)),
    };
    let theme = if capabilities.color == ColorDepth::None { theme.without_color() } else { theme };
    (theme, trouble)
}
