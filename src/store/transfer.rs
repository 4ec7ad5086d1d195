//! One file on its way from the Hub into the cache: its checksum while it arrives, and what is told meanwhile.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{OnProgress, Progress};

/// How often progress is told, and cancellation asked for, whether or not bytes arrive.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long nothing may arrive before a connection is given up.
const QUIET: Duration = Duration::from_secs(30);

/// The span that a rate is measured over.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// A file as the Hub's tree lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Bytes of its content.
    pub size: u64,
    /// SHA-1 that git knows it by: of the content, or of the pointer that stands for it.
    pub oid: String,
    /// Whether git holds only a pointer (Git LFS, which Xet storage uses as well).
    pub is_lfs: bool,
}

impl RemoteFile {
    /// Whether a content with this etag (the name that its blob has in the cache) is this file.
    ///
    /// The Hub's tree names a large file's SHA-256, but `hf-hub` 1.0 looks for it under another key and loses it. The
    /// pointer that git keeps holds nothing but that SHA-256 and the size, so its SHA-1, which we have, tells too.
    pub(super) fn is_etag(&self, etag: &str) -> bool {
        if self.is_lfs { lfs_pointer_oid(etag, self.size) == self.oid } else { etag == self.oid }
    }
}

/// SHA-1 of the git blob that is the pointer to a large file
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
fn lfs_pointer_oid(sha256: &str, size: u64) -> String {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
    let mut oid = git_hasher(pointer.len() as u64);
    oid.update(pointer);
    hex(&oid.finalize())
}

/// A hasher that has seen the header of a git blob of `size` bytes.
fn git_hasher(size: u64) -> Sha1 {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    hasher
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The etag of a file, computed while its bytes go by.
pub(super) enum Checksum {
    Git(Sha1),
    Lfs(Sha256),
}

impl Checksum {
    pub(super) fn new(remote: &RemoteFile) -> Self {
        if remote.is_lfs { Self::Lfs(Sha256::new()) } else { Self::Git(git_hasher(remote.size)) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(hasher) => hasher.update(bytes),
            Self::Lfs(hasher) => hasher.update(bytes),
        }
    }

    /// Takes in a file, and returns how many bytes that were.
    pub(super) fn update_from(&mut self, path: &Path) -> std::io::Result<u64> {
        let mut file = std::fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(bytes);
            }
            self.update(&buffer[..count]);
            bytes += count as u64;
        }
    }

    /// The etag of what went by, unless that is not the file.
    pub(super) fn etag_of(self, remote: &RemoteFile) -> Option<String> {
        let etag = match self {
            Self::Git(hasher) => hex(&hasher.finalize()),
            Self::Lfs(hasher) => hex(&hasher.finalize()),
        };
        remote.is_etag(&etag).then_some(etag)
    }
}

/// Why a wait ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The person said so.
    Cancelled,
    /// Nothing came for too long.
    Quiet,
}

/// Tells about progress, and hears of cancellation.
pub(super) struct Teller<'a, 'b> {
    progress: &'a mut OnProgress<'b>,
    endpoint: String,
    told: Option<Instant>,
    /// What is being downloaded, once that is known.
    pub meter: Option<Meter>,
}

impl<'a, 'b> Teller<'a, 'b> {
    pub(super) fn new(endpoint: &str, progress: &'a mut OnProgress<'b>) -> Self {
        Self { progress, endpoint: endpoint.to_owned(), told: None, meter: None }
    }

    /// Tells how things stand.
    pub(super) fn tell(&mut self) -> Result<(), Stop> {
        self.told = Some(Instant::now());
        let progress = match &mut self.meter {
            None => Progress::Asking { endpoint: &self.endpoint },
            Some(meter) => meter.read(),
        };
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Cancelled),
        }
    }

    /// Counts bytes that arrived and tells of them if it is time.
    pub(super) fn arrived(&mut self, bytes: u64) -> Result<(), Stop> {
        if let Some(meter) = &mut self.meter {
            meter.done += bytes;
        }
        if self.told.is_some_and(|told| told.elapsed() < TICK) { Ok(()) } else { self.tell() }
    }

    /// Waits for `future`, tells meanwhile, and gives up after a long silence.
    pub(super) async fn patiently<F: Future>(&mut self, future: F) -> Result<F::Output, Stop> {
        let mut future = pin!(future);
        let started = Instant::now();
        loop {
            match tokio::time::timeout(TICK, &mut future).await {
                Ok(output) => return Ok(output),
                Err(_) if started.elapsed() > QUIET => return Err(Stop::Quiet),
                Err(_) => self.tell()?,
            }
        }
    }
}

/// Bytes of a download, over all of its files.
pub(super) struct Meter {
    /// The file in hand.
    pub file: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes to be had in all.
    pub total: u64,
    /// When how many were there, oldest first.
    readings: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(super) fn new(done: u64, total: u64) -> Self {
        Self { file: String::new(), done, total, readings: VecDeque::from([(Instant::now(), done)]) }
    }

    /// Bytes that were there turned out to be of no use.
    pub(super) fn lose(&mut self, bytes: u64) {
        self.done = self.done.saturating_sub(bytes);
        self.readings = VecDeque::from([(Instant::now(), self.done)]);
    }

    fn read(&mut self) -> Progress<'_> {
        let now = Instant::now();
        self.readings.push_back((now, self.done));
        while self.readings.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= RATE_WINDOW) {
            self.readings.pop_front();
        }
        let rate = self.readings.front().map_or(0.0, |(then, done)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            if seconds > 0.0 { self.done.saturating_sub(*done) as f64 / seconds } else { 0.0 }
        });
        Progress::Downloading { file: &self.file, done: self.done, total: self.total, bytes_per_second: rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pytorch_model.bin` of `lysandre/arxiv-nlp`, as the documentation of `HfApi.list_repo_tree` shows it.
    #[test]
    fn a_pointer_tells_a_large_file_as_on_the_real_hub() {
        let remote = RemoteFile {
            size: 548_123_560,
            oid: "64eaa9c526867e404b68f2c5d66fd78e27026523".into(),
            is_lfs: true,
        };
        assert!(remote.is_etag("9be78edb5b928eba33aa88f431551348f7466ba9f5ef3daf1d552398722a5436"));
        assert!(!remote.is_etag("d88b0d6a6ff9c3f8151f9d3228f57092aaea997f09af009eefd7373a77b5abb9"));
    }

    #[test]
    fn a_small_file_is_told_by_gits_own_hash() {
        // `printf hello | git hash-object --stdin`
        let oid = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        let remote = RemoteFile { size: 5, oid: oid.into(), is_lfs: false };
        let mut checksum = Checksum::new(&remote);
        checksum.update(b"hel");
        checksum.update(b"lo");
        assert_eq!(checksum.etag_of(&remote).as_deref(), Some(oid));
        let mut checksum = Checksum::new(&remote);
        checksum.update(b"hallo");
        assert_eq!(checksum.etag_of(&remote), None);
    }

    #[test]
    fn the_meter_measures_and_forgets() {
        let mut meter = Meter::new(50, 100);
        std::thread::sleep(Duration::from_millis(20));
        meter.done += 10;
        let Progress::Downloading { done: 60, total: 100, bytes_per_second, .. } = meter.read() else {
            panic!("not the figures that went in")
        };
        assert!(bytes_per_second > 0.0 && bytes_per_second <= 500.0, "{bytes_per_second}");
        meter.lose(60);
        assert!(matches!(meter.read(), Progress::Downloading { done: 0, .. }));
    }
}
