//! The gallery's state: which pictures, which one is selected, what is shown of them, and what keys do.
//!
//! Pictures that are not in memory are asked for ([`Gallery::wants`]) and handed in ([`Gallery::loaded`]). What only
//! the session can do (rerun, edit, trash) leaves as an [`Ask`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::THUMBNAIL;
use crate::request::{JobId, Picture, Recipe};
use crate::session::entry::Entry;
use crate::session::filter::Filter;

/// Longest side of a picture that is shown large, in pixels.
pub const LARGE: u32 = 1024;

/// A picture of the gallery.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The job that made it.
    pub entry: Arc<Entry>,
    /// How it was made.
    pub recipe: Arc<Recipe>,
    /// It, small; `None` until it is loaded.
    pub thumbnail: Option<Picture>,
    /// It, large, while it is looked at.
    pub large: Option<Picture>,
    /// The file is in the trash or cannot be read.
    pub gone: bool,
}

impl Tile {
    /// A picture whose pixels are still on disk; `None` for a job that made none.
    pub fn new(entry: &Entry) -> Option<Self> {
        let recipe = Arc::new(entry.recipe.clone()?);
        let gone = entry.deleted || recipe.path.is_none();
        Some(Self { entry: Arc::new(entry.clone()), recipe, thumbnail: None, large: None, gone })
    }

    /// The largest version in memory.
    pub fn best(&self) -> Option<&Picture> {
        self.large.as_ref().or(self.thumbnail.as_ref())
    }
}

/// What of the gallery fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// All pictures, small.
    #[default]
    Grid,
    /// The selected one.
    Large,
    /// The marked and the selected one.
    Compare,
}

/// Whose pictures are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// This session's.
    #[default]
    Session,
    /// Every session's.
    All,
}

/// What a key asks of the session.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Leave the gallery.
    Close,
    /// Make the picture again.
    Rerun(Arc<Entry>),
    /// Put its line into the prompt and leave.
    Edit(Arc<Entry>),
    /// Move its file to the trash.
    Trash(Arc<Entry>),
    /// Show the pictures of this scope.
    Scope(Scope),
}

/// A picture that the gallery would like to have in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Its file.
    pub path: PathBuf,
    /// Longest side in pixels.
    pub side: u32,
}

/// The state; see the module.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    /// Newest first.
    tiles: Vec<Tile>,
    /// Positions in `tiles` that the filter lets through.
    shown: Vec<usize>,
    selected: usize,
    /// First of the rows on the screen.
    top_row: usize,
    columns: usize,
    rows: usize,
    /// Position in `tiles`.
    marked: Option<usize>,
    /// What fills the screen.
    pub show: Show,
    /// Whose pictures.
    pub scope: Scope,
    /// The filter's text.
    pub filter: String,
    /// Whether keys go to the filter.
    pub filtering: bool,
    /// What is wrong with the filter.
    pub trouble: Option<String>,
    /// The home folder, for `~` in paths.
    pub home: Option<PathBuf>,
    /// `d` was pressed: a second one moves the picture to the trash.
    pub confirm: bool,
}

impl Gallery {
    /// A gallery of these pictures, newest first.
    pub fn new(scope: Scope, tiles: Vec<Tile>) -> Self {
        let shown = (0..tiles.len()).collect();
        Self { tiles, shown, scope, columns: 1, rows: 1, ..Self::default() }
    }

    /// Filters as if the text had been typed.
    pub fn set_filter(&mut self, text: &str) {
        text.clone_into(&mut self.filter);
        self.refresh(None);
    }

    /// Shows two pictures of this session side by side, if both are there.
    pub fn compare_jobs(&mut self, left: JobId, right: JobId) {
        let at = |job: JobId| self.tiles.iter().position(|tile| tile.entry.id == job);
        if let (Some(left), Some(right)) = (at(left), at(right)) {
            self.marked = Some(left);
            self.refresh(Some(right));
            self.show = Show::Compare;
        }
    }

