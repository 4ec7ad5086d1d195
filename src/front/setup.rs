//! What the prompt's front ends begin with: a session with its names, and what the user interface has others do.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Options;
use crate::diffusion::pipeline::PipelineConfig;
use crate::diffusion::prompt::{self, Weighting};
use crate::diffusion::schedulers::{SCHEDULERS, resolve_name};
use crate::gallery::{self, Labels, metadata, png_file, save};
use crate::paths::{HubAccess, Paths};
use crate::request::{GenerateRequest, Picture};
use crate::session::entry::JobState;
use crate::session::sheet::Sheet;
use crate::session::{Catalog, Name, Session, history};
use crate::store::{self, EMBEDDED, ResolveOptions, list_cached_in};
use crate::term::Capabilities;
use crate::theme::Theme;
use crate::ui::Services;
use crate::ui::app::TokenCount;
use crate::ui::prompt::CountTokens;

/// A new session, and what a person should know about it and the configuration. Without a place for its file it lives
/// in memory only.
pub fn session(options: &Options, resume: Option<&str>, paths: &Paths) -> (Session, Vec<String>) {
    let mut notices = options.problems.clone();
    let defaults = options.defaults.clone();
    let resumed = resume.and_then(|id| take_up(id, &defaults, paths, &mut notices));
    let mut session = resumed.unwrap_or_else(|| {
        notices.extend(waiting(paths));
        Session::create(&paths.session_dir(), defaults.clone()).unwrap_or_else(|error| {
            notices.push(format!("{error}; this session is not recorded"));
            Session::new(defaults)
        })
    });
    session.catalog = catalog(paths);
    session.wildcards.folder = paths.config_dir.join("wildcards");
    session.confirm_above = options.config.confirm_above as usize;
    (session, notices)
}

/// The session of this id; for an empty id the last one in which anything was made.
fn take_up(
    id: &str,
    defaults: &GenerateRequest,
    paths: &Paths,
    notices: &mut Vec<String>,
) -> Option<Session> {
    let files = history::sessions(&paths.session_dir());
    let is = |path: &&PathBuf| match id {
        "" => history::load(path).is_ok_and(|(ledger, _)| ledger.entries().next().is_some()),
        id => path.file_stem().is_some_and(|stem| stem.to_string_lossy() == id),
    };
    let Some(path) = files.iter().rev().find(is) else {
        let what = if id.is_empty() { "no session".to_owned() } else { format!("no session {id}") };
        notices.push(format!("there is {what} in {}; this is a new one", paths.session_dir().display()));
        return None;
    };
    match Session::resume(path, defaults.clone()) {
        Ok((session, bad)) => {
            notices.extend(bad.iter().map(ToString::to_string));
            let held: Vec<_> = session.held_jobs().map(|job| job.to_string()).collect();
            if !held.is_empty() {
                notices.push(format!("held: {}; /resume goes on", held.join(", ")));
            }
            Some(session)
        }
        Err(error) => {
            notices.push(error.to_string());
            None
        }
    }
}

/// Whether an earlier session left something held: the last such one.
fn waiting(paths: &Paths) -> Option<String> {
    let folder = std::fs::read_dir(paths.session_dir()).ok()?.flatten();
    let names = folder.filter_map(|entry| entry.file_name().into_string().ok());
    let held = names.filter_map(|name| Some(name.strip_suffix(".held")?.rsplit_once('.')?.0.to_owned()));
    let id = held.max()?;
    let (ledger, _) = history::load(&paths.session_dir().join(format!("{id}.jsonl"))).ok()?;
    let job = ledger.entries().find(|entry| matches!(entry.state, JobState::Held { .. }))?.id;
    Some(format!("{job} of an earlier session is held; `tintype --resume {id}` takes that up again"))
}

fn catalog(paths: &Paths) -> Catalog {
    let name = |name: &str, help: &str| Name { name: name.into(), help: help.into() };
    let cached = list_cached_in(&HubAccess::from_env().cache);
    let mut models = vec![name(EMBEDDED, "the model in the program")];
    models.extend(cached.iter().map(|model| name(&model.name, model.class.as_deref().unwrap_or_default())));
    Catalog {
        models,
        schedulers: SCHEDULERS.iter().map(|info| name(info.name, info.title)).collect(),
        themes: Theme::names(Some(&paths.theme_dir())).iter().map(|theme| name(theme, "")).collect(),
    }
}

/// What the user interface has others do.
pub fn services(options: &Options, paths: &Paths) -> Services {
    let options = options.clone();
    Services {
        read_recipe: Box::new(read_recipe),
        contact_sheet: {
            let folder = paths.output_dir.clone();
            Box::new(move |sheet, paths| contact_sheet(&folder, sheet, paths))
        },
        doctor: {
            let options = options.clone();
            Arc::new(move |terminal| doctor(terminal, &options))
        },
        tokenizer: Arc::new(move |settings| {
            counter(settings)
                .inspect_err(|why| tracing::info!(why, "tokens are not counted"))
                .ok()
                .map(|counter| Arc::new(counter) as Arc<dyn CountTokens>)
        }),
        themes: Some(paths.theme_dir()),
    }
}

