//! Which key does what, apart from doing it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Screen};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Goes to rustyline.
    Type,
    /// Goes to the gallery.
    Gallery,
    /// Goes to the history.
    History,
    /// Goes to the list of themes.
    Themes,
    /// Full screen, or back.
    ToggleFull,
    /// Gallery, or back.
    ToggleGallery,
    /// History, or back.
    ToggleHistory,
    /// Help, or back.
    ToggleHelp,
    /// Cancel the running job after the step in hand.
    Cancel,
    /// Keep what the running job has so far.
    Keep,
    /// Back to the scrollback.
    Inline,
    /// Stop, as the shell's job control has it.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Nothing.
    Ignore,
}

/// A key of tintype's own.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key.
    pub code: KeyCode,
    /// With what it is held together.
    pub modifiers: KeyModifiers,
    /// What it does.
    pub action: Action,
    /// Its name.
    pub name: &'static str,
    /// What it does, in words.
    pub help: &'static str,
}

const fn ctrl(letter: char, action: Action, name: &'static str, help: &'static str) -> Key {
    Key { code: KeyCode::Char(letter), modifiers: KeyModifiers::CONTROL, action, name, help }
}

const fn function(number: u8, action: Action, name: &'static str, help: &'static str) -> Key {
    Key { code: KeyCode::F(number), modifiers: KeyModifiers::NONE, action, name, help }
}

/// The keys that never reach rustyline. The help shows them all. [`Action::Keep`] is only meant where it can be done:
/// at the prompt, on an empty line, while a job runs.
pub const KEYS: &[Key] = &[
    ctrl('k', Action::Keep, "Ctrl-K", "a picture of the job so far, on an empty line"),
    ctrl('x', Action::Cancel, "Ctrl-X", "cancel the job, whatever is typed"),
    ctrl('z', Action::Suspend, "Ctrl-Z", "suspend; fg comes back"),
    ctrl('l', Action::Redraw, "Ctrl-L", "draw the screen anew"),
    function(1, Action::ToggleHelp, "F1", "this help"),
    function(2, Action::ToggleFull, "F2", "full screen and back"),
    function(3, Action::ToggleGallery, "F3", "gallery and back"),
    function(4, Action::ToggleHistory, "F4", "history and back: type, Enter runs, Tab edits"),
];

/// What a key means in this state.
pub fn action(key: &KeyEvent, app: &App) -> Action {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let row = KEYS.iter().find(|row| row.code == key.code && key.modifiers.contains(row.modifiers));
    let own = row.map(|row| row.action);
    match (own, key.code) {
        (None, KeyCode::F(_)) => return Action::Ignore,
        (None | Some(Action::Keep), _) => {}
        (Some(action), _) => return action,
    }
    if app.help {
        return match key.code {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => Action::ToggleHelp,
            KeyCode::Char('c') if ctrl => Action::ToggleHelp,
            _ => Action::Ignore,
        };
    }
    match app.screen {
        Screen::Gallery(_) if ctrl && matches!(key.code, KeyCode::Char('c' | 'd')) => Action::Inline,
        Screen::Gallery(_) if matches!(key.code, KeyCode::Char('?')) && !app.filtering() => {
            Action::ToggleHelp
        }
        Screen::Gallery(_) => Action::Gallery,
        Screen::History(_) => Action::History,
        Screen::Themes(_) => Action::Themes,
        // With nothing to kill, readline's key for that is free.
        Screen::Full | Screen::Inline
            if own == Some(Action::Keep) && app.line_empty && app.running.is_some() =>
        {
            Action::Keep
        }
        Screen::Full | Screen::Inline => Action::Type,
    }
}

#[cfg(test)]
mod tests {
    use super::Action::{
        Cancel, Gallery as Pictures, Ignore, Inline, Redraw, Suspend, ToggleFull, ToggleHelp, Type,
    };
    use super::*;
    use crate::request::JobId;
    use crate::ui::gallery::{Gallery, Scope};
    use crate::ui::progress::Progress;
    use crate::ui::themes::ThemePicker;
    use crate::ui::views::help;

