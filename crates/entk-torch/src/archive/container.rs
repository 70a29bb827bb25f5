//! The zip file: a path goes in, entries by name come out. Nothing is written anywhere; an entry is
//! never larger than the file, since compressed ones are refused.

use std::{
    io::{BufReader, Cursor, ErrorKind, Read, Seek},
    path::{Path, PathBuf},
};

use entk_device::files::{self, FileError};
use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
    result::ZipError,
};

use crate::error::{Result, TorchError};

/// Bytes of an archive: a file, or memory.
pub(crate) trait Source: Read + Seek + std::fmt::Debug {}

impl<S: Read + Seek + std::fmt::Debug> Source for S {}

/// An open archive.
#[derive(Debug)]
pub(crate) struct Container {
    path: PathBuf,
    zip: ZipArchive<Box<dyn Source>>,
    /// The one folder that all entries are in, with its slash.
    root: String,
    /// Bytes of the file.
    length: u64,
}

impl Container {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = files::open(path).map_err(FileError::new("open", path))?;
        let length = file.length().map_err(FileError::new("read the size of", path))?;
        Self::of(path, Box::new(BufReader::new(file)), length)
    }

    /// An archive in memory.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<Self> {
        let length = bytes.len() as u64;
        Self::of(Path::new("an archive in memory"), Box::new(Cursor::new(bytes)), length)
    }

    fn of(path: &Path, source: Box<dyn Source>, length: u64) -> Result<Self> {
        let refused = |reason: String| TorchError::file(path, reason);
        // Sample inputs are an archive in the archive, which a search for the start may find.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, source).map_err(|error| {
            refused(format!("is no zip archive, or is cut off: {error}; save it again"))
        })?;
        let root = |name: &str| name.strip_suffix("archive_format").map(str::to_owned);
        let Some(root) = zip.file_names().flatten().find_map(|name| root(&name)) else {
            return Err(refused(
                "is a zip archive, but none of `torch.export.save` of torch 2.9 or later, which \
                 has an entry `archive_format`; weights alone go with `--weights`"
                    .to_owned(),
            ));
        };
        Ok(Self { path: path.to_path_buf(), zip, root, length })
    }

    /// The bytes of an entry.
    pub(crate) fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let refused = |reason: String| TorchError::Entry { entry: name.to_owned(), reason };
        let full = format!("{}{name}", self.root);
        let entry = match self.zip.by_name(&full) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => {
                return Err(refused("is not in the archive; save it again".to_owned()));
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let size = entry.size();
        if entry.compression() != CompressionMethod::Stored {
            let method = entry.compression();
            return Err(refused(format!("is compressed ({method}), which PyTorch never does")));
        }
        if size > self.length {
            return Err(refused(format!("says {size} bytes of a file of {}", self.length)));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        let read = entry.take(size).read_to_end(&mut bytes);
        read.map_err(|error| match error.kind() {
            // What zip says of a wrong checksum, and of an end before its time.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                refused(format!("is damaged: {error}; save it again"))
            }
            _ => FileError::new("read", &self.path)(error).into(),
        })?;
        if bytes.len() as u64 != size {
            return Err(refused(format!("has {} bytes in place of {size}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Refuses an entry whose text is another than the one that this reader knows.
    pub(crate) fn expect(&mut self, name: &str, expected: &str) -> Result<()> {
        let text = String::from_utf8_lossy(&self.read(name)?).into_owned();
        if text.trim() == expected {
            return Ok(());
        }
        let reason = format!("says {text:?}, and {expected:?} is all that is read");
        Err(TorchError::Entry { entry: name.to_owned(), reason })
    }

    /// The name of the one program in the archive.
    pub(crate) fn only_program(&self) -> Result<String> {
        let folder = format!("{}models/", self.root);
        let within = |name: &str| name.strip_prefix(folder.as_str()).map(str::to_owned);
        let names = self.zip.file_names().flatten().filter_map(|name| within(&name));
        let programs: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        match programs.as_slice() {
            [name] => Ok(format!("models/{name}")),
            _ => Err(TorchError::File {
                path: self.path.clone(),
                reason: format!("holds {} programs; save one alone", programs.len()),
            }),
        }
    }
}
