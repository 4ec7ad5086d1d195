//! The steps of one picture: from the nearest moment that is known to the last step, with stops on the way.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{PictureRun, failure, fingerprint, hex};
use crate::diffusion::branch;
use crate::diffusion::denoise::StepReport;
use crate::diffusion::moment::{Moment, Past};
use crate::diffusion::pipeline::{Part, Start};
use crate::diffusion::prompt::PromptEmbeds;
use crate::diffusion::watchdog::Watched;
use crate::engine::{EngineEvent, JobError, Phase};
use crate::request::{Branch, GenerateParams, JobId, Reused, Timings};

/// What came of the steps.
pub(super) struct Course {
    /// What the picture is decoded from: `[c · h · w]`.
    pub latents: Vec<f32>,
    /// Fingerprints of the latents at the start and after each step.
    pub fingerprints: Vec<String>,
    /// What was not computed again.
    pub reused: Reused,
}

/// Why the steps were interrupted.
enum Pause {
    /// The job is to be put aside.
    Hold,
    /// The picture so far is wanted, as this job.
    Keep(JobId, Vec<f32>),
    /// The picture is taken here.
    Stop(Vec<f32>),
    /// Nothing more is to be done for it.
    Cancel,
}

/// Where the steps of a picture begin.
struct Place {
    start: Start,
    past: Past,
    /// Steps before it that nobody did again.
    reused: usize,
}

impl Place {
    /// Steps done, and steps in all, as the scheduler counts them.
    fn count(&self) -> (usize, usize) {
        let (scheduler, first) = (&self.start.scheduler, self.start.scheduler.begin_index());
        (scheduler.state().next_index - first, scheduler.timesteps().len() - first)
    }
}

