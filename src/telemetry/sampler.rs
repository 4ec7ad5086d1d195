//! The sampler: a thread that reads memory while a job runs, and what it saw of each phase.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{GpuMemory, GpuProbe, Mark, MemProbe, MemSample, read};

/// The most memory that was seen in one phase, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhasePeak {
    /// Of the process.
    pub footprint: u64,
    /// Of the GPU memory that the process held.
    pub gpu: Option<u64>,
}

/// What a sampler saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// By phase.
    pub peaks: BTreeMap<&'static str, PhasePeak>,
    /// Bytes that swap grew by at most since the start.
    pub swap_grown: u64,
}

/// Samples from its start until it is dropped. Idle programs have none, so that being idle costs nothing.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    woken: Condvar,
    on_sample: Box<dyn Fn(Arc<MemSample>) + Send + Sync>,
}

struct State {
    probe: Box<dyn MemProbe>,
    gpu: Option<GpuProbe>,
    phase: Option<&'static str>,
    /// Marks when the phase began: peaks that the system keeps, which only count where they rose since.
    footprint_mark: u64,
    gpu_mark: u64,
    swap_at_start: u64,
    record: Record,
    latest: Arc<MemSample>,
    quit: bool,
}

impl State {
    /// Takes a reading and enters it.
    fn sample(&mut self) -> Arc<MemSample> {
        let gpu = self.gpu.as_ref().and_then(|gpu| gpu(Mark::Keep));
        let sample = Arc::new(read(self.probe.as_mut(), self.gpu.as_ref()));
        self.record.swap_grown =
            self.record.swap_grown.max(sample.swap_used.saturating_sub(self.swap_at_start));
        if let Some(phase) = self.phase {
            let peak = self.record.peaks.entry(phase).or_default();
            // Between two readings memory may rise and fall again; the system's own mark knows.
            let rose = sample.footprint_peak > self.footprint_mark;
            let seen = if rose { sample.footprint_peak } else { sample.footprint };
            peak.footprint = peak.footprint.max(seen);
            if let Some(GpuMemory { ours, ours_peak, .. }) = gpu {
                let seen = ours_peak.filter(|peak| *peak > self.gpu_mark).unwrap_or(ours);
                peak.gpu = Some(peak.gpu.unwrap_or(0).max(seen));
            }
        }
        self.latest = Arc::clone(&sample);
        sample
    }

    fn begin(&mut self, phase: Option<&'static str>) {
        self.phase = phase;
        self.footprint_mark = self.latest.footprint_peak;
        let gpu = self.gpu.as_ref().and_then(|gpu| gpu(Mark::Reset));
        self.gpu_mark = gpu.and_then(|gpu| gpu.ours_peak).unwrap_or(0);
    }
}

