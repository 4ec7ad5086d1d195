//! A backend without a model: real timing, gradient pictures that develop step by step, scripted failures.
//!
//! Owns what `--fake` and the tests of every front end run on. The same request with the same script makes the
//! same pictures, events and readings; only measured seconds differ. Knows nothing of models or terminals.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::output::{self, OutputOptions, hex};
use super::{Backend, Choice, EngineEvent, Job, JobContext, JobError, Phase};
use crate::request::{
    GenerateParams, GenerateRequest, ImageSize, JobId, Picture, Recipe, Reused, Seed, Timings,
};
use crate::telemetry::{MemSample, Pressure};

/// Side of a latent cell in pixels: previews are smaller than pictures by this factor.
const VAE_SCALE: u32 = 8;
const GIB: u64 = 1 << 30;

/// How one job ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// With a picture.
    #[default]
    Finish,
    /// With this error, after that many steps.
    Fail(u32, String),
    /// With a panic on the engine's thread, after that many steps.
    Panic(u32),
    /// With a picture, after memory ran short from that step on.
    Pressure(u32),
}

impl Script {
    /// Reads a script out of a prompt: `fail at 3`, `panic at 3`, `pressure at 3` anywhere in it.
    pub fn from_prompt(prompt: &str) -> Self {
        let words: Vec<&str> = prompt.split_whitespace().collect();
        let found = words.windows(3).find_map(|three| match three {
            [what @ ("fail" | "panic" | "pressure"), "at", step] => {
                Some((*what, step.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?))
            }
            _ => None,
        });
        match found {
            Some(("fail", step)) => Self::Fail(
                step,
                format!("the script said so at step {step}; take `fail at` out of the prompt"),
            ),
            Some(("panic", step)) => Self::Panic(step),
            Some((_, step)) => Self::Pressure(step),
            None => Self::Finish,
        }
    }
}

/// Timing and picture size of a [`FakeBackend`].
#[derive(Clone, Debug)]
pub struct FakeTiming {
    /// Reading weights, once.
    pub load: Duration,
    /// The first step of the first job.
    pub warm_up: Duration,
    /// Text encoders.
    pub encode: Duration,
    /// One denoising step.
    pub step: Duration,
    /// VAE.
    pub decode: Duration,
}

impl Default for FakeTiming {
    fn default() -> Self {
        Self::with_step(Duration::from_millis(120))
    }
}

impl FakeTiming {
    /// Every phase in proportion to one step, as on a real device.
    pub fn with_step(step: Duration) -> Self {
        Self { load: step * 8, warm_up: step * 4, encode: step / 2, step, decode: step * 2 }
    }
}

/// The backend; see the module.
pub struct FakeBackend {
    timing: FakeTiming,
    /// Where pictures are written; `None` writes none.
    output: Option<OutputOptions>,
    loaded: bool,
    last_seed: u64,
    swap: u64,
}

impl FakeBackend {
    /// A backend with nothing loaded that writes its pictures as the real one does.
    pub fn new(timing: FakeTiming, output: Option<OutputOptions>) -> Self {
        Self { timing, output, loaded: false, last_seed: 0, swap: GIB / 2 }
    }

    fn resolve(&mut self, job: &Job) -> GenerateParams {
        let request = &job.request;
        let seed = match request.seed {
            Some(Seed::Fixed(seed)) => seed,
            Some(Seed::Previous(_)) => self.last_seed,
            Some(Seed::Random) | None => hash(&request.prompt).wrapping_add(job.id.0) % 10_000,
        };
        self.last_seed = seed;
        GenerateParams {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            model: request.model.clone().unwrap_or_else(|| "embedded".into()),
            revision: request.revision.clone(),
            variant: request.variant.clone(),
            scheduler: request.scheduler.clone().unwrap_or_else(|| "dpmpp_2m".into()),
            steps: request.steps.unwrap_or(20).max(1),
            guidance_scale: request.guidance_scale.unwrap_or(7.0),
            eta: request.eta.unwrap_or(0.0),
            seed,
            size: ImageSize::new(request.width.unwrap_or(512).max(8), request.height.unwrap_or(512).max(8)),
            image: request.image.as_ref().map(PathBuf::from),
            strength: request.strength,
            variation: request.variation,
            variation_seed: request.variation_seed,
            clip_skip: request.clip_skip.unwrap_or(0),
            stop_after: request.stop_after,
            deep_cache: request.deep_cache,
            cfg_until: request.cfg_until,
            branch: None,
        }
    }

