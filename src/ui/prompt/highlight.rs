//! What of a line gets which role while it is typed: switches, weights, errors, and words that the model never sees.

use std::ops::Range;

use crate::command::{Line, TokenKind, lex, parse};
use crate::theme::Role;
use crate::ui::app::TokenCount;

/// Counts a prompt's tokens; the model's tokenizer, handed in from outside.
pub trait CountTokens: Send + Sync {
    /// Tokens of this prompt.
    fn count(&self, prompt: &str) -> TokenCount;
}

impl<F: Fn(&str) -> TokenCount + Send + Sync> CountTokens for F {
    fn count(&self, prompt: &str) -> TokenCount {
        self(prompt)
    }
}

/// The role of a piece of the line.
fn role(kind: TokenKind) -> Role {
    match kind {
        TokenKind::Flag | TokenKind::Edit => Role::InputSwitch,
        TokenKind::Value | TokenKind::Reference => Role::InputValue,
        TokenKind::Weight | TokenKind::Choice | TokenKind::Wildcard => Role::InputWeight,
        TokenKind::Command => Role::InputCommand,
        TokenKind::Argument => Role::Text,
        TokenKind::Comment => Role::Muted,
        TokenKind::Error => Role::InputError,
    }
}

/// Where a line's prompt lies in it, if it stands there as it is (no quotes to take off).
fn prompt_in(line: &str) -> Option<(usize, String)> {
    let Line::Prompt(typed) = parse(line) else { return None };
    let prompt = typed.request.prompt;
    Some((line.find(&prompt)?, prompt))
}

/// Counts the tokens of a line's prompt; `cut_at_byte` is a place in the line.
pub fn count(line: &str, counter: &dyn CountTokens) -> Option<TokenCount> {
    let (at, prompt) = prompt_in(line)?;
    let count = counter.count(&prompt);
    Some(TokenCount { cut_at_byte: count.cut_at_byte.map(|byte| at + byte.min(prompt.len())), ..count })
}

/// The pieces of a line that are not plain text, in order and without overlap.
pub fn pieces(line: &str, tokens: Option<TokenCount>) -> Vec<(Range<usize>, Role)> {
    let mut pieces: Vec<(Range<usize>, Role)> =
        lex(line).into_iter().map(|(span, kind)| (span, role(kind))).collect();
    if let Some((cut, end)) = tokens.and_then(|tokens| cut_range(line, tokens)) {
        pieces.retain(|(span, _)| span.end <= cut || span.start >= end);
        let at = pieces.partition_point(|(span, _)| span.start < cut);
        pieces.insert(at, (cut..end, Role::InputCut));
    }
    pieces
}

/// From the first word that is not read to the prompt's end.
fn cut_range(line: &str, tokens: TokenCount) -> Option<(usize, usize)> {
    let (at, prompt) = prompt_in(line)?;
    let cut = tokens.cut_at_byte.filter(|cut| line.is_char_boundary(*cut))?;
    let end = at + prompt.len();
    (cut < end).then_some((cut, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of words with room for three.
    fn three(prompt: &str) -> TokenCount {
        let starts: Vec<usize> =
            prompt.split_whitespace().map(|word| word.as_ptr() as usize - prompt.as_ptr() as usize).collect();
        TokenCount { used: starts.len(), limit: 3, cut_at_byte: starts.get(3).copied() }
    }

    fn shown(line: &str) -> Vec<(&str, Role)> {
        pieces(line, count(line, &three)).into_iter().map(|(span, role)| (&line[span], role)).collect()
    }

    #[test]
    fn switches_commands_and_errors() {
        assert_eq!(shown("a fox -s 20"), [("-s", Role::InputSwitch), ("20", Role::InputValue)]);
        assert_eq!(shown("/help set")[0], ("/help", Role::InputCommand));
        assert_eq!(shown("a fox --stesp 20 ")[0], ("--stesp", Role::InputError));
        assert_eq!(shown("# note"), [("# note", Role::Muted)]);
        assert_eq!(shown("a fox"), []);
    }

    #[test]
    fn words_beyond_the_limit_are_cut_up_to_the_switches() {
        let line = "one two three four (five:1.2) -s 20";
        assert_eq!(
            shown(line),
            [("four (five:1.2)", Role::InputCut), ("-s", Role::InputSwitch), ("20", Role::InputValue)]
        );
        assert_eq!(count(line, &three).and_then(|count| count.cut_at_byte), Some(14));
        assert_eq!(count("/set steps 20", &three), None);
        assert_eq!(shown("  一 二 三 四"), [("四", Role::InputCut)]);
    }
}
