//! Memory and disk of this machine: what a process may have, for whoever plans or allocates.

use std::{fs, path::Path};

/// Share of the available memory that a run may use.
const SHARE: f64 = 0.9;

/// How much memory this process may have in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes, including those that the process holds already.
    pub bytes: u64,
    /// Where the number comes from.
    pub source: String,
}

impl MemoryLimit {
    /// The smallest of: what the process holds and 90 % of what the system has available, 90 % of
    /// its control groups' limits (v1 and v2), and `max` bytes. `None` where nothing is known.
    pub fn detect(max: Option<u64>) -> Option<Self> {
        let resident = resident();
        let share = |bytes: u64| (bytes as f64 * SHARE) as u64;
        let available = status_kib("/proc/meminfo", "MemAvailable:").map(|free| Self {
            bytes: resident.unwrap_or(0) + share(free),
            source: "90 % of what the system has available".into(),
        });
        let group = control_group_limit().map(|limit| Self {
            bytes: share(limit),
            source: "90 % of the control group's limit".into(),
        });
        let max = max.map(|bytes| Self { bytes, source: "the given limit".into() });
        [available, group, max].into_iter().flatten().min_by_key(|limit| limit.bytes)
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

    #[cfg(target_os = "linux")]
    #[test]
    fn the_given_limit_counts_when_it_is_the_smallest() {
        let limit = MemoryLimit::detect(Some(1)).expect("a limit");
        assert_eq!((limit.bytes, limit.source.as_str()), (1, "the given limit"));
        assert!(MemoryLimit::detect(None).is_some_and(|limit| limit.bytes > 1 << 20));
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }
}