impl Sampler {
    /// Starts a thread that reads `probe` `every` so often and hands the readings to `on_sample`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        mut probe: Box<dyn MemProbe>,
        gpu: Option<GpuProbe>,
        every: Duration,
        on_sample: impl Fn(Arc<MemSample>) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let first = Arc::new(read(probe.as_mut(), gpu.as_ref()));
        let state = State {
            probe,
            gpu,
            phase: None,
            footprint_mark: first.footprint_peak,
            gpu_mark: 0,
            swap_at_start: first.swap_used,
            record: Record::default(),
            latest: first,
            quit: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            woken: Condvar::new(),
            on_sample: Box::new(on_sample),
        });
        let ours = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("memory".into()).spawn(move || keep_sampling(&ours, every))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Tells of a GPU that was opened after the start.
    pub fn watch_gpu(&self, gpu: Option<GpuProbe>) {
        let mut state = lock(&self.shared);
        state.gpu = gpu;
        let phase = state.phase;
        state.begin(phase);
    }

    /// Ends the phase before with a last reading and begins another.
    pub fn begin(&self, phase: &'static str) {
        let mut state = lock(&self.shared);
        state.sample();
        state.begin(Some(phase));
    }

    /// A reading now.
    pub fn now(&self) -> Arc<MemSample> {
        lock(&self.shared).sample()
    }

    /// Swap that grew since the start, by a reading now.
    pub fn swap_grown(&self) -> u64 {
        let mut state = lock(&self.shared);
        let sample = state.sample();
        sample.swap_used.saturating_sub(state.swap_at_start)
    }

    /// What was seen until now; a last reading is taken and handed out.
    pub fn record(&self) -> Record {
        let (sample, record) = {
            let mut state = lock(&self.shared);
            (state.sample(), state.record.clone())
        };
        (self.shared.on_sample)(sample);
        record
    }

    /// Forgets the phases so far, for the next picture of a job.
    pub fn forget_phases(&self) {
        let mut state = lock(&self.shared);
        state.record.peaks.clear();
        state.begin(None);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        lock(&self.shared).quit = true;
        self.shared.woken.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep_sampling(shared: &Shared, every: Duration) {
    let mut state = lock(shared);
    loop {
        let sample = state.sample();
        drop(state);
        (shared.on_sample)(sample);
        state = lock(shared);
        if state.quit {
            return;
        }
        (state, _) = shared.woken.wait_timeout(state, every).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::telemetry::fake::FakeProbe;

    #[test]
    fn a_phase_after_a_higher_one_has_its_own_peak_on_a_gpu() {
        let (held, peak) = (Arc::new(AtomicU64::new(10)), Arc::new(AtomicU64::new(10)));
        let gpu: GpuProbe = {
            let (held, peak) = (Arc::clone(&held), Arc::clone(&peak));
            Arc::new(move |mark| {
                let ours = held.load(Ordering::Relaxed);
                if mark == Mark::Reset {
                    peak.store(ours, Ordering::Relaxed);
                }
                let ours_peak = Some(peak.load(Ordering::Relaxed));
                Some(GpuMemory { ours, ours_peak, ..GpuMemory::default() })
            })
        };
        let probe = FakeProbe::new(MemSample::default());
        let sampler = Sampler::start(Box::new(probe), Some(gpu), Duration::from_mins(1), |_| {}).unwrap();
        sampler.begin("warm_up");
        peak.store(90, Ordering::Relaxed);
        sampler.begin("step");
        // Between two readings it rose to less than before, and fell again.
        peak.store(70, Ordering::Relaxed);
        sampler.begin("decode");
        let peaks = sampler.record().peaks;
        assert_eq!(["warm_up", "step", "decode"].map(|phase| peaks[phase].gpu), [90, 70, 10].map(Some));
    }

    #[test]
    fn a_phase_is_charged_with_its_own_peak_only() {
        let probe = FakeProbe::new(MemSample {
            footprint: 10,
            footprint_peak: 50,
            swap_used: 7,
            ..MemSample::default()
        });
        let (sender, samples) = mpsc::channel();
        let sampler = Sampler::start(Box::new(probe.clone()), None, Duration::from_mins(1), move |sample| {
            let _ = sender.send(sample);
        })
        .unwrap();
        sampler.begin("load");
        probe.change(|sample| sample.footprint = 20);
        sampler.begin("step");
        // Between two readings it rose to 90 and fell again.
        probe.change(|sample| (sample.footprint, sample.footprint_peak) = (30, 90));
        sampler.begin("decode");
        probe.change(|sample| (sample.footprint, sample.swap_used) = (40, 9));
        let record = sampler.record();
        let peak = |phase: &str| record.peaks[phase].footprint;
        assert_eq!((peak("load"), peak("step"), peak("decode")), (20, 90, 40));
        assert_eq!(record.swap_grown, 2);
        drop(sampler);
        assert!(samples.iter().count() >= 2, "the first reading and the last one are handed out");
    }

    #[test]
    fn it_samples_by_itself_and_stops_at_once() {
        let (sender, samples) = mpsc::channel();
        let sampler =
            Sampler::start(Box::new(FakeProbe::default()), None, Duration::from_millis(1), move |sample| {
                let _ = sender.send(sample);
            })
            .unwrap();
        for _ in 0..3 {
            samples.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        drop(sampler);
        while samples.try_recv().is_ok() {}
        assert!(samples.recv_timeout(Duration::from_millis(20)).is_err());
    }
}
