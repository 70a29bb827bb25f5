//! Memory and disk of this machine: what a process may have, for whoever plans or allocates, and an
//! error for what it may not.
//!
//! A crate of its own, below all others, so that those without tensors count their memory too.

#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread::available_parallelism,
};

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
    if is_small(needed, max, || *LIMITED.get_or_init(|| System::read().is_limited())) {
        return Ok(());
    }
    let system = System::read();
    match system.exceeded(needed, max) {
        None => Ok(()),
        Some(limit) => {
            let held = system.held().unwrap_or(0);
            Err(MemoryError { what: what.to_owned(), needed, held, limit, remedy })
        }
    }
}

/// Whether so little is taken without a question.
fn is_small(needed: u64, max: Option<u64>, is_limited: impl Fn() -> bool) -> bool {
    needed < SMALL && max.is_none() && !is_limited()
}

impl MemoryLimit {
    /// The smallest of: what the process holds and 90 % of what the system has available, 90 % of
    /// its control groups' limits (v1 and v2), what it holds and 90 % of what its resource limits
    /// leave (`ulimit -v` and `-d`), and `max` bytes. `None` where nothing is known.
    pub fn detect(max: Option<u64>) -> Option<Self> {
        System::read().limit(max)
    }
}

/// What the system says of its memory and of this process, as it says it; empty where it does not.
struct System {
    status: String,
    limits: String,
    memory: String,
    groups: String,
    /// Where control groups have their files.
    root: PathBuf,
    threads: u64,
}

impl System {
    fn read() -> Self {
        let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
        Self {
            status: text("/proc/self/status"),
            limits: text("/proc/self/limits"),
            memory: text("/proc/meminfo"),
            groups: text("/proc/self/cgroup"),
            root: "/sys/fs/cgroup".into(),
            threads: available_parallelism().map_or(1, usize::from) as u64,
        }
    }

    /// Bytes that this process holds now; `None` where the system does not tell.
    fn held(&self) -> Option<u64> {
        kib(&self.status, "VmRSS:")
    }

    fn limit(&self, max: Option<u64>) -> Option<MemoryLimit> {
        let share = |bytes: u64| (bytes as f64 * SHARE) as u64;
        let beside = |left: u64| self.held().unwrap_or(0) + share(left);
        let process = self.resource_limits().into_iter().map(|(left, name)| MemoryLimit {
            bytes: beside(left),
            source: format!("90 % of what `ulimit {name}` leaves"),
        });
        let available = kib(&self.memory, "MemAvailable:").map(|free| MemoryLimit {
            bytes: beside(free),
            source: "90 % of what the system has available".into(),
        });
        let group = self.control_group_limit().map(|limit| MemoryLimit {
            bytes: share(limit),
            source: "90 % of the control group's limit".into(),
        });
        let max = max.map(|bytes| MemoryLimit { bytes, source: "the given limit".into() });
        let others = [available, group, max].into_iter().flatten();
        others.chain(process).min_by_key(|limit| limit.bytes)
    }

    /// Whether this process has a limit of its own.
    fn is_limited(&self) -> bool {
        !self.resource_limits().is_empty()
    }

    /// The limit that is exceeded by so much beside what is held; what just fits exceeds none.
    fn exceeded(&self, needed: u64, max: Option<u64>) -> Option<MemoryLimit> {
        let all = needed.saturating_add(self.held().unwrap_or(0));
        self.limit(max).filter(|limit| all > limit.bytes)
    }

    /// What the limits of this process on addresses and on data leave beside the workspace of
    /// products, each with its name in a shell.
    fn resource_limits(&self) -> Vec<(u64, &'static str)> {
        let workspace = WORKSPACE * (1 + self.threads);
        let left = |row: &str, used: &str, name| {
            let used = kib(&self.status, used)?.saturating_add(workspace);
            Some((soft_limit(&self.limits, row)?.saturating_sub(used), name))
        };
        let addresses = left("Max address space", "VmSize:", "-v");
        addresses.into_iter().chain(left("Max data size", "VmData:", "-d")).collect()
    }

    /// The smallest memory limit of this process's control groups and those above them.
    fn control_group_limit(&self) -> Option<u64> {
        self.groups.lines().flat_map(|line| limits(line, &self.root)).min()
    }
}

