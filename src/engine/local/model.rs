//! The model that is resident, and how another one takes its place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use candle_core::{DType, Device};

use super::memory::gpu_probe;
use super::{EngineOptions, failure};
use crate::diffusion::DiffusionError;
use crate::diffusion::device::{self, OpenedDevice};
use crate::diffusion::nn::fault;
use crate::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use crate::diffusion::prompt::TextCache;
use crate::diffusion::weights::OnBytes;
use crate::engine::{EngineEvent, JobContext, JobError, Phase};
use crate::request::{GenerateParams, GenerateRequest, ImageSize};
use crate::store::hashes::Hashes;
use crate::store::{self, Progress, ResolveOptions, StoreError};
use crate::telemetry::Sampler;

/// What decides which weights are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelKey {
    model: Option<String>,
    revision: Option<String>,
    variant: Option<String>,
}

/// Room for one model.
#[derive(Default)]
pub(super) struct ModelSlot {
    device: Option<OpenedDevice>,
    config: Option<(ModelKey, Arc<PipelineConfig>)>,
    resident: Option<(ModelKey, Resident)>,
    /// Texts that were encoded: they outlive the model.
    texts: Arc<TextCache>,
}

/// A model in memory.
pub(super) struct Resident {
    /// What was read before the weights.
    pub config: Arc<PipelineConfig>,
    /// The weights.
    pub pipeline: Pipeline,
    /// Whether they could not be loaded all together, so that each network is read when it is needed.
    pub on_demand: bool,
    hashes: Hashes,
    /// What the kernels were last compiled for.
    warm: Mutex<Option<WarmKey>>,
}

/// What compiles other kernels when it changes: size, dtype, rows at once.
type WarmKey = (ImageSize, DType, bool);

impl Resident {
    /// SHA-256 of the weights' files; waits for them the first time.
    pub fn weights_sha256(&self) -> BTreeMap<String, String> {
        self.hashes.get()
    }

    /// Whether a step like the ones of `params` would compile kernels first. The CPU compiles none.
    pub fn is_cold(&self, params: &GenerateParams, measures: &Measures) -> bool {
        let key = (params.size, self.pipeline.dtype(), !measures.guidance_in_turn);
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        !self.pipeline.device().is_cpu() && warm.replace(key) != Some(key)
    }
}

impl ModelSlot {
    /// Gives the model's memory back.
    pub fn unload(&mut self) {
        *self = Self { texts: std::mem::take(&mut self.texts), ..Self::default() };
    }

    /// Finds the model of a request and reads its JSON; the weights stay where they are.
    pub fn resolve(
        &mut self,
        options: &EngineOptions,
        request: &GenerateRequest,
        context: &JobContext<'_>,
    ) -> Result<Arc<PipelineConfig>, JobError> {
        let key = ModelKey {
            model: request.model.clone(),
            revision: request.revision.clone(),
            variant: request.variant.clone(),
        };
        if let Some((known, config)) = &self.config
            && *known == key
        {
            return Ok(Arc::clone(config));
        }
        let device = self.device(options, context)?;
        let prefer_half = options.dtype.resolve(&device.device) != DType::F32;
        let resolve = ResolveOptions {
            revision: request.revision.clone(),
            variant: request.variant.clone(),
            prefer_half,
            offline: options.offline,
            hub: options.hub.clone(),
        };
        let mut downloading: Option<Instant> = None;
        let mut progress = |progress: Progress<'_>| {
            if let Progress::Downloading { file, done, total, .. } = progress {
                if downloading.is_none() {
                    downloading = Some(Instant::now());
                    context.emit(EngineEvent::PhaseStarted { job: context.job(), phase: Phase::Download });
                }
                context.emit(EngineEvent::Bytes {
                    job: context.job(),
                    phase: Phase::Download,
                    name: file.into(),
                    done,
                    total,
                });
            }
            if context.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoint =
            store::resolve(request.model.as_deref(), &resolve, &mut progress).map_err(refusal)?;
        if let Some(start) = downloading {
            let (job, phase, seconds) = (context.job(), Phase::Download, start.elapsed().as_secs_f64());
            context.emit(EngineEvent::PhaseFinished { job, phase, seconds });
        }
        let config = Arc::new(PipelineConfig::read(checkpoint).map_err(failure)?);
        self.config = Some((key, Arc::clone(&config)));
        Ok(config)
    }

