//! Around the caller's helper: writes down what is being typed, and lets the program change it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::line_buffer::LineBuffer;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Changeset, Cmd, CompletionType, ConditionalEventHandler, Context, Editor, Event, EventContext,
    EventHandler, Helper, KeyCode, KeyEvent, Modifiers, Movement, RepeatCount,
};

/// Ctrl-F12: a key that rustyline can parse and that nobody presses to edit a line.
pub(super) const REPLACE_KEY: &[u8] = b"\x1b[24;5~";

/// Ctrl-F11: rustyline leaves the cursor before a text that it put in.
pub(super) const END_KEY: &[u8] = b"\x1b[23;5~";

/// Binds the keys that rustyline has not: new lines, and the replacement of the text.
pub(super) fn bind_keys<H: Helper>(editor: &mut Editor<H, DefaultHistory>, replacement: &Replacement) {
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), Cmd::Newline);
    editor.bind_sequence(KeyEvent::ctrl('J'), Cmd::Newline);
    let replace = EventHandler::Conditional(Box::new(replacement.clone()));
    editor.bind_sequence(KeyEvent(KeyCode::F(12), Modifiers::CTRL), replace);
    editor.bind_sequence(KeyEvent(KeyCode::F(11), Modifiers::CTRL), Cmd::Move(Movement::EndOfBuffer));
}

/// A text on its way into the editor.
#[derive(Clone, Default)]
pub(super) struct Replacement(Arc<Mutex<Option<String>>>);

impl Replacement {
    pub(super) fn set(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }
}

impl ConditionalEventHandler for Replacement {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(text.map_or(Cmd::Noop, |text| Cmd::Replace(Movement::WholeBuffer, Some(text))))
    }
}

/// The caller's helper; notes the text whenever rustyline asks for a hint, which it does after every change.
pub(super) struct Recorder<H: Helper> {
    inner: H,
    text: Arc<Mutex<String>>,
}

impl<H: Helper> Recorder<H> {
    pub(super) fn new(inner: H, text: Arc<Mutex<String>>) -> Self {
        Self { inner, text }
    }
}

impl<H: Helper> Helper for Recorder<H> {}

impl<H: Helper> Hinter for Recorder<H> {
    type Hint = H::Hint;

    fn hint(&self, line: &str, position: usize, context: &Context<'_>) -> Option<H::Hint> {
        line.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.hint(line, position, context)
    }
}

impl<H: Helper> Completer for Recorder<H> {
    type Candidate = H::Candidate;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<H::Candidate>)> {
        self.inner.complete(line, position, context)
    }

    fn update(&self, line: &mut LineBuffer, start: usize, elected: &str, changes: &mut Changeset) {
        self.inner.update(line, start, elected, changes);
    }
}

impl<H: Helper> Highlighter for Recorder<H> {
    fn highlight<'l>(&self, line: &'l str, position: usize) -> Cow<'l, str> {
        self.inner.highlight(line, position)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        self.inner.highlight_prompt(prompt, default)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        self.inner.highlight_hint(hint)
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, completion: CompletionType) -> Cow<'c, str> {
        self.inner.highlight_candidate(candidate, completion)
    }

    fn highlight_char(&self, line: &str, position: usize, kind: CmdKind) -> bool {
        self.inner.highlight_char(line, position, kind)
    }
}

impl<H: Helper> Validator for Recorder<H> {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.inner.validate(context)
    }

    fn validate_while_typing(&self) -> bool {
        self.inner.validate_while_typing()
    }
}
