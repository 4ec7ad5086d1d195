//! The contact sheet of a line: which picture is where, and what its rows and columns stand for.
//!
//! Knows places and labels, no pixels.

use std::path::PathBuf;

use super::entry::Batch;
use super::{Entry, JobState, Session, SessionError};
use crate::request::JobId;

/// A sheet: cells row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Above each column.
    pub columns: Vec<String>,
    /// To the left of each row; empty texts where a row has no value of its own.
    pub rows: Vec<String>,
    /// The job in each place.
    pub cells: Vec<Option<JobId>>,
}

/// A single axis that is longer is broken into rows.
const LONGEST_ROW: usize = 8;

impl Sheet {
    /// The sheet of a batch: its last axis runs to the right, all others downwards.
    pub fn of(batch: &Batch) -> Self {
        let jobs: Vec<JobId> = batch.jobs().collect();
        let Some((last, others)) = batch.axes.split_last() else { return Self::plain(&jobs) };
        if others.is_empty() && last.values.len() > LONGEST_ROW {
            return Self::plain(&jobs);
        }
        let label = |axis: &super::entry::Labels, at: usize| {
            let value = axis.values.get(at).map_or("", String::as_str);
            if axis.name.starts_with(['{', '_']) {
                value.to_owned()
            } else {
                format!("{} {value}", axis.name)
            }
        };
        let columns: Vec<String> = (0..last.values.len()).map(|at| label(last, at)).collect();
        let count: usize = others.iter().map(|axis| axis.values.len()).product();
        let rows = (0..count).map(|row| {
            let mut parts = Vec::new();
            let mut rest = row;
            for axis in others.iter().rev() {
                parts.push(label(axis, rest % axis.values.len()));
                rest /= axis.values.len();
            }
            parts.reverse();
            parts.join(" · ")
        });
        let rows: Vec<String> = rows.collect();
        let mut cells = vec![None; columns.len() * rows.len()];
        for (job, cell) in jobs.into_iter().zip(&batch.cells) {
            let Some((column, above)) = cell.split_last() else { continue };
            let row = above.iter().zip(others).fold(0, |row, (at, axis)| row * axis.values.len() + at);
            if let Some(place) = cells.get_mut(row * columns.len() + column) {
                *place = Some(job);
            }
        }
        Self { columns, rows, cells }
    }

    /// A sheet of `count` pictures without labels.
    pub fn unlabelled(count: usize) -> Self {
        Self::plain(&(1..=count as u64).map(JobId).collect::<Vec<_>>())
    }

    fn plain(jobs: &[JobId]) -> Self {
        let wide = (1..=jobs.len()).find(|columns| columns * columns >= jobs.len()).unwrap_or(1);
        let rows = jobs.len().div_ceil(wide);
        Self {
            columns: vec![String::new(); wide],
            rows: vec![String::new(); rows],
            cells: jobs.iter().copied().map(Some).collect(),
        }
    }

    /// The number of a job's place, from 1.
    pub fn number(&self, job: JobId) -> Option<usize> {
        self.cells.iter().position(|cell| *cell == Some(job)).map(|at| at + 1)
    }
}

impl Session {
    /// The batch that a job belongs to, if it gets a sheet.
    pub fn sheet_of(&self, job: JobId) -> Option<&Batch> {
        self.ledger.batch(self.ledger.entry(job)?.batch?).filter(|batch| batch.sheet)
    }

    /// The files of a sheet's pictures, place by place.
    pub fn files_of(&self, sheet: &Sheet) -> Vec<Option<PathBuf>> {
        let path = |job: JobId| self.ledger.entry(job)?.recipe.as_ref()?.path.clone();
        sheet.cells.iter().map(|cell| path((*cell)?)).collect()
    }

    /// What sets a job apart from the others of its line.
    pub fn label(&self, job: JobId) -> String {
        let batch = self.ledger.entry(job).and_then(|entry| self.ledger.batch(entry.batch?));
        batch.map(|batch| batch.label(job)).unwrap_or_default()
    }

    /// The job at a place of the last sheet, counted from 1.
    ///
    /// # Errors
    /// When there is no such place, or no sheet.
    pub fn on_sheet(&self, number: u32) -> Result<JobId, SessionError> {
        let none = SessionError::NotOnSheet(number);
        let made = |entry: &&Entry| entry.state == JobState::Finished && self.sheet_of(entry.id).is_some();
        let Some(last) = self.ledger.entries().rev().find(made) else { return Err(none) };
        let Some(batch) = self.sheet_of(last.id) else { return Err(none) };
        let at = (number as usize).checked_sub(1);
        at.and_then(|at| *Sheet::of(batch).cells.get(at)?).ok_or(none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::entry::Labels;

    fn axis(name: &str, values: &[&str]) -> Labels {
        Labels { name: name.into(), values: values.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn the_last_axis_runs_to_the_right_whatever_order_jobs_run_in() {
        let batch = Batch {
            first: JobId(10),
            axes: vec![axis("steps", &["10", "20"]), axis("{red|blue}", &["red", "blue", "green"])],
            cells: vec![vec![0, 0], vec![1, 0], vec![0, 1], vec![1, 1], vec![0, 2], vec![1, 2]],
            sheet: true,
        };
        let sheet = Sheet::of(&batch);
        assert_eq!(sheet.columns, ["red", "blue", "green"]);
        assert_eq!(sheet.rows, ["steps 10", "steps 20"]);
        let jobs: Vec<u64> = sheet.cells.iter().map(|cell| cell.unwrap().0).collect();
        assert_eq!(jobs, [10, 12, 14, 11, 13, 15]);
        assert_eq!(sheet.number(JobId(11)), Some(4));
    }

    #[test]
    fn three_axes_join_the_first_two_and_a_long_one_is_broken() {
        let cells = |sizes: [usize; 3]| {
            let all = (0..sizes[0]).flat_map(move |a| (0..sizes[1]).map(move |b| (a, b)));
            all.flat_map(move |(a, b)| (0..sizes[2]).map(move |c| vec![a, b, c])).collect::<Vec<_>>()
        };
        let axes = vec![axis("cfg", &["1", "2"]), axis("steps", &["5", "6"]), axis("seed", &["7", "8", "9"])];
        let batch = Batch { first: JobId(1), axes, cells: cells([2, 2, 3]), sheet: true };
        let sheet = Sheet::of(&batch);
        assert_eq!(sheet.rows, ["cfg 1 · steps 5", "cfg 1 · steps 6", "cfg 2 · steps 5", "cfg 2 · steps 6"]);
        assert_eq!(sheet.columns.len(), 3);
        assert!(sheet.cells.iter().enumerate().all(|(at, cell)| *cell == Some(JobId(1 + at as u64))));

        let values: Vec<String> = (0..10).map(|seed| seed.to_string()).collect();
        let axes = vec![Labels { name: "seed".into(), values }];
        let batch = Batch { first: JobId(1), axes, cells: (0..10).map(|at| vec![at]).collect(), sheet: true };
        let sheet = Sheet::of(&batch);
        assert_eq!((sheet.columns.len(), sheet.rows.len(), sheet.cells.len()), (4, 3, 10));
    }
}
