//! SHA-256 of a checkpoint's weights, so that a picture's record says which files made it.
//!
//! Nobody waits for gigabytes to be read at every start. A file of the Hub's cache is a link to a blob that is named
//! by its SHA-256, which the download has checked; the name is taken. Other files are read once, on a thread of their
//! own beside the first picture; what came of it is kept with their size and time, and holds until these change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::{Blob, Checkpoint};

/// The hashes of one checkpoint, known soon.
pub struct Hashes(Mutex<State>);

enum State {
    Running(Option<JoinHandle<BTreeMap<String, String>>>),
    Known(BTreeMap<String, String>),
}

impl Hashes {
    /// Finds them out on a thread. `known` is the file that remembers; without one every file is read.
    pub fn start(checkpoint: &Checkpoint, known: Option<PathBuf>) -> Self {
        let weights = checkpoint.weights.clone();
        let work = move || weights_sha256(&weights, known.as_deref());
        Self(Mutex::new(State::Running(std::thread::Builder::new().name("hashes".into()).spawn(work).ok())))
    }

    /// SHA-256 in hex by component and file: `unet/diffusion_pytorch_model.safetensors`. Waits for the thread. A file
    /// that cannot be read is left out.
    pub fn get(&self) -> BTreeMap<String, String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(thread) = &mut *state {
            let known = thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
            *state = State::Known(known);
        }
        if let State::Known(known) = &*state { known.clone() } else { BTreeMap::new() }
    }
}

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    sha256: String,
}

/// See [`Hashes::get`].
fn weights_sha256(weights: &BTreeMap<String, Vec<Blob>>, file: Option<&Path>) -> BTreeMap<String, String> {
    let text = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    // What cannot be read is found out anew.
    let before: BTreeMap<PathBuf, Known> = serde_json::from_slice(&text).unwrap_or_default();
    let mut known = before.clone();
    let mut hashes = BTreeMap::new();
    for (component, blobs) in weights {
        for blob in blobs {
            let (name, hash) = match blob {
                Blob::Static(bytes) => ("model.safetensors".into(), Some(hex(&Sha256::digest(bytes)))),
                Blob::File(path) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    (name, named_by_hash(path).or_else(|| remembered(path, &mut known)))
                }
            };
            hashes.extend(hash.map(|hash| (format!("{component}/{name}"), hash)));
        }
    }
    if let Some(file) = file.filter(|_| known != before)
        && let Err(error) = write(file, &known)
    {
        tracing::debug!(%error, file = %file.display(), "hashes of weights are not kept");
    }
    hashes
}

/// The hash of a file in the Hub's cache: the name of the blob that it links to.
fn named_by_hash(path: &Path) -> Option<String> {
    let blob = std::fs::read_link(path).ok()?;
    let is_blob = blob.parent()?.file_name()? == "blobs";
    let name = blob.file_name()?.to_str()?;
    // Small files have a SHA-1 instead, of 40 digits.
    let is_sha256 = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_blob && is_sha256).then(|| name.to_ascii_lowercase())
}

/// The hash of a file, read only if it is not the one that was read before.
fn remembered(path: &Path, known: &mut BTreeMap<PathBuf, Known>) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let metadata = path.metadata().ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    if let Some(known) = known.get(&path)
        && (known.size, known.modified) == (metadata.len(), modified)
    {
        return Some(known.sha256.clone());
    }
    let sha256 = read(&path).ok()?;
    known.insert(path, Known { size: metadata.len(), modified, sha256: sha256.clone() });
    Some(sha256)
}

fn read(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// In one step: two programs may do this at once, and then one of them reads its files again some day.
fn write(path: &Path, known: &BTreeMap<PathBuf, Known>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&file, known)?;
    file.persist(path)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn of(file: &Path, known: Option<&Path>) -> BTreeMap<String, String> {
        let blobs = vec![Blob::File(file.to_owned())];
        weights_sha256(&BTreeMap::from([("unet".to_owned(), blobs)]), known)
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, known) = (folder.path().join("a.safetensors"), folder.path().join("state/hashes.json"));
        std::fs::write(&file, "abc").unwrap();
        let expected = BTreeMap::from([("unet/a.safetensors".to_owned(), OF_ABC.to_owned())]);
        assert_eq!(of(&file, Some(&known)), expected);
        // That it is remembered is seen by a wrong memory being believed.
        let text = std::fs::read_to_string(&known).unwrap();
        std::fs::write(&known, text.replace(OF_ABC, "remembered")).unwrap();
        assert_eq!(of(&file, Some(&known))["unet/a.safetensors"], "remembered");
        assert_eq!(of(&file, None), expected);
        std::fs::write(&file, "abcd").unwrap();
        assert_ne!(of(&file, Some(&known))["unet/a.safetensors"], "remembered");
        std::fs::write(&known, "{ broken").unwrap();
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(of(&file, Some(&known)), expected);
        assert!(of(&folder.path().join("gone"), Some(&known)).is_empty());
    }

    #[test]
    fn a_file_of_the_hub_is_not_read_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (blobs, unet) = (folder.path().join("blobs"), folder.path().join("snapshots/c0ffee/unet"));
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir_all(&unet).unwrap();
        let etag = "E".repeat(64);
        std::fs::write(blobs.join(&etag), "not what the name says").unwrap();
        let file = unet.join("a.safetensors");
        std::os::unix::fs::symlink(format!("../../../blobs/{etag}"), &file).unwrap();
        assert_eq!(of(&file, None)["unet/a.safetensors"], "e".repeat(64));
        // A link elsewhere, or a name that is no SHA-256, is read.
        for target in ["blobs/abc", "elsewhere"] {
            let target = folder.path().join(target);
            std::fs::write(&target, "abc").unwrap();
            let file = folder.path().join("link.safetensors");
            let _ = std::fs::remove_file(&file);
            std::os::unix::fs::symlink(&target, &file).unwrap();
            assert_eq!(of(&file, None)["unet/link.safetensors"], OF_ABC);
        }
    }

    #[test]
    fn the_thread_is_waited_for() {
        let weights = BTreeMap::from([("vae".to_owned(), vec![Blob::Static(b"abc")])]);
        let hashes = Hashes::start(&Checkpoint { weights, ..Checkpoint::default() }, None);
        assert_eq!(hashes.get()["vae/model.safetensors"], OF_ABC);
        assert_eq!(hashes.get().len(), 1);
    }
}
