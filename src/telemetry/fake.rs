//! Readings that a test wrote down.

use std::sync::{Arc, Mutex, PoisonError};

use super::{MemProbe, MemSample};

/// A probe that says what it was last told; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeProbe(Arc<Mutex<MemSample>>);

impl FakeProbe {
    /// A probe that says `sample`.
    pub fn new(sample: MemSample) -> Self {
        Self(Arc::new(Mutex::new(sample)))
    }

    /// Changes what it says from now on.
    pub fn change(&self, change: impl FnOnce(&mut MemSample)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl MemProbe for FakeProbe {
    fn sample(&mut self) -> MemSample {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
