//! From the Hub into the Python cache. The only module that uses the network.
//!
//! `hf-hub` 1.0 does the talking (TLS, proxies, tokens, retries, redirects, pages, Xet storage). Which files, and how
//! they get into the cache, is done here, because its own `download_file` and `snapshot_download` do not suffice:
//! they begin a broken file anew (3.4 GB of them), store what a failed GET says as if it were the file, compare no
//! checksum, cannot be cancelled, and do not know `HF_HUB_OFFLINE` (`src/repository/download.rs` there).
//!
//! One request gives the commit, one (or a few pages) the tree, then every missing file takes a HEAD and a GET. A
//! file grows as `blobs/<oid>.incomplete` under a lock; when it is whole and its checksum right, it is flushed, gets
//! its name in `blobs/`, and then its link in `snapshots/`. `refs/<revision>` is written when all are there. So
//! whatever a crash, a cut connection or a cancellation leaves behind looks incomplete to Python as well, and the
//! next attempt goes on where the large files stopped.
//!
//! Not done: several connections at once. Not run: the real Hub and its Xet storage; the tests' server answers as
//! `huggingface_hub` 2.4 accepts it, and what either program downloads, the other finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClient, HFError, HFRepository, RepoTypeModel};

use super::cache::{CachedRepo, DEFAULT_REVISION, SHORTEST_COMMIT, is_safe};
use super::select::{self, Choice, Source};
use super::transfer::{Checksum, Meter, RemoteFile, Stop, TICK, Teller};
use super::{OnProgress, ResolveOptions, StoreError, suggest};
use crate::checkpoint::{Blob, Checkpoint};

/// How often a file is tried in a row without a single byte of progress.
const ATTEMPTS: u32 = 3;

/// What the search so far says about a model that is about to be downloaded.
pub(super) struct Wanted<'a> {
    pub repo: &'a CachedRepo,
    pub options: &'a ResolveOptions,
    pub choice: Choice<'a>,
    /// Why the cache does not do.
    pub why: &'a str,
}

/// Fetches what is missing of a model.
pub(super) fn download(wanted: &Wanted<'_>, progress: &mut OnProgress<'_>) -> Result<Checkpoint, StoreError> {
    let hub_error = |cause: String| StoreError::Hub {
        model: wanted.repo.name().into(),
        endpoint: wanted.options.hub.endpoint.clone(),
        cause,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| hub_error(error.to_string()))?;
    let client = client(wanted.options).map_err(|error| hub_error(root_cause(&error)))?;
    let mut hub = runtime.block_on(Hub::open(wanted, &client, &runtime, progress))?;
    let checkpoint = select::assemble(&mut hub, wanted.repo.name(), wanted.choice)?;
    let commit = hub.commit;
    let revision = wanted.options.revision.as_deref().unwrap_or(DEFAULT_REVISION);
    let is_commit = revision.len() >= SHORTEST_COMMIT && commit.starts_with(revision);
    if !is_commit {
        wanted.repo.write_ref(revision, &commit)?;
    }
    Ok(Checkpoint { revision: Some(commit), ..checkpoint })
}

fn client(options: &ResolveOptions) -> Result<HFClient, HFError> {
    let builder = HFClient::builder()
        .endpoint(&options.hub.endpoint)
        .cache_dir(&options.hub.cache)
        .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")))
        // Up to 0.6 s: a person waits for the news that there is no network.
        .retry_max_attempts(2);
    match &options.hub.token {
        Some(token) => builder.token(token).build(),
        None => builder.build(),
    }
}

/// A commit of a repository on the Hub, as a place to take files from.
struct Hub<'a, 'p, 'q> {
    wanted: &'a Wanted<'a>,
    runtime: &'a tokio::runtime::Runtime,
    remote: HFRepository<RepoTypeModel>,
    commit: String,
    files: BTreeMap<String, RemoteFile>,
    listing: BTreeSet<String>,
    teller: Teller<'p, 'q>,
}

/// A file's bytes as they come.
type Chunks = BoxStream<'static, Result<Vec<u8>, HFError>>;

/// Why a file did not arrive.
enum Failure {
    /// Worth another attempt.
    Broken(String),
    /// Not.
    Final(StoreError),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::Final(StoreError::Cancelled),
            Stop::Quiet => Self::Broken("no answer".into()),
        }
    }
}

