//! Zip archives of arrays: a file comes in, entries by index go out, stored or deflated, with sizes
//! that fit the file and with their checksum verified. `npz` and `pytorch` say what is in them.

use std::io::{self, BufReader, ErrorKind, Read};

use entk_device::files::operations::InputFile;
use flate2::{CrcReader, read::DeflateDecoder};
use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
};

use crate::error::{DataError, Result};

/// One byte of a deflate stream expands to at most 1,032.
const MAX_EXPANSION: u64 = 1032;

/// An open archive.
#[derive(Debug)]
pub(super) struct Archive {
    zip: ZipArchive<BufReader<InputFile>>,
    /// Names of the entries; empty where one is no text.
    names: Vec<String>,
    length: u64,
    file: String,
}

/// An entry that is being read.
pub(super) struct Entry<'a> {
    reader: CrcReader<Box<dyn Read + 'a>>,
    /// Bytes that it has once it is expanded, as the archive says.
    pub(super) size: u64,
    checksum: u32,
    name: String,
}

impl Archive {
    pub(super) fn open(file: InputFile, length: u64, name: &str) -> Result<Self> {
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, BufReader::new(file))
            .map_err(|error| refused(name, format!("is no whole zip archive ({error})")))?;
        let names = zip.file_names().map(|name| name.unwrap_or_default().into_owned());
        let names = names.collect();
        Ok(Self { zip, names, length, file: name.to_owned() })
    }

    /// The file, for messages.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Names of the entries, in their order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What a message calls an entry or an array.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}:{name}", self.file)
    }

    /// An entry, from its start.
    ///
    /// # Errors
    /// An entry that is encrypted, compressed in another way than deflate, or that says to be
    /// larger than it can be.
    pub(super) fn entry(&mut self, index: usize) -> Result<Entry<'_>> {
        let name = self.named(self.names.get(index).map_or("", String::as_str));
        let entry = self.zip.by_index_raw(index);
        let entry = entry.map_err(|error| refused(&name, format!("cannot be read ({error})")))?;
        let (size, packed, method) = (entry.size(), entry.compressed_size(), entry.compression());
        let most = match method {
            CompressionMethod::Stored => packed,
            CompressionMethod::DEFLATE => packed.saturating_mul(MAX_EXPANSION),
            _ => return Err(refused(&name, format!("is compressed by {method}"))),
        };
        if entry.encrypted() {
            return Err(refused(&name, "is encrypted".to_owned()));
        }
        let (what, found) = ("entry", most.min(self.length.saturating_mul(MAX_EXPANSION)));
        if size > found || packed > self.length {
            return Err(DataError::Truncated { file: name, what, expected: size, found });
        }
        let checksum = entry.crc32();
        let reader: Box<dyn Read> = match method {
            CompressionMethod::Stored => Box::new(entry),
            _ => Box::new(DeflateDecoder::new(entry)),
        };
        Ok(Entry { reader: CrcReader::new(reader), size, checksum, name })
    }

    /// The file, and where the bytes of an entry begin in it.
    ///
    /// # Errors
    /// An entry that is compressed.
    pub(super) fn into_stored(mut self, index: usize) -> Result<(InputFile, u64)> {
        let name = self.named(self.names.get(index).map_or("", String::as_str));
        let start = self.zip.by_index_raw(index).map(|entry| {
            let is_stored = entry.compression() == CompressionMethod::Stored;
            entry.data_start().filter(|_| is_stored)
        });
        match start {
            Ok(Some(start)) => Ok((self.zip.into_inner().into_inner(), start)),
            Ok(None) => Err(DataError::Format {
                file: name,
                format: "archive",
                problem: "is compressed and cannot be read example by example".to_owned(),
                advice: "save it with numpy.save or numpy.savez",
            }),
            Err(error) => Err(refused(&name, format!("cannot be read ({error})"))),
        }
    }
}

impl Read for Entry<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.read(bytes)
    }
}

impl Entry<'_> {
    /// All bytes, of which there may be at most so many.
    pub(super) fn bytes(mut self, most: u64) -> Result<Vec<u8>> {
        if self.size > most {
            let (file, what, found) = (self.name, "entry", self.size);
            return Err(DataError::TooLarge { file, what, limit: most, found });
        }
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(self.size).read_to_end(&mut bytes);
        read.map_err(|error| self.damaged(DataError::io("read", &self.name)(error)))?;
        self.finish()?;
        Ok(bytes)
    }

    /// Reads what is left and compares the checksum.
    pub(super) fn finish(mut self) -> Result<()> {
        let read = io::copy(&mut (&mut self.reader).take(self.size + 1), &mut io::sink());
        read.map_err(|error| self.damaged(DataError::io("read", &self.name)(error)))?;
        if self.reader.crc().sum() != self.checksum {
            return Err(refused(&self.name, "has another checksum than the archive says".into()));
        }
        Ok(())
    }

    /// This error, in words of the archive where its bytes are at fault.
    pub(super) fn damaged(&self, error: DataError) -> DataError {
        match error {
            DataError::Io { source, .. }
                if matches!(
                    source.kind(),
                    ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
                ) =>
            {
                refused(&self.name, format!("is damaged or cut off ({source})"))
            }
            other => other,
        }
    }
}

fn refused(file: &str, problem: String) -> DataError {
    let advice = "fetch or save it again, with numpy.savez or torch.save";
    DataError::Format { file: file.to_owned(), format: "archive", problem, advice }
}
