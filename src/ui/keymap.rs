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

/// What a key means in this state.
pub fn action(key: &KeyEvent, app: &App) -> Action {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::F(1) => return Action::ToggleHelp,
        KeyCode::F(2) => return Action::ToggleFull,
        KeyCode::F(3) => return Action::ToggleGallery,
        KeyCode::F(4) => return Action::ToggleHistory,
        KeyCode::F(_) => return Action::Ignore,
        KeyCode::Char('z') if ctrl => return Action::Suspend,
        KeyCode::Char('l') if ctrl => return Action::Redraw,
        KeyCode::Char('x') if ctrl => return Action::Cancel,
        _ => {}
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
            if ctrl && key.code == KeyCode::Char('k') && app.line_empty && app.running.is_some() =>
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
    use crate::ui::gallery::{Gallery, Scope};
    use crate::ui::themes::ThemePicker;

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
}
