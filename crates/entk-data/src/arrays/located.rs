//! [`Located`]: an array whose header is known and checked, and where its numbers lie: at a place
//! of a file, or in an entry of an archive. The readers of formats make it, `arrays` reads from it.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use entk_device::files::operations::InputFile;

use crate::{
    arrays::archive::Archive,
    error::{DataError, Result},
    npy::{array::Array, header::Header, numbers::read_array},
};

/// An array in a file.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) header: Header,
    place: Place,
    /// File and array, for messages.
    name: String,
}

#[derive(Debug)]
enum Place {
    /// So many bytes from the start of a file.
    File(InputFile, u64),
    /// So many bytes from the start of an entry.
    Entry(Box<Archive>, usize, u64),
}

impl Located {
    pub(super) fn in_file(file: InputFile, at: u64, header: Header, name: String) -> Self {
        Self { header, place: Place::File(file, at), name }
    }

    /// In the entry of this index, so many bytes from its start.
    pub(super) fn in_entry(
        archive: Archive,
        index: usize,
        skip: u64,
        header: Header,
        name: String,
    ) -> Self {
        Self { header, place: Place::Entry(Box::new(archive), index, skip), name }
    }

    /// The array, or the first `most` entries of its first axis.
    pub(super) fn read(self, most: usize) -> Result<Array> {
        let Self { header, place, name } = self;
        match place {
            Place::File(mut file, at) => {
                file.seek(SeekFrom::Start(at)).map_err(DataError::io("read", &name))?;
                read_array(&mut BufReader::new(file), header, most, &name)
            }
            Place::Entry(mut archive, index, skip) => {
                let is_whole = header.shape.first().is_none_or(|first| most >= *first);
                let mut entry = archive.entry(index)?;
                let array = skipped(&mut entry, skip)
                    .map_err(DataError::io("read", &name))
                    .and_then(|()| read_array(&mut entry, header, most, &name))
                    .map_err(|error| entry.damaged(error))?;
                if is_whole {
                    entry.finish()?;
                }
                Ok(array)
            }
        }
    }

    /// The file, the place of the first number in it, the header and the name.
    ///
    /// # Errors
    /// A compressed entry, which has no places.
    pub(super) fn into_file(self) -> Result<(InputFile, u64, Header, String)> {
        let Self { header, place, name } = self;
        match place {
            Place::File(file, at) => Ok((file, at, header, name)),
            Place::Entry(archive, index, skip) => {
                let (file, start) = archive.into_stored(index)?;
                Ok((file, start + skip, header, name))
            }
        }
    }
}

fn skipped(entry: &mut impl Read, bytes: u64) -> io::Result<()> {
    io::copy(&mut entry.take(bytes), &mut io::sink()).map(|_| ())
}
