//! Writing a picture so that it is there whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a picture could not be written. It is still in memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {}", path.display(), what_to_do(source))]
pub struct SaveError {
    /// Where to.
    pub path: PathBuf,
    /// The system's word.
    #[source]
    pub source: io::Error,
}

/// The system's word, and a way out where there is one.
fn what_to_do(error: &io::Error) -> String {
    let way = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose another disk"
        }
        io::ErrorKind::FileTooLarge => "choose another disk, or raise `ulimit -f`",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "choose a folder that you can write to"
        }
        io::ErrorKind::NotFound => "make the folder first, or choose another",
        io::ErrorKind::AlreadyExists => "choose another name",
        io::ErrorKind::NotADirectory => "choose a folder, which this is not in",
        _ => return error.to_string(),
    };
    format!("{error}; {way}")
}

/// Writes `bytes` to `path`, over what is there: a temporary file beside it, flushed to the disk, then renamed.
///
/// # Errors
/// When the folder cannot be written or the disk is full; `path` is as it was then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    let failed = |source| SaveError { path: path.into(), source };
    let file = temporary(path, bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes `bytes` to `path`, where nothing may be yet.
///
/// # Errors
/// As [`replace`], and when the name is taken.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    let failed = |source| SaveError { path: path.into(), source };
    let file = temporary(path, bytes).map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes to `path` within `folder`, whose folders are made as needed, or, if that is taken, to the first free one of
/// `name-2`, `name-3`, …; returns which. `contents` makes the bytes for a path, which may hold its name.
///
/// # Errors
/// As [`replace`], and those of `contents`.
pub fn write_within(
    folder: &Path,
    path: &Path,
    contents: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<PathBuf, SaveError> {
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|source| SaveError { path: parent.into(), source })?;
    for attempt in 1_u32.. {
        let target = if attempt == 1 { path.clone() } else { numbered(&path, attempt) };
        // Also a link that leads nowhere is somebody's.
        if target.symlink_metadata().is_ok() {
            continue;
        }
        let bytes = contents(&target).map_err(|source| SaveError { path: target.clone(), source })?;
        match write_new(&target, &bytes) {
            Ok(()) => return Ok(target),
            // Somebody else took it meanwhile.
            Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(SaveError { path, source: io::ErrorKind::AlreadyExists.into() })
}

/// Finds out whether `path` could be written, before the work for it is done.
///
/// # Errors
/// When it could not.
pub fn check_writable(path: &Path) -> Result<(), SaveError> {
    let failed = |source| SaveError { path: path.into(), source };
    if path.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    temporary(path, &[]).map_err(failed).map(drop)
}

fn temporary(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".tintype-").suffix(".part").tempfile_in(folder);
    let mut file = file.map_err(plain)?;
    file.write_all(bytes).map_err(plain)?;
    file.as_file().sync_all()?;
    readable_by_all_that_umask_allows(file.as_file())?;
    Ok(file)
}

/// The system's word alone: the name of a temporary file helps nobody.
fn plain(error: io::Error) -> io::Error {
    // `tempfile` hides the system's error behind a text of its own.
    match error.to_string().split_once(" at path \"") {
        Some((word, _)) => io::Error::new(error.kind(), word.to_owned()),
        None => error,
    }
}

/// Temporary files are made for their owner alone; a picture is an ordinary file.
#[cfg(unix)]
fn readable_by_all_that_umask_allows(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fox.png");
        let write = |bytes: &'static [u8]| {
            write_within(folder.path(), Path::new("fox.png"), |_| Ok(bytes.to_vec())).unwrap()
        };
        assert_eq!(write(b"one"), path);
        let second = write(b"two");
        let taken = write_new(&path, b"no").unwrap_err();
        assert_eq!(taken.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(second, folder.path().join("fox-2.png"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read(&second).unwrap(), b"two");
        replace(&path, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary files stay");
    }

    #[test]
    fn folders_are_made_within_the_output_folder() {
        let folder = tempfile::tempdir().unwrap();
        let name = |path: &Path| Ok(path.file_name().unwrap().as_encoded_bytes().to_vec());
        let write = || write_within(folder.path(), Path::new("today/evening/fox.png"), name).unwrap();
        assert_eq!(write(), folder.path().join("today/evening/fox.png"));
        let second = write();
        assert_eq!(second, folder.path().join("today/evening/fox-2.png"));
        assert_eq!(std::fs::read(second).unwrap(), b"fox-2.png", "a file is told the name that it gets");
    }

    #[test]
    fn errors_name_the_file_that_was_asked_for_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there.png");
        let message = write_new(&path, b"fox").unwrap_err().to_string();
        assert!(message.starts_with(&format!("cannot write {}: ", path.display())), "{message}");
        assert!(message.ends_with("; make the folder first, or choose another"), "{message}");
        assert!(!message.contains(".part"), "{message}");
    }

    #[test]
    fn errors_tell_a_way_out() {
        let message =
            |kind: io::ErrorKind| SaveError { path: "fox.png".into(), source: kind.into() }.to_string();
        for (kind, way) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "choose a folder that you can write to"),
        ] {
            assert!(
                message(kind).starts_with("cannot write fox.png: ") && message(kind).contains(way),
                "{kind}"
            );
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = check_writable(Path::new("/no/such/folder/fox.png")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/fox.png"), "{error}");
    }
}
