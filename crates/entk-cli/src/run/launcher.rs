//! Which of several processes this one is: what schedulers and launchers tell it in variables of
//! the environment comes in, its part of the work goes out. Called by `gram` and `stats`, and by
//! `eigen` before it starts MPI.

use anyhow::{Context, Result};
use entk::gram::store::Part;

/// Rank and number of ranks: of `mpirun` of Open MPI, of that of MPICH, and of `srun`, which comes
/// last since the others may run within it.
const RANKS: [[&str; 2]; 3] = [
    ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
    ["PMI_RANK", "PMI_SIZE"],
    ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
];

/// One of several processes that were started for the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Its part of the work.
    pub part: Part,
    /// Whether all of them run now, as ranks do; tasks of an array wait for their turn.
    pub side_by_side: bool,
}

impl Launched {
    /// The task of a Slurm array, else the rank of `mpirun` or `srun`, that this process is.
    ///
    /// # Errors
    /// Variables that do not fit together.
    pub fn find() -> Result<Option<Self>> {
        if let Some(part) = of_array()? {
            return Ok(Some(Self { part, side_by_side: false }));
        }
        let Some([name, rank, size]) = rank() else { return Ok(None) };
        let part = Part::of_task(&rank, "0", &size)
            .with_context(|| format!("{name}; give --part to override it"))?;
        Ok(Some(Self { part, side_by_side: true }))
    }
}

/// Whether `srun` has started this process and no other: an MPI without support for Slurm ends such
/// a process at its start, and there is nobody to speak with.
pub fn is_only_task_of_srun() -> bool {
    rank().is_some_and(|[name, _, size]| name == RANKS[2][0] && size == "1")
}

fn of_array() -> Result<Option<Part>> {
    let [id, min, count] =
        ["ID", "MIN", "COUNT"].map(|name| variable(&format!("SLURM_ARRAY_TASK_{name}")));
    let (Some(id), Some(min), Some(count)) = (id, min, count) else { return Ok(None) };
    let part = Part::of_task(&id, &min, &count)
        .context("SLURM_ARRAY_TASK_ID, _MIN and _COUNT; give --part to override them")?;
    Ok(Some(part))
}

/// The name of the variable with the rank, the rank and the number of ranks.
fn rank() -> Option<[String; 3]> {
    let of = |[rank, size]: [&str; 2]| Some([rank.to_owned(), variable(rank)?, variable(size)?]);
    RANKS.into_iter().find_map(of)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
