//! What the targets share: inputs of several files, and folders in memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Between the files of an input: bytes that no UTF-8 has.
pub const BETWEEN: [u8; 2] = [0xff, 0xfe];

/// The files of an input.
pub fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    while let Some(at) = data.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        files.push(&data[..at]);
        data = &data[at + BETWEEN.len()..];
    }
    files.push(data);
    files
}

/// An empty folder of this process, in memory where there is one.
fn folder() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let root = ROOT.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        base.join(format!("entk-fuzz-{}", std::process::id()))
    });
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = root.join(number.to_string());
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// Writes these bytes to a file of this thread and hands its path to `read`.
pub fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    thread_local!(static PATH: PathBuf = folder().join("file"));
    PATH.with(|path| {
        fs::write(path, bytes).expect("a file");
        read(path)
    })
}

/// A folder of this thread, emptied.
pub fn with_folder<T>(fill: impl FnOnce(&Path) -> io::Result<T>) -> T {
    thread_local!(static PATH: PathBuf = folder());
    PATH.with(|path| {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).and_then(|()| fill(path)).expect("files")
    })
}
