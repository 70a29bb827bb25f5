//! Files that are whole or absent, whatever fails meanwhile.
//!
//! In come a path and the bytes to be there; out goes the file, under its name only when all of it
//! is on the disk. Weights, stores, checkpoints, arrays and records are written by it.
//! [`FileSystem`] is the seam at which tests inject faults.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// How names of temporary files begin; one that a killed process left may be removed.
pub const TEMPORARY: &str = ".tmp-";

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The reason given.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: what was tried, and where.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// The operations that make a file last, one method for each step that can fail or be cut short.
/// Implement it to inject faults; [`OsFiles`] is the real one.
pub trait FileSystem: Debug + Send + Sync {
    /// Creates a file that must not exist, writes `bytes` and syncs it.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Appends `bytes` to a file, which is created if missing, and syncs it.
    ///
    /// # Errors
    /// Those of the file system.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Syncs a folder, so that names in it survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl FileSystem for OsFiles {
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        create_with(path, |file| file.write_all(bytes))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Other systems cannot open a folder and sync names on their own.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

fn create_with(
    path: &Path,
    mut fill: impl FnMut(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?);
    fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Writes `bytes` to `path`, so that a reader sees the old file or the new one, never a part.
///
/// The bytes go to a temporary name in the same folder, are synced, renamed over `path`, and the
/// folder is synced. The file has the permissions of an ordinary new one.
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
    write_on(&OsFiles, path, bytes, || Ok(()))
}

/// Writes what `fill` writes, through a buffer, in the steps of [`write()`]: for contents that need
/// not be in memory at once.
///
/// # Errors
/// Those of [`write()`] and of `fill`.
pub fn write_with(
    path: &Path,
    mut fill: impl FnMut(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    publish(&OsFiles, path, |temporary| create_with(temporary, &mut fill), || Ok(()))
}

/// Writes `bytes` in the steps of [`write()`] on another file system, and does `before_rename` when
/// they are on the disk under their temporary name.
///
/// # Errors
/// Those of [`write()`] and of `before_rename`.
pub fn write_on<E: From<FileError>>(
    files: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
    before_rename: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    publish(files, path, |temporary| files.create(temporary, bytes), before_rename)
}

fn publish<E: From<FileError>>(
    files: &dyn FileSystem,
    path: &Path,
    create: impl FnMut(&Path) -> io::Result<()>,
    before_rename: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary = create_temporary(folder, create).map_err(FileError::new("write", path))?;
    let renamed = before_rename().and_then(|()| {
        files.rename(&temporary, path).map_err(|e| FileError::new("rename to", path)(e).into())
    });
    if renamed.is_err() {
        let _ = std::fs::remove_file(&temporary); // Best effort; it is not `path`.
    }
    renamed?;
    Ok(files.sync_folder(folder).map_err(FileError::new("sync", folder))?)
}

/// A file that `create` made under a name of its own in `folder`.
fn create_temporary(
    folder: &Path,
    mut create: impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        match create(&path) {
            Ok(()) => return Ok(path),
            // Another machine's process of this number made it, or a dead one left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.txt");
        write(&path, b"first")?;
        write_with(&path, |file| file.write_all(b"second"))?;
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
        assert!(write_with(&target, |_| Err(full())).is_err());
        let refused = || Err(FileError::new("enter", &target)(full()));
        assert!(write_on(&OsFiles, &target, b"new", refused).is_err());
        assert!(target.join("inside").exists());
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn names_that_are_taken_are_passed_over() -> TestResult {
        let folder = tempfile::tempdir()?;
        let mut tries = 0;
        let path = create_temporary(folder.path(), |path| {
            tries += 1;
            if tries < 3 {
                Err(ErrorKind::AlreadyExists.into())
            } else {
                OsFiles.create(path, b"x")
            }
        })?;
        assert_eq!((std::fs::read(path)?, tries), (b"x".to_vec(), 3));
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
