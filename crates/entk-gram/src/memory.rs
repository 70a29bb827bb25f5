//! Memory that an assembly takes, and the disk that a store needs: an error where there is none.

use std::path::Path;

use entk_device::memory::{MemoryLimit, free_disk, in_gib};
use entk_models::Real;

use crate::error::{GramError, Result};

/// Share of the free disk that may be filled.
const DISK_SHARE: f64 = 0.95;

/// Refuses to begin what the disk cannot hold.
pub(crate) fn check_disk(folder: &Path, needed: u64) -> Result<()> {
    match free_disk(folder) {
        Some(free) if needed as f64 > DISK_SHARE * free as f64 => {
            Err(GramError::DiskSpace { folder: folder.to_owned(), needed, free })
        }
        _ => Ok(()),
    }
}

/// Refuses to allocate what this process may not have; `remedy` says what needs less.
pub(crate) fn check_memory(needed: u64, what: &str, remedy: &str) -> Result<()> {
    match MemoryLimit::detect(None) {
        Some(limit) if needed > limit.bytes => {
            let buffers = format!("  {what}: {}\n", in_gib(needed));
            Err(GramError::TooMuchMemory {
                needed,
                limit,
                buffers,
                advice: vec![remedy.to_owned()],
            })
        }
        _ => Ok(()),
    }
}

/// An m x n matrix of zeros, pages untouched.
pub(crate) fn zeros<A: Real>(m: usize, n: usize) -> Result<Vec<A>> {
    let size = m.checked_mul(n).filter(|size| *size <= isize::MAX as usize / size_of::<A>());
    let size = size.ok_or(GramError::TooLarge { rows: m, cols: n })?;
    // The same memory, asked for where a refusal is an error, and given back untouched.
    drop(reserved::<A>(size, 1)?);
    Ok(vec![A::zero(); size])
}

/// An empty vector with memory for `count` times `width` numbers, exactly.
pub(crate) fn reserved<T>(count: usize, width: usize) -> Result<Vec<T>> {
    let size = count.checked_mul(width);
    let size = size.ok_or(GramError::TooLarge { rows: count, cols: width })?;
    let mut values = Vec::new();
    (values.try_reserve_exact(size))
        .map_err(|_| GramError::OutOfMemory { bytes: size.saturating_mul(size_of::<T>()) })?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_no_machine_has_is_an_error() {
        let (rows, most) = (1_usize << 40, usize::MAX);
        assert!(matches!(reserved::<f64>(rows, 1 << 10), Err(GramError::OutOfMemory { .. })));
        assert!(matches!(zeros::<f64>(rows, 1 << 10), Err(GramError::OutOfMemory { .. })));
        assert!(matches!(reserved::<f64>(most, 2), Err(GramError::TooLarge { .. })));
        assert!(matches!(zeros::<f32>(most, 2), Err(GramError::TooLarge { .. })));
        assert!(reserved::<f64>(3, 4).is_ok_and(|values| values.capacity() == 12));
    }
}
