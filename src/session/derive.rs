//! A picture made from another one: `+ rain`, `- hat`, `s/dog/fox/`, other values, the same seed.

use std::fmt;

use similar::{ChangeTag, TextDiff};

use super::sweep::Typed;

/// A change of a picture: a new prompt made from its prompt, other values, the same seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Derivation {
    /// What changes in the prompt.
    pub edit: Option<Edit>,
    /// What else changes. A prompt in it takes the place of the old one.
    pub typed: Typed,
}

/// One change to a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds words at the end, after a comma.
    Add(String),
    /// Takes words out.
    Remove(String),
    /// Puts words in the place of others: the first, or all of them.
    Replace {
        /// What is there.
        from: String,
        /// What comes instead; empty takes it out.
        to: String,
        /// Every place, and not only the first.
        all: bool,
    },
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The words to change are not there.
    #[error("there is no `{words}` in the prompt `{prompt}`; type words that are in it")]
    NotThere {
        /// The words.
        words: String,
        /// The prompt.
        prompt: String,
    },
    /// Nothing would be left.
    #[error("nothing would be left of the prompt; type a new one")]
    NothingLeft,
}

impl Edit {
    /// The changed prompt.
    ///
    /// # Errors
    /// When the words are not there or nothing is left.
    pub fn apply(&self, prompt: &str) -> Result<String, EditError> {
        let changed = match self {
            Self::Add(words) => {
                let prompt = prompt.trim_end().trim_end_matches(',');
                let comma = if prompt.is_empty() || words.starts_with(',') { "" } else { ", " };
                format!("{prompt}{comma}{words}")
            }
            Self::Remove(words) => replace(prompt, words, "", true)?,
            Self::Replace { from, to, all } => replace(prompt, from, to, *all)?,
        };
        if changed.trim().is_empty() { Err(EditError::NothingLeft) } else { Ok(changed) }
    }
}

/// Whole words first; inside words only when there is no whole one. Case does not matter.
fn replace(prompt: &str, from: &str, to: &str, all: bool) -> Result<String, EditError> {
    let places = places(prompt, from, true);
    let mut places = if places.is_empty() { self::places(prompt, from, false) } else { places };
    if places.is_empty() {
        return Err(EditError::NotThere { words: from.to_owned(), prompt: prompt.to_owned() });
    }
    if !all {
        places.truncate(1);
    }
    let mut changed = prompt.to_owned();
    for place in places.into_iter().rev() {
        changed.replace_range(place..place + from.len(), to);
    }
    Ok(if to.trim().is_empty() { close_gaps(&changed) } else { changed })
}

/// Where `words` begin in `prompt`, left to right, without overlap.
fn places(prompt: &str, words: &str, whole: bool) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while !words.is_empty() && at + words.len() <= prompt.len() {
        let end = at + words.len();
        let same = prompt.get(at..end).is_some_and(|part| part.eq_ignore_ascii_case(words));
        let open = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        let bounded = || open(prompt[..at].chars().next_back()) && open(prompt[end..].chars().next());
        if same && (!whole || bounded()) {
            found.push(at);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// Puts spaces and commas right where words were taken out.
fn close_gaps(prompt: &str) -> String {
    let phrases = prompt.split(',').map(|phrase| phrase.split_whitespace().collect::<Vec<_>>().join(" "));
    phrases.filter(|phrase| !phrase.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What became of a prompt, word by word. Displayed as `git diff --word-diff` does: `a red [-dog-]{+fox+}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptDiff(pub Vec<Piece>);

/// A run of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// In both prompts.
    Same(String),
    /// In the old one.
    Removed(String),
    /// In the new one.
    Added(String),
}

impl PromptDiff {
    /// What leads from one prompt to the other; `None` when they are the same.
    pub fn between(old: &str, new: &str) -> Option<Self> {
        if old == new {
            return None;
        }
        let diff = TextDiff::from_words(old, new);
        let mut pieces: Vec<Piece> = Vec::new();
        for change in diff.iter_all_changes() {
            let text = change.value();
            match (change.tag(), pieces.last_mut()) {
                (ChangeTag::Equal, Some(Piece::Same(run)))
                | (ChangeTag::Delete, Some(Piece::Removed(run)))
                | (ChangeTag::Insert, Some(Piece::Added(run))) => run.push_str(text),
                (ChangeTag::Equal, _) => pieces.push(Piece::Same(text.to_owned())),
                (ChangeTag::Delete, _) => pieces.push(Piece::Removed(text.to_owned())),
                (ChangeTag::Insert, _) => pieces.push(Piece::Added(text.to_owned())),
            }
        }
        Some(Self(pieces))
    }
}

impl fmt::Display for PromptDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Same(text) => f.write_str(text),
            Piece::Removed(text) => write!(f, "[-{text}-]"),
            Piece::Added(text) => write!(f, "{{+{text}+}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_by_words() {
        let diff = |old, new| PromptDiff::between(old, new).map(|diff| diff.to_string());
        assert_eq!(diff("a red dog", "a red fox").unwrap(), "a red [-dog-]{+fox+}");
        assert_eq!(diff("a fox", "a fox, rain").unwrap(), "a [-fox-]{+fox, rain+}");
        assert_eq!(diff("a fox", "a fox"), None);
    }

    fn replace(from: &str, to: &str, all: bool) -> Edit {
        Edit::Replace { from: from.into(), to: to.into(), all }
    }

    #[test]
    fn adds_removes_and_replaces() {
        let add = Edit::Add("rain".into());
        assert_eq!(add.apply("a red fox").unwrap(), "a red fox, rain");
        assert_eq!(add.apply("a red fox, ").unwrap(), "a red fox, rain");
        let remove = Edit::Remove("Hat".into());
        assert_eq!(remove.apply("a fox, hat, rain").unwrap(), "a fox, rain");
        assert_eq!(remove.apply("a fox with a hat that chatters").unwrap(), "a fox with a that chatters");
        assert_eq!(replace("dog", "fox", false).apply("a dog and a dog").unwrap(), "a fox and a dog");
        assert_eq!(replace("dog", "fox", true).apply("a dog and a dog").unwrap(), "a fox and a fox");
        assert_eq!(replace("cat", "dog", true).apply("concatenate a cat").unwrap(), "concatenate a dog");
        assert_eq!(replace("ß", "ss", true).apply("straße größe").unwrap(), "strasse grösse");
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert!(matches!(Edit::Remove("hat".into()).apply("a fox"), Err(EditError::NotThere { .. })));
        assert_eq!(Edit::Remove("fox".into()).apply("Fox"), Err(EditError::NothingLeft));
        assert!(matches!(replace("", "x", true).apply("a fox"), Err(EditError::NotThere { .. })));
    }
}
