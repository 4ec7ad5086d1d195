//! The prompt without a live panel: rustyline straight on the terminal, a progress line, one picture after another.
//!
//! For terminals that cannot move the cursor, for output that goes elsewhere, and for who prefers it so.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use ratatui::layout::Size;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Editor};

use super::lines::{After, Lines, Show};
use super::setup;
use crate::cli::{Options, PromptOptions};
use crate::command::CompletionContext;
use crate::paths::Paths;
use crate::term::graphics::{fit, new_protocol};
use crate::term::probe::Answers;
use crate::term::{Capabilities, ColorDepth, EditMode, Environment, Protocol, window};
use crate::theme::{Background, Theme, ThemeChoice};
use crate::ui::prompt::{PromptHelper, PromptState, joined};

const PROMPT: &str = "tintype > ";
/// Pictures are at most this many rows high.
const ROWS: u16 = 20;

type PlainEditor = Editor<PromptHelper, DefaultHistory>;

/// Runs the prompt until the person leaves.
pub fn run(options: &Options, prompt: &PromptOptions, environment: &Environment) -> ExitCode {
    match read_lines(options, prompt, environment) {
        Ok(failed) => ExitCode::from(u8::from(failed)),
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and does lines until the end. Whether the last one failed.
fn read_lines(options: &Options, prompt: &PromptOptions, environment: &Environment) -> io::Result<bool> {
    let paths = options.paths();
    let capabilities =
        Capabilities::new(&Answers::default(), environment, window(), prompt.color, prompt.images(options));
    let (session, notices) = setup::session(options, prompt.resume.as_deref(), &paths);
    for notice in &notices {
        eprintln!("tintype: {notice}");
    }
    let state = Arc::new(PromptState::default());
    state.set_theme(theme(&prompt.theme(options), &paths, &capabilities));
    state.set_names(CompletionContext::of(&session));
    let mut editor = editor(&state, &capabilities, options.edit_mode())?;
    let _ = editor.load_history(&paths.history_file());
    let mut lines = Lines::start(options, session, show(&capabilities))?;
    let (mut initial, mut failed) = (String::new(), false);
    loop {
        let line = match editor.readline_with_initial(PROMPT, (&std::mem::take(&mut initial), "")) {
            Ok(line) => joined(&line),
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(failed),
            Err(error) => return Err(io::Error::other(error)),
        };
        if line.trim().is_empty() {
            continue;
        }
        remember(&mut editor, &line, &paths);
        let mut after = lines.run(&line)?;
        if let After::Confirm(question, plan) = after {
            after = if asked(&mut editor, &question) { lines.confirmed(&plan)? } else { After::Next };
        }
        failed = matches!(after, After::Failed);
        match after {
            After::Quit => return Ok(false),
            After::Edit(text) => initial = text,
            After::Next | After::Failed | After::Confirm(..) => {}
        }
    }
}

fn theme(choice: &ThemeChoice, paths: &Paths, capabilities: &Capabilities) -> Theme {
    let background = if capabilities.dark { Background::Dark } else { Background::Light };
    let theme = Theme::load(choice.name(background), Some(&paths.theme_dir())).unwrap_or_else(|error| {
        eprintln!("tintype: {error}");
        Theme::default()
    });
    if capabilities.color == ColorDepth::None { theme.without_color() } else { theme }
}

fn editor(
    state: &Arc<PromptState>,
    capabilities: &Capabilities,
    edit_mode: EditMode,
) -> io::Result<PlainEditor> {
    // where standard output is read by somebody else, the prompt is still the person's
    let behavior =
        if std::fs::File::open("/dev/tty").is_ok() { Behavior::PreferTerm } else { Behavior::Stdio };
    let color = if capabilities.color == ColorDepth::None { ColorMode::Disabled } else { ColorMode::Enabled };
    let edit_mode = match edit_mode {
        EditMode::Emacs => rustyline::EditMode::Emacs,
        EditMode::Vi => rustyline::EditMode::Vi,
    };
    let config = Config::builder()
        .behavior(behavior)
        .completion_type(CompletionType::List)
        .color_mode(color)
        .edit_mode(edit_mode)
        .build();
    let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(PromptHelper::new(Arc::clone(state))));
    Ok(editor)
}

fn remember(editor: &mut PlainEditor, line: &str, paths: &Paths) {
    if let (Ok(true), Some(folder)) = (editor.add_history_entry(line), paths.history_file().parent()) {
        let saved = std::fs::create_dir_all(folder).map_err(ReadlineError::from);
        if let Err(error) = saved.and_then(|()| editor.append_history(&paths.history_file())) {
            tracing::debug!(%error, "the prompt's history cannot be written");
        }
    }
}

/// Whether the person says yes.
fn asked(editor: &mut PlainEditor, question: &str) -> bool {
    eprintln!("{question}");
    let answer = editor.readline("yes or no > ").unwrap_or_default();
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Shows pictures on standard output, if that is a terminal that can.
pub(super) fn show(capabilities: &Capabilities) -> Option<Show> {
    if !io::stdout().is_terminal() || capabilities.protocol == Protocol::None {
        return None;
    }
    let (mut protocol, cell) = (new_protocol(capabilities), capabilities.cell_size);
    Some(Box::new(move |picture| {
        let size = window().cells;
        let limit = Size::new(size.width.max(1), size.height.saturating_sub(2).clamp(1, ROWS));
        let mut bytes = Vec::new();
        protocol.print_inline(picture, fit(picture.size, limit, cell), &mut bytes)?;
        io::stdout().lock().write_all(&bytes)
    }))
}
