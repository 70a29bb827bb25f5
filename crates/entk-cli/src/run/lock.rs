//! One folder, one run: a folder or an entry of a cache comes in, a lock on it goes out that ends
//! with the process. Taken by `Run` before anything is written, and by the cache.

use std::{
    cell::Cell,
    fs::{File, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use entk::device::files::{self, is_at};
use indicatif::HumanDuration;

/// Names the run that writes; the operating system releases the lock when that process ends,
/// however it does.
const LOCK: &str = ".lock";

/// A folder held against other runs until it is dropped.
#[derive(Debug)]
pub(crate) struct FolderLock {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
}

impl FolderLock {
    /// Holds a folder alone.
    ///
    /// # Errors
    /// A folder that another run holds, with its process, or that cannot be written.
    pub(crate) fn alone(folder: &Path) -> Result<Self> {
        Self::acquire(folder, File::try_lock)
    }

    /// Holds a folder together with others that do so too, such as the parts of one kernel.
    ///
    /// # Errors
    /// A folder that another run holds alone, or that cannot be written.
    pub(crate) fn shared(folder: &Path) -> Result<Self> {
        Self::acquire(folder, File::try_lock_shared)
    }

    fn acquire(
        folder: &Path,
        lock: fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let file = files::open_to_lock(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(folder, file)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", folder.display()));
                }
            }
            // The run before may have removed the file between opening and locking it.
            if is_at(&file, &path) {
                write_owner(&file).with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // The last one removes the file, while nobody else can hold it.
        if self.file.unlock().is_ok()
            && self.file.try_lock().is_ok()
            && is_at(&self.file, &self.path)
        {
            let _ = files::remove(&self.path);
        }
    }
}

thread_local! {
    /// Whether this thread computes an entry that it holds.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// An entry of a cache held by this process while it is read or computed; other processes wait.
///
/// A thread that holds an entry does not wait for a second one: tasks of a pool that run one within
/// the other could wait for each other. It shares that entry then, as it does where the file system
/// has no locks.
#[derive(Debug)]
pub(crate) struct EntryLock(Option<FolderLock>);

impl EntryLock {
    /// Holds the entry at `path`, in a folder that exists.
    pub(crate) fn wait(path: &Path) -> Self {
        if HOLDS.get() {
            return Self(None);
        }
        let held = Self(wait(path).ok());
        HOLDS.set(held.0.is_some());
        held
    }
}

impl Drop for EntryLock {
    fn drop(&mut self) {
        if self.0.is_some() {
            HOLDS.set(false);
        }
    }
}

fn wait(path: &Path) -> std::io::Result<FolderLock> {
    let path = path.with_extension("lock");
    loop {
        let file = files::open_to_lock(&path)?;
        file.lock()?;
        // The run before may have removed the file between opening and locking it.
        if is_at(&file, &path) {
            return Ok(FolderLock { path, file });
        }
    }
}

fn write_owner(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    write!(file, "process {} on {}", std::process::id(), host())
}

fn host() -> String {
    let name = files::read_text(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    if name.trim().is_empty() { "this machine".to_owned() } else { name.trim().to_owned() }
}

/// Why a folder cannot be had, as an error of files.
fn held(folder: &Path, mut file: File) -> anyhow::Error {
    let mut owner = String::new();
    let read = file.read_to_string(&mut owner);
    let owner = if read.is_ok() && !owner.is_empty() { owner } else { "another run".to_owned() };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or(Duration::ZERO);
    let busy = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
    anyhow!(busy).context(format!(
        "{} is being written to by {owner}, for {}: wait for it, or choose another folder with \
         --out",
        folder.display(),
        HumanDuration(age)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_run_and_nothing_is_left() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let first = FolderLock::alone(folder.path())?;
        for second in [FolderLock::alone, FolderLock::shared] {
            let error = second(folder.path()).expect_err("held");
            let text = format!("{error:#}");
            let own = format!("process {} on ", std::process::id());
            assert!(text.contains(&own) && text.contains("--out"), "{text}");
            assert!(error.chain().any(|cause| cause.is::<std::io::Error>()), "{text}");
        }
        drop(first);
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        drop(FolderLock::alone(folder.path())?);
        Ok(())
    }

    #[test]
    fn parts_hold_a_folder_together() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (first, second) =
            (FolderLock::shared(folder.path())?, FolderLock::shared(folder.path())?);
        assert!(FolderLock::alone(folder.path()).is_err());
        drop(first);
        assert!(FolderLock::alone(folder.path()).is_err());
        drop(second);
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        drop(FolderLock::alone(folder.path())?);
        Ok(())
    }

    #[test]
    fn what_a_killed_run_left_is_no_lock() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(LOCK), "process 1 on a machine that is gone")?;
        drop(FolderLock::alone(folder.path())?);
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn an_entry_is_held_by_one_at_a_time_and_never_waited_for_within_another() -> Result<()> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (folder, inside) = (tempfile::tempdir()?, AtomicUsize::new(0));
        let path = folder.path().join("entry");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let held = EntryLock::wait(&path);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        let _shared = EntryLock::wait(&path); // at once
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn many_that_come_and_go_never_share_a_folder() -> Result<()> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (folder, inside) = (tempfile::tempdir()?, AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(lock) = FolderLock::alone(folder.path()) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
