//! From a typed line to a prompt with switches, a change of the current picture, or a slash command; and doing it.
//!
//! Owns the grammar and the commands. Knows the session, but no terminal and no engine: what is left to do comes
//! back as an [`Outcome`]. [`parse`] understands a line, [`lex`] colours it, [`complete`] completes it, [`execute`]
//! does it.

pub mod args;
mod complete;
pub mod docs;
mod execute;
mod format;
mod grammar;
mod lex;
mod line;
mod outcome;
mod slash;
pub mod switches;
pub mod table;

pub use complete::{Candidate, CompletionContext, Completions, complete};
pub use execute::{CommandError, confirmed, execute, queue};
pub use format::prompt_line;
pub use grammar::Span;
pub use lex::{TokenKind, lex};
pub use line::{CommandLine, Line, ParseError, parse};
pub use outcome::{Cancel, Outcome, Submission, View};