impl<'a, 'p, 'q> Hub<'a, 'p, 'q> {
    /// Asks for the commit and its files.
    async fn open(
        wanted: &'a Wanted<'a>,
        client: &HFClient,
        runtime: &'a tokio::runtime::Runtime,
        progress: &'p mut OnProgress<'q>,
    ) -> Result<Self, StoreError> {
        let (owner, name) = hf_hub::split_id(wanted.repo.name());
        let remote = client.model(owner, name);
        let mut teller = Teller::new(&wanted.options.hub.endpoint, progress);
        teller.tell().map_err(|stop| explain_stop(wanted, stop))?;

        // Nothing but the commit: the rest of the answer is large and none of our business.
        let expand = vec!["sha".to_owned()];
        let info = remote.info().maybe_revision(wanted.options.revision.clone()).expand(expand).send();
        let info = teller.patiently(info).await.map_err(|stop| explain_stop(wanted, stop))?;
        let commit = info.map_err(|error| explain(wanted, &error))?.sha.filter(|commit| is_hash(commit));
        let commit = commit.ok_or_else(|| {
            explain(wanted, &HFError::malformed_response("the answer about the model names no commit"))
        })?;

        let files = {
            let tree = remote.list_tree().revision(commit.clone()).recursive(true).send();
            let mut tree = std::pin::pin!(tree.map_err(|error| explain(wanted, &error))?);
            let mut files = BTreeMap::new();
            while let Some(entry) =
                teller.patiently(tree.next()).await.map_err(|stop| explain_stop(wanted, stop))?
            {
                files.extend(remote_file(entry.map_err(|error| explain(wanted, &error))?));
            }
            files
        };
        tracing::info!(model = wanted.repo.name(), commit, files = files.len(), "asked the Hub");
        let listing = files.keys().cloned().collect();
        Ok(Self { wanted, runtime, remote, commit, files, listing, teller })
    }

