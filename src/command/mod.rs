//! From a typed line to a prompt with switches, a change of the last picture, or a slash command.
//!
//! Owns the grammar. Knows the session, but no terminal and no engine.

mod format;
mod grammar;
mod lex;
mod line;
pub mod switches;

pub use format::prompt_line;
pub use grammar::Span;
pub use lex::{TokenKind, lex};
pub use line::{Derivation, Line, ParseError, parse};
