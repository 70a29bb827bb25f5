//! One function for each operation of the file system that can fail or be cut short.
//!
//! They are those of `std::fs` under one roof. In builds with debug assertions, which those of
//! tests are, each asks first whether a test wants it to fail; in a release build that question is
//! an empty function, so a user's program has neither its cost nor its environment variable.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

#[cfg(debug_assertions)]
use crate::files::faults::{allow, allow_bytes};

#[cfg(not(debug_assertions))]
fn allow(_: &'static str, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(debug_assertions))]
fn allow_bytes(_: &'static str, _: &Path, length: usize) -> io::Result<usize> {
    Ok(length)
}

/// A file open for reading.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    path: PathBuf,
}

/// Opens a file for reading.
///
/// # Errors
/// Those of the file system.
pub fn open(path: &Path) -> io::Result<InputFile> {
    allow("open", path)?;
    Ok(InputFile { file: File::open(path)?, path: path.to_owned() })
}

impl InputFile {
    /// The file's length in bytes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn length(&self) -> io::Result<u64> {
        allow("measure", &self.path)?;
        Ok(self.file.metadata()?.len())
    }

    /// Whether this is a pipe or a device, whose length is not that of what can be read.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_pipe(&self) -> io::Result<bool> {
        let found = self.file.metadata()?.file_type();
        Ok(!found.is_file() && !found.is_dir())
    }

    /// Fills `bytes` from `offset` on, without a position that threads would share.
    ///
    /// # Errors
    /// Those of the file system, and a file that ends before.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        allow("read", &self.path)?;
        read_exact_at(&self.file, bytes, offset)
    }
}

impl Read for InputFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = allow_bytes("read", &self.path, bytes.len())?;
        self.file.read(&mut bytes[..length])
    }
}

impl Seek for InputFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// A file open for writing.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    path: PathBuf,
}

impl OutputFile {
    /// Makes a file that must not exist.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        allow("create", path)?;
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Waits until the disk has all of it.
    pub(super) fn sync(&self) -> io::Result<()> {
        allow("sync", &self.path)?;
        self.file.sync_all()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = allow_bytes("write", &self.path, bytes.len())?;
        self.file.write(&bytes[..length])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// The bytes of a file.
///
/// # Errors
/// Those of the file system.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let length = usize::try_from(file.length()?).unwrap_or(0);
    let mut bytes = Vec::new();
    // Memory for a file that is larger than it is an error, not the end of the process.
    bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// Those of the file system, and bytes that are not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The paths of what is in a folder, in ascending order.
///
/// # Errors
/// Those of the file system.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    allow("list", folder)?;
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes a folder and those above it, if they are not there.
///
/// # Errors
/// Those of the file system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    allow("create", path)?;
    std::fs::create_dir_all(path)
}

/// Makes an empty file that must not exist, and syncs it.
///
/// # Errors
/// Those of the file system.
pub fn create_new(path: &Path) -> io::Result<()> {
    OutputFile::create(path)?.sync()
}

/// Appends `bytes` to a file and syncs it.
///
/// # Errors
/// Those of the file system.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    allow("open", path)?;
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let mut file = OutputFile { file, path: path.to_owned() };
    file.write_all(bytes)?;
    file.sync()
}

/// Opens a file to lock it, made if it is not there and left as it is otherwise.
///
/// # Errors
/// Those of the file system.
pub fn open_to_lock(path: &Path) -> io::Result<File> {
    allow("open", path)?;
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// Gives a file another name, replacing what has it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    allow("rename", to)?;
    std::fs::rename(from, to)
}

/// Syncs a folder, so that names in it survive a loss of power.
///
/// # Errors
/// Those of the file system.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    allow("sync", path)?;
    // Other systems cannot open a folder and sync names on their own.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Removes a file.
///
/// # Errors
/// Those of the file system.
pub fn remove(path: &Path) -> io::Result<()> {
    allow("remove", path)?;
    std::fs::remove_file(path)
}

/// Removes a folder and all in it.
///
/// # Errors
/// Those of the file system.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    allow("remove", path)?;
    std::fs::remove_dir_all(path)
}