    /// Other pictures: those of another scope.
    pub fn replace(&mut self, scope: Scope, tiles: Vec<Tile>) {
        (self.scope, self.tiles, self.marked) = (scope, tiles, None);
        self.show = Show::Grid;
        self.refresh(None);
    }

    /// A picture was finished meanwhile.
    pub fn add(&mut self, tile: Tile) {
        self.tiles.insert(0, tile);
        self.marked = self.marked.map(|at| at + 1);
        let selected = self.shown.get(self.selected).map(|at| at + 1);
        self.refresh(selected);
    }

    /// How many pictures there are, without the filter.
    pub fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// How many the filter lets through.
    pub fn matching(&self) -> usize {
        self.shown.len()
    }

    /// The selected picture.
    pub fn selected(&self) -> Option<&Tile> {
        self.tiles.get(*self.shown.get(self.selected)?)
    }

    /// The picture that was marked for comparison.
    pub fn marked(&self) -> Option<&Tile> {
        self.tiles.get(self.marked?)
    }

    /// Tells how many columns and rows the screen holds, and scrolls so that the selected one is among them.
    pub fn set_grid(&mut self, columns: u16, rows: u16) {
        self.columns = usize::from(columns.max(1));
        self.rows = usize::from(rows.max(1));
        let row = self.selected / self.columns;
        self.top_row = self.top_row.clamp(row.saturating_sub(self.rows - 1), row);
    }

    /// The pictures on the screen, row by row: picture, whether selected, whether marked.
    pub fn visible(&self) -> impl Iterator<Item = (&Tile, bool, bool)> {
        let first = self.top_row * self.columns;
        self.shown.iter().enumerate().skip(first).take(self.columns * self.rows).filter_map(|(at, &entry)| {
            Some((self.tiles.get(entry)?, at == self.selected, self.marked == Some(entry)))
        })
    }

    /// The next picture that should be loaded, what is looked at first.
    pub fn wants(&self) -> Option<Want> {
        let want = |entry: &Tile, side| {
            let path = entry.recipe.path.clone().filter(|_| !entry.gone)?;
            Some(Want { path, side })
        };
        let large = match self.show {
            Show::Grid => [None, None],
            Show::Large => [self.selected(), None],
            Show::Compare => [self.selected(), self.marked()],
        };
        let large = large.into_iter().flatten().filter(|tile| tile.large.is_none());
        let small = self.visible().map(|(entry, ..)| entry).filter(|entry| entry.thumbnail.is_none());
        let mut wanted = large.map(|entry| (entry, LARGE)).chain(small.map(|entry| (entry, THUMBNAIL)));
        wanted.find_map(|(entry, side)| want(entry, side))
    }

    /// A picture was loaded, or cannot be.
    pub fn loaded(&mut self, want: &Want, picture: Option<&Picture>) {
        let of_file = |entry: &&mut Tile| entry.recipe.path.as_deref() == Some(want.path.as_path());
        for entry in self.tiles.iter_mut().filter(of_file) {
            match picture {
                Some(picture) if want.side == LARGE => entry.large = Some(picture.clone()),
                Some(picture) => entry.thumbnail = Some(picture.clone()),
                None => entry.gone = true,
            }
        }
    }

    /// A picture's file went to the trash: it stays in the list, without pixels.
    pub fn trashed(&mut self, path: &Path) {
        for entry in self.tiles.iter_mut().filter(|entry| entry.recipe.path.as_deref() == Some(path)) {
            (entry.gone, entry.thumbnail, entry.large) = (true, None, None);
        }
        self.show = Show::Grid;
    }

