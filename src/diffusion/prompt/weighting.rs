//! Emphasis in prompts, as AUTOMATIC1111's web UI writes it: `(word)` ×1.1, `[word]` ÷1.1, `(word:1.3)` ×1.3,
//! nested ones multiply, `\(` is a bracket.
//!
//! Owns the syntax, the decision whether a prompt uses it, and what a weight does to embeddings. The web UI's prompt
//! editing (`[a:b:0.5]`, `[a|b]`), `AND` and `BREAK` are no emphasis: they are read as text, and said to be.
//!
//! The syntax is that of `parse_prompt_attention` in the web UI's `modules/prompt_parser.py`, unclosed brackets
//! included; the effect that of its default emphasis, "Original".

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::diffusion::error::Result;

/// Whether brackets in a prompt are emphasis or text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighting {
    /// Emphasis in prompts that hold an explicit weight, `(word:1.3)`, or an escaped bracket, `\(`; text in all
    /// others. Prompts written for diffusers mean what they mean there, prompts written for the web UI what they
    /// mean there, and a remark in brackets (like this one, at 16:9) changes nothing.
    #[default]
    Auto,
    /// Always emphasis.
    On,
    /// Always text.
    Off,
}

/// A weight larger than this, up or down, is taken as this: nothing sensible lies beyond, and it keeps f16 finite.
const MOST: f64 = 100.;
const ROUND: f64 = 1.1;
const SQUARE: f64 = 1. / 1.1;

/// A stretch of a prompt that has one weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Where its text stands in the prompt; brackets, weights and escapes are left out.
    pub pieces: Vec<Range<usize>>,
    /// How much it counts; 1 is neutral.
    pub weight: f64,
}

impl Segment {
    /// Its text. `prompt` is what was parsed.
    pub fn text(&self, prompt: &str) -> String {
        self.pieces.iter().map(|piece| &prompt[piece.clone()]).collect()
    }

    /// Where byte `at` of its text stands in the prompt.
    pub fn source_of(&self, mut at: usize) -> usize {
        for piece in &self.pieces {
            if at < piece.len() {
                return piece.start + at;
            }
            at -= piece.len();
        }
        self.pieces.last().map_or(0, |piece| piece.end)
    }
}

/// Splits a prompt into stretches of one weight. A prompt without emphasis, or one whose brackets are text, is a
/// single segment: itself, at weight 1.
pub fn parse(prompt: &str, weighting: Weighting) -> Vec<Segment> {
    if has_emphasis(prompt, weighting) {
        merge(parse_emphasis(prompt))
    } else {
        vec![neutral(0..prompt.len())]
    }
}

fn has_emphasis(prompt: &str, weighting: Weighting) -> bool {
    match weighting {
        Weighting::Auto => shows_emphasis(prompt),
        Weighting::On => true,
        Weighting::Off => false,
    }
}

fn neutral(text: Range<usize>) -> Segment {
    Segment { pieces: vec![text], weight: 1. }
}

/// What the syntax is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Text,
    /// A backslash and what it takes the meaning from.
    Escape,
    OpenRound,
    OpenSquare,
    CloseRound,
    CloseSquare,
    /// `:1.3)`.
    Weight(f64),
}

/// Cuts a prompt into marks; together they cover it.
fn marks(prompt: &str) -> impl Iterator<Item = (Mark, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &prompt[at..];
        let first = rest.chars().next()?;
        let (mark, length) = match first {
            '\\' => (Mark::Escape, 1 + usize::from(rest[1..].starts_with(['(', ')', '[', ']', '\\']))),
            '(' => (Mark::OpenRound, 1),
            '[' => (Mark::OpenSquare, 1),
            ')' => (Mark::CloseRound, 1),
            ']' => (Mark::CloseSquare, 1),
            ':' => weight(rest).map_or((Mark::Text, 1), |(weight, length)| (Mark::Weight(weight), length)),
            _ => (Mark::Text, rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len())),
        };
        at += length;
        Some((mark, at - length..at))
    })
}

/// The number of `:1.3)` at the beginning of `text`, and the length of it all.
fn weight(text: &str) -> Option<(f64, usize)> {
    let (number, _) = text[1..].split_once(')')?;
    let length = 1 + number.len() + 1;
    let number = number.trim();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Some((number.clamp(-MOST, MOST), length))
}