    /// A plausible reading: memory breathes with the steps, swap grows a little with each, or a lot under pressure.
    fn sample(&mut self, step: u32, short: bool) -> MemSample {
        let wave = (f64::from(step) * 0.9).sin();
        let used = if short { 15.2 } else { 9.0 + 1.5 * wave };
        let grown = if short { 400 << 20 } else { ((wave + 1.0) * 4.0) as u64 * (1 << 20) };
        self.swap = (self.swap + grown).min(4 * GIB);
        let bytes = |gib: f64| (gib * GIB as f64) as u64;
        MemSample {
            footprint: bytes(used * 0.8),
            footprint_peak: bytes(used * 0.9),
            memory_limit: 24 * GIB,
            memory_used: bytes(used + 4.0),
            gpu_used: Some(bytes(used)),
            gpu_limit: Some(16 * GIB),
            swap_used: self.swap,
            swap_total: 4 * GIB,
            pressure: match (short, self.swap > 2 * GIB) {
                (true, true) => Pressure::Critical,
                (true, false) => Pressure::Warn,
                (false, _) => Pressure::Normal,
            },
        }
    }

    fn denoise(
        &mut self,
        params: &GenerateParams,
        script: &Script,
        job: JobId,
        context: &JobContext<'_>,
    ) -> Result<Vec<f64>, JobError> {
        let mut seconds = Vec::new();
        let done = context.held().and_then(|state| Some(u32::from_le_bytes(state[..].try_into().ok()?)));
        for step in done.unwrap_or(0) + 1..=params.steps {
            let start = Instant::now();
            std::thread::sleep(self.timing.step);
            if context.cancelled() {
                return Err(JobError::Cancelled(step));
            }
            match script {
                Script::Fail(at, error) if *at == step => return Err(JobError::Failed(error.clone())),
                #[expect(clippy::panic, reason = "the script asks for a panic on the engine's thread")]
                Script::Panic(at) if *at == step => panic!("the script said so at step {step}"),
                _ => {}
            }
            let done = f64::from(step) / f64::from(params.steps);
            let latents = ImageSize::new(params.size.width / VAE_SCALE, params.size.height / VAE_SCALE);
            context.post_preview(step, gradient(&params.prompt, params.seed, latents, done));
            let elapsed = start.elapsed().as_secs_f64();
            seconds.push(elapsed);
            context.emit(EngineEvent::Step { job, step, steps: params.steps, seconds: elapsed });
            let short = matches!(script, Script::Pressure(from) if step >= *from);
            context.emit(EngineEvent::Memory(Arc::new(self.sample(step, short))));
            if context.holding() && step < params.steps {
                return Err(JobError::Held { step, steps: params.steps, state: step.to_le_bytes().to_vec() });
            }
            if let Some(id) = context.take_keep() {
                let params = GenerateParams { stop_after: Some(step), ..params.clone() };
                let picture = gradient(&params.prompt, params.seed, params.size, done);
                let request = GenerateRequest::default();
                self.hand_out(&params, (id, &request, 0), picture, Timings::default(), context);
                context.emit(EngineEvent::Ended { job: id });
            }
        }
        Ok(seconds)
    }

    /// One picture from encoding to the file.
    fn one(
        &mut self,
        params: &GenerateParams,
        script: &Script,
        (of, index): (&Job, usize),
        context: &JobContext<'_>,
        mut timings: Timings,
    ) -> Result<(), JobError> {
        let job = of.id;
        let start = Instant::now();
        timings.encode = wait(context, Phase::Encode, self.timing.encode)?;
        (timings.steps, _) = context.phase(Phase::Step, || self.denoise(params, script, job, context))?;
        let (picture, decode) = context.phase(Phase::Decode, || {
            std::thread::sleep(self.timing.decode);
            if context.cancelled() {
                return Err(JobError::Cancelled(params.steps));
            }
            Ok(gradient(&params.prompt, params.seed, params.size, 1.0))
        })?;
        timings.decode = decode;
        timings.total = timings.load + timings.warm_up + start.elapsed().as_secs_f64();
        context.emit(EngineEvent::PhaseStarted { job, phase: Phase::Save });
        self.hand_out(params, (job, &of.request, index), picture, timings, context);
        Ok(())
    }

