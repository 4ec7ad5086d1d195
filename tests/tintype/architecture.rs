//! Who may import whom: `ARCHITECTURE.md`'s table, read off the `use` lines and paths of the sources.

use std::collections::BTreeSet;
use std::path::Path;

/// A module and what it may use from the crate.
const ALLOWED: &[(&str, &[&str])] = &[
    ("request", &[]),
    ("checkpoint", &[]),
    ("paths", &[]),
    ("logging", &[]),
    ("telemetry", &[]),
    ("theme", &[]),
    ("diffusion", &["request", "checkpoint"]),
    ("store", &["checkpoint", "paths", "request"]),
    ("gallery", &["paths", "request"]),
    ("engine", &["diffusion", "store", "gallery", "telemetry", "paths", "request"]),
    ("term", &["theme", "request"]),
    ("config", &["theme", "request"]),
    ("session", &["command", "config", "engine", "gallery", "store", "paths", "request"]),
    ("command", &["session", "config", "engine", "gallery", "store", "paths", "request"]),
    ("ui", &["command", "session", "engine", "gallery", "telemetry", "term", "theme", "request"]),
];

/// Crates that belong into one part of the program.
const HEAVY: &[(&str, &[&str])] = &[
    ("candle_core", &["diffusion", "engine", "telemetry"]),
    ("candle_nn", &["diffusion"]),
    ("tokenizers", &["diffusion"]),
    ("safetensors", &["diffusion"]),
    ("hf_hub", &["store"]),
    ("rustyline", &["term", "ui", "front"]),
    ("crossterm", &["term", "ui"]),
    ("vt100", &["term"]),
    ("clap", &["cli", "front", "main"]),
];

fn sources() -> Vec<(String, String, String)> {
    fn walk(folder: &Path, root: &Path, out: &mut Vec<(String, String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let module = relative.split(['/', '.']).next().unwrap().to_owned();
                out.push((module, relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    walk(&root, &root, &mut out);
    out
}

/// Code without its comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn used_modules(code: &str) -> BTreeSet<&str> {
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, file, text) in sources() {
        let Some((name, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else { continue };
        seen.insert(*name);
        // Unit tests in files of their own may look further.
        if file.ends_with("tests.rs") || file.contains("/tests/") {
            continue;
        }
        for used in used_modules(&code(&text)) {
            if used != *name && !used.is_empty() && !allowed.contains(&used) {
                wrong.push(format!("{file} uses crate::{used}"));
            }
        }
    }
    assert_eq!(seen.len(), ALLOWED.len(), "a module of the table is gone");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn heavy_crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for (module, file, text) in sources() {
        if file.ends_with("tests.rs") || file.contains("/tests/") {
            continue;
        }
        let code = code(&text);
        for (name, homes) in HEAVY {
            let used = code.contains(&format!("use {name}::")) || code.contains(&format!("{name}::"));
            if used && !homes.contains(&module.as_str()) {
                wrong.push(format!("{file} uses {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_longer_than_800_lines() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.lines().count() > 800)
        .map(|(_, file, _)| file)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// Where the networks and what runs them bring values to the host, and how often, beside `nn/transfer.rs`: each on the
/// CPU only, or while a profile is taken.
const READERS: &[(&str, usize)] = &[
    ("diffusion/nn/conv.rs", 1),
    ("diffusion/nn/linear.rs", 1),
    ("diffusion/nn/metal/add.rs", 1),
    ("diffusion/nn/metal/linear.rs", 1),
    ("diffusion/nn/profile.rs", 2),
];

/// A step that waits for the device twice is slower for it: what counts the waits must see them all.
#[test]
fn a_device_is_waited_for_in_one_place() {
    let mut found = Vec::new();
    for (_, file, text) in sources() {
        let networks =
            ["diffusion/models/", "diffusion/nn/", "diffusion/guidance.rs", "diffusion/denoise.rs"];
        let elsewhere = ["diffusion/nn/transfer.rs", "diffusion/nn/metal/transfer.rs", "diffusion/nn/cuda/"];
        let is_one_of = |starts: &[&str]| starts.iter().any(|start| file.starts_with(start));
        if !is_one_of(&networks) || is_one_of(&elsewhere) || file.contains("tests") {
            continue;
        }
        let code = code(&text);
        let waits = ["to_vec0", "to_vec1", "to_vec2", "to_vec3", "to_scalar", "to_device(&Device::Cpu"];
        let waits = waits.iter().chain(&["synchronize()", "to_cpu_storage", "wait_until_completed"]);
        let count = waits.map(|wait| code.matches(wait).count()).sum();
        if count > 0 {
            found.push((file, count));
        }
    }
    found.sort();
    assert_eq!(found.iter().map(|(file, count)| (file.as_str(), *count)).collect::<Vec<_>>(), READERS);
}
