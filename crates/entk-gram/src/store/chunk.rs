//! Zarr v3: the metadata of an array and the bytes of its chunks.

use serde_json::{Value, json};

use crate::store::identity::Identity;

/// Bytes of the checksum behind a chunk's entries.
const CHECKSUM: usize = 4;

/// An element type of stored kernels.
pub(crate) trait Entry: Copy + Send {
    const NAN: Self;
    fn append(self, bytes: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Self;
    fn finite(self) -> bool;
    fn widened(self) -> f64;
}

macro_rules! entry {
    ($t:ty) => {
        impl Entry for $t {
            const NAN: Self = <$t>::NAN;
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut item = [0; size_of::<$t>()];
                item.copy_from_slice(bytes);
                Self::from_le_bytes(item)
            }
            fn finite(self) -> bool {
                self.is_finite()
            }
            fn widened(self) -> f64 {
                self.into()
            }
        }
    };
}

entry!(f32);
entry!(f64);

/// `zarr.json`: an N x N array in square chunks, little-endian, each with its CRC-32C; chunks that
/// are missing (those above the diagonal) read as NaN.
pub(crate) fn metadata(identity: &Identity) -> Value {
    json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": [identity.n, identity.n],
        "data_type": identity.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": { "chunk_shape": [identity.edge, identity.edge] },
        },
        "chunk_key_encoding": { "name": "default", "configuration": { "separator": "/" } },
        "fill_value": "NaN",
        "codecs": [
            { "name": "bytes", "configuration": { "endian": "little" } },
            { "name": "crc32c" },
        ],
        "attributes": { "content": "lower triangle of an empirical NTK Gram matrix, by tiles" },
    })
}

/// The entries little-endian, then their CRC-32C, in place of what is in `bytes`.
pub(crate) fn encode<A: Entry>(entries: &[A], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.reserve_exact(size_of_val(entries) + CHECKSUM);
    entries.iter().for_each(|entry| entry.append(bytes));
    let sum = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// The entries of a chunk of `count`, or what is wrong with it.
pub(crate) fn decode<A: Entry>(bytes: &[u8], count: usize) -> Result<Vec<A>, String> {
    let payload = payload(bytes, count * size_of::<A>())?;
    Ok(payload.chunks_exact(size_of::<A>()).map(A::read).collect())
}

/// The bytes before the checksum, which must fit them.
pub(crate) fn payload(bytes: &[u8], expected: usize) -> Result<&[u8], String> {
    if bytes.len() != expected + CHECKSUM {
        return Err(format!("expected {} bytes, found {}", expected + CHECKSUM, bytes.len()));
    }
    let (payload, sum) = bytes.split_at(expected);
    let found = crc32c::crc32c(payload).to_le_bytes();
    if sum != found {
        return Err(format!("CRC-32C: expected {sum:02x?}, found {found:02x?}"));
    }
    Ok(payload)
}
