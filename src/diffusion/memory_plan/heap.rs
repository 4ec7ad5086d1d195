//! Memory on paper: what is held at a time, and the most that was.

use std::cell::RefCell;
use std::rc::Rc;

/// Hands out blocks and keeps account of them.
#[derive(Clone)]
pub(super) struct Heap(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// Whether buffers are rounded up to the next power of two and kept for other tensors, as candle does on Metal
    /// until the device is waited for.
    pools: bool,
    /// In a pool, with what no tensor is in.
    held: u64,
    peak: u64,
    /// Buffers of the pool that no tensor is in.
    idle: Vec<u64>,
    /// Workspaces of the CPU's ops, which are kept from call to call.
    scratch: Vec<u64>,
}

/// Bytes that are held until this is dropped.
pub(super) struct Block {
    heap: Heap,
    bytes: u64,
}

impl Heap {
    pub fn new(pools: bool) -> Self {
        Self(Rc::new(RefCell::new(State { pools, ..State::default() })))
    }

    /// An empty one that begins with the workspaces that `before` was left with.
    pub fn after(pools: bool, before: &Self) -> Self {
        let scratch = before.0.borrow().scratch.clone();
        Self(Rc::new(RefCell::new(State { pools, scratch, ..State::default() })))
    }

    /// The most that was held at once.
    pub fn peak(&self) -> u64 {
        let state = self.0.borrow();
        state.peak.max(state.scratch.iter().sum())
    }

    /// A block of so many bytes.
    pub fn take(&self, bytes: u64) -> Block {
        let bytes = self.0.borrow_mut().take(bytes);
        Block { heap: self.clone(), bytes }
    }

    /// Workspaces that a CPU op has at the same time: each takes the smallest idle one that is large enough, else
    /// the largest one grows.
    pub fn workspaces(&self, wanted: impl IntoIterator<Item = u64>) {
        let scratch = &mut self.0.borrow_mut().scratch;
        let mut taken = Vec::new();
        for bytes in wanted {
            scratch.sort_unstable();
            let at = scratch.partition_point(|idle| *idle < bytes).min(scratch.len().saturating_sub(1));
            let idle = if scratch.is_empty() { 0 } else { scratch.remove(at) };
            taken.push(idle.max(bytes));
        }
        scratch.extend(taken);
    }
}

impl State {
    /// Returns what the block takes, which in a pool may be more.
    fn take(&mut self, bytes: u64) -> u64 {
        let reused =
            (0..self.idle.len()).filter(|at| self.idle[*at] >= bytes).min_by_key(|at| self.idle[*at]);
        if let Some(at) = reused {
            return self.idle.swap_remove(at);
        }
        let bytes = if self.pools { bytes.next_power_of_two() } else { bytes };
        self.held += bytes;
        self.peak = self.peak.max(self.held + self.scratch.iter().sum::<u64>());
        bytes
    }

    fn give_back(&mut self, bytes: u64) {
        if self.pools {
            self.idle.push(bytes);
        } else {
            self.held -= bytes;
        }
    }
}

#[cfg(test)]
impl Heap {
    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.0.borrow().held
    }

    /// The sizes of the pool's idle buffers, the largest first.
    pub fn idle(&self) -> Vec<u64> {
        let mut idle = self.0.borrow().idle.clone();
        idle.sort_unstable_by(|a, b| b.cmp(a));
        idle
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.heap.0.borrow_mut().give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_held_for_as_long_as_it_lives() {
        let heap = Heap::new(false);
        let a = heap.take(100);
        drop(heap.take(50));
        let b = heap.take(30);
        assert_eq!((heap.held(), heap.peak()), (130, 150));
        drop((a, b));
        assert_eq!((heap.held(), heap.peak()), (0, 150));
    }

    #[test]
    fn a_pool_rounds_up_and_takes_the_smallest_that_is_large_enough() {
        let heap = Heap::new(true);
        drop((heap.take(1000), heap.take(100)));
        assert_eq!(heap.idle(), [1024, 128]);
        let a = heap.take(60);
        let b = heap.take(60);
        assert_eq!((heap.peak(), heap.idle().len()), (1024 + 128, 0), "the second got the large one");
        let c = heap.take(60);
        assert_eq!(heap.peak(), 1024 + 128 + 64);
        drop((a, b, c));
        assert_eq!(heap.held(), heap.peak());
    }

    #[test]
    fn workspaces_grow_and_are_kept() {
        let heap = Heap::new(false);
        heap.workspaces([10, 20]);
        heap.workspaces([30]);
        assert_eq!(heap.peak(), 10 + 30);
        drop(heap.take(5));
        assert_eq!(heap.peak(), 45);
        assert_eq!(Heap::after(false, &heap).peak(), 40);
    }
}
