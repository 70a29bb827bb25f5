//! Files that are either whole or absent: bytes and a path come in, the old file or the new one is
//! there at any time. Called by everything here that writes a file.

use std::{io::Write, path::Path};

use anyhow::{Context, Result};

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part.
///
/// The bytes go to a temporary file in the same folder, reach the disk, and are then renamed over
/// `path`.
///
/// # Errors
///
/// When the folder does not exist or cannot be written, or the disk is full; `path` is then
/// unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut file = temporary_file(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A temporary file in `folder`, deleted when dropped, with the permissions of an ordinary new
/// file.
pub(crate) fn temporary_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".entk-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"first")?;
        write_atomically(&path, b"second")?;
        assert_eq!(std::fs::read(&path)?, b"second");
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn names_the_file_when_the_folder_is_missing() {
        let error =
            write_atomically(Path::new("no/such/folder/a.txt"), b"x").map_err(|e| e.to_string());
        assert_eq!(error, Err("cannot write no/such/folder/a.txt".to_owned()));
    }

    #[test]
    fn a_failed_rename_keeps_the_target_and_cleans_up() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let target = folder.path().join("taken");
        std::fs::create_dir(&target)?;
        std::fs::write(target.join("inside"), b"x")?;
        assert!(write_atomically(&target, b"new").is_err());
        assert!(target.join("inside").exists());
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_result() -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir()?;
        let (ordinary, atomic) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&ordinary, b"x")?;
        write_atomically(&atomic, b"x")?;
        let mode = |path: &Path| std::fs::metadata(path).map(|m| m.permissions().mode());
        assert_eq!(mode(&atomic)?, mode(&ordinary)?);
        Ok(())
    }
}