    /// Saves a picture and tells of it.
    fn hand_out(
        &self,
        params: &GenerateParams,
        (job, request, index): (JobId, &GenerateRequest, usize),
        picture: Picture,
        timings: Timings,
        context: &JobContext<'_>,
    ) {
        let mut recipe = Recipe {
            job,
            params: params.clone(),
            device: "fake".into(),
            dtype: "f16".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            timings,
            reused: Reused::default(),
            peak_memory: 11 * GIB,
            swap_grown: self.swap.saturating_sub(GIB / 2),
            memory: std::collections::BTreeMap::new(),
            path: None,
            pixels_sha256: hex(&Sha256::digest(&picture.rgb)),
            file_sha256: None,
            latents: fingerprints(params),
            weights: std::collections::BTreeMap::new(),
            notices: Vec::new(),
        };
        let saved = match &self.output {
            Some(options) => output::save(options, request, index, &recipe, &picture),
            None => Ok(None),
        };
        let (written, problem) = saved.map_or_else(|error| (None, Some(error)), |written| (written, None));
        (recipe.path, recipe.file_sha256) = written.map(|written| (written.path, written.sha256)).unzip();
        context.emit(EngineEvent::Finished { job, recipe: Box::new(recipe), picture });
        if let Some(error) = problem {
            context.emit(EngineEvent::Unsaved { job, error });
        }
    }
}

impl Backend for FakeBackend {
    fn run(&mut self, job: &Job, context: &JobContext<'_>) -> Result<(), JobError> {
        let mut timings = Timings::default();
        let first = !std::mem::replace(&mut self.loaded, true);
        if first {
            timings.load = context.phase(Phase::Load, || self.load(job.id, context))?.1;
        }
        if let Some(options) = &self.output {
            output::check(options, &job.request).map_err(JobError::Refused)?;
        }
        let mut params = self.resolve(job);
        let (device, dtype) = ("fake".into(), "f16".into());
        context.emit(EngineEvent::Resolved { job: job.id, params: Box::new(params.clone()), device, dtype });
        if first {
            timings.warm_up = wait(context, Phase::WarmUp, self.timing.warm_up)?;
        }
        let script = Script::from_prompt(&job.request.prompt);
        if job.request.prompt.contains("too large") {
            ask(&mut params, context)?;
        }
        let plan = vec![format!("{} takes 11.0 GiB of 16.0 GiB of GPU memory free", params.size)];
        context.emit(EngineEvent::Planned { job: job.id, news: None, plan });
        if matches!(script, Script::Pressure(_)) {
            let text = "memory is short: the next steps run with sliced attention".into();
            context.emit(EngineEvent::Notice { job: job.id, text });
        }
        for index in 0..job.request.num_images.unwrap_or(1).max(1) {
            self.one(&params, &script, (job, index as usize), context, std::mem::take(&mut timings))?;
            params.seed = params.seed.wrapping_add(1);
        }
        Ok(())
    }

    fn unload(&mut self) {
        self.loaded = false;
    }
}

impl FakeBackend {
    /// Pretends to read weights of 4 GiB in eight pieces.
    fn load(&mut self, job: JobId, context: &JobContext<'_>) -> Result<(), JobError> {
        const PIECES: u32 = 8;
        for piece in 1..=PIECES {
            std::thread::sleep(self.timing.load / PIECES);
            if context.cancelled() {
                self.loaded = false;
                return Err(JobError::Cancelled(0));
            }
            let done = 4 * GIB / u64::from(PIECES) * u64::from(piece);
            let name = "unet".into();
            context.emit(EngineEvent::Bytes { job, phase: Phase::Load, name, done, total: 4 * GIB });
        }
        Ok(())
    }
}

