//! `tintype models`: what can be used without a download.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::Options;
use crate::paths::HubAccess;
use crate::store::{CachedModel, EMBEDDED, list_cached_in};

const ABOUT: &str = "\
  embedded   in the program, 8.4 MB, 128×128 (up to 256×256), MIT OR Apache-2.0, trained by us on drawn pictures
             draws coloured shapes, houses, trees, boats, cars, rockets, animals, people, an astronaut riding a horse,
             landscapes by day, at sunset and at night; flat, cartoon, pixel art, watercolour, line and neon styles
";

/// Prints the models.
pub fn run(options: &Options) -> ExitCode {
    options.tell_problems();
    let cache = HubAccess::from_env().cache;
    let models = list_cached_in(&cache);
    let text = if options.json { json_lines(&models) } else { table(&models, &cache.display().to_string()) };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn table(models: &[CachedModel], cache: &str) -> String {
    let mut text = format!("Without a download (-m NAME):\n{ABOUT}\nIn the Hugging Face cache, {cache}:\n");
    if models.is_empty() {
        text.push_str(
            "  none yet; -m owner/name downloads one, and -m ./folder takes any folder in diffusers layout\n",
        );
    }
    for model in models {
        let class = model.class.as_deref().unwrap_or("unknown pipeline");
        let variant = model.variant.as_deref().unwrap_or("plain");
        let gigabytes = model.bytes as f64 / 1e9;
        let _ = write!(text, "  {}   {class}, {variant} files, {gigabytes:.1} GB", model.name);
        let _ =
            writeln!(text, "{}", model.problem.as_ref().map(|why| format!(": {why}")).unwrap_or_default());
    }
    text
}

fn json_lines(models: &[CachedModel]) -> String {
    let mut text = format!("{}\n", json!({ "name": EMBEDDED, "class": "StableDiffusionPipeline" }));
    for model in models {
        let line = json!({
            "name": model.name, "revision": model.revision, "refs": model.refs, "class": model.class,
            "variant": model.variant, "bytes": model.bytes, "path": model.path, "problem": model.problem,
        });
        let _ = writeln!(text, "{line}");
    }
    text
}
