//! The running job as the panel shows it: phase, steps, speed, time left.

use std::time::Duration;

use crate::engine::Phase;
use crate::request::{ImageSize, JobId, Picture};

/// Weight of the newest step in the running mean of seconds per step.
const NEWEST: f64 = 0.3;

/// Bytes of a download or of weights being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// File or component.
    pub name: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all; 0 if unknown.
    pub total: u64,
}

/// The running job.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its id.
    pub job: JobId,
    /// Its prompt.
    pub prompt: String,
    /// The running phase; `None` between two.
    pub phase: Option<Phase>,
    /// Steps done.
    pub step: u32,
    /// Steps in all; 0 until the first one ended.
    pub steps: u32,
    /// Mean seconds per step, the newest counting most.
    pub seconds_per_step: Option<f64>,
    /// What is being read or fetched.
    pub transfer: Option<Transfer>,
    /// The picture so far, and the steps that it has.
    pub preview: Option<(u32, Picture)>,
    /// Size of the picture that comes out.
    pub size: Option<ImageSize>,
    /// Since the job began, as of the last tick.
    pub elapsed: Duration,
    /// Someone asked for it to stop; it does after the step in hand.
    pub cancelling: bool,
}

impl Progress {
    /// A job that has just begun.
    pub fn new(job: JobId, prompt: String) -> Self {
        Self {
            job,
            prompt,
            phase: None,
            step: 0,
            steps: 0,
            seconds_per_step: None,
            transfer: None,
            preview: None,
            size: None,
            elapsed: Duration::ZERO,
            cancelling: false,
        }
    }

    /// A phase began: what belonged to the one before goes.
    pub fn enter(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.transfer = None;
        if phase == Phase::Step {
            self.step = 0;
        }
    }

    /// A step ended.
    pub fn stepped(&mut self, step: u32, steps: u32, seconds: f64) {
        self.step = step;
        self.steps = steps;
        self.seconds_per_step = Some(match self.seconds_per_step {
            Some(mean) => mean + NEWEST * (seconds - mean),
            None => seconds,
        });
    }

    /// Seconds until the last step, if anything can be said.
    pub fn seconds_left(&self) -> Option<f64> {
        (self.phase == Some(Phase::Step)).then_some(())?;
        Some(f64::from(self.steps.saturating_sub(self.step)) * self.seconds_per_step?)
    }

    /// Share of the phase that is done, 0 to 1; `None` where that is not known.
    pub fn ratio(&self) -> Option<f64> {
        match (self.phase, &self.transfer) {
            (Some(Phase::Step), _) => Some(f64::from(self.step) / f64::from(self.steps.max(1))),
            (Some(Phase::Decode | Phase::Save), _) => Some(1.0),
            (_, Some(transfer)) if transfer.total > 0 => Some(transfer.done as f64 / transfer.total as f64),
            _ => None,
        }
    }
}

/// The phase in a word or two.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Download => "fetch",
        Phase::Load => "load",
        Phase::WarmUp => "warm up",
        Phase::Encode => "encode",
        Phase::EncodeImage => "encode image",
        Phase::Step => "step",
        Phase::Decode => "decode",
        Phase::Save => "save",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_follows_the_newest_steps_and_time_left_follows_speed() {
        let mut progress = Progress::new(JobId(1), "a fox".into());
        assert_eq!((progress.ratio(), progress.seconds_left()), (None, None));
        progress.enter(Phase::Step);
        progress.stepped(1, 4, 2.0);
        assert_eq!(progress.seconds_left(), Some(6.0));
        progress.stepped(2, 4, 1.0);
        assert_eq!(progress.seconds_per_step, Some(1.7));
        assert_eq!(progress.ratio(), Some(0.5));
        progress.enter(Phase::Decode);
        assert_eq!((progress.ratio(), progress.seconds_left()), (Some(1.0), None));
    }

    #[test]
    fn bytes_count_only_in_their_own_phase() {
        let mut progress = Progress::new(JobId(1), "a fox".into());
        progress.enter(Phase::Load);
        progress.transfer = Some(Transfer { name: "unet".into(), done: 1, total: 4 });
        assert_eq!(progress.ratio(), Some(0.25));
        progress.enter(Phase::Encode);
        assert_eq!(progress.ratio(), None);
    }
}
