//! Where runs have been: the moment after each step, so that nobody goes the same way twice.
//!
//! On the host, within a budget of bytes; what was used least recently goes first. Knows moments and keys, but not
//! what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diffusion::moment::Moment;

/// Bytes that all moments together may take: about a hundred pictures of 512×512 in 20 steps.
pub(super) const BUDGET: usize = 128 << 20;

/// The moments of one run, by steps done.
#[derive(Debug)]
struct Trail {
    key: String,
    kept: BTreeMap<usize, Arc<Moment>>,
}

/// All trails, the one that was used last at the end.
#[derive(Debug)]
pub(super) struct Trails {
    budget: usize,
    trails: Vec<Trail>,
    bytes: usize,
}

impl Default for Trails {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}

impl Trails {
    /// Room for so many bytes.
    pub fn new(budget: usize) -> Self {
        Self { budget, trails: Vec::new(), bytes: 0 }
    }

    /// The last moment of the run `key` with at most `most` steps done.
    pub fn latest(&mut self, key: &str, most: usize) -> Option<Arc<Moment>> {
        let trail = self.touch(key)?;
        trail.kept.range(..=most).next_back().map(|(_, moment)| Arc::clone(moment))
    }

    /// Remembers a moment of the run `key`.
    pub fn keep(&mut self, key: &str, moment: Arc<Moment>) {
        let (step, size) = (moment.step(), moment.size());
        if self.touch(key).is_none() {
            self.trails.push(Trail { key: key.to_owned(), kept: BTreeMap::new() });
        }
        let replaced = self.trails.last_mut().and_then(|trail| trail.kept.insert(step, moment));
        self.bytes += size;
        self.bytes -= replaced.map_or(0, |old| old.size());
        self.shrink();
    }

    fn touch(&mut self, key: &str) -> Option<&Trail> {
        let at = self.trails.iter().position(|trail| trail.key == key)?;
        let trail = self.trails.remove(at);
        self.trails.push(trail);
        self.trails.last()
    }

    /// Of the oldest trail the earliest steps go first: from a later one it is less far to the end.
    fn shrink(&mut self) {
        while self.bytes > self.budget {
            let Some(oldest) = self.trails.first_mut() else { return };
            match oldest.kept.pop_first() {
                Some((_, moment)) => self.bytes -= moment.size(),
                None => drop(self.trails.remove(0)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::moment::Past;
    use crate::diffusion::rng::GeneratorState;
    use crate::diffusion::schedulers::SchedulerState;

    /// 40 bytes.
    fn kept(step: usize) -> Arc<Moment> {
        let scheduler = SchedulerState { begin_index: 2, next_index: 2 + step, ..SchedulerState::default() };
        let generator = GeneratorState { seed: 1, drawn: 0, next_normal: None };
        Moment { scheduler, generator, latents: vec![0.5; 10], past: Past::default() }.into()
    }

    fn step(kept: Option<Arc<Moment>>) -> Option<usize> {
        kept.map(|moment| moment.step())
    }

    #[test]
    fn the_latest_moment_that_is_not_too_late_is_found() {
        let mut trails = Trails::new(1000);
        for at in [1, 2, 4] {
            trails.keep("a", kept(at));
        }
        assert_eq!(step(trails.latest("a", 9)), Some(4));
        assert_eq!(step(trails.latest("a", 3)), Some(2));
        assert_eq!(step(trails.latest("a", 0)), None);
        assert_eq!(step(trails.latest("b", 9)), None);
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let mut trails = Trails::new(4 * 40);
        for key in ["a", "b"] {
            trails.keep(key, kept(1));
            trails.keep(key, kept(2));
        }
        trails.latest("a", 1);
        trails.keep("c", kept(1));
        assert_eq!(step(trails.latest("b", 1)), None, "the earliest of the oldest");
        assert_eq!(step(trails.latest("b", 2)), Some(2));
        assert_eq!(step(trails.latest("a", 1)), Some(1));
        trails.keep("c", kept(1));
        assert_eq!((trails.bytes, trails.trails.len()), (160, 3), "the same moment again takes no more room");
    }

    #[test]
    fn what_fits_nowhere_is_not_kept() {
        let mut trails = Trails::new(39);
        trails.keep("a", kept(1));
        assert_eq!((step(trails.latest("a", 9)), trails.bytes), (None, 0));
    }
}
