//! Memory and disk of this machine: what a process may have, for whoever plans or allocates, and an
//! error for what it may not.
//!
//! A crate of its own, below all others, so that those without tensors count their memory too.

#![forbid(unsafe_code)]

use std::{fs, path::Path, sync::OnceLock, thread::available_parallelism};

/// Share of the available memory that a run may use.
const SHARE: f64 = 0.9;
/// Nobody is asked for less: a plan that is wrong by so much harms nothing.
const SMALL: u64 = 16 << 20;
/// Addresses that the products of matrices take for each thread, touched or not.
const WORKSPACE: u64 = 64 << 20;

/// How much memory this process may have in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes, including those that the process holds already.
    pub bytes: u64,
    /// Where the number comes from.
    pub source: String,
}

/// More memory than there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} needs {} beside the {} that are in use, and {} may be used in all ({}); {remedy}, or raise that limit",
    in_gib(*needed), in_gib(*held), in_gib(limit.bytes), limit.source
)]
pub struct MemoryError {
    /// What the memory is for.
    pub what: String,
    /// Bytes of it.
    pub needed: u64,
    /// Bytes that the process holds.
    pub held: u64,
    /// What there is.
    pub limit: MemoryLimit,
    /// What to do.
    pub remedy: &'static str,
}

/// Refuses what takes more memory than there is, before it is taken: `needed` bytes beside those
/// that the process holds, of at most `max` in all. Less than 16 MiB is refused only where the
/// process has a limit of its own. Cost: four files of the system are read.
///
/// ```
/// use entk_memory::ensure;
///
/// assert!(ensure("a kernel", 1 << 20, None, "use fewer examples").is_ok());
/// let error = ensure("a kernel", 1 << 60, None, "use fewer examples").unwrap_err();
/// assert!(error.to_string().contains("a kernel needs 1073741824.00 GiB"));
/// ```
///
/// # Errors
/// [`MemoryError`], with both numbers and the remedy.
pub fn ensure(
    what: &str,
    needed: u64,
    max: Option<u64>,
    remedy: &'static str,
) -> Result<(), MemoryError> {
    static LIMITED: OnceLock<bool> = OnceLock::new();
    let is_limited = || *LIMITED.get_or_init(|| !resource_limits().is_empty());
    if needed < SMALL && max.is_none() && !is_limited() {
        return Ok(());
    }
    let held = resident().unwrap_or(0);
    match MemoryLimit::detect(max) {
        Some(limit) if needed.saturating_add(held) > limit.bytes => {
            Err(MemoryError { what: what.to_owned(), needed, held, limit, remedy })
        }
        _ => Ok(()),
    }
}

impl MemoryLimit {
    /// The smallest of: what the process holds and 90 % of what the system has available, 90 % of
    /// its control groups' limits (v1 and v2), what it holds and 90 % of what its resource limits
    /// leave (`ulimit -v` and `-d`), and `max` bytes. `None` where nothing is known.
    pub fn detect(max: Option<u64>) -> Option<Self> {
        let resident = resident();
        let share = |bytes: u64| (bytes as f64 * SHARE) as u64;
        let process = resource_limits().into_iter().map(|(left, name)| Self {
            bytes: resident.unwrap_or(0) + share(left),
            source: format!("90 % of what `ulimit {name}` leaves"),
        });
        let available = status_kib("/proc/meminfo", "MemAvailable:").map(|free| Self {
            bytes: resident.unwrap_or(0) + share(free),
            source: "90 % of what the system has available".into(),
        });
        let group = control_group_limit().map(|limit| Self {
            bytes: share(limit),
            source: "90 % of the control group's limit".into(),
        });
        let max = max.map(|bytes| Self { bytes, source: "the given limit".into() });
        let others = [available, group, max].into_iter().flatten();
        others.chain(process).min_by_key(|limit| limit.bytes)
    }
}

/// Bytes that this process holds now; `None` where the system does not tell.
fn resident() -> Option<u64> {
    status_kib("/proc/self/status", "VmRSS:")
}

