use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io::{Result, Write},
    path::Path,
};

/// What a [`Store`](crate::Store) does to the file system, one method a step that can fail or be
/// cut short. Implement it to inject faults; [`Files`] is the real one.
pub trait Disk: Debug + Send + Sync {
    /// Creates a file that must not exist, writes `bytes` and syncs it.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// Appends `bytes` to a file, which is created if missing, and syncs it.
    ///
    /// # Errors
    /// Those of the file system.
    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Syncs a folder, so that names in it survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_folder(&self, path: &Path) -> Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Disk for Files {
    fn create(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_and_sync(OpenOptions::new().write(true).create_new(true).open(path)?, bytes)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_and_sync(OpenOptions::new().append(true).create(true).open(path)?, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> Result<()> {
        // Other systems cannot open a folder and sync names on their own.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

fn write_and_sync(mut file: File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
