//! Keys in the gallery and in the list of themes, and the pictures that they need.

use std::io;

use crossterm::event::KeyEvent;
use jiff::ZonedDateTime;

use super::app::Screen;
use super::gallery::{Ask, Gallery, Scope};
use super::history::{self, History};
use super::loader::Loader;
use super::run::Ui;
use super::themes::Choice;
use crate::command::queue;
use crate::request::GenerateRequest;
use crate::session::entry::Entry;
use crate::session::ledger::Ledger;
use crate::session::plan::{Plan, Planned};

impl Ui {
    /// Shows the pictures of this session; `prepare` sets the gallery up before it is drawn.
    pub(super) fn open_gallery(&mut self, prepare: impl FnOnce(&mut Gallery)) -> io::Result<()> {
        let mut gallery = Gallery::new(Scope::Session, self.tiles(Scope::Session));
        gallery.home.clone_from(&self.app.home);
        prepare(&mut gallery);
        self.full_behind = matches!(self.app.screen, Screen::Full);
        self.app.screen = Screen::Gallery(Box::new(gallery));
        self.show_screen()
    }

    /// Back to where the gallery was opened.
    pub(super) fn close_gallery(&mut self) -> io::Result<()> {
        self.app.screen = if self.full_behind { Screen::Full } else { Screen::Inline };
        self.show_screen()
    }

    pub(super) fn gallery_key(&mut self, key: &KeyEvent) -> io::Result<()> {
        let Screen::Gallery(gallery) = &mut self.app.screen else { return Ok(()) };
        match gallery.key(key) {
            None => Ok(()),
            Some(Ask::Close) => self.close_gallery(),
            Some(Ask::Rerun(entry)) => self.rerun(&entry),
            Some(Ask::Edit(entry)) => {
                self.close_gallery()?;
                self.edit(crate::command::prompt_line(&entry.request));
                Ok(())
            }
            Some(Ask::Trash(entry)) => {
                let path = entry.recipe.as_ref().and_then(|recipe| recipe.path.clone());
                path.map_or(Ok(()), |path| self.delete(entry.id, &path))
            }
            Some(Ask::Scope(scope)) => {
                let tiles = self.tiles(scope);
                if let Screen::Gallery(gallery) = &mut self.app.screen {
                    gallery.replace(scope, tiles);
                }
                Ok(())
            }
        }
    }

    /// Makes exactly this once more.
    fn rerun(&mut self, entry: &Entry) -> io::Result<()> {
        // A file of its own: the one that was named then is there.
        let request = GenerateRequest { output: None, ..entry.request.clone() };
        let plan = Plan {
            typed: crate::command::prompt_line(&request),
            pictures: vec![Planned { request, cell: Vec::new() }],
            ..Plan::default()
        };
        let outcome = queue(&mut self.session, plan);
        self.carry_out(outcome)
    }

    /// Shows the history of this session.
    pub(super) fn open_history(&mut self) -> io::Result<()> {
        // From the gallery or the themes the way back is the one that these had.
        if !matches!(self.app.screen, Screen::Gallery(_) | Screen::Themes(_)) {
            self.full_behind = matches!(self.app.screen, Screen::Full);
        }
        let entries = self.jobs(Scope::Session);
        let history = History::new(Scope::Session, entries, &ZonedDateTime::now());
        self.app.screen = Screen::History(Box::new(history));
        self.show_screen()
    }

    pub(super) fn history_key(&mut self, key: &KeyEvent) -> io::Result<()> {
        let Screen::History(history) = &mut self.app.screen else { return Ok(()) };
        match history.key(key) {
            None => Ok(()),
            Some(history::Ask::Close) => self.close_gallery(),
            Some(history::Ask::Run(entry)) => {
                self.close_gallery()?;
                self.rerun(&entry)
            }
            Some(history::Ask::Edit(entry)) => {
                self.close_gallery()?;
                self.edit(crate::command::prompt_line(&entry.request));
                Ok(())
            }
            Some(history::Ask::Scope(scope)) => {
                let entries = self.jobs(scope);
                if let Screen::History(history) = &mut self.app.screen {
                    history.replace(scope, entries, &ZonedDateTime::now());
                }
                Ok(())
            }
        }
    }

    /// The scope's jobs, newest first, whatever came of them.
    fn jobs(&self, scope: Scope) -> Vec<Entry> {
        let others = self.other_ledgers(scope);
        let ledgers = others.iter().chain([self.session.ledger()]);
        let mut jobs: Vec<_> = ledgers.flat_map(Ledger::entries).cloned().collect();
        jobs.reverse();
        jobs
    }

    pub(super) fn themes_key(&mut self, key: &KeyEvent) -> io::Result<()> {
        let Screen::Themes(picker) = &mut self.app.screen else { return Ok(()) };
        match picker.key(key) {
            Choice::None => Ok(()),
            Choice::Try(name) => self.use_theme(&name),
            Choice::Keep(name) | Choice::Back(name) => {
                self.app.screen = Screen::Inline;
                self.show_screen()?;
                self.use_theme(&name)
            }
        }
    }

    /// Has the next picture read that the gallery wants to show.
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

    /// Takes the pictures that were read meanwhile.
    pub(super) fn take_pictures(&mut self) {
        while let Some((want, picture)) = self.loader.as_mut().and_then(Loader::take) {
            if let Screen::Gallery(gallery) = &mut self.app.screen {
                gallery.loaded(&want, picture.as_ref());
                self.redraw_soon();
            }
        }
    }
}
