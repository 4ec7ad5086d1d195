//! Workspaces that outlive a call, so that no op pays for fresh pages.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

static IDLE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Borrowed floats of unspecified content; go back to the pool when dropped.
pub struct Scratch {
    buffer: Vec<f32>,
    len: usize,
}

/// At least `len` floats: the smallest idle buffer that holds them, else the largest one, grown.
pub fn scratch(len: usize) -> Scratch {
    let mut buffer = {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = idle.iter().enumerate().filter(|(_, b)| b.len() >= len).min_by_key(|(_, b)| b.len());
        let index = fits.or_else(|| idle.iter().enumerate().max_by_key(|(_, b)| b.len())).map(|(i, _)| i);
        index.map(|index| idle.swap_remove(index)).unwrap_or_default()
    };
    if buffer.len() < len {
        // Dropping first instead of growing: the old content is of no use to anybody.
        drop(std::mem::take(&mut buffer));
        buffer = vec![0.; len];
    }
    Scratch { buffer, len }
}

impl Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.buffer));
    }
}