/// Whether a prompt shows that it was written with emphasis in mind: by an escaped bracket, or by a weight that is
/// not a ratio, a time or a face: `(at 16:9)`, `(10:30)`, `(cat :3)`.
fn shows_emphasis(prompt: &str) -> bool {
    let mut open = 0_usize;
    marks(prompt).any(|(mark, range)| match mark {
        Mark::Escape => range.len() == 2 && !prompt[range].ends_with('\\'),
        Mark::OpenRound => {
            open += 1;
            false
        }
        Mark::CloseRound => {
            open = open.saturating_sub(1);
            false
        }
        Mark::Weight(weight) if open > 0 => {
            open -= 1;
            let before = prompt[..range.start].chars().next_back();
            let after_word =
                before.is_some_and(|c| !c.is_numeric() && !c.is_whitespace() && !"([".contains(c));
            prompt[range].contains('.') || (after_word && weight.abs() <= 10.)
        }
        _ => false,
    })
}

fn parse_emphasis(prompt: &str) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let (mut rounds, mut squares) = (Vec::new(), Vec::new());
    for (mark, range) in marks(prompt) {
        let closed = match mark {
            Mark::OpenRound => {
                rounds.push(segments.len());
                continue;
            }
            Mark::OpenSquare => {
                squares.push(segments.len());
                continue;
            }
            Mark::Weight(weight) => rounds.pop().map(|start| (start, weight)),
            Mark::CloseRound => rounds.pop().map(|start| (start, ROUND)),
            Mark::CloseSquare => squares.pop().map(|start| (start, SQUARE)),
            Mark::Text | Mark::Escape => None,
        };
        if let Some((start, factor)) = closed {
            multiply(&mut segments[start..], factor);
        } else {
            // A closing bracket that nothing opened is text.
            let start = range.start + usize::from(mark == Mark::Escape);
            segments.push(neutral(start..range.end));
        }
    }
    for (starts, factor) in [(rounds, ROUND), (squares, SQUARE)] {
        for start in starts {
            multiply(&mut segments[start..], factor);
        }
    }
    segments
}

fn multiply(segments: &mut [Segment], factor: f64) {
    for segment in segments {
        segment.weight = (segment.weight * factor).clamp(-MOST, MOST);
    }
}

/// Joins neighbours of the same weight, so that words are tokenized as the longest text they are part of.
fn merge(segments: Vec<Segment>) -> Vec<Segment> {
    let mut merged: Vec<Segment> = Vec::new();
    for segment in segments {
        match merged.last_mut() {
            #[expect(clippy::float_cmp, reason = "neighbours that went through the same products")]
            Some(last) if last.weight == segment.weight => last.pieces.extend(segment.pieces),
            _ => merged.push(segment),
        }
    }
    if merged.is_empty() { vec![neutral(0..0)] } else { merged }
}

/// What a prompt with emphasis holds of the web UI's other syntax, all of which is read as text.
pub(super) fn unread(prompt: &str, weighting: Weighting) -> Vec<&'static str> {
    if !has_emphasis(prompt, weighting) {
        return Vec::new();
    }
    // What stands between each closing square bracket and the opening one before it.
    let closed = prompt.rsplit_once(']').map_or("", |(closed, _)| closed);
    let squares = || closed.split(']').filter_map(|text| Some(text.rsplit_once('[')?.1));
    let word = |wanted: &str| prompt.split(|c: char| !c.is_alphanumeric()).any(|word| word == wanted);
    let editing =
        |text: &str| text.rsplit_once(':').is_some_and(|(_, when)| when.trim().parse::<f64>().is_ok());
    [
        ("BREAK", word("BREAK")),
        ("AND", word("AND")),
        ("[from:to:when]", squares().any(editing)),
        ("[one|other]", squares().any(|text| text.contains('|'))),
    ]
    .into_iter()
    .filter_map(|(syntax, found)| found.then_some(syntax))
    .collect()
}

/// Multiplies each token's state by its weight, then all of them by one factor that restores their mean.
///
/// `hidden_state` is `[1, n, d]`, `weights` are `n`. Where the mean would have to change its sign or vanish, which
/// it does not for real text encoders, it stays as it is.
///
/// # Errors
/// When the shapes differ or the device has no memory left.
pub(super) fn apply(hidden_state: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let state = hidden_state.to_dtype(DType::F32)?;
    let weights = Tensor::new(weights, state.device())?.reshape((1, weights.len(), 1))?;
    let weighted = state.broadcast_mul(&weights)?;
    let mean = |tensor: &Tensor| tensor.mean_all()?.to_scalar::<f32>();
    let ratio = mean(&state)? / mean(&weighted)?;
    let restored = if ratio.is_finite() && ratio > 0. { (weighted * f64::from(ratio))? } else { weighted };
    Ok(restored.to_dtype(hidden_state.dtype())?)
}

#[cfg(test)]
mod tests;
