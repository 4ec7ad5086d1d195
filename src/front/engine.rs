//! Starting the engine that the command line asks for.

use std::io;
use std::time::Duration;

use crate::cli::Options;
use crate::engine::fake::{FakeBackend, FakeTiming};
use crate::engine::local::{EngineOptions, LocalBackend, MemoryOptions, OutputOptions, Trace};
use crate::engine::{EngineEvent, EngineHandle, spawn};
use crate::paths::HubAccess;

/// Starts it for the session of that name, which pictures' folders have. `events` is called from its thread;
/// `previews` asks for a picture after each step, and says that somebody is there to choose.
///
/// # Errors
/// When the thread cannot be started or the profile's file cannot be written.
pub fn start(
    options: &Options,
    session: &str,
    previews: bool,
    events: impl Fn(EngineEvent) + Send + Sync + 'static,
) -> io::Result<EngineHandle> {
    let paths = options.paths();
    let output = OutputOptions {
        folder: paths.output_dir.clone(),
        template: options.config.file_name.clone(),
        session: session.to_owned(),
    };
    if let Some(step) = options.fake {
        let timing = FakeTiming::with_step(Duration::from_millis(step));
        return spawn(move || FakeBackend::new(timing, Some(output)), events);
    }
    let trace = match &options.profile {
        Some(path) => Some(Trace::create(path).map_err(|error| {
            io::Error::new(error.kind(), format!("--profile {}: {error}", path.display()))
        })?),
        None => None,
    };
    let engine_options = EngineOptions {
        device: options.device,
        dtype: options.dtype,
        offline: options.offline,
        hub: HubAccess::from_env(),
        output,
        known_hashes: Some(paths.state_dir.join("hashes.json")),
        starts: Some(paths.state_dir.join("starts.json")),
        previews,
        memory: MemoryOptions {
            wishes: options.memory_wishes(),
            ask: previews,
            release_after: options.release_after(),
            kept_steps: Some((options.config.kept_steps_mib as usize) << 20),
            ..MemoryOptions::default()
        },
    };
    spawn(move || LocalBackend::new(engine_options).with_trace(trace), events)
}
