//! Memory as the views show it: the newest reading and how it came to that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::engine::{EngineEvent, Phase};
use crate::request::PhaseMemory;
use crate::telemetry::{MemSample, Pressure};
use crate::theme::Role;
use crate::ui::progress::phase_name;

/// Readings that are kept: two minutes at two a second.
const KEPT: usize = 240;
/// From this share of the limit on, memory is high.
const HIGH: f64 = 0.9;

/// The newest reading and the ones before it.
#[derive(Clone, Debug, Default)]
pub struct MemoryTrail {
    now: Option<Arc<MemSample>>,
    used: VecDeque<u64>,
    swap_grown: VecDeque<u64>,
    /// Swap in use when the job began.
    swap_before: Option<u64>,
    phases: Vec<(&'static str, PhaseMarks)>,
    /// The phase that runs, and the step in hand.
    phase: Option<(Phase, u32)>,
    /// The phase in which swap grew last since the job began.
    blamed: Option<(Phase, u32)>,
}

/// What was seen of one phase of the last job, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseMarks {
    /// What the plan expected at most; 0 while that is not known.
    pub predicted: u64,
    /// The most that was in use.
    pub peak: u64,
    /// What swap grew by.
    pub swap_grown: u64,
}

impl MemoryTrail {
    /// Takes an event in: readings belong to the phase that runs.
    pub fn update(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Started { .. } => {
                self.swap_before = None;
                self.blamed = None;
                self.phases.clear();
            }
            EngineEvent::PhaseStarted { phase, .. } => self.phase = Some((*phase, 1)),
            EngineEvent::Step { step, steps, .. } => self.phase = Some((Phase::Step, (step + 1).min(*steps))),
            EngineEvent::Memory(sample) => self.push(Arc::clone(sample)),
            EngineEvent::Finished { recipe, .. } => self.measured(&recipe.memory),
            EngineEvent::Ended { .. } => self.phase = None,
            _ => {}
        }
    }

    fn push(&mut self, sample: Arc<MemSample>) {
        let before = self.now.as_ref().map_or(sample.swap_used, |last| last.swap_used);
        if let Some((phase, step)) = self.phase {
            let grown = sample.swap_used.saturating_sub(before);
            let marks = self.marks(phase.name());
            marks.peak = marks.peak.max(Meter::memory(&sample).used);
            marks.swap_grown += grown;
            if grown > 0 {
                self.blamed = Some((phase, step));
            }
        }
        self.swap_before.get_or_insert(sample.swap_used);
        for (trail, value) in [
            (&mut self.used, Meter::memory(&sample).used),
            (&mut self.swap_grown, sample.swap_used.saturating_sub(before)),
        ] {
            trail.push_back(value);
            if trail.len() > KEPT {
                trail.pop_front();
            }
        }
        self.now = Some(sample);
    }

    fn marks(&mut self, phase: &'static str) -> &mut PhaseMarks {
        let at = self.phases.iter().position(|(name, _)| *name == phase).unwrap_or_else(|| {
            self.phases.push((phase, PhaseMarks::default()));
            self.phases.len() - 1
        });
        &mut self.phases[at].1
    }

    /// What the engine measured in the end, between two readings too.
    fn measured(&mut self, phases: &BTreeMap<String, PhaseMemory>) {
        for (name, marks) in &mut self.phases {
            if let Some(memory) = phases.get(*name) {
                (marks.predicted, marks.peak) = (memory.predicted, memory.peak);
            }
        }
    }

    /// The phases of the last job, in order.
    pub fn phases(&self) -> &[(&'static str, PhaseMarks)] {
        &self.phases
    }

    /// What swap has grown by since the job began.
    pub fn swap_grown_by_job(&self) -> u64 {
        let now = self.now.as_ref().map_or(0, |sample| sample.swap_used);
        now.saturating_sub(self.swap_before.unwrap_or(now))
    }

    /// Where swap grew last since the job began: `step 7`, `text encoder`, `decode`.
    pub fn blamed(&self) -> Option<String> {
        let (phase, step) = self.blamed?;
        Some(match phase {
            Phase::Step => format!("step {step}"),
            Phase::Encode => "text encoder".to_owned(),
            phase => phase_name(phase).to_owned(),
        })
    }

    /// The newest reading.
    pub fn now(&self) -> Option<&MemSample> {
        self.now.as_deref()
    }

    /// Bytes in use over time, oldest first, at most `count` of them.
    pub fn used(&self, count: usize) -> impl Iterator<Item = u64> {
        self.used.iter().skip(self.used.len().saturating_sub(count)).copied()
    }

    /// Bytes that swap grew by from reading to reading, oldest first, at most `count` of them.
    pub fn swap_grown(&self, count: usize) -> impl Iterator<Item = u64> {
        self.swap_grown.iter().skip(self.swap_grown.len().saturating_sub(count)).copied()
    }
}

