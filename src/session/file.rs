//! A session's file: JSON Lines, appended to, locked, flushed to the disk.
//!
//! A record is handed to the system before [`SessionFile::append`] returns, so a killed program loses none. Forcing
//! it onto the disk takes milliseconds (tens on macOS), so a thread does that right behind, and [`SessionFile::sync`]
//! waits for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use super::record::Record;

/// Why a session's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another tintype writes it.
    #[error("the session {} is open in another tintype; start a new one, or close that one", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write the session to {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// A line of a session's file that could not be read. The others are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}", path.display(), if *torn { "the last record is incomplete and was left out".into() }
    else { format!("this record cannot be read and was left out: {why}") })]
pub struct BadLine {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// Whether it is the last one and has no end: the program or the machine died while it was written.
    pub torn: bool,
    /// What is wrong with it.
    pub why: String,
}

/// A session's file, open for writing, locked against others.
#[derive(Debug)]
pub struct SessionFile {
    path: PathBuf,
    file: File,
    /// Records that are not in the file yet, since there was no room for them.
    waiting: Vec<u8>,
    syncer: Option<Syncer>,
}

impl SessionFile {
    /// A new file `<stem>.jsonl` in `folder`; when it exists, `<stem>-2.jsonl` and so on.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(folder: &Path, stem: &str) -> Result<Self, FileError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FileError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut attempt = 1;
        loop {
            let number = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let path = folder.join(format!("{stem}{number}.jsonl"));
            match OpenOptions::new().append(true).read(true).create_new(true).open(&path) {
                Ok(file) => {
                    // So that the name survives a crash, too. Not every system can do that to a folder.
                    let _ = File::open(folder).and_then(|folder| folder.sync_all());
                    return Self::lock(path, file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }

    /// An existing file, to be written on. A torn last line is ended, so that the next record does not hang on it.
    ///
    /// # Errors
    /// When it cannot be opened, or another tintype has it open.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().append(true).read(true).open(path).map_err(failed)?;
        let mut opened = Self::lock(path.to_owned(), file)?;
        if opened.is_torn().map_err(failed)? {
            opened.file.write_all(b"\n").map_err(failed)?;
        }
        Ok(opened)
    }

    fn lock(path: PathBuf, file: File) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.clone(), source };
        match file.try_lock() {
            // File systems without locks (some network mounts) are used without.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
        let syncer = Syncer::start(file.try_clone().map_err(failed)?).map_err(failed)?;
        Ok(Self { path, file, waiting: Vec::new(), syncer: Some(syncer) })
    }

    fn is_torn(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() == 0 {
            return Ok(false);
        }
        self.file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        Ok(last != *b"\n")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record, in one write. One that finds no room waits, and is written before the next one.
    ///
    /// # Errors
    /// When the disk is full or gone. The file ends in a whole record then.
    pub fn append(&mut self, record: &Record) -> Result<(), FileError> {
        let failed = |source| FileError::Io { path: self.path.clone(), source };
        serde_json::to_writer(&mut self.waiting, record).map_err(|error| failed(error.into()))?;
        self.waiting.push(b'\n');
        self.write_waiting().map_err(|source| FileError::Io { path: self.path.clone(), source })
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(&self.waiting) {
            // The next record must not hang on a part of this one: either that goes, or it becomes a line of its own.
            if self.file.set_len(end).is_err() && self.waiting.first() != Some(&b'\n') {
                self.waiting.insert(0, b'\n');
            }
            return Err(error);
        }
        self.waiting.clear();
        if let Some(syncer) = &self.syncer {
            syncer.request(None);
        }
        Ok(())
    }

    /// Waits until everything is on the disk.
    pub fn sync(&self) {
        let (done, wait) = mpsc::channel();
        if let Some(syncer) = &self.syncer {
            syncer.request(Some(done));
            let _ = wait.recv();
        }
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        if !self.waiting.is_empty()
            && let Err(error) = self.write_waiting()
        {
            tracing::error!(%error, path = %self.path.display(), "the session's last records found no room");
        }
        if let Some(syncer) = self.syncer.take() {
            syncer.finish();
        }
        // Closing is not enough: a child process that is being started may hold a copy for a moment longer.
        let _ = self.file.unlock();
    }
}

/// The thread that flushes.
#[derive(Debug)]
struct Syncer {
    requests: Sender<Option<Sender<()>>>,
    thread: JoinHandle<()>,
}

impl Syncer {
    fn start(file: File) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("session".into()).spawn(move || flush(&file, &queue))?;
        Ok(Self { requests, thread })
    }

    fn request(&self, done: Option<Sender<()>>) {
        let _ = self.requests.send(done);
    }

    fn finish(self) {
        drop(self.requests);
        let _ = self.thread.join();
    }
}

fn flush(file: &File, queue: &Receiver<Option<Sender<()>>>) {
    while let Ok(first) = queue.recv() {
        // One flush serves all records that came meanwhile.
        let waiting: Vec<_> = std::iter::once(first).chain(queue.try_iter()).flatten().collect();
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, "the session could not be flushed to the disk");
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// All records of a file that can be read, and the lines that cannot.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: &Path) -> Result<(Vec<Record>, Vec<BadLine>), FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(error) => bad.push(BadLine {
                path: path.to_owned(),
                line: number + 1,
                torn: lines.peek().is_none(),
                why: error.to_string(),
            }),
        }
    }
    Ok((records, bad))
}