    /// Whether the model that was last resolved is in memory.
    pub fn is_loaded(&self) -> bool {
        let key = |(key, _): &(ModelKey, Arc<PipelineConfig>)| key.clone();
        self.resident.as_ref().map(|(key, _)| key.clone()) == self.config.as_ref().map(key)
    }

    /// The model that was last resolved, loaded, and the seconds that took; the one before it gives its memory
    /// back first.
    pub fn load(
        &mut self,
        options: &EngineOptions,
        context: &JobContext<'_>,
        sampler: &Sampler,
        one_at_a_time: bool,
    ) -> Result<(&Resident, f64), JobError> {
        let Some((key, config)) = self.config.clone() else {
            return Err(JobError::Failed("no model was resolved".into()));
        };
        let (mut seconds, mut on_demand) = (0., one_at_a_time);
        let device = self.device(options, context)?.device;
        let resident = match self.resident.take().filter(|(known, _)| *known == key) {
            Some((_, resident)) => resident,
            None => {
                sampler.begin(Phase::Load.name());
                let dtype = options.dtype.resolve(&device);
                let on_bytes = report_bytes(context, &config);
                let (mut pipeline, took) = context
                    .phase(Phase::Load, || {
                        let open = || Pipeline::open(Arc::clone(&config), &device, dtype, Some(&on_bytes));
                        if on_demand {
                            return Ok(open());
                        }
                        options.memory.arm_load();
                        let loaded = Pipeline::load(Arc::clone(&config), &device, dtype, Some(&on_bytes));
                        fault::arm(0);
                        match loaded {
                            Err(DiffusionError::Tensor(error)) => {
                                // What was loaded until then is gone; waiting for the device gives it back.
                                let _ = device.synchronize();
                                on_demand = true;
                                let why = error.to_string();
                                let why = why.lines().next().unwrap_or_default();
                                let text = format!("loading failed ({why}): one network in memory at a time");
                                context.emit(EngineEvent::Notice { job: context.job(), text });
                                Ok(open())
                            }
                            loaded => loaded,
                        }
                    })
                    .map_err(failure)?;
                seconds = took;
                let hashes = Hashes::start(config.checkpoint(), options.known_hashes.clone());
                pipeline.texts = Arc::clone(&self.texts);
                Resident { config, pipeline, on_demand, hashes, warm: Mutex::default() }
            }
        };
        let (_, resident) = self.resident.insert((key, resident));
        Ok((resident, seconds))
    }

    /// The device, opened, watched by `sampler`, with the dtype that models have on it.
    pub fn site(
        &mut self,
        options: &EngineOptions,
        context: &JobContext<'_>,
        sampler: &Sampler,
    ) -> Result<(Device, DType), JobError> {
        let device = self.device(options, context)?.device;
        sampler.watch_gpu(gpu_probe(&device));
        let dtype = options.dtype.resolve(&device);
        Ok((device, dtype))
    }

    fn device(
        &mut self,
        options: &EngineOptions,
        context: &JobContext<'_>,
    ) -> Result<OpenedDevice, JobError> {
        if let Some(opened) = &self.device {
            return Ok(opened.clone());
        }
        let opened = device::open(options.device).map_err(failure)?;
        if let Some(text) = &opened.notice {
            context.emit(EngineEvent::Notice { job: context.job(), text: text.clone() });
        }
        Ok(self.device.insert(opened).clone())
    }
}

/// Tells of bytes that were read, now and then.
fn report_bytes(context: &JobContext<'_>, config: &PipelineConfig) -> OnBytes {
    const EVERY: u64 = 8 << 20;
    let (emit, job, name) = (context.emitter(), context.job(), config.checkpoint().name.clone());
    let blobs = config.checkpoint().weights.values().flatten();
    let total = blobs.filter_map(|blob| blob.size().ok()).sum();
    let done = AtomicU64::new(0);
    Arc::new(move |bytes| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY != (before + bytes) / EVERY {
            emit(EngineEvent::Bytes {
                job,
                phase: Phase::Load,
                name: name.clone(),
                done: before + bytes,
                total,
            });
        }
    })
}

fn refusal(error: StoreError) -> JobError {
    match error {
        StoreError::Cancelled => JobError::Cancelled(0),
        error => JobError::Refused(error.to_string()),
    }
}
