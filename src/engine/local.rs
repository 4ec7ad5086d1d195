//! The real backend: resolves a model, keeps it resident, and makes pictures with it.

mod course;
mod memory;
mod model;
mod profile;
mod starts;
mod trails;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use self::memory::Overseer;
pub use self::memory::{MemoryOptions, gpu_facts, gpu_probe};
use self::model::{ModelSlot, Resident};
pub use self::profile::Trace;
use self::starts::Starts;
use self::trails::Trails;
pub use super::output::OutputOptions;
use super::output::{self, hex};
use super::{Backend, EngineEvent, Job, JobContext, JobError, Phase};
use crate::diffusion::DiffusionError;
use crate::diffusion::device::{DTypeChoice, DeviceChoice, device_name, dtype_name};
use crate::diffusion::memory_plan::{MemoryPlan, PhaseCost};
use crate::diffusion::moment::Moment;
use crate::diffusion::nn::profile as recorder;
use crate::diffusion::pipeline::PipelineConfig;
use crate::diffusion::watchdog::{Oversight, Watched};
use crate::gallery::load;
use crate::paths::HubAccess;
use crate::request::{
    GenerateParams, GenerateRequest, ImageSize, JobId, PhaseMemory, Picture, Recipe, Reused, Seed, Timings,
};
use crate::telemetry::{self, Record, Sampler};

/// What the engine is told once, at its start.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where the model runs.
    pub device: DeviceChoice,
    /// Its floats.
    pub dtype: DTypeChoice,
    /// Never use the network.
    pub offline: bool,
    /// Cache, endpoint and token of the Hub.
    pub hub: HubAccess,
    /// Where pictures go that were given no file.
    pub output: OutputOptions,
    /// Where the hashes of weights are kept that were computed once; see [`crate::store::hashes`].
    pub known_hashes: Option<std::path::PathBuf>,
    /// Where it is remembered how long starts took; `None` is nowhere.
    pub starts: Option<std::path::PathBuf>,
    /// Whether somebody looks at previews.
    pub previews: bool,
    /// What is done about memory.
    pub memory: MemoryOptions,
}

/// The backend that runs real models.
pub struct LocalBackend {
    options: EngineOptions,
    model: ModelSlot,
    /// Where runs have been.
    trails: RefCell<Trails>,
    /// Where profiles go.
    trace: Option<Trace>,
    /// What the process held before it held any model.
    base: Option<u64>,
    /// What the job before was to take.
    planned: Option<Vec<PhaseCost>>,
}

impl LocalBackend {
    /// A backend with nothing loaded.
    pub fn new(options: EngineOptions) -> Self {
        let trails = options.memory.kept_steps.map_or_else(Trails::default, Trails::new);
        Self {
            trails: RefCell::new(trails),
            options,
            model: ModelSlot::default(),
            trace: None,
            base: None,
            planned: None,
        }
    }