/// Pretends that the picture does not fit.
fn ask(params: &mut GenerateParams, context: &JobContext<'_>) -> Result<(), JobError> {
    let half = ImageSize::new((params.size.width / 2).max(8), (params.size.height / 2).max(8));
    let choices = [
        Choice { key: 's', text: format!("smaller, {half}: 5.0 GiB") },
        Choice { key: 'g', text: "go anyway: 20.0 GiB".into() },
    ];
    let question =
        format!("{} needs 20.0 GiB to decode, and there are 16.0 GiB of GPU memory free", params.size);
    match context.ask(question, &choices) {
        Some('s') => params.size = half,
        Some(_) => {}
        None => return Err(JobError::Cancelled(0)),
    }
    Ok(())
}

/// A phase in which nothing happens but time.
fn wait(context: &JobContext<'_>, phase: Phase, time: Duration) -> Result<f64, JobError> {
    let sleep = || {
        std::thread::sleep(time);
        if context.cancelled() { Err(JobError::Cancelled(0)) } else { Ok(()) }
    };
    Ok(context.phase(phase, sleep)?.1)
}

/// A picture that depends on the prompt and the seed, dissolving out of noise as `done` goes from 0 to 1.
///
/// `flat ff00ff` in the prompt makes it this one colour instead, for whoever counts pixels.
fn gradient(prompt: &str, seed: u64, size: ImageSize, done: f64) -> Picture {
    if let Some(colour) = flat(prompt) {
        return Picture { size, rgb: colour.repeat((size.width * size.height) as usize).into() };
    }
    let key = hash(prompt) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let tint = [key & 255, (key >> 8) & 255, (key >> 16) & 255].map(|byte| byte as f32);
    let mut noise = key | 1;
    let done = done as f32;
    let mut rgb = Vec::with_capacity(size.width as usize * size.height as usize * 3);
    for y in 0..size.height {
        for x in 0..size.width {
            let (u, v) = (x as f32 / size.width as f32 - 0.5, y as f32 / size.height as f32 - 0.5);
            let distance = (u * u + v * v).sqrt();
            let ring = ((distance * 40.0 + tint[0] / 40.0).sin() * 0.5 + 0.5) * 255.0;
            let pixel = if distance < 0.22 {
                [255.0 - tint[0], 255.0 - tint[1], ring]
            } else {
                [(ring + tint[0]) * 0.5, (u + 0.5) * tint[1] + 60.0, (v + 0.5) * tint[2] + 60.0]
            };
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            for (channel, value) in pixel.into_iter().enumerate() {
                let grain = ((noise >> (8 * channel)) & 255) as f32;
                rgb.push((value * done + grain * (1.0 - done)).clamp(0.0, 255.0) as u8);
            }
        }
    }
    Picture { size, rgb: rgb.into() }
}

/// The colour after the word `flat`: six hexadecimal digits.
fn flat(prompt: &str) -> Option<[u8; 3]> {
    let digits = prompt.split_whitespace().skip_while(|word| *word != "flat").nth(1)?;
    let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([red, green, blue])
}

/// As many as a real run has; they depend on everything that its latents would.
fn fingerprints(params: &GenerateParams) -> Vec<String> {
    let of = |step| {
        let said = if step == 0 { String::new() } else { format!("{params:?}") };
        format!("{:016x}", hash(&format!("{} {} {step} {said}", params.seed, params.size)))
    };
    (0..=params.steps).map(of).collect()
}

