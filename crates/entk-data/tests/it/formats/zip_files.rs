//! Zip archives for tests, byte by byte, so that a test can make them wrong.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// An entry as its archive describes it.
pub(crate) struct Entry {
    name: String,
    /// The bytes in the file.
    pub(crate) packed: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) size: u32,
    pub(crate) checksum: u32,
}

/// An entry that is as it says, compressed or not.
pub(crate) fn entry(name: &str, bytes: &[u8], is_deflated: bool) -> Entry {
    let mut packed = bytes.to_vec();
    if is_deflated {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        packed = encoder.finish().expect("in memory");
    }
    let mut crc = Crc::new();
    crc.update(bytes);
    Entry {
        name: name.to_owned(),
        packed,
        method: if is_deflated { 8 } else { 0 },
        size: bytes.len() as u32,
        checksum: crc.sum(),
    }
}

impl Entry {
    /// What stands before the bytes and in the directory: version, flags, method, time, sizes.
    fn description(&self) -> Vec<u8> {
        let words = [20_u16, 0, self.method, 0, 0x21].map(u16::to_le_bytes).concat();
        let sizes = [self.checksum, self.packed.len() as u32, self.size].map(u32::to_le_bytes);
        [words, sizes.concat(), [self.name.len() as u16, 0].map(u16::to_le_bytes).concat()].concat()
    }
}

/// The archive of these entries.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = file.len() as u32;
        let (description, name) = (entry.description(), entry.name.as_bytes());
        file.extend([b"PK\x03\x04", description.as_slice(), name, &entry.packed].concat());
        directory.extend([b"PK\x01\x02\x14\x00", description.as_slice()].concat());
        directory.extend([0; 10]);
        directory.extend([&at.to_le_bytes(), name].concat());
    }
    let start = file.len() as u32;
    let count = entries.len() as u16;
    file.extend(&directory);
    file.extend(
        [b"PK\x05\x06\0\0\0\0".as_slice(), &[count, count].map(u16::to_le_bytes).concat()].concat(),
    );
    file.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
    file.extend([0, 0]);
    file
}