    /// Every job is profiled, into `trace`.
    #[must_use]
    pub fn with_trace(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// Runs a job while the time of its ops is recorded, and keeps what was.
    fn profiled(&mut self, job: &Job, context: &JobContext<'_>) -> Result<(), JobError> {
        let start = Instant::now();
        recorder::start();
        let result = self.make(job, context);
        let spans = recorder::stop();
        context.post_profile(profile::table(&spans));
        if let Some(trace) = &mut self.trace
            && let Err(error) = trace.append(job.id, (start, Instant::now()), &spans)
        {
            let text = format!("the profile cannot be written: {error}");
            context.emit(EngineEvent::Notice { job: job.id, text });
        }
        result
    }

    fn make(&mut self, job: &Job, context: &JobContext<'_>) -> Result<(), JobError> {
        let started = Instant::now();
        let sampler = self.options.memory.sampler(context)?;
        let config = self.model.resolve(&self.options, &job.request, context)?;
        let (base_seed, pictures) = (first_seed(&job.request), job.request.num_images.unwrap_or(1));
        let request = with_size_of_image(&job.request, &config).map_err(JobError::Refused)?;
        // Everything is checked before a weight is read.
        let mut params = config.resolve(&request, base_seed).map_err(failure)?;
        output::check(&self.options.output, &job.request).map_err(JobError::Refused)?;
        let site = self.model.site(&self.options, context, &sampler)?;
        let base = *self.base.get_or_insert_with(|| sampler.now().footprint);
        let memory = &self.options.memory;
        let mut plan =
            memory::plan(memory, &config, &mut params, (&site.0, site.1), base, &sampler, context)?;
        same_size(&mut params);
        let changed = self.planned.replace(plan.phases.clone()) != Some(plan.phases.clone());
        let news = (changed && plan.cuts.is_empty()).then(|| plan.summary());
        context.emit(EngineEvent::Planned { job: job.id, news, plan: plan.describe() });
        let image = params.image.as_ref().map(|path| load::filling(path, params.size)).transpose();
        let image = image.map_err(|error| JobError::Refused(error.to_string()))?;
        let (starts, place) = (
            Starts::new(self.options.starts.clone()),
            format!("{} in {}", device_name(&site.0), dtype_name(site.1)),
        );
        if let Some(text) = starts.announcement(&params, &place).filter(|_| !self.model.is_loaded()) {
            context.emit(EngineEvent::Starting { job: job.id, text });
        }
        let one_at_a_time = plan.measures.one_at_a_time;
        let (resident, load_seconds) = self.model.load(&self.options, context, &sampler, one_at_a_time)?;
        plan.measures.one_at_a_time |= resident.on_demand;
        // A proof goes its way alone.
        let apart = RefCell::default();
        let trails = if context.anew() { &apart } else { &self.trails };
        let mut start = started;
        let mut timings = Timings { load: load_seconds, ..Timings::default() };
        for index in 0..pictures {
            let params = GenerateParams { seed: base_seed.wrapping_add(index.into()), ..params.clone() };
            let index = index as usize;
            let run = PictureRun {
                job,
                context,
                options: &self.options,
                sampler: &sampler,
                plan: &plan,
                resident,
                trails,
                image: image.as_ref(),
                overseer: Overseer::new(context, &sampler),
                last: RefCell::default(),
                starts: &starts,
                start,
                index,
            };
            run.make(params, std::mem::take(&mut timings))?;
            start = Instant::now();
            sampler.forget_phases();
        }
        Ok(())
    }
}

impl Backend for LocalBackend {
    fn run(&mut self, job: &Job, context: &JobContext<'_>) -> Result<(), JobError> {
        if self.trace.is_some() || context.profiling() {
            return self.profiled(job, context);
        }
        self.make(job, context)
    }

    fn unload(&mut self) {
        self.model.unload();
    }

    fn release_after(&self) -> Option<Duration> {
        self.options.memory.release_after
    }
}

/// One picture of a job.
struct PictureRun<'a> {
    job: &'a Job,
    context: &'a JobContext<'a>,
    options: &'a EngineOptions,
    sampler: &'a Sampler,
    plan: &'a MemoryPlan,
    resident: &'a Resident,
    trails: &'a RefCell<Trails>,
    /// What it starts from, in the size of the picture.
    image: Option<&'a Picture>,
    overseer: Overseer<'a>,
    /// The moment after the last step that was done.
    last: RefCell<Option<Arc<Moment>>>,
    starts: &'a Starts,
    start: Instant,
    index: usize,
}