/// How a picture was made, whichever tool made it.
pub fn read_recipe(path: &Path) -> Result<GenerateRequest, String> {
    let resolve = |name: &str| resolve_name(name).ok().map(|name| name.to_string());
    metadata::read(path, &resolve).map(|imported| imported.request).map_err(|error| error.to_string())
}

/// The pictures of these files with their axes, as a file beside them, or in `folder` if none has one. A picture whose
/// file is gone leaves its place empty.
pub fn contact_sheet(
    folder: &Path,
    sheet: &Sheet,
    paths: &[Option<PathBuf>],
) -> Result<(PathBuf, Picture), String> {
    const CELL: u32 = 256;
    let cells: Vec<_> = paths.iter().map(|path| gallery::load(path.as_deref()?).ok()).collect();
    let cells: Vec<_> = cells.iter().map(Option::as_ref).collect();
    let labels = Labels { columns: sheet.columns.clone(), rows: sheet.rows.clone() };
    let picture = gallery::contact_sheet(&cells, &labels, CELL);
    let bytes = png_file::encode(&picture, &[]).map_err(|error| error.to_string())?;
    let beside = common_folder(paths);
    let folder = beside.as_deref().unwrap_or(folder);
    let path = save::write_within(folder, Path::new("contact-sheet.png"), |_| Ok(bytes.clone()))
        .map_err(|error| error.to_string())?;
    Ok((path, picture))
}

/// The folder that all of these files are in, at whatever depth.
fn common_folder(paths: &[Option<PathBuf>]) -> Option<PathBuf> {
    let mut folders = paths.iter().flatten().filter_map(|path| path.parent());
    let first = folders.next()?;
    let common = folders
        .try_fold(first, |common, folder| common.ancestors().find(|ancestor| folder.starts_with(ancestor)));
    common.map(Path::to_owned)
}

/// Counts a prompt's tokens as the model of these settings does. Only models that are here: nothing is fetched.
fn counter(settings: &GenerateRequest) -> Result<impl Fn(&str) -> TokenCount + use<>, String> {
    let resolve = ResolveOptions {
        revision: settings.revision.clone(),
        variant: settings.variant.clone(),
        offline: true,
        ..ResolveOptions::default()
    };
    let checkpoint = store::resolve(settings.model.as_deref(), &resolve, &mut |_| ControlFlow::Continue(()))
        .map_err(|error| error.to_string())?;
    let config = PipelineConfig::read(checkpoint).map_err(|error| error.to_string())?;
    let tokenizer =
        prompt::tokenizer(config.checkpoint(), &config.profile).map_err(|error| error.to_string())?;
    let limit = tokenizer.max_length();
    Ok(move |text: &str| {
        let count = prompt::count(&tokenizer, text, Weighting::default());
        // begin and end are tokens too
        let (used, cut_at_byte) = count.map_or((2, None), |count| (count.used + 2, count.cut_at_byte));
        TokenCount { used, limit, cut_at_byte }
    })
}

/// What the terminal can do, where everything lies, and how the device does.
fn doctor(terminal: &Capabilities, options: &Options) -> Vec<String> {
    let (paths, hub) = (options.paths(), HubAccess::from_env());
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let version = terminal.version.clone().unwrap_or_else(|| format!("{:?}", terminal.brand));
    let cell = terminal.cell_size;
    let show = |path: PathBuf| path.display().to_string();
    let rows = [
        ("terminal", version),
        ("answers", yes(terminal.answered)),
        ("pictures", terminal.protocol.name().to_owned()),
        ("colours", format!("{:?}", terminal.color).to_lowercase()),
        ("background", if terminal.dark { "dark" } else { "light" }.to_owned()),
        ("cell", format!("{}×{} pixels", cell.width, cell.height)),
        ("synchronized", yes(terminal.sync_output)),
        ("inside tmux", yes(terminal.tmux)),
        ("configuration", show(paths.config_file())),
        ("sessions", show(paths.session_dir())),
        ("pictures in", show(paths.output_dir.clone())),
        ("models in", show(hub.cache)),
        ("log", show(paths.log_file())),
    ];
    let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<14} {value}")).collect();
    lines.push(String::new());
    lines.extend(super::doctor::report(options));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_lies_where_its_pictures_lie() {
        let common = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| Some(PathBuf::from(path))).chain([None]).collect();
            common_folder(&paths).map(|folder| folder.display().to_string())
        };
        assert_eq!(common(&["/p/day/1.png", "/p/day/2.png"]).as_deref(), Some("/p/day"));
        assert_eq!(common(&["/p/euler/1.png", "/p/ddim/2.png", "/p/ddim/3.png"]).as_deref(), Some("/p"));
        assert_eq!(common(&["/p/day/deep/1.png", "/p/day/2.png"]).as_deref(), Some("/p/day"));
        assert_eq!(common(&[]), None);
    }
}
