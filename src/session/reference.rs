//! Names for pictures of the session: `$`, `$12`, `$-2`, `$@fox`.

use std::fmt;

use crate::request::JobId;

/// A picture of the session, as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `$`: the current one. `$-1` is the same, `$-2` the one before; InvokeAI's `-1` and `-2` too.
    Back(u64),
    /// `$12`: the twelfth.
    Number(JobId),
    /// `$@name`: the one that was given this name.
    Name(String),
}

impl Reference {
    /// Reads a reference; `None` if the text is something else, such as a file.
    pub fn parse(text: &str) -> Option<Self> {
        let back = |text: &str| text.parse().ok().filter(|n| *n > 0).map(Self::Back);
        if let Some(text) = text.strip_prefix('-') {
            return back(text);
        }
        match text.strip_prefix('$')? {
            "" => Some(Self::Back(1)),
            rest => match (rest.strip_prefix('-'), rest.strip_prefix('@')) {
                (Some(text), _) => back(text),
                (_, Some(name)) => is_name(name).then(|| Self::Name(name.to_owned())),
                _ => rest.parse().ok().map(|n| Self::Number(JobId(n))),
            },
        }
    }
}

/// Whether a picture can have this name: letters, digits, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Back(1) => f.write_str("$"),
            Self::Back(n) => write!(f, "$-{n}"),
            Self::Number(id) => write!(f, "${}", id.0),
            Self::Name(name) => write!(f, "$@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_back_as_they_are_written() {
        for text in ["$", "$-2", "$12", "$@red-fox"] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Reference::parse("-1"), Some(Reference::Back(1)));
        assert_eq!(Reference::parse("$-1"), Some(Reference::Back(1)));
        for text in ["", "12", "fox.png", "$fox", "$@", "$@a b", "-0", "$-", "$12.png", "--1", "$+3x"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
