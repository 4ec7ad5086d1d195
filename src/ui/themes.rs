//! Trying themes on: the one that is chosen holds at once, Esc brings the old one back.

use crossterm::event::{KeyCode, KeyEvent};

/// A list of themes with one chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThemePicker {
    names: Vec<String>,
    at: usize,
    /// The theme to go back to.
    before: String,
}

/// What a key comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing.
    None,
    /// Show this one.
    Try(String),
    /// Keep the one that is shown.
    Keep(String),
    /// Go back to this one.
    Back(String),
}

impl ThemePicker {
    /// All `names`, with the one that is used now chosen.
    pub fn new(names: Vec<String>, now: &str) -> Self {
        let at = names.iter().position(|name| name == now).unwrap_or(0);
        Self { names, at, before: now.to_owned() }
    }

    /// The names, and whether each is the chosen one.
    pub fn rows(&self) -> impl Iterator<Item = (&str, bool)> {
        self.names.iter().enumerate().map(|(at, name)| (name.as_str(), at == self.at))
    }

    /// Which row is the chosen one.
    pub fn at(&self) -> usize {
        self.at
    }

    /// A key was pressed.
    pub fn key(&mut self, key: &KeyEvent) -> Choice {
        let last = self.names.len().saturating_sub(1);
        self.at = match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (self.at + 1).min(last),
            KeyCode::Home => 0,
            KeyCode::End => last,
            KeyCode::Enter => {
                return self.names.get(self.at).map_or(Choice::None, |name| Choice::Keep(name.clone()));
            }
            KeyCode::Esc | KeyCode::Char('q') => return Choice::Back(self.before.clone()),
            _ => return Choice::None,
        };
        self.names.get(self.at).map_or(Choice::None, |name| Choice::Try(name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    #[test]
    fn arrows_try_enter_keeps_esc_goes_back() {
        let names = || vec!["albumen".to_owned(), "ansi".into(), "nord".into()];
        let mut picker = ThemePicker::new(names(), "ansi");
        let mut press = |code| picker.key(&KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(press(KeyCode::Down), Choice::Try("nord".into()));
        assert_eq!(press(KeyCode::Down), Choice::Try("nord".into()));
        assert_eq!(press(KeyCode::Char('x')), Choice::None);
        assert_eq!(press(KeyCode::Enter), Choice::Keep("nord".into()));
        assert_eq!(press(KeyCode::Home), Choice::Try("albumen".into()));
        assert_eq!(press(KeyCode::Esc), Choice::Back("ansi".into()));
        assert_eq!(
            ThemePicker::new(Vec::new(), "ansi").key(&KeyEvent::new(KeyCode::Down, KeyModifiers::NONE)),
            Choice::None
        );
    }
}