impl PictureRun<'_> {
    fn make(&self, params: GenerateParams, mut timings: Timings) -> Result<(), JobError> {
        let (context, job) = (self.context, self.job.id);
        let pipeline = &self.resident.pipeline;
        let mut run = Watched::new(pipeline, self.plan.measures, &self.overseer);
        run.faults.clone_from(&self.options.memory.faults);
        context.emit(EngineEvent::Resolved {
            job,
            params: Box::new(params.clone()),
            device: device_name(pipeline.device()).into(),
            dtype: dtype_name(pipeline.dtype()).into(),
        });
        if let Some(text) = self.plan.notice().filter(|_| self.index == 0) {
            self.notice(&text);
        }
        let course = self.course(&params, &mut run, &mut timings)?;
        self.check_cancelled(timings.steps.len() as u32)?;
        let (picture, seconds) =
            self.phase(Phase::Decode, || run.decode(&course.latents, params.size)).map_err(failure)?;
        timings.decode = seconds;
        timings.total = self.start.elapsed().as_secs_f64();
        if timings.load > 0. {
            let place = format!("{} in {}", device_name(pipeline.device()), dtype_name(pipeline.dtype()));
            self.starts.remember(&params, &place, &timings);
        }
        self.deliver(job, params, &picture, timings, (course.reused, course.fingerprints));
        Ok(())
    }

    /// Saves a picture as job `id` and hands it out. `course` is what was reused, and the latents' fingerprints.
    fn deliver(
        &self,
        id: JobId,
        params: GenerateParams,
        picture: &Picture,
        timings: Timings,
        (reused, latents): (Reused, Vec<String>),
    ) {
        let (pipeline, record) = (&self.resident.pipeline, self.sampler.record());
        let mut recipe = Recipe {
            job: id,
            params,
            device: device_name(pipeline.device()).into(),
            // The watchdog may have changed it.
            dtype: dtype_name(pipeline.dtype()).into(),
            version: env!("CARGO_PKG_VERSION").into(),
            timings,
            reused,
            peak_memory: telemetry::peak_memory(),
            swap_grown: record.swap_grown,
            memory: memory_of_phases(self.plan, &record),
            path: None,
            pixels_sha256: hex(&Sha256::digest(&picture.rgb)),
            file_sha256: None,
            latents,
            weights: self.resident.weights_sha256(),
            notices: self.overseer.notices(),
        };
        let start = Instant::now();
        let span = recorder::phase(Phase::Save.name());
        let saved = if id == self.job.id {
            self.context.emit(EngineEvent::PhaseStarted { job: id, phase: Phase::Save });
            output::save(&self.options.output, &self.job.request, self.index, &recipe, picture)
        } else {
            // A file that was named is for the picture that was asked for.
            let request = GenerateRequest { output: None, ..self.job.request.clone() };
            output::save(&self.options.output, &request, 0, &recipe, picture)
        };
        drop(span);
        let seconds = start.elapsed().as_secs_f64();
        if id == self.job.id {
            self.context.emit(EngineEvent::PhaseFinished { job: id, phase: Phase::Save, seconds });
        }
        recipe.timings.save = seconds;
        // A picture that took minutes is not thrown away for a full disk.
        let problem = match saved {
            Ok(written) => {
                (recipe.path, recipe.file_sha256) =
                    written.map(|written| (written.path, written.sha256)).unzip();
                None
            }
            Err(error) => Some(error),
        };
        recipe.notices.extend(problem.clone());
        let picture = picture.clone();
        self.context.emit(EngineEvent::Finished { job: id, recipe: Box::new(recipe), picture });
        if let Some(error) = problem {
            self.context.emit(EngineEvent::Unsaved { job: id, error });
        }
    }

    /// Something that a person should read.
    fn notice(&self, text: &str) {
        self.overseer.notice(text.into());
    }

    /// Runs a phase under the eyes of the sampler; see [`JobContext::phase`].
    fn phase<T, E>(&self, phase: Phase, work: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
        self.sampler.begin(phase.name());
        self.context.phase(phase, work)
    }

    fn check_cancelled(&self, step: u32) -> Result<(), JobError> {
        if self.context.cancelled() { Err(JobError::Cancelled(step)) } else { Ok(()) }
    }
}

/// The GPU's memory where there is one, else the process's.
fn memory_of_phases(plan: &MemoryPlan, record: &Record) -> std::collections::BTreeMap<String, PhaseMemory> {
    let peaks = record.peaks.iter();
    peaks
        .map(|(phase, peak)| {
            let peak = peak.gpu.unwrap_or(peak.footprint);
            let predicted = plan.predicted(phase);
            tracing::info!(phase, predicted, peak, "memory");
            ((*phase).into(), PhaseMemory { predicted, peak })
        })
        .collect()
}

fn failure(error: DiffusionError) -> JobError {
    match error {
        DiffusionError::Cancelled(step) => JobError::Cancelled(step),
        DiffusionError::Request(message) => JobError::Refused(message),
        error => JobError::Failed(error.to_string()),
    }
}

/// A branch has the size of the picture that goes on from it, also when that became a smaller one.
fn same_size(params: &mut GenerateParams) {
    if let Some(branch) = &mut params.branch {
        branch.of.size = params.size;
        same_size(&mut branch.of);
    }
}

/// Without a size of its own, a picture made from another has its shape and the model's usual number of pixels.
fn with_size_of_image(request: &GenerateRequest, config: &PipelineConfig) -> Result<GenerateRequest, String> {
    let mut request = request.clone();
    let Some(image) =
        request.image.as_deref().filter(|_| request.width.is_none() && request.height.is_none())
    else {
        return Ok(request);
    };
    let size = load::size(Path::new(image)).map_err(|error| error.to_string())?;
    let ImageSize { width, height } = config.profile.default_size();
    let multiple = f64::from(config.profile.size_multiple());
    let scale =
        (f64::from(width) * f64::from(height) / (f64::from(size.width) * f64::from(size.height))).sqrt();
    let side = |pixels: u32| ((f64::from(pixels) * scale / multiple).round().max(1.) * multiple) as u32;
    (request.width, request.height) = (Some(side(size.width)), Some(side(size.height)));
    Ok(request)
}

/// The seed of a request's first picture. Random ones stay below 2³², which every other tool can type.
fn first_seed(request: &GenerateRequest) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    match request.seed {
        Some(Seed::Fixed(seed)) => seed,
        _ => std::collections::hash_map::RandomState::new().build_hasher().finish() & 0xffff_ffff,
    }
}

/// See [`Recipe::latents`].
fn fingerprint(latents: &[f32]) -> String {
    let bytes: Vec<u8> = latents.iter().flat_map(|value| value.to_le_bytes()).collect();
    hex(&Sha256::digest(&bytes)[..8])
}
