//! Files that a reader sees whole or not at all.
//!
//! A path and bytes, or what writes them, come in; a file comes out: written under a temporary
//! name, synced, renamed, and its folder synced.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::files::{
    FileError,
    operations::{OutputFile, remove, rename, sync_folder},
    temporary,
};

/// Writes `bytes` to `path`, so that a reader sees the old file or the new one, never a part.
///
/// The bytes go to a temporary name in the same folder, are synced, renamed over `path`, and the
/// folder is synced. The file has the permissions of an ordinary new one. What killed processes
/// have left in the folder under temporary names is removed.
///
/// # Errors
/// A folder that is missing or cannot be written, or a full disk; `path` is then as it was, unless
/// only the last sync of the folder failed.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.txt");
/// entk_device::files::write(&path, b"first")?;
/// entk_device::files::write(&path, b"second")?;
/// assert_eq!(std::fs::read(&path)?, b"second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_then(path, bytes, || Ok(()))
}

/// Writes what `fill` writes, through a buffer, in the steps of [`write()`]: for contents that need
/// not be in memory at once.
///
/// # Errors
/// Those of [`write()`] and of `fill`.
pub fn write_with<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<OutputFile>) -> Result<(), E>,
) -> Result<(), E> {
    publish(path, fill, || Ok(()))
}

/// Writes `bytes` in the steps of [`write()`], and does `before_rename` when they are on the disk
/// under their temporary name.
///
/// # Errors
/// Those of [`write()`] and of `before_rename`.
pub fn write_then<E: From<FileError>>(
    path: &Path,
    bytes: &[u8],
    before_rename: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let fill =
        |file: &mut BufWriter<OutputFile>| Ok(file.write_all(bytes).map_err(failed(path))?);
    publish(path, fill, before_rename)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    FileError::new("write", path)
}

fn publish<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<OutputFile>) -> Result<(), E>,
    before_rename: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    temporary::remove_abandoned(folder);
    let (from, file) = temporary::create(folder).map_err(failed(path))?;
    // The file stays open, and so locked, until it has its name.
    let mut file = BufWriter::new(file);
    let renamed = || -> Result<(), E> {
        fill(&mut file)?;
        file.flush().and_then(|()| file.get_ref().sync()).map_err(failed(path))?;
        before_rename()?;
        Ok(rename(&from, path).map_err(FileError::new("rename to", path))?)
    };
    if let Err(error) = renamed() {
        let _ = file.into_parts(); // What is buffered is not written any more.
        let _ = remove(&from); // Best effort; it is not `path`.
        return Err(error);
    }
    Ok(sync_folder(folder).map_err(FileError::new("sync", folder))?)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.txt");
        write(&path, b"first")?;
        write_with(&path, |file| file.write_all(b"second").map_err(failed(&path)))?;
        assert_eq!(std::fs::read(&path)?, b"second");
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn names_the_file_when_the_folder_is_missing() {
        let error = write(Path::new("no/such/folder/a.txt"), b"x").map_err(|e| e.to_string());
        let error = error.expect_err("there is no folder");
        assert!(error.starts_with("cannot write no/such/folder/a.txt: "), "{error}");
    }

    #[test]
    fn a_failure_keeps_the_target_and_cleans_up() -> TestResult {
        let folder = tempfile::tempdir()?;
        let target = folder.path().join("taken");
        std::fs::create_dir(&target)?;
        std::fs::write(target.join("inside"), b"x")?;
        assert!(write(&target, b"new").is_err());
        let full = || io::Error::from(ErrorKind::StorageFull);
        assert!(write_with(&target, |_| Err(failed(&target)(full()))).is_err());
        let refused = || Err(FileError::new("enter", &target)(full()));
        assert!(write_then(&target, b"new", refused).is_err());
        assert!(target.join("inside").exists());
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_result() -> TestResult {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir()?;
        let (ordinary, atomic) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&ordinary, b"x")?;
        write(&atomic, b"x")?;
        let mode = |path: &Path| std::fs::metadata(path).map(|m| m.permissions().mode());
        assert_eq!(mode(&atomic)?, mode(&ordinary)?);
        Ok(())
    }
}