/// The number of a line `NAME   123 kB`, in bytes.
fn status_kib(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What the limits of this process on addresses and on data leave beside the workspace of products,
/// each with its name in a shell.
fn resource_limits() -> Vec<(u64, &'static str)> {
    let Ok(limits) = fs::read_to_string("/proc/self/limits") else { return Vec::new() };
    let workspace = WORKSPACE * (1 + available_parallelism().map_or(1, usize::from) as u64);
    let left = |row: &str, used: &str, name| {
        let used = status_kib("/proc/self/status", used)?.saturating_add(workspace);
        Some((soft_limit(&limits, row)?.saturating_sub(used), name))
    };
    let addresses = left("Max address space", "VmSize:", "-v");
    addresses.into_iter().chain(left("Max data size", "VmData:", "-d")).collect()
}

/// The number of a row `NAME   soft   hard   units`; `None` for `unlimited`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let row = limits.lines().find_map(|line| line.strip_prefix(name))?;
    row.split_whitespace().next()?.parse().ok()
}

/// The smallest memory limit of this process's control groups and those above them.
fn control_group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().flat_map(|line| limits(line, Path::new("/sys/fs/cgroup"))).min()
}

/// The limits of one line of `/proc/self/cgroup`, `ID:CONTROLLERS:PATH`, from its group up.
fn limits(line: &str, root: &Path) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => (root.to_path_buf(), "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = root.join(path.trim_start_matches('/'));
    // "max", and in version 1 the largest page-aligned i64, stand for no limit.
    let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    let above = group.ancestors().take_while(|folder| folder.starts_with(&root));
    above.filter_map(limit).filter(|&limit: &u64| limit < 1 << 62).collect()
}

/// Bytes free for this user on the file system of `folder`; `None` where the system does not tell.
pub fn free_disk(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(folder).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// A number of bytes in MiB, or from 1 GiB on in GiB.
pub fn in_gib(bytes: u64) -> String {
    match bytes as f64 / (1u64 << 30) as f64 {
        small if small < 1.0 => format!("{:.1} MiB", small * 1024.0),
        large => format!("{large:.2} GiB"),
    }
}

/// As [`in_gib`], rounded up: so much is enough.
pub fn in_gib_above(bytes: u64) -> String {
    // In whole MiB below a GiB, in hundredths of a GiB above.
    let unit = if bytes < 1 << 30 { 1 << 20 } else { (1u64 << 30).div_ceil(100) };
    in_gib(bytes.div_ceil(unit).saturating_mul(unit))
}

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read_up_to_the_root() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let write = |folder: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(folder))?;
            fs::write(root.path().join(folder).join(file), text)
        };
        write("job/step", "memory.max", "max\n")?;
        write("job", "memory.max", "1000\n")?;
        write("memory/a", "memory.limit_in_bytes", "2000\n")?;
        write("memory", "memory.limit_in_bytes", "9223372036854771712\n")?;
        assert_eq!(limits("0::/job/step", root.path()), [1000]);
        assert_eq!(limits("4:cpu,memory:/a", root.path()), [2000]);
        assert!(limits("5:cpu:/a", root.path()).is_empty());
        assert!(limits("nonsense", root.path()).is_empty());
        Ok(())
    }

    #[test]
    fn what_is_rounded_up_is_enough() {
        for bytes in [1, 1 << 20, (1 << 20) + 1, 4_649_000_000, (5 << 30) - 1, 5 << 30] {
            let text = in_gib_above(bytes);
            let (number, unit) = text.split_once(' ').expect("a unit");
            let scale = if unit == "GiB" { (1u64 << 30) as f64 } else { (1u64 << 20) as f64 };
            let enough = number.parse::<f64>().expect("a number") * scale;
            assert!(enough >= bytes as f64 && enough <= 1.02 * bytes as f64 + 2e6, "{text}");
        }
    }

    #[test]
    fn limits_of_a_process_are_read_where_there_are_any() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             4096                 unlimited            bytes\n\
                      Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(soft_limit(limits, "Max data size"), Some(4096));
        assert_eq!(soft_limit(limits, "Max address space"), None);
        assert_eq!(soft_limit(limits, "Max stack size"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let refused = ensure("weights", 1 << 20, Some(1), "take fewer").expect_err("one byte");
        assert_eq!((refused.needed, refused.limit.bytes), (1 << 20, 1));
        let text = refused.to_string();
        assert!(text.contains("weights needs 1.0 MiB") && text.contains("take fewer"), "{text}");
        assert!(ensure("weights", SMALL, Some(u64::MAX), "").is_ok());
        assert!(ensure("weights", u64::MAX, None, "").is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_given_limit_counts_when_it_is_the_smallest() {
        let limit = MemoryLimit::detect(Some(1)).expect("a limit");
        assert_eq!((limit.bytes, limit.source.as_str()), (1, "the given limit"));
        assert!(MemoryLimit::detect(None).is_some_and(|limit| limit.bytes > 1 << 20));
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }
}
