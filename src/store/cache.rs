//! The cache of Hugging Face models that Python's `huggingface_hub` and this program share.
//!
//! Owns the layout on disk; knows nothing of the network. In `models--owner--name/` lie `blobs/` (contents, named by
//! their etag), `snapshots/<commit>/` (one link for each file, into `blobs/`) and `refs/<branch or tag>` (a commit).
//! Python's side is `huggingface_hub/file_download.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::{Folder, entries};
use super::select::{self, Choice, MODEL_INDEX, Source};
#[cfg(feature = "hub")]
use super::transfer::RemoteFile;
use super::{EMBEDDED, StoreError};
use crate::checkpoint::Checkpoint;

/// The branch that is meant when no revision is named.
pub(super) const DEFAULT_REVISION: &str = "main";

/// Digits of a commit that are understood as one.
pub(super) const SHORTEST_COMMIT: usize = 7;

const FOLDER_PREFIX: &str = "models--";

/// One model's folder in the cache, which need not exist.
pub(super) struct CachedRepo {
    name: String,
    root: PathBuf,
}

impl CachedRepo {
    /// `None` when `name` is nothing that the Hub allows: `owner/name` or `name` of letters, digits, `-`, `_`
    /// and `.`, neither `--` nor `..` (`huggingface_hub.utils.validate_repo_id`).
    pub(super) fn new(cache: &Path, name: &str) -> Option<Self> {
        let is_part = |part: &str| {
            !part.is_empty()
                && !part.contains("--")
                && !part.contains("..")
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let is_name = name.len() <= 96 && name.split('/').count() <= 2 && name.split('/').all(is_part);
        let folder = format!("{FOLDER_PREFIX}{}", name.replace('/', "--"));
        (is_name && name != EMBEDDED).then(|| Self { name: name.to_owned(), root: cache.join(folder) })
    }

    /// The commit that a branch, tag, commit or unmistakable beginning of a commit stands for here.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if !is_safe(revision) {
            return None;
        }
        if let Ok(commit) = std::fs::read_to_string(self.root.join("refs").join(revision)) {
            return Some(commit.trim().to_owned()).filter(|commit| is_safe(commit));
        }
        if revision.len() < SHORTEST_COMMIT || !revision.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let mut commits = self.commits().into_iter().filter(|commit| commit.starts_with(revision));
        let first = commits.next()?;
        commits.next().is_none().then_some(first)
    }

    /// Every commit of which there is a snapshot.
    fn commits(&self) -> Vec<String> {
        let snapshots = entries(&self.root.join("snapshots")).unwrap_or_default();
        snapshots.into_iter().filter_map(|(commit, is_folder)| is_folder.then_some(commit)).collect()
    }

    /// Where the files of a commit are linked.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The model as it lies here, if a pipeline can be built from that.
    pub(super) fn checkpoint(&self, commit: &str, choice: Choice<'_>) -> Result<Checkpoint, StoreError> {
        let mut folder = Folder::open(&self.snapshot(commit), &self.name)?;
        let checkpoint = select::assemble(&mut folder, &self.name, choice)?;
        Ok(Checkpoint { revision: Some(commit.to_owned()), ..checkpoint })
    }

    /// Branches and tags by the commit they stand for.
    fn refs(&self) -> BTreeMap<String, Vec<String>> {
        let mut refs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let root = self.root.join("refs");
        let mut folders = vec![String::new()];
        // Names of branches may hold slashes: `refs/pr/1`.
        while let Some(folder) = folders.pop() {
            for (name, is_folder) in entries(&root.join(&folder)).unwrap_or_default() {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if is_folder {
                    folders.push(name);
                } else if let Ok(commit) = std::fs::read_to_string(root.join(&name)) {
                    refs.entry(commit.trim().to_owned()).or_default().push(name);
                }
            }
        }
        refs
    }
}

/// What a download writes.
#[cfg(feature = "hub")]
impl CachedRepo {
    /// The Hub's name of the model.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where a file's content lies, by its etag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where a file's content grows until it is whole.
    pub(super) fn partial(&self, oid: &str) -> PathBuf {
        self.blob(&format!("{oid}.incomplete"))
    }

    /// The file that is locked while another one grows.
    pub(super) fn lock_path(&self, oid: &str) -> PathBuf {
        self.locks().join(format!("{oid}.lock"))
    }

    fn locks(&self) -> PathBuf {
        let folder = self.root.file_name().unwrap_or_default();
        self.root.with_file_name(".locks").join(folder)
    }

    /// Makes the folders that blobs and locks lie in.
    pub(super) fn create_folders(&self) -> Result<(), StoreError> {
        [self.root.join("blobs"), self.locks()].iter().try_for_each(|folder| create_folder(folder))
    }

