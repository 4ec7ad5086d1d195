//! What rustyline asks us while a line is typed: colours, hints, completions, whether the line is complete.
//!
//! Runs on rustyline's thread; what it needs of the session lies in [`PromptState`], which the run loop keeps
//! current. Knows nothing of the terminal.

mod highlight;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Helper};

use super::app::TokenCount;
use crate::command::{CompletionContext, complete};
use crate::term::{ColorDepth, sgr};
use crate::theme::{Role, Theme};

pub use highlight::{CountTokens, count, pieces};

/// Lines longer than this are neither highlighted nor counted: a paste of 20 KB must not slow every key down.
const HIGHLIGHT_MAX: usize = 8 * 1024;

/// What the run loop tells the prompt, and what it learns from it. Shared between two threads.
#[derive(Default)]
pub struct PromptState {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    theme: Theme,
    counter: Option<Arc<dyn CountTokens>>,
    names: Option<Arc<CompletionContext>>,
    /// What stands in the prompt.
    line: String,
    tokens: Option<TokenCount>,
    typed: bool,
}

impl PromptState {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Colours from now on.
    pub fn set_theme(&self, theme: Theme) {
        self.lock().theme = theme;
    }

    /// The tokenizer of the model that is used from now on.
    pub fn set_counter(&self, counter: Option<Arc<dyn CountTokens>>) {
        let mut inner = self.lock();
        inner.tokens = counter.as_ref().and_then(|counter| count(&inner.line, counter.as_ref()));
        inner.counter = counter;
    }

    /// Names that complete a line from now on.
    pub fn set_names(&self, names: CompletionContext) {
        self.lock().names = Some(Arc::new(names));
    }

    /// A fresh line begins.
    pub fn begin(&self) {
        let mut inner = self.lock();
        inner.line.clear();
        (inner.tokens, inner.typed) = (None, false);
    }

    /// A character is on its way into the line.
    pub fn typing(&self) {
        self.lock().typed = true;
    }

    /// Whether nothing stands in the prompt.
    pub fn is_empty(&self) -> bool {
        !self.lock().typed
    }

    /// Tokens of the line as it stands.
    pub fn tokens(&self) -> Option<TokenCount> {
        self.lock().tokens
    }
}

/// rustyline's helper; see the module.
pub struct PromptHelper {
    state: Arc<PromptState>,
    history: HistoryHinter,
}

impl PromptHelper {
    /// A helper that shares this state.
    pub fn new(state: Arc<PromptState>) -> Self {
        Self { state, history: HistoryHinter::new() }
    }
}

impl Helper for PromptHelper {}

impl Highlighter for PromptHelper {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        let (theme, tokens) = {
            let mut inner = self.state.lock();
            inner.line.clear();
            (inner.tokens, inner.typed) = (None, !line.is_empty());
            if line.len() > HIGHLIGHT_MAX {
                return Cow::Borrowed(line);
            }
            inner.line.push_str(line);
            inner.tokens = inner.counter.as_ref().and_then(|counter| count(line, counter.as_ref()));
            (inner.theme.clone(), inner.tokens)
        };
        let pieces = pieces(line, tokens);
        if pieces.is_empty() {
            return Cow::Borrowed(line);
        }
        let mut out = String::with_capacity(line.len() + 16 * pieces.len());
        let mut at = 0;
        for (span, role) in pieces {
            out.push_str(&line[at..span.start]);
            push_styled(&mut out, &theme, role, &line[span.clone()]);
            at = span.end;
        }
        out.push_str(&line[at..]);
        Cow::Owned(out)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        self.styled(Role::Prompt, prompt)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        self.styled(Role::Hint, hint)
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _completion: CompletionType) -> Cow<'c, str> {
        Cow::Borrowed(candidate)
    }

    fn highlight_char(&self, _line: &str, _pos: usize, kind: CmdKind) -> bool {
        // a cursor move changes no colour
        kind != CmdKind::MoveCursor
    }
}

impl PromptHelper {
    fn styled<'t>(&self, role: Role, text: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        push_styled(&mut out, &self.state.lock().theme, role, text);
        Cow::Owned(out)
    }
}

/// Colours go through in full: rustyline's screen is ours, and the terminal's depth is applied when it is drawn.
fn push_styled(out: &mut String, theme: &Theme, role: Role, text: &str) {
    out.push_str(&sgr(theme.style(role), ColorDepth::TrueColor));
    out.push_str(text);
    out.push_str("\x1b[0m");
}

impl Hinter for PromptHelper {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<String> {
        // a hint of several lines would push the panel about
        self.history.hint(line, pos, context).filter(|hint| !hint.contains('\n'))
    }
}

impl Completer for PromptHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let names = self.state.lock().names.clone().unwrap_or_default();
        let found = complete(line, pos, &names);
        let pairs = found.candidates.into_iter().map(|candidate| candidate.text);
        Ok((found.span.start, pairs.map(|text| Pair { display: text.clone(), replacement: text }).collect()))
    }
}

impl Validator for PromptHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if context.input().ends_with('\\') {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

/// The line as it is meant: a `\` at a line's end only says that the next one belongs to it.
pub fn joined(line: &str) -> String {
    line.replace("\\\n", "\n")
}
