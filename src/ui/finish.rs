//! What is printed when a picture is done: alone, beside the one that it was made from, or with its sheet.

use std::io;

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::app::Screen;
use super::gallery::Tile;
use super::painter::beside;
use super::run::Ui;
use super::sheet::LiveSheet;
use super::terminal::Block;
use super::views;
use crate::gallery;
use crate::request::{JobId, Picture, Recipe};
use crate::session::entry::Batch;
use crate::session::sheet::Sheet;
use crate::theme::Role;

impl Ui {
    /// A job began: if it belongs to a sheet, that is shown.
    pub(super) fn began(&mut self, job: JobId) {
        let Some(batch) = self.session.sheet_of(job) else {
            self.app.sheet = None;
            return;
        };
        if self.app.sheet.as_ref().is_some_and(|live| live.place(job).is_some()) {
            return;
        }
        let mut live = LiveSheet::new(Sheet::of(batch));
        for shot in &self.app.shots {
            live.fill(shot.recipe.job, &shot.thumbnail);
        }
        self.app.sheet = Some(live);
    }

    /// A job is over: the sheet goes with the last of its line.
    pub(super) fn ended(&mut self, job: JobId) {
        let over = |id: JobId| self.session.ledger().entry(id).is_none_or(|entry| entry.state.is_over());
        let Some(live) = self.app.sheet.as_ref().filter(|live| live.place(job).is_some()) else { return };
        if live.sheet.cells.iter().flatten().all(|id| over(*id)) {
            self.app.sheet = None;
        }
    }

    /// Prints a finished picture. `before` is the picture that it was made from.
    pub(super) fn finished(
        &mut self,
        recipe: &Recipe,
        picture: Picture,
        before: Option<Picture>,
    ) -> io::Result<()> {
        let theme = &self.app.theme;
        let width = usize::from(self.terminal.size().width);
        let result = |before: &str| {
            views::result::line(recipe, theme, self.app.home.as_deref(), width.saturating_sub(before.width()))
        };
        let saved = views::result::reused(recipe, theme);
        let number = self.app.sheet.as_mut().and_then(|live| {
            live.fill(recipe.job, &picture);
            Some((live.sheet.number(recipe.job)?, live.sheet.cells.len()))
        });
        let mut lines = Vec::new();
        let block = match (number, before) {
            // The sheet shows it.
            (Some((number, count)), _) => {
                let label = self.session.label(recipe.job);
                let text = format!("{number}/{count} {label} · ");
                let after = result(&text);
                let mut line = Line::from(Span::styled(text, theme.style(Role::Text)));
                line.spans.extend(after.spans);
                // In a sweep every picture but the first has known texts.
                let saved = saved.filter(|_| recipe.reused.steps > 0);
                Block::Text(std::iter::once(line).chain(saved).collect())
            }
            (None, Some(before)) => {
                let parent = self.session.ledger().entry(recipe.job).and_then(|entry| entry.parent);
                let arrow = parent.map(|parent| format!("{parent} → ")).unwrap_or_default();
                let mut line = result(&arrow);
                line.spans.insert(0, Span::styled(arrow, theme.style(Role::Job)));
                lines.push(line);
                lines.extend(saved);
                let dark = self.terminal.capabilities().dark;
                Block::Picture(beside(&before, &picture, dark), lines)
            }
            (None, None) => {
                lines.push(result(""));
                lines.extend(saved);
                Block::Picture(picture, lines)
            }
        };
        self.terminal.print(block)?;
        self.pictured(recipe.job);
        Ok(())
    }

    /// The picture that a job was made from, if it is to be shown beside it.
    pub(super) fn picture_before(&self, job: JobId) -> Option<Picture> {
        let ledger = self.session.ledger();
        let entry = ledger.entry(job)?;
        let parent = ledger.entry(entry.parent?)?;
        if entry.batch.is_some() {
            return None;
        }
        // Usually it was the last one, and is still at hand.
        let last = self.app.shots.last().filter(|shot| shot.recipe.job == parent.id);
        if let (Some(_), Some(picture)) = (last, &self.app.last_picture) {
            return Some(picture.clone());
        }
        gallery::load(parent.recipe.as_ref()?.path.as_deref()?).ok()
    }

    /// A picture was finished: it can be named, completed, and looked at in the gallery.
    fn pictured(&mut self, job: JobId) {
        self.session_changed();
        let tile = self.session.ledger().entry(job).and_then(Tile::new);
        if let (Screen::Gallery(gallery), Some(mut tile)) = (&mut self.app.screen, tile) {
            tile.thumbnail = self.app.shots.last().map(|shot| shot.thumbnail.clone());
            gallery.add(tile);
        }
    }

    /// A batch is complete, and a sheet of it is wanted.
    pub(super) fn contact_sheet(&mut self, batch: &Batch) -> io::Result<()> {
        let sheet = Sheet::of(batch);
        match (self.services.contact_sheet)(&sheet, &self.session.files_of(&sheet)) {
            Ok((path, picture)) => {
                let path = super::format::path(&path, self.app.home.as_deref());
                let path = format!("contact sheet: {path}");
                let pick = format!(" · /pick 1 to {} goes on with one", sheet.cells.len());
                let width = usize::from(self.terminal.size().width);
                let text = if path.width() + pick.width() <= width { path + &pick } else { path };
                let lines = views::result::remark(&text, &self.app.theme);
                self.redraw_soon();
                self.terminal.print(Block::Picture(picture, lines))
            }
            Err(error) => self.problem(&error),
        }
    }
}