    /// Whether a snapshot has this file in full.
    pub(super) fn has(&self, commit: &str, file: &str, size: u64) -> bool {
        std::fs::metadata(self.snapshot(commit).join(file)).is_ok_and(|metadata| metadata.len() == size)
    }

    /// The etag of a file's content, if that is there already: under another commit, say.
    pub(super) fn find_blob(&self, file: &RemoteFile) -> Option<String> {
        entries(&self.root.join("blobs")).ok()?.into_iter().map(|(etag, _)| etag).find(|etag| {
            std::fs::metadata(self.blob(etag)).is_ok_and(|metadata| metadata.len() == file.size)
                && file.is_etag(etag)
        })
    }

    /// Puts a content into a snapshot under its name there.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), StoreError> {
        let link = self.snapshot(commit).join(file);
        let fail = |source| StoreError::io(&link, source);
        if let Some(folder) = link.parent() {
            create_folder(folder)?;
        }
        // Links are relative, as Python's are, so that a cache can be moved: out of the file's folders,
        // `<commit>` and `snapshots`.
        let target = "../".repeat(file.split('/').count() + 1) + "blobs/" + etag;
        if std::fs::read_link(&link).is_ok_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        // Another program may read it at this moment: there is never no link, only the old one or the new one.
        let folder = link.parent().unwrap_or(Path::new("."));
        let new = tempfile::Builder::new()
            .prefix(".link-")
            .make_in(folder, |path| std::os::unix::fs::symlink(&target, path));
        new.map_err(fail)?.into_temp_path().persist(&link).map_err(|error| fail(error.error))
    }

    /// Remembers which commit a branch or tag stood for.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<(), StoreError> {
        if !is_safe(revision) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        std::fs::write(&path, commit).map_err(|source| StoreError::io(&path, source))
    }
}

#[cfg(feature = "hub")]
fn create_folder(folder: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(folder).map_err(|source| StoreError::io(folder, source))
}

/// Whether a revision or file of the Hub stays inside the folder that it is joined to.
pub(super) fn is_safe(relative: &str) -> bool {
    !relative.is_empty()
        && Path::new(relative).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// A pipeline in the Python cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedModel {
    /// The Hub's name of it.
    pub name: String,
    /// The commit.
    pub revision: String,
    /// Branches and tags that stood for this commit when it was downloaded; `main` is what an unnamed revision means.
    pub refs: Vec<String>,
    /// The pipeline's class, such as `StableDiffusionXLPipeline`.
    pub class: Option<String>,
    /// The variant that would be taken when none is asked for.
    pub variant: Option<String>,
    /// Bytes of all files of this commit that are there.
    pub bytes: u64,
    /// The folder, in diffusers layout.
    pub path: PathBuf,
    /// Why it cannot be used as it lies there; `None` when it can.
    pub problem: Option<String>,
}

/// The pipelines in a Python cache by name; other models (language models, say) are left out, and a folder that
/// cannot be read is an empty one.
pub fn list_cached_in(cache: &Path) -> Vec<CachedModel> {
    let mut models: Vec<CachedModel> = entries(cache)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(folder, _)| {
            // The Hub allows no `--` in names, so the one that is left stands for the slash.
            CachedRepo::new(cache, &folder.strip_prefix(FOLDER_PREFIX)?.replacen("--", "/", 1))
        })
        .flat_map(|repo| {
            let refs = repo.refs();
            repo.commits()
                .into_iter()
                .filter_map(|commit| describe(&repo, &commit, refs.get(&commit).cloned().unwrap_or_default()))
                .collect::<Vec<_>>()
        })
        .collect();
    models.sort_by(|a, b| {
        (&a.name, a.refs.is_empty(), &a.revision).cmp(&(&b.name, b.refs.is_empty(), &b.revision))
    });
    models
}

fn describe(repo: &CachedRepo, commit: &str, refs: Vec<String>) -> Option<CachedModel> {
    let path = repo.snapshot(commit);
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path.join(MODEL_INDEX)).ok()?).ok()?;
    let folder = Folder::open(&path, &repo.name).ok()?;
    let bytes = folder
        .listing()
        .iter()
        .filter_map(|file| std::fs::metadata(path.join(file)).ok())
        .map(|metadata| metadata.len())
        .sum();
    let checkpoint = repo.checkpoint(commit, Choice::default());
    Some(CachedModel {
        name: repo.name.clone(),
        revision: commit.to_owned(),
        refs,
        class: index["_class_name"].as_str().map(str::to_owned),
        variant: checkpoint.as_ref().ok().and_then(|checkpoint| checkpoint.variant.clone()),
        bytes,
        path,
        problem: checkpoint.err().map(|error| error.to_string()),
    })
}
