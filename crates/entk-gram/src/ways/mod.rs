//! The ways to the leading eigenpairs of a kernel, and what each costs: rates of [`CostProbe`] come
//! in, seconds and bytes for any number of examples go out. Programs print them and choose.

mod pass_rate;
mod probe;

use std::{fmt, time::Duration};

use entk_device::memory::{MemoryLimit, in_gib};
use serde::Serialize;

pub use crate::ways::{pass_rate::PassRate, probe::CostProbe};

/// 10 Gbit/s and 1 GB/s, in bytes a second.
const NETWORK: f64 = 1.25e9;
const DISK: f64 = 1e9;

/// Machines that share the work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cluster {
    /// Machines like the one that the rates are measured on.
    pub hosts: usize,
    /// Bytes of memory that each may use.
    pub memory: u64,
    /// Bytes a second that each sends and receives.
    pub network: f64,
    /// Bytes a second that each reads from the files of a store.
    pub disk: f64,
}

impl Default for Cluster {
    /// This machine, with the memory that this process may use; 10 Gbit/s, and 1 GB/s of its disk.
    fn default() -> Self {
        let memory = MemoryLimit::detect(None).map_or(u64::MAX, |limit| limit.bytes);
        Self { hosts: 1, memory, network: NETWORK, disk: DISK }
    }
}

/// Where the products of a solver come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Way {
    /// The Gram, in memory.
    Gram,
    /// The tiles of a store, read again for every block of columns.
    Store,
    /// The Jacobian, by sweeps of the network: nothing of N^2 numbers.
    MatrixFree,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gram => "Gram in memory",
            Self::Store => "Gram in a store",
            Self::MatrixFree => "matrix-free",
        })
    }
}

/// What one way costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WayCost {
    /// Which way.
    pub way: Way,
    /// Seconds of the assembly, on each host.
    pub assembly_s: f64,
    /// Seconds of the solve, with its certificate.
    pub solve_s: f64,
    /// Bytes of memory of each host.
    pub memory: u64,
    /// Bytes on disk, of all hosts.
    pub disk: u64,
}

impl WayCost {
    /// Seconds of both.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.assembly_s + self.solve_s
    }
}

/// The leading eigenpairs of a kernel in every way. Printing it gives a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EigenpairsCost {
    /// Rows of the kernel.
    pub rows: usize,
    /// Eigenpairs.
    pub pairs: usize,
    /// Columns that are multiplied by the kernel, without those of the certificate.
    pub products: usize,
    /// The machines.
    pub cluster: Cluster,
    /// The ways.
    pub ways: [WayCost; 3],
}

impl EigenpairsCost {
    /// The quickest way that memory allows.
    #[must_use]
    pub fn best(&self) -> Option<&WayCost> {
        self.best_of(&[Way::Gram, Way::Store, Way::MatrixFree])
    }

    /// The quickest of some ways that memory allows.
    #[must_use]
    pub fn best_of(&self, ways: &[Way]) -> Option<&WayCost> {
        let fits = |cost: &&WayCost| ways.contains(&cost.way) && self.fits(cost);
        self.ways.iter().filter(fits).min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
    }

    /// What one way costs.
    #[must_use]
    pub fn of(&self, way: Way) -> Option<&WayCost> {
        self.ways.iter().find(|cost| cost.way == way)
    }

    fn fits(&self, cost: &WayCost) -> bool {
        cost.memory <= self.cluster.memory
    }
}

impl fmt::Display for EigenpairsCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, pairs, products, cluster, .. } = self;
        writeln!(
            f,
            "{pairs} eigenpairs of {rows} rows, about {products} products, {} of {} each",
            if cluster.hosts == 1 { "a host".into() } else { format!("{} hosts", cluster.hosts) },
            in_gib(cluster.memory)
        )?;
        let [way, assembly, solve, memory, disk] = ["", "assembly", "solve", "memory", "disk"];
        writeln!(f, "  {way:<16} {assembly:>10} {solve:>10} {memory:>12} {disk:>12}")?;
        for cost in &self.ways {
            let fits = if self.fits(cost) { "" } else { "  does not fit" };
            writeln!(
                f,
                "  {:<16} {:>10} {:>10} {:>12} {:>12}{fits}",
                cost.way,
                readable(cost.assembly_s),
                readable(cost.solve_s),
                in_gib(cost.memory),
                in_gib(cost.disk)
            )?;
        }
        match self.best() {
            Some(best) => write!(f, "  quickest: {}, {}", best.way, readable(best.seconds())),
            None => write!(f, "  none fits: more memory, more hosts, or fewer pairs"),
        }
    }
}

/// A time as it is spoken of.
fn readable(seconds: f64) -> String {
    let Ok(time) = Duration::try_from_secs_f64(seconds) else { return "for ever".into() };
    match time.as_secs_f64() {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(memory: u64, ways: [(f64, u64); 3]) -> EigenpairsCost {
        let kinds = [Way::Gram, Way::Store, Way::MatrixFree];
        let of = |(way, (solve_s, memory)): (Way, (f64, u64))| WayCost {
            way,
            assembly_s: 1.0,
            solve_s,
            memory,
            disk: 0,
        };
        let mut all = kinds.into_iter().zip(ways).map(of);
        let ways = std::array::from_fn(|_| all.next().expect("three ways"));
        let cluster = Cluster { memory, ..Cluster::default() };
        EigenpairsCost { rows: 10, pairs: 2, products: 20, cluster, ways }
    }

    #[test]
    fn the_quickest_way_that_fits_is_best() {
        let ways = [(1.0, 100), (3.0, 10), (2.0, 20)];
        for (memory, best) in [
            (100, Some(Way::Gram)),
            (99, Some(Way::MatrixFree)),
            (20, Some(Way::MatrixFree)),
            (19, Some(Way::Store)),
            (9, None),
        ] {
            let cost = cost(memory, ways);
            assert_eq!(cost.best().map(|cost| cost.way), best, "{memory} bytes");
            assert_eq!(cost.to_string().matches("does not fit").count() < 3, best.is_some());
        }
    }

    #[test]
    fn times_have_their_unit() {
        for (seconds, text) in
            [(0.04, "0.0 s"), (99.0, "99.0 s"), (120.0, "2.0 min"), (7200.0, "2.0 h")]
        {
            assert_eq!(readable(seconds), text);
        }
        assert_eq!(readable(f64::INFINITY), "for ever");
    }
}
