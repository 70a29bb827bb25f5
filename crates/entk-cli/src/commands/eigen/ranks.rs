//! Eigenpairs over several processes: the flags and this process's place among the ranks come in,
//! and the first rank writes what a single process would. Called by the program's main under
//! `mpirun` or `srun`.

use std::{path::Path, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use entk::{
    gram::{GramError, Store, Way, store::TileIndex},
    spectral::{
        Communicator, DistributedOperator, DistributedPairs, DistributedRowGram, DistributedTiles,
        LinearOperator, Ranks, RowBands,
    },
};
use entk_cli::{
    FolderUse, KernelChoice, OutputChoice, Run, ensure_input, open_store, refused, say,
    stop_on_signals,
};
use serde_json::Value;

use crate::commands::eigen::{
    flags::Flags,
    of_network,
    results::{self, SolvedPairs, Vectors},
    solve::{STOPPING, Solve},
};

/// Examples of a band without a Gram: a multiple of this, the gradients that are at hand at a time.
const EXAMPLES: usize = 512;
/// Most bands, since every rank is sent sums over some of them.
const BANDS: usize = 128;
/// Vectors that are whole on a rank at a time.
const WHOLE: usize = 16;

/// The eigenpairs that the flags ask for, by all ranks together.
pub fn eigenpairs(flags: &Flags, process: &dyn Communicator) -> Result<()> {
    let ranks = Ranks::new(process);
    let (rank, size) = (ranks.rank(), ranks.size());
    let solved = ranks.jointly(|| solve(flags, &ranks));
    solved.with_context(|| format!("rank {rank} of {size}"))
}

fn solve(flags: &Flags, ranks: &Ranks<'_>) -> Result<()> {
    let stop = stop_on_signals(STOPPING, None)?;
    let out = flags.out.as_deref();
    let run = match ranks.rank() {
        0 => Run::start("eigen", out)?,
        _ => Run::start_in("eigen", out, FolderUse::DryRun)?.silent(),
    };
    let share = Share { run: &run, flags, ranks, stop: &stop };
    let record = match (&flags.gram, &flags.inputs) {
        (Some(path), _) => share.of_store(path),
        (None, Some(path)) => share.of_network(path),
        (None, None) => Err(refused("give --gram, or --inputs with --model")),
    }?;
    if ranks.rank() == 0 {
        run.finish(flags.seed, &flags.settings()?, &record)?;
    }
    Ok(())
}

/// What a rank does.
struct Share<'a> {
    run: &'a Run,
    flags: &'a Flags,
    ranks: &'a Ranks<'a>,
    stop: &'a AtomicBool,
}

impl Share<'_> {
    /// The pairs of a store, whose tiles each rank reads or holds.
    fn of_store(self, path: &Path) -> Result<Value> {
        ensure_input(path.is_dir(), || {
            format!(
                "{}: several ranks share a store; assemble it with `gram --store`, or run one process",
                path.display()
            )
        })?;
        let kernel = self.flags.kernel_of_gram()?;
        let is_full = kernel.as_ref().is_none_or(|kernel| kernel.outputs == OutputChoice::Full);
        ensure_input(is_full, || {
            "--outputs: several ranks take a kernel as it is; run one process".into()
        })?;
        let store = open_store(path)?;
        let mut operator = DistributedTiles::new(&store, self.ranks)?;
        self.run.stage("check", 1, |_| check(&store, operator.positions()))?;
        if self.flags.in_memory {
            operator = self.run.stage("read", 1, |_| Ok(operator.in_memory()?))?;
        }
        let root = store.commit()?.map_or_else(String::new, |commit| commit.root);
        let k = self.flags.k(store.grid().n());
        self.pairs(&operator, k, &root, kernel.as_ref(), Way::Store)
    }

    /// The pairs of a network's kernel, of whose examples each rank sweeps its own.
    fn of_network(self, path: &Path) -> Result<Value> {
        let kernel = of_network::read(self.run, self.flags, path)?;
        let jacobian = kernel.jacobian()?.stoppable(self.stop);
        let (rows, columns) = (jacobian.rows(), jacobian.cols());
        let k = of_network::pair_count(&jacobian, self.flags)?;
        let per = jacobian.rows_per_example();
        let examples = rows / per;
        let band = EXAMPLES * examples.div_ceil(EXAMPLES * BANDS);
        let distributed = RowBands::new(self.ranks, rows, band * per)?;
        let own = distributed.bands_of(self.ranks.rank());
        let of_band = |at: usize| jacobian.of_examples(at * band..examples.min((at + 1) * band));
        let bands: std::result::Result<Vec<_>, GramError> = own.map(of_band).collect();
        let operator = DistributedRowGram::new(bands?, distributed)?;
        let identity = ("bands of examples", kernel.weights()?, path, rows, columns);
        self.pairs(&operator, k, &identity, Some(&kernel.kernel), Way::MatrixFree)
    }

    /// Solves, and writes what a single process would but for the record, which is returned.
    fn pairs<K: DistributedOperator>(
        self,
        operator: &K,
        k: usize,
        identity: &impl serde::Serialize,
        kernel: Option<&KernelChoice>,
        way: Way,
    ) -> Result<Value> {
        let (run, rank) = (self.run, self.ranks.rank());
        let rows = operator.rows();
        if rank == 0 {
            let most = (0..self.ranks.size()).map(|rank| rows.rows_of(rank).len()).max();
            let (size, most) = (self.ranks.size(), most.unwrap_or(0));
            say(format_args!("{size} ranks, at most {most} of {} rows each", rows.n()));
        }
        let solve = Solve::new(run, self.flags, self.stop).of_rank(rank);
        let pairs = solve.solve(identity, k, |run| run.distributed_pairs(operator, k))?;
        let vectors = |write: &mut Vectors<'_>| {
            for own in pairs.vectors.chunks(WHOLE * rows.own().len()) {
                write(&rows.gather(own)?)?;
            }
            Ok(())
        };
        if rank > 0 {
            vectors(&mut |_| Ok(()))?;
            return Ok(Value::Null);
        }
        let top = solution(&pairs, rows.n());
        let certificate = results::write(run, &top, kernel, vectors)?;
        solve.end();
        Ok(results::record(&pairs.values, &certificate, kernel, way))
    }
}

fn solution(pairs: &DistributedPairs, rows: usize) -> SolvedPairs<'_> {
    SolvedPairs {
        rows,
        values: &pairs.values,
        residuals: &pairs.residuals,
        orthogonality: pairs.orthogonality,
        clusters: &pairs.clusters,
        products: pairs.products,
        restarts: pairs.restarts,
        solver: "Krylov".into(),
    }
}

/// Refuses a store of which some tile at these positions is not that of its journal.
fn check(store: &Store, positions: impl Iterator<Item = (usize, usize)>) -> Result<()> {
    let tiles: Vec<TileIndex> = positions.map(|(i, j)| TileIndex(i, j)).collect();
    match store.missing_of(&tiles)?.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => Err(GramError::MissingTiles {
            folder: store.folder().to_owned(),
            missing: 1 + rest.len(),
            tiles: tiles.len(),
            first: *first,
        }
        .into()),
    }
}