impl PictureRun<'_> {
    /// Does the steps of `params`, as few as possible.
    pub(super) fn course(
        &self,
        params: &GenerateParams,
        run: &mut Watched<'_>,
        timings: &mut Timings,
    ) -> Result<Course, JobError> {
        let embeds = self.encode(params, run, timings)?;
        embeds.notices.iter().for_each(|text| self.notice(text));
        self.check_cancelled(0)?;
        self.take_up(params)?;
        let stop = params.stop_after.map(|stop| stop as usize);
        // What the model expects after a step is not kept, so that step is done again for it.
        let place = self.place(params, run, stop.map_or(usize::MAX, |stop| stop - 1), timings)?;
        let (done, steps) = place.count();
        let embeddings = embeds.reused.is_some();
        let mut reused = Reused {
            steps: place.reused as u32,
            of: (before(params) + stop.unwrap_or(steps)) as u32,
            embeddings,
            seconds: embeds.reused.unwrap_or(0.),
        };
        if reused.steps > 0 {
            // As long as they take: some of the steps before may have been done just now.
            let each = place.past.seconds / (before(params) + done).max(1) as f64;
            reused.seconds += each * f64::from(reused.steps);
        }
        let (latents, past) = self.steps(params, &embeds, place, stop, run, timings)?;
        Ok(Course { latents, fingerprints: past.latents, reused })
    }

    fn encode(
        &self,
        params: &GenerateParams,
        run: &mut Watched<'_>,
        timings: &mut Timings,
    ) -> Result<PromptEmbeds, JobError> {
        let (embeds, seconds) = self.phase(Phase::Encode, || run.encode_prompt(params)).map_err(failure)?;
        timings.encode += seconds;
        Ok(embeds)
    }

    /// Takes what the job goes on from, if it was held, among the moments that are known.
    fn take_up(&self, params: &GenerateParams) -> Result<(), JobError> {
        let Some(bytes) = self.context.held().filter(|_| self.index == 0) else { return Ok(()) };
        let config = &self.resident.config;
        let refuse = |why: &dyn std::fmt::Display| {
            let job = self.job.id;
            JobError::Refused(format!("{job} cannot go on where it was held: {why}; type /rerun ${}", job.0))
        };
        let (c, h, w) = config.latent_shape(params.size);
        let moment =
            Moment::from_bytes(bytes, &self.facts(params), c * h * w).map_err(|error| refuse(&error))?;
        let steps = config.scheduler(params).map_err(failure)?.timesteps().len();
        let (first, next) = (moment.scheduler.begin_index, moment.scheduler.next_index);
        if next > steps || first >= next {
            return Err(refuse(&format_args!("step {next} of {steps} is none")));
        }
        self.trails.borrow_mut().keep(&self.key(params), moment.into());
        Ok(())
    }

    /// The nearest place to begin at, with at most `most` steps done.
    fn place(
        &self,
        params: &GenerateParams,
        run: &mut Watched<'_>,
        most: usize,
        timings: &mut Timings,
    ) -> Result<Place, JobError> {
        let config = &self.resident.config;
        let known = self.trails.borrow_mut().latest(&self.key(params), most);
        // What the deep cache holds is not part of a moment: a run goes on where it would be made anew.
        let known = known.filter(|moment| {
            let own = params.branch.as_ref().filter(|branch| branch::goes_on(&branch.of, params));
            let steps = moment.step().saturating_sub(own.map_or(0, |branch| branch.step as usize));
            params.deep_cache.is_none_or(|every| steps.is_multiple_of(every as usize))
        });
        if let Some(moment) = known {
            let (reused, past) = (before(params) + moment.step(), moment.past.clone());
            let start = Moment::clone(&moment).start(config, params).map_err(failure)?;
            return Ok(Place { start, past, reused });
        }
        let Some(Branch { of, step }) = &params.branch else {
            let start = if self.image.is_some() {
                let encode = || run.start(params, self.image);
                let (start, seconds) = self.phase(Phase::EncodeImage, encode).map_err(failure)?;
                timings.encode_image += seconds;
                self.check_cancelled(0)?;
                start
            } else {
                run.start(params, None).map_err(failure)?
            };
            let past = Past { seconds: 0., latents: vec![fingerprint(&start.latents)] };
            return Ok(Place { start, past, reused: 0 });
        };
        let (moment, reused) = self.moment(of, *step as usize, run, timings)?;
        let past = moment.past.clone();
        let (start, notice) = branch::start(config, Moment::clone(&moment), of, params).map_err(failure)?;
        if let Some(text) = notice {
            self.notice(&text);
        }
        Ok(Place { start, past, reused })
    }

    /// The moment after `step` steps of another run, which are done if need be, and how many of them were not.
    fn moment(
        &self,
        of: &GenerateParams,
        step: usize,
        run: &mut Watched<'_>,
        timings: &mut Timings,
    ) -> Result<(Arc<Moment>, usize), JobError> {
        let of = GenerateParams { stop_after: None, ..of.clone() };
        // In a branch of a branch the first part may be all that is wanted.
        if let Some(first) = of.branch.as_ref().filter(|first| branch::goes_on(&first.of, &of))
            && step <= first.step as usize
        {
            return self.moment(&first.of, step, run, timings);
        }
        let place = self.place(&of, run, step, timings)?;
        let reused = place.reused;
        if place.count().0 < step {
            let embeds = self.encode(&of, run, timings)?;
            self.steps(&of, &embeds, place, Some(step), run, timings)?;
        }
        // A budget of nothing keeps nothing, but for the last one.
        let last = self.last.borrow().clone().filter(|moment| moment.step() == step);
        let found = self.trails.borrow_mut().latest(&self.key(&of), step);
        let found = found.filter(|moment| moment.step() == step).or(last);
        found.map(|moment| (moment, reused)).ok_or_else(|| JobError::Failed("no step was done".into()))
    }

    /// Runs the steps from `place` to the last one, or to `stop`.
    fn steps(
        &self,
        params: &GenerateParams,
        embeds: &PromptEmbeds,
        place: Place,
        stop: Option<usize>,
        run: &mut Watched<'_>,
        timings: &mut Timings,
    ) -> Result<(Vec<f32>, Past), JobError> {
        let (done, steps) = place.count();
        let Place { mut start, mut past, .. } = place;
        if done < steps && self.resident.is_cold(params, &run.measures) {
            let pipeline = &self.resident.pipeline;
            let warm_up = || pipeline.warm_up(params, embeds, &run.measures);
            timings.warm_up += self.phase(Phase::WarmUp, warm_up).map_err(failure)?.1;
            self.check_cancelled(done as u32)?;
        }
        let key = self.key(params);
        loop {
            let mut pause = None;
            let mut on_step = |report: StepReport<'_>| {
                timings.steps.push(report.seconds);
                past.seconds += report.seconds;
                past.latents.push(fingerprint(report.latents));
                let moment = Arc::new(report.moment(past.clone()));
                self.trails.borrow_mut().keep(&key, Arc::clone(&moment));
                *self.last.borrow_mut() = Some(moment);
                self.show(params, &report);
                pause = self.pause(&report, stop);
                if pause.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let phase = || Ok::<_, JobError>(run.denoise(params, embeds, start, &mut on_step));
            let (latents, _) = self.phase(Phase::Step, phase)?;
            let last = self.last.borrow().clone();
            let at = last.as_ref().map_or(0, |moment| moment.step());
            match (latents, pause, last) {
                (_, Some(Pause::Stop(expected)), _) => return Ok((expected, past)),
                (_, Some(Pause::Cancel), _) => return Err(JobError::Cancelled(at as u32)),
                (Err(_), Some(Pause::Hold), Some(moment)) => return Err(self.held(params, &moment, steps)),
                (Err(_), Some(Pause::Keep(id, expected)), Some(moment)) => {
                    self.keep(params, id, &past, &expected, run)?;
                    // From the same moment on, as if nothing had been between.
                    start = Moment::clone(&moment).start(&self.resident.config, params).map_err(failure)?;
                }
                // Asked for at the last step: the picture itself is what there is.
                (Ok(latents), Some(Pause::Keep(id, expected)), _) => {
                    self.keep(params, id, &past, &expected, run)?;
                    return Ok((latents, past));
                }
                (latents, ..) => return latents.map(|latents| (latents, past)).map_err(failure),
            }
        }
    }

    fn pause(&self, report: &StepReport<'_>, stop: Option<usize>) -> Option<Pause> {
        let expected = || report.pred_original_sample.to_vec();
        if self.context.cancelled() {
            return Some(Pause::Cancel);
        }
        if stop == Some(report.step) && report.step < report.steps {
            return Some(Pause::Stop(expected()));
        }
        if self.context.holding() {
            return Some(Pause::Hold);
        }
        self.context.take_keep().map(|id| Pause::Keep(id, expected()))
    }

    fn show(&self, params: &GenerateParams, report: &StepReport<'_>) {
        self.context.emit(EngineEvent::Step {
            job: self.job.id,
            step: report.step as u32,
            steps: report.steps as u32,
            seconds: report.seconds,
        });
        if self.options.previews
            && let Ok(picture) = self.resident.config.preview(report.pred_original_sample, params.size)
        {
            self.context.post_preview(report.step as u32, picture);
        }
    }

    /// Makes a picture of its own of what is expected after the steps of `past`.
    fn keep(
        &self,
        params: &GenerateParams,
        id: JobId,
        past: &Past,
        expected: &[f32],
        run: &mut Watched<'_>,
    ) -> Result<(), JobError> {
        self.sampler.begin(Phase::Decode.name());
        let start = std::time::Instant::now();
        let picture = run.decode(expected, params.size).map_err(failure)?;
        let seconds = start.elapsed().as_secs_f64();
        let step = self.last.borrow().as_ref().map_or(0, |moment| moment.step() as u32);
        let params = GenerateParams { stop_after: Some(step), ..params.clone() };
        let timings = Timings { decode: seconds, total: seconds, ..Timings::default() };
        let reused = Reused { steps: step, of: step, embeddings: true, seconds: 0. };
        self.deliver(id, params, &picture, timings, (reused, past.latents.clone()));
        self.context.emit(EngineEvent::Ended { job: id });
        self.sampler.begin(Phase::Step.name());
        Ok(())
    }

    fn held(&self, params: &GenerateParams, moment: &Moment, steps: usize) -> JobError {
        match moment.to_bytes(&self.facts(params)) {
            Ok(state) => JobError::Held { step: moment.step() as u32, steps: steps as u32, state },
            Err(error) => JobError::Failed(format!("the job cannot be put aside: {error}")),
        }
    }

    /// What a held run has to have in common with the one that goes on with it.
    fn facts(&self, params: &GenerateParams) -> serde_json::Value {
        json!({ "params": params, "site": self.site(), "image": self.image_sha256() })
    }

    /// Model, device, dtype.
    fn site(&self) -> String {
        self.resident.pipeline.site(Part::UNet)
    }

    fn image_sha256(&self) -> Option<String> {
        self.image.map(|image| hex(&Sha256::digest(&image.rgb)))
    }

    /// Runs with the same key have the same moments.
    fn key(&self, params: &GenerateParams) -> String {
        // Where it stops changes nothing before that.
        let params = GenerateParams { stop_after: None, ..params.clone() };
        format!("{} {:?} {params:?}", self.site(), self.image_sha256())
    }
}

/// Steps of other schedules that come before those of `params`.
fn before(params: &GenerateParams) -> usize {
    params.branch.as_ref().map_or(0, |Branch { of, step }| {
        let own = if branch::goes_on(of, params) { 0 } else { *step as usize };
        own + before(of)
    })
}