/// The number of a line `NAME   123 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The number of a row `NAME   soft   hard   units`; `None` for `unlimited`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let row = limits.lines().find_map(|line| line.strip_prefix(name))?;
    row.split_whitespace().next()?.parse().ok()
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
        // The smallest of all groups, whatever their version; 2^62 and more are none.
        write("large", "memory.max", "4611686018427387904\n")?;
        let of = |groups: &str| system(root.path(), groups).control_group_limit();
        assert_eq!(of("0::/job/step\n4:cpu,memory:/a\n"), Some(1000));
        assert_eq!(of("0::/large\n"), None);
        Ok(())
    }

    /// A process of 30 MiB with 100 MiB of addresses and 50 MiB of data, four threads and these
    /// groups, on a system with 1 GiB available.
    fn system(root: &Path, groups: &str) -> System {
        System {
            status: "VmSize:\t102400 kB\nVmRSS:\t 30720 kB\nVmData:\t 51200 kB\n".into(),
            limits: String::new(),
            memory: "MemTotal:       4000000 kB\nMemAvailable:   1048576 kB\n".into(),
            groups: groups.into(),
            root: root.into(),
            threads: 4,
        }
    }

    #[test]
    fn the_smallest_limit_counts_beside_what_is_held() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let of = |system: &System, max| system.limit(max).map(|limit| (limit.bytes, limit.source));
        let share = |bytes: u64| (bytes as f64 * 0.9) as u64;
        let plain = system(root.path(), "");
        let (held, gib) = (30 << 20, 1 << 30);
        let available = "90 % of what the system has available".to_owned();
        assert_eq!(plain.held(), Some(held));
        assert_eq!(of(&plain, None), Some((held + share(gib), available.clone())));
        assert_eq!(of(&plain, Some(5)), Some((5, "the given limit".into())));
        assert_eq!(of(&plain, Some(gib)), Some((held + share(gib), available)));
        fs::write(root.path().join("memory.max"), "300000000\n")?;
        let grouped = of(&system(root.path(), "0::/\n"), None);
        assert_eq!(grouped, Some((270_000_000, "90 % of the control group's limit".into())));
        // Of 1 GiB of addresses 100 MiB are used, and five workspaces may be.
        let mut limited = system(root.path(), "");
        limited.limits =
            "Max address space         1073741824           unlimited            bytes\n".into();
        let left = gib - (100 << 20) - 5 * WORKSPACE;
        assert_eq!(limited.resource_limits(), [(left, "-v")]);
        let found = of(&limited, None);
        assert_eq!(found, Some((held + share(left), "90 % of what `ulimit -v` leaves".into())));
        limited.limits +=
            "Max data size             600000000            unlimited            bytes\n";
        let data = 600_000_000 - (50 << 20) - 5 * WORKSPACE;
        assert_eq!(limited.resource_limits(), [(left, "-v"), (data, "-d")]);
        Ok(())
    }

    #[test]
    fn what_just_fits_is_taken_and_a_byte_more_is_not() {
        let plain = system(Path::new("/absent"), "");
        // 30 MiB are held.
        let fits = 1000;
        let max = Some((30 << 20) + fits);
        assert_eq!(plain.exceeded(fits, max), None);
        assert_eq!(plain.exceeded(fits + 1, max).map(|limit| limit.bytes), max);
        assert_eq!(plain.exceeded(u64::MAX, max).map(|limit| limit.bytes), max);
        let nothing = System { status: String::new(), memory: String::new(), ..plain };
        assert_eq!(nothing.exceeded(u64::MAX, None), None);
        assert_eq!(nothing.exceeded(fits, Some(fits)), None);
    }

    #[test]
    fn little_is_asked_about_where_there_are_limits_alone() {
        assert!(is_small(SMALL - 1, None, || false));
        assert!(!is_small(SMALL - 1, None, || true));
        assert!(!is_small(SMALL - 1, Some(u64::MAX), || false));
        assert!(!is_small(SMALL, None, || false));
        let mut process = system(Path::new("/absent"), "");
        assert!(!process.is_limited());
        process.limits =
            "Max data size             600000000            unlimited            bytes\n".into();
        assert!(process.is_limited());
    }

    #[test]
    fn sizes_are_said_in_the_unit_that_they_fill() {
        let said = [(0, "0.0 MiB"), (1 << 20, "1.0 MiB"), ((1 << 30) - (1 << 20), "1023.0 MiB")];
        let large = [(1 << 30, "1.00 GiB"), (5 << 29, "2.50 GiB")];
        said.into_iter().chain(large).for_each(|(bytes, text)| assert_eq!(in_gib(bytes), text));
        assert_eq!(in_gib_above((1 << 20) + 1), "2.0 MiB");
        assert_eq!(in_gib_above(1 << 30), "1.00 GiB");
        assert_eq!(in_gib_above((1 << 30) + (1 << 20)), "1.01 GiB");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_has_free_disk() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        assert!(free_disk(folder.path()).is_some());
        assert_eq!(free_disk(&folder.path().join("absent")), None);
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
        assert!(System::read().held().is_some_and(|bytes| bytes > 1 << 20));
    }
}
