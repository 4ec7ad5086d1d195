//! One line on standard error that says what goes on, where that is a terminal.

use std::io::Write;

use crate::engine::{EngineEvent, Phase, StartLines};

/// The line. Without a terminal only notices are written, as lines of their own.
pub struct ProgressLine {
    terminal: bool,
    shown: bool,
    steps: Vec<f64>,
    start: StartLines,
}

impl ProgressLine {
    /// A line that is shown if standard error is a `terminal`.
    pub fn new(terminal: bool) -> Self {
        Self { terminal, shown: false, steps: Vec::new(), start: StartLines::default() }
    }

    /// Shows what an event says.
    pub fn show(&mut self, event: &EngineEvent) {
        if let Some(line) = self.start.line(event).filter(|_| self.terminal) {
            self.say(&line);
        }
        match event {
            EngineEvent::Planned { news: Some(news), .. } if self.terminal => self.say(news),
            EngineEvent::PhaseStarted { phase, .. } => {
                if *phase == Phase::Step {
                    self.steps.clear();
                }
                self.draw(phase_text(*phase));
            }
            EngineEvent::Bytes { phase, name, done, total, .. } => {
                let (done, total) = (megabytes(*done), megabytes(*total));
                self.draw(&format!("{} {name} {done:.0} of {total:.0} MB", phase_text(*phase)));
            }
            EngineEvent::Step { step, steps, seconds, .. } => {
                self.steps.push(*seconds);
                // The first step warms caches up: it does not speak for the others.
                let timed = if self.steps.len() > 1 { &self.steps[1..] } else { &self.steps };
                let mean = timed.iter().sum::<f64>() / timed.len() as f64;
                let left = mean * f64::from(steps - step);
                let bar = bar(*step, *steps);
                self.draw(&format!("{bar} step {step}/{steps}  {}  {left:.0} s left", rate(mean)));
            }
            EngineEvent::Notice { text, .. } => self.say(text),
            _ => {}
        }
    }

    /// Writes a line that stays.
    pub fn say(&mut self, text: &str) {
        self.clear();
        eprintln!("tintype: {text}");
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn draw(&mut self, text: &str) {
        if self.terminal {
            self.shown = true;
            let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
        }
    }
}

fn phase_text(phase: Phase) -> &'static str {
    match phase {
        Phase::Download => "downloading",
        Phase::Load => "loading",
        Phase::WarmUp => "warming up",
        Phase::Encode => "reading the prompt",
        Phase::EncodeImage => "reading the picture",
        Phase::Step => "denoising",
        Phase::Decode => "decoding",
        Phase::Save => "saving",
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn rate(seconds: f64) -> String {
    if seconds < 1. { format!("{:.1} it/s", 1. / seconds) } else { format!("{seconds:.1} s/it") }
}

fn bar(done: u32, all: u32) -> String {
    const CELLS: u32 = 20;
    let full = (CELLS * done / all.max(1)).min(CELLS) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(CELLS as usize - full))
}
