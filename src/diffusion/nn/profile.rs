//! Records how long each op takes, on the thread that asks for it.
//!
//! Off, an op costs the look at one thread-local flag. On, every span on a GPU begins and ends with waiting for the
//! device: queued ops would otherwise cost nothing and the one that reads back everything. So a profiled run on a GPU
//! is slower than an unprofiled one, by the gaps that the waiting leaves.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

use crate::diffusion::error::Result;

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of a job.
    Phase,
    /// One run of a network.
    Call,
    /// One op. An op that is made of others is one span.
    Op,
}

/// A stretch of time that something took.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is about.
    pub kind: Kind,
    /// The phase, network or op.
    pub name: &'static str,
    /// An op's sizes, such as `2×320×64×64 → 320`; empty for everything else.
    pub shape: String,
    /// When it began.
    pub start: Instant,
    /// How long it took.
    pub took: Duration,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static IN_OP: Cell<bool> = const { Cell::new(false) };
    static SPANS: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
    /// What the device said when the last span waited for it.
    static FAILURE: RefCell<Option<candle_core::Error>> = const { RefCell::new(None) };
}

/// Records on this thread from now on; what was recorded before is forgotten.
pub fn start() {
    SPANS.take();
    FAILURE.take();
    IN_OP.set(false);
    ON.set(true);
}

/// Stops recording on this thread; the spans, those that ended first coming first.
pub fn stop() -> Vec<Span> {
    ON.set(false);
    SPANS.take()
}

/// Whether this thread records.
#[cfg(feature = "cuda")]
pub(super) fn is_on() -> bool {
    ON.get()
}

/// A phase begins; it ends when what is returned is dropped.
pub fn phase(name: &'static str) -> Guard {
    Guard(ON.get().then(|| Open::new(Kind::Phase, name, String::new(), Device::Cpu)))
}

/// A run of a network begins; it ends when what is returned is dropped.
pub(in crate::diffusion) fn call(name: &'static str) -> Guard {
    Guard(ON.get().then(|| Open::new(Kind::Call, name, String::new(), Device::Cpu)))
}

/// An op on `x`'s device begins, unless one is running already; it ends when what is returned is dropped.
///
/// # Errors
/// When recording, those that the device was left with by an earlier op.
pub(super) fn op(name: &'static str, x: &Tensor, shape: impl FnOnce() -> String) -> Result<Guard> {
    if !ON.get() || IN_OP.get() {
        return Ok(Guard(None));
    }
    if let Some(error) = FAILURE.take() {
        return Err(error.into());
    }
    x.device().synchronize()?;
    IN_OP.set(true);
    Ok(Guard(Some(Open::new(Kind::Op, name, shape(), x.device().clone()))))
}

/// `2×320×64×64`.
pub(super) fn sizes(x: &Tensor) -> String {
    let sizes: Vec<String> = x.dims().iter().map(ToString::to_string).collect();
    sizes.join("×")
}

/// Ends a span when it is dropped.
#[must_use = "the span ends when this is dropped"]
pub struct Guard(Option<Open>);

struct Open {
    kind: Kind,
    name: &'static str,
    shape: String,
    device: Device,
    start: Instant,
}

impl Open {
    fn new(kind: Kind, name: &'static str, shape: String, device: Device) -> Self {
        Self { kind, name, shape, device, start: Instant::now() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(Open { kind, name, shape, device, start }) = self.0.take() else { return };
        if kind == Kind::Op {
            if let Err(error) = device.synchronize() {
                FAILURE.set(Some(error));
            }
            IN_OP.set(false);
        }
        let span = Span { kind, name, shape, start, took: start.elapsed() };
        SPANS.with_borrow_mut(|spans| spans.push(span));
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    fn noop(name: &'static str) -> Result<Guard> {
        let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
        op(name, &x, || sizes(&x))
    }

    #[test]
    fn nothing_is_recorded_unless_asked_for_and_an_op_within_an_op_is_part_of_it() {
        drop(noop("before").unwrap());
        start();
        {
            let _phase = phase("step");
            let outer = noop("linear").unwrap();
            drop(noop("geglu").unwrap());
            drop(outer);
            drop(noop("linear").unwrap());
        }
        let spans = stop();
        drop(noop("after").unwrap());
        let seen: Vec<_> = spans.iter().map(|span| (span.kind, span.name, span.shape.as_str())).collect();
        let linear = (Kind::Op, "linear", "2×3");
        assert_eq!(seen, [linear, linear, (Kind::Phase, "step", "")]);
        let within = |span: &Span| span.start >= spans[2].start && span.took <= spans[2].took;
        assert!(spans.iter().all(within));
        assert!(stop().is_empty());
    }
}