    fn repo(&self) -> &'a CachedRepo {
        self.wanted.repo
    }

    /// Brings these files into the snapshot.
    async fn bring(&mut self, paths: &[String]) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        for path in paths {
            let file = self.remote_file(path)?;
            if self.repo().has(&self.commit, path, file.size) {
                continue;
            }
            match self.repo().find_blob(file) {
                Some(etag) => self.repo().link(&self.commit, path, &etag)?,
                None => missing.push((path, file.clone())),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let total = missing.iter().map(|(_, file)| file.size).sum();
        let done =
            missing.iter().map(|(_, file)| length(&self.repo().partial(&file.oid)).min(file.size)).sum();
        self.teller.meter = Some(Meter::new(done, total));
        for (path, file) in missing {
            tracing::info!(model = self.repo().name(), path, bytes = file.size, "fetching");
            if let Some(meter) = &mut self.teller.meter {
                meter.file.clone_from(path);
            }
            self.teller.tell().map_err(|stop| explain_stop(self.wanted, stop))?;
            let etag = self.fetch_file(path, &file).await?;
            self.repo().link(&self.commit, path, &etag)?;
        }
        self.teller.tell().map_err(|stop| explain_stop(self.wanted, stop))
    }

    fn remote_file(&self, path: &str) -> Result<&RemoteFile, StoreError> {
        self.files
            .get(path)
            .ok_or_else(|| StoreError::MissingFile { model: self.repo().name().into(), file: path.into() })
    }

    /// Fetches a file, in several attempts as long as each brings something, and returns its name in `blobs/`.
    async fn fetch_file(&mut self, path: &str, file: &RemoteFile) -> Result<String, StoreError> {
        let _lock = self.lock(&file.oid).await?;
        // Another program may have brought it while this one waited.
        if let Some(etag) = self.repo().find_blob(file) {
            if let Err(stop) = self.teller.arrived(file.size) {
                return Err(explain_stop(self.wanted, stop));
            }
            return Ok(etag);
        }
        let partial = self.repo().partial(&file.oid);
        let mut in_vain = 0;
        loop {
            let before = length(&partial);
            let cause = match self.receive(path, file, &partial).await {
                Ok(etag) => {
                    let blob = self.repo().blob(&etag);
                    std::fs::rename(&partial, &blob).map_err(|source| StoreError::io(&blob, source))?;
                    return Ok(etag);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Broken(cause)) => cause,
            };
            let done = length(&partial);
            in_vain = if done > before { 0 } else { in_vain + 1 };
            tracing::warn!(path, done, size = file.size, cause, in_vain, "broke off");
            if in_vain == ATTEMPTS {
                return Err(StoreError::Interrupted { file: path.into(), done, size: file.size, cause });
            }
            let pause = tokio::time::sleep(Duration::from_millis(200 << in_vain));
            self.teller.patiently(pause).await.map_err(|stop| explain_stop(self.wanted, stop))?;
        }
    }

    /// Takes in what is missing of a file in one request, and returns its etag if it is then whole and right.
    async fn receive(&mut self, path: &str, file: &RemoteFile, partial: &Path) -> Result<String, Failure> {
        let fail = |source| Failure::Final(StoreError::io(partial, source));
        let mut growing = OpenOptions::new().append(true).create(true).open(partial).map_err(fail)?;
        let mut checksum = Checksum::new(file);
        let mut done = checksum.update_from(partial).map_err(fail)?;
        if done > file.size {
            (done, checksum) = (self.start_over(&mut growing, done).map_err(fail)?, Checksum::new(file));
        }

        if done < file.size {
            let (length, mut stream) = self.request(path, file, done).await?;
            if done > 0 && length == Some(file.size) {
                // A mirror that knows no ranges sends it all.
                (done, checksum) = (self.start_over(&mut growing, done).map_err(fail)?, Checksum::new(file));
            }
            if length.is_some_and(|length| length != file.size - done) {
                return Err(Failure::Broken("the server sends another file".into()));
            }
            while let Some(chunk) = self.teller.patiently(stream.next()).await? {
                let chunk = chunk.map_err(|error| Failure::Broken(root_cause(&error)))?;
                growing.write_all(&chunk).map_err(fail)?;
                checksum.update(&chunk);
                done += chunk.len() as u64;
                self.teller.arrived(chunk.len() as u64)?;
            }
        }

        if done < file.size {
            return Err(Failure::Broken("the connection ended early".into()));
        }
        let Some(etag) = checksum.etag_of(file) else {
            self.start_over(&mut growing, done).map_err(fail)?;
            return Err(Failure::Broken("what came has the wrong checksum".into()));
        };
        growing.sync_all().map_err(fail)?;
        Ok(etag)
    }

    /// Throws away what is there of a file; returns the bytes that are left: none.
    fn start_over(&mut self, growing: &mut File, done: u64) -> std::io::Result<u64> {
        growing.set_len(0)?;
        growing.rewind()?;
        if let Some(meter) = &mut self.teller.meter {
            meter.lose(done);
        }
        Ok(0)
    }

    /// Asks for the rest of a file: how many bytes will come, if that is said, and the bytes.
    async fn request(
        &mut self,
        path: &str,
        file: &RemoteFile,
        done: u64,
    ) -> Result<(Option<u64>, Chunks), Failure> {
        let request = self
            .remote
            .download_file_stream()
            .filename(path)
            .revision(self.commit.clone())
            .maybe_range((done > 0).then_some(done..file.size))
            .send();
        match self.teller.patiently(request).await? {
            Ok((length, bytes)) => Ok((length, bytes.map(|chunk| chunk.map(Vec::from)).boxed())),
            Err(error @ HFError::Request { .. }) => Err(Failure::Broken(root_cause(&error))),
            Err(error) => Err(Failure::Final(explain(self.wanted, &error))),
        }
    }

    /// Waits until no other program downloads this file. The lock ends when the file is dropped.
    async fn lock(&mut self, oid: &str) -> Result<File, StoreError> {
        let path = self.repo().lock_path(oid);
        let lock = File::create(&path).map_err(|source| StoreError::io(&path, source))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {
                    let pause = tokio::time::sleep(TICK * 2);
                    self.teller.patiently(pause).await.map_err(|stop| explain_stop(self.wanted, stop))?;
                }
                Err(TryLockError::Error(error)) => {
                    // Some network file systems have no locks; the checksum still guards the result.
                    tracing::warn!(path = %path.display(), %error, "no lock");
                    return Ok(lock);
                }
            }
        }
    }
}

