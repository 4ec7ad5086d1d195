//! What becomes of a line, and of a key in the gallery: jobs for the engine, words for the scrollback.

use std::collections::VecDeque;
use std::io;

use crossterm::event::KeyEvent;
use ratatui::text::{Line as Text, Span};

use super::app::Screen;
use super::gallery::{Ask, Entry, Gallery, Scope};
use super::loader::Loader;
use super::prompt::{joined, pieces};
use super::run::Ui;
use super::views;
use crate::command::{Line, parse};
use crate::engine::{EngineEvent, Job};
use crate::request::{GenerateRequest, JobId, Recipe};
use crate::theme::{Role, Theme};

/// The prompt.
pub const PROMPT: &str = "tintype › ";

/// SCRATCH until crate::session has it.
#[derive(Default)]
pub struct Session {
    next: u64,
    _recipes: VecDeque<Recipe>,
}

impl Session {
    pub fn apply(&mut self, _event: &EngineEvent) {}
    fn job(&mut self, request: GenerateRequest) -> Job {
        self.next += 1;
        Job { id: JobId(self.next), request }
    }
}

impl Ui {
    /// A line was entered.
    pub(super) fn submit(&mut self, text: &str) -> io::Result<()> {
        let line = joined(text);
        if line.trim().is_empty() {
            return Ok(());
        }
        self.say(echo(&line, &self.app.theme))?;
        match parse(&line) {
            Line::Empty => Ok(()),
            Line::Prompt(typed) => {
                self.start(typed.request);
                Ok(())
            }
            Line::Command(typed) => self.command(typed.name(), line[typed.args.clone()].trim()),
            Line::Derive(_) => self.say(views::result::problem("not yet", &self.app.theme)),
            Line::ParseError(error) => {
                self.say(views::result::problem(&error.render(&line), &self.app.theme))
            }
        }
    }

    fn start(&mut self, request: GenerateRequest) {
        let job = self.session.job(request);
        self.app.submitted(job.id, &job.request.prompt);
        self.engine.submit(job);
    }

    fn command(&mut self, name: &str, args: &str) -> io::Result<()> {
        match name {
            "quit" | "bye" | "exit" => self.exit = Some(0),
            "full" => {
                self.app.screen = Screen::Full;
                self.show_screen()?;
            }
            "gallery" => self.open_gallery()?,
            "help" | "?" => {
                self.app.help = true;
                self.show_screen()?;
            }
            "theme" => match Theme::load(args, None) {
                Ok(theme) => {
                    self.prompt_state.set_theme(theme.clone());
                    self.app.theme = theme;
                }
                Err(e) => self.say(views::result::problem(&e.to_string(), &self.app.theme))?,
            },
            _ => self.say(views::result::problem("no such command", &self.app.theme))?,
        }
        Ok(())
    }

    /// Shows the gallery of this session.
    pub(super) fn open_gallery(&mut self) -> io::Result<()> {
        let entries = self.app.shots.iter().rev().map(Entry::from).collect();
        self.full_behind = matches!(self.app.screen, Screen::Full);
        self.app.screen = Screen::Gallery(Box::new(Gallery::new(Scope::Session, entries)));
        self.show_screen()
    }

    pub(super) fn close_gallery(&mut self) -> io::Result<()> {
        self.app.screen = if self.full_behind { Screen::Full } else { Screen::Inline };
        self.show_screen()
    }

    pub(super) fn gallery_key(&mut self, key: &KeyEvent) -> io::Result<()> {
        let Screen::Gallery(gallery) = &mut self.app.screen else { return Ok(()) };
        match gallery.key(key) {
            None => Ok(()),
            Some(Ask::Close) => self.close_gallery(),
            Some(Ask::Rerun(recipe)) => {
                self.start(GenerateRequest { prompt: recipe.params.prompt.clone(), ..Default::default() });
                Ok(())
            }
            Some(Ask::Edit(recipe)) => {
                self.close_gallery()?;
                self.edit(&recipe.params.prompt);
                Ok(())
            }
            Some(Ask::Trash(recipe)) => {
                self.trash(&recipe);
                Ok(())
            }
            Some(Ask::Scope(_)) => Ok(()),
        }
    }

    /// Puts text into the prompt in place of what is there.
    fn edit(&mut self, text: &str) {
        self.prompt.set_text(text);
    }

    fn trash(&mut self, recipe: &Recipe) {
        let Some(path) = &recipe.path else { return };
        match trash::delete(path) {
            Ok(()) => {
                if let Screen::Gallery(gallery) = &mut self.app.screen {
                    gallery.trashed(path);
                }
            }
            Err(error) => self.app.notice = Some(format!("{} stays: {error}", path.display())),
        }
    }

    /// Has the pictures read that the gallery shows.
    pub(super) fn load_pictures(&mut self) {
        let Screen::Gallery(gallery) = &self.app.screen else { return };
        let Some(want) = gallery.wants() else { return };
        if self.loader.is_none() {
            let waker = self.events.waker();
            self.loader = Loader::start(move || waker.wake()).ok();
        }
        if let Some(loader) = &mut self.loader {
            loader.ask(Some(want));
        }
    }

    pub(super) fn take_pictures(&mut self) {
        while let Some((want, picture)) = self.loader.as_mut().and_then(Loader::take) {
            if let Screen::Gallery(gallery) = &mut self.app.screen {
                gallery.loaded(&want, picture.as_ref());
                self.redraw_soon();
            }
        }
    }
}

/// The line as it stays in the scrollback.
fn echo(line: &str, theme: &Theme) -> Vec<Text<'static>> {
    let styled = |role: Role, text: &str| Span::styled(text.to_owned(), theme.style(role));
    let mut lines = vec![Text::from(styled(Role::Prompt, PROMPT))];
    let mut at = 0;
    let push = |role: Option<Role>, text: &str, lines: &mut Vec<Text<'static>>| {
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                lines.push(Text::from(" ".repeat(PROMPT.chars().count())));
            }
            let clean = super::format::one_line(part);
            if let Some(last) = lines.last_mut() {
                last.push_span(styled(role.unwrap_or(Role::Text), &clean));
            }
        }
    };
    for (span, role) in pieces(line, None) {
        push(None, &line[at..span.start], &mut lines);
        push(Some(role), &line[span.clone()], &mut lines);
        at = span.end;
    }
    push(None, &line[at..], &mut lines);
    lines
}
