//! Numbers for people, in plans and errors.

/// Bytes for people.
pub(crate) fn gib(bytes: u64) -> String {
    match bytes as f64 / (1u64 << 30) as f64 {
        small if small < 1.0 => format!("{:.1} MiB", small * 1024.0),
        large => format!("{large:.2} GiB"),
    }
}
