//! What a start took, line by line: every phase from a job's beginning to its first step, where the model had to be
//! loaded. Shared by all front ends.

use super::{EngineEvent, Phase};

/// Shorter phases leave no line.
const WORTH_SAYING: f64 = 0.5;

/// Turns events into lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StartLines {
    /// Seconds so far; `None` where nothing was loaded or the first step is done.
    total: Option<f64>,
}

impl StartLines {
    /// What an event adds to the story of the start, if anything.
    pub fn line(&mut self, event: &EngineEvent) -> Option<String> {
        match event {
            EngineEvent::Started { .. } => self.total = None,
            EngineEvent::Starting { text, .. } => return Some(text.clone()),
            EngineEvent::PhaseStarted { phase: Phase::Download | Phase::Load, .. } => {
                self.total.get_or_insert(0.);
            }
            EngineEvent::PhaseFinished { phase, seconds, .. } => {
                let total = self.total.as_mut()?;
                *total += seconds;
                return (*seconds >= WORTH_SAYING).then(|| format!("{} {seconds:.1} s", phase.title()));
            }
            EngineEvent::Step { step: 1, seconds, .. } => {
                let total = self.total.take()? + seconds;
                return (total >= WORTH_SAYING)
                    .then(|| format!("first step {seconds:.1} s; {total:.1} s since the start"));
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::JobId;

    #[test]
    fn the_first_start_is_told_and_later_jobs_are_not() {
        let job = JobId(1);
        let mut lines = StartLines::default();
        let mut told = Vec::new();
        let phase = |phase, seconds| {
            [EngineEvent::PhaseStarted { job, phase }, EngineEvent::PhaseFinished { job, phase, seconds }]
        };
        let step = |step| EngineEvent::Step { job, step, steps: 9, seconds: 2. };
        let mut first = vec![EngineEvent::Started { job }];
        first.extend(phase(Phase::Load, 3.));
        first.extend(phase(Phase::Encode, 0.1));
        first.extend([step(1), step(2)]);
        let mut second = vec![EngineEvent::Started { job }];
        second.extend(phase(Phase::Encode, 4.));
        second.push(step(1));
        for event in first.iter().chain(&second) {
            told.extend(lines.line(event));
        }
        assert_eq!(told, ["load 3.0 s", "first step 2.0 s; 5.1 s since the start"]);
    }
}
