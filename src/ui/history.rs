//! The history as a list: what is typed filters it, Enter runs a line again, Tab puts it into the prompt.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::ZonedDateTime;

use super::gallery::Scope;
use crate::session::entry::Entry;
use crate::session::filter::Filter;
use crate::session::history::describe;

/// What a key asks of the session.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Leave the list.
    Close,
    /// Make this again, and leave.
    Run(Arc<Entry>),
    /// Put its line into the prompt, and leave.
    Edit(Arc<Entry>),
    /// Show the jobs of this scope.
    Scope(Scope),
}

/// One job, and how it is shown.
#[derive(Clone, Debug)]
struct Row {
    entry: Arc<Entry>,
    text: String,
}

/// The state; see the module.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Newest first.
    rows: Vec<Row>,
    /// Positions in `rows` that the filter lets through.
    shown: Vec<usize>,
    /// Position in `shown`.
    at: usize,
    /// Whose jobs.
    pub scope: Scope,
    /// What was typed.
    pub filter: String,
    /// What is wrong with it.
    pub trouble: Option<String>,
}

impl History {
    /// These jobs, newest first.
    pub fn new(scope: Scope, entries: Vec<Entry>, now: &ZonedDateTime) -> Self {
        let row = |entry: Entry| Row { text: describe(&entry, now), entry: Arc::new(entry) };
        let rows: Vec<_> = entries.into_iter().map(row).collect();
        Self { shown: (0..rows.len()).collect(), rows, scope, ..Self::default() }
    }

    /// Other jobs, under the same filter.
    pub fn replace(&mut self, scope: Scope, entries: Vec<Entry>, now: &ZonedDateTime) {
        let filter = std::mem::take(&mut self.filter);
        *self = Self { filter, ..Self::new(scope, entries, now) };
        self.refresh();
    }

    /// What is shown, and whether each is the chosen one.
    pub fn rows(&self) -> impl Iterator<Item = (&str, bool)> {
        self.shown.iter().enumerate().map(|(at, row)| (self.rows[*row].text.as_str(), at == self.at))
    }

    /// Which of the shown rows is the chosen one.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many are shown, and of how many.
    pub fn count(&self) -> (usize, usize) {
        (self.shown.len(), self.rows.len())
    }

    /// A key was pressed.
    pub fn key(&mut self, key: &KeyEvent) -> Option<Ask> {
        const PAGE: usize = 10;
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Up => self.at = self.at.saturating_sub(1),
            KeyCode::Down => self.at += 1,
            KeyCode::PageUp => self.at = self.at.saturating_sub(PAGE),
            KeyCode::PageDown => self.at += PAGE,
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = usize::MAX,
            KeyCode::Enter => return self.chosen().map(Ask::Run),
            KeyCode::Tab => return self.chosen().map(Ask::Edit),
            KeyCode::Esc => return Some(Ask::Close),
            KeyCode::Char('c' | 'd') if ctrl => return Some(Ask::Close),
            KeyCode::Char('r') if ctrl => {
                return Some(Ask::Scope(match self.scope {
                    Scope::Session => Scope::All,
                    Scope::All => Scope::Session,
                }));
            }
            KeyCode::Char('u') if ctrl => self.typed(String::clear),
            KeyCode::Backspace => self.typed(|filter| {
                filter.pop();
            }),
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                self.typed(|filter| filter.push(c));
            }
            _ => {}
        }
        self.at = self.at.min(self.shown.len().saturating_sub(1));
        None
    }

    /// Text was pasted: it is typed.
    pub fn paste(&mut self, text: &str) {
        self.typed(|filter| filter.extend(text.chars().filter(|c| !c.is_control())));
    }

    fn typed(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        self.refresh();
    }

    fn chosen(&self) -> Option<Arc<Entry>> {
        self.shown.get(self.at).map(|row| Arc::clone(&self.rows[*row].entry))
    }

    /// Applies the filter; a half typed one leaves what was shown.
    fn refresh(&mut self) {
        match Filter::parse(&self.filter, &ZonedDateTime::now()) {
            Ok(filter) => {
                let chosen = self.shown.get(self.at).copied();
                self.shown =
                    (0..self.rows.len()).filter(|at| filter.matches(&self.rows[*at].entry)).collect();
                self.at = self.shown.iter().position(|at| Some(*at) == chosen).unwrap_or(0);
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples::entry;

    fn list() -> History {
        let mut entries: Vec<_> = [(1, "a red fox"), (2, "a dog"), (3, "a blue fox")]
            .map(|(job, prompt)| entry(job, prompt))
            .into();
        entries[0].rating = Some(4);
        entries.reverse();
        History::new(Scope::Session, entries, &ZonedDateTime::now())
    }

    fn press(list: &mut History, code: KeyCode) -> Option<Ask> {
        list.key(&KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn type_text(list: &mut History, text: &str) {
        text.chars().for_each(|c| drop(press(list, KeyCode::Char(c))));
    }

    fn prompt(ask: Option<Ask>) -> String {
        match ask {
            Some(Ask::Run(entry)) => format!("run {}", entry.request.prompt),
            Some(Ask::Edit(entry)) => format!("edit {}", entry.request.prompt),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn enter_runs_and_tab_edits_what_is_chosen() {
        let mut list = list();
        assert_eq!(prompt(press(&mut list, KeyCode::Enter)), "run a blue fox");
        press(&mut list, KeyCode::Down);
        assert_eq!(prompt(press(&mut list, KeyCode::Tab)), "edit a dog");
        press(&mut list, KeyCode::End);
        press(&mut list, KeyCode::Down);
        assert_eq!(prompt(press(&mut list, KeyCode::Enter)), "run a red fox");
        assert!(matches!(press(&mut list, KeyCode::Esc), Some(Ask::Close)));
        assert!(press(&mut History::default(), KeyCode::Enter).is_none());
    }

    #[test]
    fn typing_filters_and_keeps_what_is_chosen() {
        let mut list = list();
        press(&mut list, KeyCode::End);
        type_text(&mut list, "fox");
        assert_eq!(list.count(), (2, 3));
        assert_eq!(prompt(press(&mut list, KeyCode::Enter)), "run a red fox");
        type_text(&mut list, " rating>=");
        assert!(list.trouble.is_some(), "half a filter");
        type_text(&mut list, "3");
        assert_eq!((list.count(), list.trouble.clone()), ((1, 3), None));
        list.key(&KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        list.paste("seed:2\n");
        assert_eq!(prompt(press(&mut list, KeyCode::Enter)), "run a dog");
        let ask = list.key(&KeyEvent::new(KeyCode::Char('r'), KeyModifiers::CONTROL));
        assert!(matches!(ask, Some(Ask::Scope(Scope::All))));
        list.replace(Scope::All, vec![entry(2, "a cat"), entry(7, "a cow")], &ZonedDateTime::now());
        assert_eq!(list.rows().count(), 1, "the filter holds");
    }
}
