//! Temporary names, and what killed processes have left under them.
//!
//! A name carries its owner: machine, process and random bits. The owner also locks the file, and
//! the system ends the lock with the process, so that on one machine (containers included) a file
//! that can be locked has no owner any more. Across machines locks may be local; there a file must
//! also have been untouched for a day.

use std::{
    fs::{File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use crate::files::{
    FileError,
    operations::{OutputFile, list, remove},
};

/// How names of temporary files begin.
pub const TEMPORARY: &str = ".tmp-";

/// For so long another machine must have left a file alone.
const UNTOUCHED: Duration = Duration::from_secs(24 * 60 * 60);

/// Eight digits of this start of this machine, equal in all its containers; none where the system
/// does not tell.
fn machine() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT.get_or_init(read).as_deref()?.get(..8)
}

/// A name that no other file has.
fn name() -> String {
    let random = RandomState::new().build_hasher().finish();
    let machine = machine().unwrap_or("unknown");
    format!("{TEMPORARY}{machine}-{}-{random:016x}", std::process::id())
}

/// A new file in `folder` that other processes leave alone as long as it is open.
pub(super) fn create(folder: &Path) -> io::Result<(PathBuf, OutputFile)> {
    loop {
        let path = folder.join(name());
        let file = OutputFile::create(&path)?;
        // Where there are no locks nobody removes the file.
        let is_ours = !matches!(file.file().try_lock(), Err(std::fs::TryLockError::WouldBlock));
        // Between creation and lock somebody may have taken it for abandoned.
        if is_ours && is_at(file.file(), &path) {
            return Ok((path, file));
        }
    }
}

/// Checks by making a file that a folder can be written; nothing is left there.
///
/// # Errors
/// Those of the file system.
pub fn check_writable(folder: &Path) -> Result<(), FileError> {
    let (path, _file) = create(folder).map_err(FileError::new("write to", folder))?;
    let _ = remove(&path); // Best effort; without its owner it is removed later.
    Ok(())
}

/// Removes the temporary files in `folder` whose owner is gone, as well as may be.
pub fn remove_abandoned(folder: &Path) {
    for path in list(folder).unwrap_or_default() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(TEMPORARY) {
            let _ = remove_if_abandoned(&path, name);
        }
    }
}

fn remove_if_abandoned(path: &Path, name: &str) -> io::Result<()> {
    // Some network file systems lock only what is open for writing.
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.try_lock()?;
    if (is_of_this_machine(name) || is_untouched(&file)?) && is_at(&file, path) {
        remove(path)?;
    }
    Ok(())
}

fn is_of_this_machine(name: &str) -> bool {
    let rest = name.strip_prefix(TEMPORARY).and_then(|rest| rest.strip_prefix(machine()?));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

fn is_untouched(file: &File) -> io::Result<bool> {
    let age = file.metadata()?.modified()?.elapsed();
    Ok(age.is_ok_and(|age| age > UNTOUCHED))
}

/// Whether an open file is the one at a path.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = std::fs::metadata(path).ok().map(id);
    there.is_some() && file.metadata().ok().map(id) == there
}

/// Whether an open file is the one at a path: yes, for it cannot be removed while it is open.
#[cfg(not(unix))]
pub fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_owner_and_differ() {
        let (a, b) = (name(), name());
        assert!(a != b && a.contains(&format!("-{}-", std::process::id())), "{a}");
        assert_eq!(is_of_this_machine(&a), machine().is_some());
        assert!(!is_of_this_machine(".tmp-1234-0") && !is_of_this_machine("a.npy"));
    }

    #[test]
    fn a_file_is_removed_when_its_owner_is_gone_and_not_before() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (path, file) = create(folder.path())?;
        remove_abandoned(folder.path());
        assert!(path.exists(), "its owner lives");
        drop(file);
        remove_abandoned(folder.path());
        assert_eq!(path.exists(), machine().is_none());
        Ok(())
    }

    #[test]
    fn a_file_of_another_machine_must_be_untouched_for_a_day() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(".tmp-00000000-1-0123456789abcdef");
        let file = File::create_new(&path)?;
        remove_abandoned(folder.path());
        assert!(path.exists(), "perhaps its machine works");
        file.set_modified(std::time::SystemTime::now() - 2 * UNTOUCHED)?;
        file.lock()?;
        remove_abandoned(folder.path());
        assert!(path.exists(), "its owner holds it");
        drop(file);
        remove_abandoned(folder.path());
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn files_come_and_go_while_others_tidy_up() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        std::thread::scope(|scope| {
            let tidy = || (0..300).for_each(|_| remove_abandoned(folder.path()));
            let threads = [scope.spawn(tidy), scope.spawn(tidy)];
            for at in 0..300_u32 {
                let path = folder.path().join("result");
                crate::files::write(&path, &at.to_le_bytes()).map_err(|error| error.source)?;
                assert_eq!(std::fs::read(&path)?, at.to_le_bytes());
            }
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            io::Result::Ok(())
        })?;
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
