//! The contact sheet of a line while its cells fill.

use super::app::THUMBNAIL;
use super::painter::thumbnail;
use crate::request::{JobId, Picture};
use crate::session::sheet::Sheet;

/// A sheet and the pictures that are done.
#[derive(Clone, Debug)]
pub struct LiveSheet {
    /// Places and labels.
    pub sheet: Sheet,
    /// The pictures by place, small.
    pub pictures: Vec<Option<Picture>>,
}

impl LiveSheet {
    /// An empty one.
    pub fn new(sheet: Sheet) -> Self {
        Self { pictures: vec![None; sheet.cells.len()], sheet }
    }

    /// The place of a job, if it has one.
    pub fn place(&self, job: JobId) -> Option<usize> {
        self.sheet.cells.iter().position(|cell| *cell == Some(job))
    }

    /// Puts a finished picture in its place.
    pub fn fill(&mut self, job: JobId, picture: &Picture) {
        if let Some(place) = self.place(job).and_then(|at| self.pictures.get_mut(at)) {
            *place = Some(thumbnail(picture, THUMBNAIL));
        }
    }
}
