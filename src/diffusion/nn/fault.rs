//! Ops that fail on purpose, so that tests can see what becomes of a job when memory runs out in the middle of it.

use std::cell::Cell;

use crate::diffusion::error::{DiffusionError, Result};

thread_local! {
    /// Ops until one fails; 0 is never.
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
}

/// Lets the `op`-th convolution, attention or reading of a weight from now on fail on this thread; 0 lets none.
pub fn arm(op: u32) {
    COUNTDOWN.set(op);
}

/// An op begins.
pub(in crate::diffusion) fn op() -> Result<()> {
    match COUNTDOWN.get() {
        0 => Ok(()),
        left => {
            COUNTDOWN.set(left - 1);
            if left > 1 {
                return Ok(());
            }
            Err(DiffusionError::Tensor(candle_core::Error::Msg("out of memory (injected by a test)".into())))
        }
    }
}
