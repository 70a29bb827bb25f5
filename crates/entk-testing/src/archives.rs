//! Archives of PyTorch taken apart and put together: bytes go in, entries by name come out, and
//! back. Called by tests that change one entry of an archive.

use std::io::{Cursor, Read, Write};

use zip::{
    CompressionMethod, ZipArchive, ZipWriter,
    read::{ArchiveOffset, Config},
    result::ZipResult,
    write::SimpleFileOptions,
};

/// Names and bytes of the entries of an archive, in order.
pub type Entries = Vec<(String, Vec<u8>)>;

/// The entries of an archive.
///
/// # Errors
/// Bytes that are no zip archive.
pub fn entries(bytes: &[u8]) -> ZipResult<Entries> {
    // An archive holds another one, of sample inputs, which a search for the start may find.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut zip = ZipArchive::with_config(config, Cursor::new(bytes))?;
    let mut all = Entries::new();
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at)?;
        let (name, mut bytes) = (entry.name()?.into_owned(), Vec::new());
        entry.read_to_end(&mut bytes)?;
        all.push((name, bytes));
    }
    Ok(all)
}

/// The archive of these entries, not compressed.
///
/// # Errors
/// Names that zip cannot hold.
pub fn archive(entries: &Entries) -> ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The archive with the entries whose names end so replaced by what is made of them.
///
/// # Errors
/// Bytes that are no zip archive.
///
/// # Panics
/// Where nothing is changed.
pub fn changed(
    bytes: &[u8],
    entry: &str,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> ZipResult<Vec<u8>> {
    let mut all = entries(bytes)?;
    let before = all.clone();
    for (_, bytes) in all.iter_mut().filter(|(name, _)| name.ends_with(entry)) {
        *bytes = change(std::mem::take(bytes));
    }
    assert!(all != before, "{entry} is as before");
    archive(&all)
}