/// A quantity of memory and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// `gpu`, `ram` or `swap`.
    pub name: &'static str,
    /// Bytes in use.
    pub used: u64,
    /// Bytes in all; 0 if there are none.
    pub limit: u64,
}

impl Meter {
    /// The memory that pictures are made in: the GPU's, or the process' where there is none.
    pub fn memory(sample: &MemSample) -> Self {
        match (sample.gpu_used, sample.gpu_limit) {
            (Some(used), Some(limit)) => Self { name: "gpu", used, limit },
            _ => Self { name: "ram", used: sample.footprint, limit: sample.memory_limit },
        }
    }

    /// Swap.
    pub fn swap(sample: &MemSample) -> Self {
        Self { name: "swap", used: sample.swap_used, limit: sample.swap_total }
    }

    /// Used share, 0 to 1.
    pub fn ratio(self) -> f64 {
        if self.limit == 0 { 0.0 } else { (self.used as f64 / self.limit as f64).min(1.0) }
    }

    /// Whether it is close to its limit.
    pub fn is_high(self) -> bool {
        self.ratio() >= HIGH
    }
}

/// Pressure in a word, and the role that colours it.
pub fn pressure(pressure: Pressure) -> (&'static str, Role) {
    match pressure {
        Pressure::Normal => ("normal", Role::PressureNormal),
        Pressure::Warn => ("warning", Role::PressureWarn),
        Pressure::Critical => ("critical", Role::PressureCritical),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::JobId;

    fn sample(gpu: Option<u64>, swap: u64) -> Arc<MemSample> {
        Arc::new(MemSample {
            footprint: 7,
            memory_limit: 70,
            gpu_used: gpu,
            gpu_limit: gpu.map(|_| 10),
            swap_used: swap,
            swap_total: 100,
            ..Default::default()
        })
    }

    #[test]
    fn swap_growth_is_never_negative_and_starts_at_nothing() {
        let mut trail = MemoryTrail::default();
        for swap in [50, 60, 55, 80] {
            trail.push(sample(Some(9), swap));
        }
        assert_eq!(trail.swap_grown(9).collect::<Vec<_>>(), [0, 10, 0, 25]);
        assert_eq!(trail.swap_grown(2).collect::<Vec<_>>(), [0, 25]);
        assert_eq!(trail.used(1).collect::<Vec<_>>(), [9]);
        for _ in 0..2 * KEPT {
            trail.push(sample(Some(9), 80));
        }
        assert_eq!(trail.used(usize::MAX).count(), KEPT);
    }

    #[test]
    fn a_phase_is_blamed_for_the_swap_that_grew_in_it() {
        let mut trail = MemoryTrail::default();
        let job = JobId(1);
        trail.push(sample(Some(9), 50));
        trail.update(&EngineEvent::Started { job });
        assert_eq!(trail.blamed(), None);
        let mut blamed = Vec::new();
        for (swap, phase) in [(60, Phase::Load), (62, Phase::Step), (90, Phase::Step), (90, Phase::Decode)] {
            trail.update(&EngineEvent::PhaseStarted { job, phase });
            if swap == 90 && phase == Phase::Step {
                trail.update(&EngineEvent::Step { job, step: 6, steps: 20, seconds: 0.1 });
            }
            trail.update(&EngineEvent::Memory(sample(Some(swap / 10), swap)));
            blamed.extend(trail.blamed());
        }
        assert_eq!(blamed, ["load", "step 1", "step 7", "step 7"], "the decoder did nothing");
        assert_eq!(trail.swap_grown_by_job(), 30);
        let measured = BTreeMap::from([("step".into(), PhaseMemory { predicted: 8, peak: 11 })]);
        trail.measured(&measured);
        let step = PhaseMarks { predicted: 8, peak: 11, swap_grown: 30 };
        assert_eq!(trail.phases()[1], ("step", step));
        trail.update(&EngineEvent::Started { job });
        assert_eq!((trail.swap_grown_by_job(), trail.phases().len(), trail.blamed()), (0, 0, None));
    }

    #[test]
    fn without_a_gpu_the_process_is_measured() {
        assert_eq!(Meter::memory(&sample(None, 0)), Meter { name: "ram", used: 7, limit: 70 });
        assert!(Meter::memory(&sample(Some(9), 0)).is_high());
        assert!(
            Meter { name: "swap", used: 0, limit: 0 }.ratio() <= 0.0,
            "no swap is not a division by nothing"
        );
    }
}