    /// Text was pasted: only the filter takes it.
    pub fn paste(&mut self, text: &str) {
        if self.filtering {
            self.filter.push_str(&super::format::one_line(text));
            self.refresh(self.shown.get(self.selected).copied());
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: &KeyEvent) -> Option<Ask> {
        if self.filtering {
            self.filter_key(key);
            return None;
        }
        let confirmed = std::mem::take(&mut self.confirm);
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return None;
        }
        match key.code {
            KeyCode::Left | KeyCode::Char('h') => self.step(-1),
            KeyCode::Right | KeyCode::Char('l') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-self.row_step()),
            KeyCode::Down | KeyCode::Char('j') => self.step(self.row_step()),
            KeyCode::PageUp => self.step(-((self.columns * self.rows) as isize)),
            KeyCode::PageDown => self.step((self.columns * self.rows) as isize),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Enter if self.selected().is_some() => self.set_show(Show::Large),
            KeyCode::Esc | KeyCode::Char('q') => return self.back(),
            KeyCode::Char('/') => self.filtering = true,
            KeyCode::Char('c') => self.compare(),
            KeyCode::Char('a') => {
                return Some(Ask::Scope(if self.scope == Scope::All { Scope::Session } else { Scope::All }));
            }
            KeyCode::Char(key @ ('r' | 'e' | 'd')) => return self.ask(key, confirmed),
            _ => {}
        }
        None
    }

    fn ask(&mut self, key: char, confirmed: bool) -> Option<Ask> {
        let tile = self.selected()?;
        let entry = Arc::clone(&tile.entry);
        match key {
            'r' => Some(Ask::Rerun(entry)),
            'e' => Some(Ask::Edit(entry)),
            _ if tile.gone => None,
            _ if confirmed => Some(Ask::Trash(entry)),
            _ => {
                self.confirm = true;
                None
            }
        }
    }

    fn row_step(&self) -> isize {
        if self.show == Show::Grid { self.columns as isize } else { 1 }
    }

    fn back(&mut self) -> Option<Ask> {
        if self.show != Show::Grid {
            self.set_show(Show::Grid);
        } else if !self.filter.is_empty() {
            self.filter.clear();
            self.refresh(self.shown.get(self.selected).copied());
        } else if self.marked.take().is_none() {
            return Some(Ask::Close);
        }
        None
    }

    fn compare(&mut self) {
        let Some(&selected) = self.shown.get(self.selected) else { return };
        match self.marked {
            Some(marked) if marked == selected => self.marked = None,
            Some(_) => self.set_show(Show::Compare),
            None => {
                self.marked = Some(selected);
                self.set_show(Show::Grid);
            }
        }
    }

    fn set_show(&mut self, show: Show) {
        self.show = show;
        if show == Show::Grid {
            // large pictures are kept only while they are looked at
            self.tiles.iter_mut().for_each(|entry| entry.large = None);
        }
    }

    fn step(&mut self, by: isize) {
        self.select(self.selected.saturating_add_signed(by));
    }

    fn select(&mut self, at: usize) {
        self.selected = at.min(self.shown.len().saturating_sub(1));
        self.set_grid(self.columns as u16, self.rows as u16);
    }

    fn filter_key(&mut self, key: &KeyEvent) {
        match key.code {
            KeyCode::Enter => self.filtering = false,
            KeyCode::Esc => {
                self.filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => self.filter.clear(),
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                self.filter.push(c);
            }
            _ => return,
        }
        self.refresh(self.shown.get(self.selected).copied());
    }

    /// Applies the filter; `keep` stays selected if it is still there.
    fn refresh(&mut self, keep: Option<usize>) {
        let filter = match Filter::parse(&self.filter, &jiff::ZonedDateTime::now()) {
            Ok(filter) => filter,
            Err(error) => {
                // half typed or wrong: what was shown stays
                self.trouble = Some(error.to_string());
                return;
            }
        };
        self.trouble = None;
        self.shown = (0..self.tiles.len()).filter(|&at| filter.matches(&self.tiles[at].entry)).collect();
        let at = keep.and_then(|keep| self.shown.iter().position(|&at| at == keep));
        self.select(at.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