    const NONE: KeyModifiers = KeyModifiers::NONE;
    const CTRL: KeyModifiers = KeyModifiers::CONTROL;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    fn in_gallery(filtering: bool) -> App {
        let mut gallery = Gallery::new(Scope::Session, Vec::new());
        gallery.filtering = filtering;
        let mut app = App::default();
        app.screen = Screen::Gallery(Box::new(gallery));
        app
    }

    #[test]
    fn the_same_key_in_every_state() {
        let inline = App::default();
        let mut help = App::default();
        help.help = true;
        let (gallery, filter) = (in_gallery(false), in_gallery(true));
        let mut themes = App::default();
        themes.screen = Screen::Themes(ThemePicker::new(Vec::new(), "ansi"));
        assert_eq!(action(&key(KeyCode::Down, NONE), &themes), Action::Themes);
        let mut history = App::default();
        history.screen = Screen::History(Box::default());
        assert_eq!(action(&key(KeyCode::Char('q'), NONE), &history), Action::History);
        assert_eq!(action(&key(KeyCode::Char('c'), CTRL), &history), Action::History);
        assert_eq!(action(&key(KeyCode::F(4), NONE), &history), Action::ToggleHistory);
        assert_eq!(action(&key(KeyCode::F(2), NONE), &themes), Action::ToggleFull);
        let table = [
            (KeyCode::Char('a'), NONE, [Type, Ignore, Pictures, Pictures]),
            (KeyCode::Char('c'), CTRL, [Type, ToggleHelp, Inline, Inline]),
            (KeyCode::Char('d'), CTRL, [Type, Ignore, Inline, Inline]),
            (KeyCode::Char('d'), NONE, [Type, Ignore, Pictures, Pictures]),
            (KeyCode::Char('r'), CTRL, [Type, Ignore, Pictures, Pictures]),
            (KeyCode::Char('?'), NONE, [Type, Ignore, ToggleHelp, Pictures]),
            (KeyCode::Char('z'), CTRL, [Suspend; 4]),
            (KeyCode::Char('l'), CTRL, [Redraw; 4]),
            (KeyCode::Char('x'), CTRL, [Cancel; 4]),
            (KeyCode::F(1), NONE, [ToggleHelp; 4]),
            (KeyCode::F(2), NONE, [ToggleFull; 4]),
            (KeyCode::F(9), NONE, [Ignore; 4]),
            (KeyCode::Esc, NONE, [Type, ToggleHelp, Pictures, Pictures]),
            (KeyCode::Enter, KeyModifiers::ALT, [Type, ToggleHelp, Pictures, Pictures]),
        ];
        for (code, modifiers, expected) in table {
            let got = [&inline, &help, &gallery, &filter].map(|app| action(&key(code, modifiers), app));
            assert_eq!(got, expected, "{modifiers:?} {code:?}");
        }
    }

    #[test]
    fn the_help_names_every_key_that_does_something() {
        let mut busy = App::default();
        busy.line_empty = true;
        busy.running = Some(Progress::new(JobId(1), "a fox".into()));
        let letters = ('a'..='z').map(|letter| (format!("Ctrl-{}", letter.to_ascii_uppercase()), letter));
        let letters = letters.map(|(name, letter)| (name, key(KeyCode::Char(letter), CTRL)));
        let functions = (1..=12).map(|number| (format!("F{number}"), key(KeyCode::F(number), NONE)));
        let mut found = 0;
        for (name, key) in letters.chain(functions) {
            let does = !matches!(action(&key, &busy), Type | Ignore);
            let told = KEYS.iter().any(|row| row.name == name) && help::keys().any(|(keys, _)| keys == name);
            assert_eq!(does, told, "{name}");
            found += usize::from(does);
        }
        assert_eq!(found, KEYS.len(), "each row is a key of its own");
        busy.line_empty = false;
        assert_eq!(
            action(&key(KeyCode::Char('k'), CTRL), &busy),
            Type,
            "with something to kill, readline has it"
        );
    }
}