impl Source for Hub<'_, '_, '_> {
    fn listing(&self) -> &BTreeSet<String> {
        &self.listing
    }

    fn read(&mut self, path: &str) -> Result<std::borrow::Cow<'static, [u8]>, StoreError> {
        self.fetch(&[path.to_owned()])?;
        let path = self.repo().snapshot(&self.commit).join(path);
        std::fs::read(&path).map(Into::into).map_err(|source| StoreError::io(&path, source))
    }

    fn fetch(&mut self, paths: &[String]) -> Result<Vec<Blob>, StoreError> {
        self.repo().create_folders()?;
        self.runtime.block_on(self.bring(paths))?;
        let snapshot = self.repo().snapshot(&self.commit);
        Ok(paths.iter().map(|path| Blob::File(snapshot.join(path))).collect())
    }
}

/// An entry of the tree that is a file, unless its name would lead out of the cache.
fn remote_file(entry: RepoTreeEntry) -> Option<(String, RemoteFile)> {
    let RepoTreeEntry::File { oid, size, path, lfs, .. } = entry else { return None };
    let is_lfs = lfs.is_some();
    let size = lfs.and_then(|lfs| lfs.size).unwrap_or(size);
    (is_safe(&path) && is_hash(&oid)).then_some((path, RemoteFile { size, oid, is_lfs }))
}

fn is_hash(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Bytes of a file; none if it is not there.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The innermost cause of an error, which says the most in the fewest words.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn explain_stop(wanted: &Wanted<'_>, stop: Stop) -> StoreError {
    match stop {
        Stop::Cancelled => StoreError::Cancelled,
        Stop::Quiet => unreachable(wanted, "no answer".into()),
    }
}

fn unreachable(wanted: &Wanted<'_>, cause: String) -> StoreError {
    StoreError::Unreachable {
        model: wanted.repo.name().into(),
        cache: wanted.options.hub.cache.clone(),
        why: wanted.why.into(),
        endpoint: wanted.options.hub.endpoint.clone(),
        cause,
    }
}

/// What an answer of the Hub means to a person.
fn explain(wanted: &Wanted<'_>, error: &HFError) -> StoreError {
    let model = wanted.repo.name().to_owned();
    let endpoint = wanted.options.hub.endpoint.clone();
    let context = match error {
        HFError::Request { .. } => return unreachable(wanted, root_cause(error)),
        HFError::RateLimited { retry_after, .. } => {
            return StoreError::RateLimited { endpoint, retry_after: *retry_after };
        }
        HFError::Http { context } | HFError::AuthRequired { context } | HFError::Forbidden { context } => {
            Some(context)
        }
        HFError::RepoNotFound { context, .. }
        | HFError::RevisionNotFound { context, .. }
        | HFError::EntryNotFound { context, .. } => context.as_ref(),
        _ => None,
    };
    let Some(context) = context else {
        return StoreError::Hub { model, endpoint, cause: root_cause(error) };
    };
    let code = context.error_code.as_deref().unwrap_or_default();
    let has_token = wanted.options.hub.token.is_some();
    let suggestion = || suggest::model(&model, &wanted.options.hub.cache);
    match (context.status.as_u16(), code, error) {
        (401 | 403, "GatedRepo", _) if !has_token => StoreError::Gated { model, endpoint },
        (401, _, _) if !has_token => StoreError::Unauthorized { suggestion: suggestion(), model, endpoint },
        (401 | 403, _, _) => StoreError::Forbidden { model, endpoint },
        (404, "RevisionNotFound", _) | (404, "", HFError::RevisionNotFound { .. }) => {
            let revision = wanted.options.revision.clone().unwrap_or_else(|| DEFAULT_REVISION.into());
            StoreError::NoSuchRevision { model, revision, endpoint }
        }
        (404, "EntryNotFound", HFError::EntryNotFound { path, .. }) => {
            StoreError::MissingFile { model, file: path.clone() }
        }
        (404, _, _) => StoreError::NoSuchModel { suggestion: suggestion(), model, endpoint },
        (status, _, _) => StoreError::Hub { model, endpoint, cause: format!("it answers {status}") },
    }
}