/// FNV-1a: the same on every platform and release, unlike the standard library's hasher.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::Phase::{Decode, Encode, Load, Save, Step, WarmUp};
    use super::*;
    use crate::engine::{EngineHandle, spawn};

    fn start() -> (EngineHandle, Receiver<EngineEvent>) {
        let (sender, receiver) = channel();
        let timing = FakeTiming::with_step(Duration::from_millis(2));
        let engine = spawn(
            move || FakeBackend::new(timing, None),
            move |event| {
                let _ = sender.send(event);
            },
        );
        (engine.expect("a thread"), receiver)
    }

    fn submit(engine: &EngineHandle, id: u64, prompt: &str, steps: u32) {
        let request = GenerateRequest {
            prompt: prompt.into(),
            steps: Some(steps),
            width: Some(64),
            height: Some(32),
            ..Default::default()
        };
        engine.submit(Job { id: JobId(id), request });
    }

    /// Everything up to the event that ends the job.
    fn until_end(events: &Receiver<EngineEvent>) -> Vec<EngineEvent> {
        let mut seen = Vec::new();
        loop {
            let event = events.recv_timeout(Duration::from_secs(10)).expect("the job must end");
            if matches!(event, EngineEvent::Ended { .. }) {
                return seen;
            }
            seen.push(event);
        }
    }

    fn finished(events: &[EngineEvent]) -> (&Recipe, &Picture) {
        match events.last() {
            Some(EngineEvent::Finished { recipe, picture, .. }) => (recipe, picture),
            other => panic!("not finished: {other:?}"),
        }
    }

    #[test]
    fn same_request_same_picture_and_events_in_order() {
        let (one, two) = (start(), start());
        submit(&one.0, 1, "a fox", 3);
        submit(&two.0, 1, "a fox", 3);
        let (first, second) = (until_end(&one.1), until_end(&two.1));
        let ((a, picture), (b, _)) = (finished(&first), finished(&second));
        assert_eq!(a.pixels_sha256, b.pixels_sha256);
        assert_eq!(a.params, b.params);
        assert_eq!((picture.size, picture.rgb.len()), (ImageSize::new(64, 32), 64 * 32 * 3));
        let phases: Vec<Phase> = first
            .iter()
            .filter_map(|event| match event {
                EngineEvent::PhaseStarted { phase, .. } => Some(*phase),
                _ => None,
            })
            .collect();
        assert_eq!(phases, [Load, WarmUp, Encode, Step, Decode, Save]);
        assert_eq!(a.timings.steps.len(), 3);
    }

    #[test]
    fn the_seed_and_the_prompt_decide_the_picture() {
        let size = ImageSize::new(16, 16);
        let fox = gradient("a fox", 1, size, 1.0);
        assert_ne!(fox, gradient("a fox", 2, size, 1.0));
        assert_ne!(fox, gradient("a cat", 1, size, 1.0));
        assert_ne!(fox, gradient("a fox", 1, size, 0.5), "half-way it is still noisy");
    }

    #[test]
    fn scripted_ends_leave_the_engine_usable() {
        let (engine, events) = start();
        submit(&engine, 1, "a fox, fail at 2, in snow", 4);
        let seen = until_end(&events);
        assert!(matches!(seen.last(), Some(EngineEvent::Failed { error, .. }) if error.contains("step 2")));
        assert_eq!(seen.iter().filter(|event| matches!(event, EngineEvent::Step { .. })).count(), 1);
        submit(&engine, 2, "panic at 1", 4);
        let seen = until_end(&events);
        assert!(matches!(seen.last(), Some(EngineEvent::Failed { error, .. }) if error.contains("panicked")));
        submit(&engine, 3, "pressure at 1", 8);
        let seen = until_end(&events);
        finished(&seen);
        let worst = seen.iter().filter_map(|event| match event {
            EngineEvent::Memory(sample) => Some(sample.pressure),
            _ => None,
        });
        assert_eq!(worst.max(), Some(Pressure::Critical));
    }

    #[test]
    fn cancel_stops_after_the_step_in_hand() {
        let (engine, events) = start();
        submit(&engine, 1, "a fox", 2000);
        while !matches!(events.recv_timeout(Duration::from_secs(10)), Ok(EngineEvent::Step { step: 2, .. })) {
        }
        assert!(engine.cancel(JobId(1)));
        let seen = until_end(&events);
        assert!(matches!(seen.last(), Some(EngineEvent::Cancelled { step, .. }) if (3..100).contains(step)));
        assert!(engine.take_preview().is_some_and(|preview| preview.picture.size == ImageSize::new(8, 4)));
    }
}
