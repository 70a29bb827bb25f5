//! [`CostProbe`]: a model, parameters and examples come in; rates of this machine go out, measured
//! on a sample of the examples, from which the cost of each way follows.

use std::time::Instant;

use entk_device::{InputSource, SourceRange};
use entk_models::{Model, Params};
use entk_spectral::{EigshConfig, Gram, LinearOperator, Solver, SymmetricOperator, eigsh};

use crate::{
    assembly::Assembly,
    config::GramConfig,
    error::{GramError, Result},
    jacobian::{JacobianOperator, as_taken},
    plan::{Plan, Target},
    ways::{Cluster, EigenpairsCost, Way, WayCost, pass_rate::PassRate},
};

/// Most examples of the sample whose kernel is formed, and the seconds that this may take.
const SAMPLE: usize = 2048;
const LONGEST: f64 = 10.0;
/// Fewest: below, nothing of a large product is seen.
const LEAST: usize = 64;
/// Examples that are swept for the rates of the Jacobian, and how many times fewer first, which
/// tells what a pass costs whatever the examples.
const SWEPT: usize = 512;
const FEWER: usize = 4;
/// Rows of the sample for each of its pairs: of fewer, products are those of a small matrix.
const ROWS_PER_PAIR: usize = 8;
/// Columns of a block: of a Gram in memory and of a Jacobian, and of a store.
const BLOCKS: [usize; 2] = [32, 128];

/// Products that a solve takes, for each of its pairs, and what it takes beside them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SolveRate {
    /// Columns multiplied for a pair.
    products: f64,
    /// Seconds beside the products, for a row and the square of the columns multiplied.
    seconds: f64,
}

/// Seconds and bytes of the parts of all ways, measured on a sample.
///
/// An assembly costs a sweep an example and a contraction a pair of them; a solve so many products
/// a pair as that of the sample with as many of its rows a pair, or as many pairs, whichever are
/// fewer; a product N^2 entries of a Gram, which are read from a store for each block, or sweeps
/// and 4 P operations an example of a Jacobian. Costs of larger N follow by these powers; what is
/// not seen in a sample, such as a spectrum that falls otherwise, is not in them.
#[derive(Debug, Clone)]
pub struct CostProbe {
    pairs: usize,
    solver: EigshConfig,
    /// Rows of the kernel that an example has.
    per: usize,
    /// Bytes of an entry.
    entry: f64,
    /// Seconds of the sweep of an example, and of the contraction of a pair of rows.
    assembly: [f64; 2],
    beside: BesideGram,
    /// Seconds of a product with a column, for an entry of the Gram.
    product: f64,
    /// Of a Gram and of a store.
    solves: [SolveRate; 2],
    /// Parameters with a gradient.
    columns: usize,
    jacobian: PassRate,
    /// Bytes of products with the Jacobian.
    jacobian_bytes: u64,
}

impl CostProbe {
    /// Measures the rates for `pairs` eigenpairs of the kernel of `model` on the first examples of
    /// `source`: assembles a Gram of up to 2,048 of them, of fewer where that would take more than
    /// ten seconds, and solves it.
    ///
    /// # Errors
    /// As [`Assembly::new`] and [`JacobianOperator::new`]; a number of pairs of 0.
    pub fn measure(
        model: &dyn Model,
        params: &Params,
        source: &dyn InputSource,
        config: &GramConfig,
        solver: &EigshConfig,
        pairs: usize,
    ) -> Result<Self> {
        if pairs == 0 {
            return Err(GramError::Setting { field: "number of eigenpairs", got: 0, least: 1 });
        }
        let most = source.examples().min(SWEPT);
        let all = SourceRange { source, range: 0..most };
        let few = SourceRange { range: 0..(most / FEWER).max(1), ..all.clone() };
        let of = |range| JacobianOperator::new(model, params, range, config);
        let [few, jacobian] = [of(&few)?, of(&all)?];
        let sample = Sample::assemble(model, params, source, config)?;
        let product = sample.product()?;
        let of_sample = pairs.min(sample.gram.n() / ROWS_PER_PAIR).max(1);
        let [memory, store] = BLOCKS
            .map(|block| sample.solve(solver, of_sample, solver.block.unwrap_or(block), product));
        let per = jacobian.rows_per_example();
        Ok(Self {
            pairs,
            solver: solver.clone(),
            per,
            entry: sample.entry,
            assembly: sample.assembly,
            beside: sample.beside,
            product,
            solves: [memory?, store?],
            columns: jacobian.cols(),
            jacobian: PassRate::measure(&few, &jacobian, BLOCKS[0])?,
            jacobian_bytes: jacobian.bytes(solver.block.unwrap_or(BLOCKS[0])),
        })
    }

    /// What the pairs cost on so many examples.
    #[must_use]
    pub fn cost(&self, examples: usize, cluster: &Cluster) -> EigenpairsCost {
        let rows = examples.saturating_mul(self.per);
        EigenpairsCost {
            rows,
            pairs: self.pairs,
            products: self.products(self.solves[0]) as usize,
            cluster: *cluster,
            ways: [
                self.gram(examples, cluster),
                self.store(examples, cluster),
                self.matrix_free(examples, cluster),
            ],
        }
    }

    /// Columns that a solve multiplies.
    fn products(&self, solve: SolveRate) -> f64 {
        (solve.products * self.pairs as f64).ceil()
    }

    /// Seconds of all products of a solve, where each takes `product`, of vectors of `len` numbers;
    /// hosts share both, and exchange every column.
    fn solve_s(&self, solve: SolveRate, product: f64, len: f64, cluster: &Cluster) -> f64 {
        let (columns, hosts) = (self.products(solve), cluster.hosts.max(1) as f64);
        let all = columns + self.pairs as f64;
        let sent = all * 8.0 * len * (hosts - 1.0) / hosts;
        all * product + solve.seconds * len * columns.powi(2) / hosts + sent / cluster.network
    }

    /// Seconds of the assembly: hosts share the contraction, and each sweeps so many examples.
    fn assembly_s(&self, examples: f64, swept: f64, cluster: &Cluster) -> f64 {
        let rows = examples * self.per as f64;
        self.assembly[0] * swept + self.assembly[1] * rows.powi(2) / cluster.hosts.max(1) as f64
    }

    /// Bytes of the solver's vectors.
    fn vectors(&self, rows: usize) -> u64 {
        self.solver.bytes(rows, self.pairs.min(rows))
    }

    fn gram(&self, examples: usize, cluster: &Cluster) -> WayCost {
        let (n, hosts) = (examples as f64, cluster.hosts.max(1) as f64);
        let rows = n * self.per as f64;
        let product = self.product * rows.powi(2) / hosts;
        let kernel = (self.entry * rows.powi(2) / hosts) as u64;
        let beside = self.beside.bytes(n).max(self.vectors(rows as usize));
        WayCost {
            way: Way::Gram,
            assembly_s: self.assembly_s(n, n, cluster),
            solve_s: self.solve_s(self.solves[0], product, rows, cluster),
            memory: kernel.saturating_add(beside),
            disk: 0,
        }
    }

    fn store(&self, examples: usize, cluster: &Cluster) -> WayCost {
        let (n, hosts) = (examples as f64, cluster.hosts.max(1) as f64);
        let rows = n * self.per as f64;
        let disk = self.entry * rows.powi(2) / 2.0;
        // Those of the tiles of a part; see `Part::share`.
        let swept = n * (3.0 / hosts).sqrt().min(1.0);
        // Tiles are read ahead while others are multiplied.
        let reading = disk / hosts / cluster.disk;
        let block = self.solver.block.unwrap_or(BLOCKS[1]) as f64;
        let product = (self.product * rows.powi(2) / hosts).max(reading / block);
        WayCost {
            way: Way::Store,
            assembly_s: self.assembly_s(n, swept, cluster) + reading,
            solve_s: self.solve_s(self.solves[1], product, rows, cluster),
            memory: self.beside.bytes(swept).max(self.vectors(rows as usize)),
            disk: disk as u64,
        }
    }

    fn matrix_free(&self, examples: usize, cluster: &Cluster) -> WayCost {
        let (n, hosts) = (examples as f64, cluster.hosts.max(1));
        let rows = examples.saturating_mul(self.per);
        let len = rows.min(self.columns);
        // Of the columns' Gram in one pass, of the rows' in two.
        let passes = if rows > self.columns { 1.0 } else { 2.0 };
        let block = self.solver.block.unwrap_or(BLOCKS[0]) as f64;
        let PassRate { fixed, sweep, column } = self.jacobian;
        let product = fixed + n * (passes * sweep / block + column) / hosts as f64;
        let solver = self.solver.row_gram_bytes(rows.div_ceil(hosts), len, self.pairs);
        WayCost {
            way: Way::MatrixFree,
            assembly_s: 0.0,
            solve_s: self.solve_s(self.solves[0], product, len as f64, cluster),
            memory: solver.saturating_add(self.jacobian_bytes),
            disk: 0,
        }
    }
}

/// Bytes that an assembly needs beside the Gram, from the plans of two numbers of examples: buffers
/// of threads do not grow with the examples, their factors do.
#[derive(Debug, Clone, Copy)]
struct BesideGram {
    fixed: f64,
    example: f64,
}

impl BesideGram {
    /// Of plans of a few examples, and of more.
    fn between(few: &Plan, more: &Plan, entry: f64) -> Self {
        let [few_n, more_n] = [few, more].map(|plan| plan.examples() as f64);
        let [few, more] =
            [few, more].map(|plan| plan.peak() as f64 - entry * (plan.n() as f64).powi(2));
        let example = if more_n > few_n { (more - few) / (more_n - few_n) } else { more / more_n };
        let example = example.max(0.0);
        Self { fixed: (more - example * more_n).max(0.0), example }
    }

    fn bytes(self, examples: f64) -> u64 {
        (self.fixed + self.example * examples) as u64
    }
}

/// The Gram of a few examples, and what it took.
struct Sample {
    gram: Gram,
    /// As in [`CostProbe`].
    entry: f64,
    assembly: [f64; 2],
    beside: BesideGram,
}

impl Sample {
    fn assemble(
        model: &dyn Model,
        params: &Params,
        source: &dyn InputSource,
        config: &GramConfig,
    ) -> Result<Self> {
        let most = source.examples().min(SAMPLE);
        let inputs = as_taken(&source.read(0..most)?, model, params)?;
        let plan = |n: usize| -> Result<Plan> {
            let inputs = inputs.narrow(0, 0, n)?;
            Assembly::new(model, params, &inputs, config)?.plan(Target::Memory)
        };
        let (few, plan) = (plan(most.div_ceil(2))?, plan(most)?);
        let [sweep, contraction] =
            [plan.sweep_s() / most as f64, plan.contraction_s() / (most as f64).powi(2)];
        let seconds = |n: f64| sweep * n + contraction * n.powi(2);
        let mut n = most;
        while n > LEAST && seconds(n as f64) > LONGEST {
            n = (n / 2).max(LEAST);
        }
        let inputs = inputs.narrow(0, 0, n)?;
        let assembly = Assembly::new(model, params, &inputs, config)?;
        let begin = Instant::now();
        let gram = assembly.gram()?;
        let taken = begin.elapsed().as_secs_f64();
        // In the plan's proportion, which on a device, without one, is all of the contraction.
        let planned = seconds(n as f64);
        let share = if planned > 0.0 { sweep * n as f64 / planned } else { 0.0 };
        let rows = gram.n() as f64;
        let entry = assembly.dtype().size_in_bytes() as f64;
        Ok(Self {
            entry,
            assembly: [share * taken / n as f64, (1.0 - share) * taken / rows.powi(2)],
            beside: BesideGram::between(&few, &plan, entry),
            gram,
        })
    }

    /// Seconds of a product with a column, for an entry, in the quicker of two runs.
    fn product(&self) -> Result<f64> {
        let (n, block) = (self.gram.n(), BLOCKS[0]);
        let (columns, mut images) = (vec![1.0; n * block], vec![0.0; n * block]);
        let mut seconds = f64::MAX;
        for _ in 0..2 {
            let begin = Instant::now();
            self.gram.apply(&columns, &mut images)?;
            seconds = seconds.min(begin.elapsed().as_secs_f64());
        }
        Ok(seconds / block as f64 / (n as f64).powi(2))
    }

    /// Solves for some pairs in blocks of so many columns, where a product takes `product` seconds
    /// an entry.
    fn solve(
        &self,
        solver: &EigshConfig,
        pairs: usize,
        block: usize,
        product: f64,
    ) -> Result<SolveRate> {
        let n = self.gram.n() as f64;
        let block = Some(block.min(self.gram.n()));
        let config = EigshConfig { solver: Solver::Krylov, block, ..solver.clone() };
        let begin = Instant::now();
        let found = eigsh(&self.gram, pairs, &config)?;
        let columns = found.products as f64;
        let multiplied = (columns + pairs as f64) * product * n.powi(2);
        let beside = (begin.elapsed().as_secs_f64() - multiplied).max(0.0);
        Ok(SolveRate {
            products: columns / pairs as f64,
            seconds: beside / (n * columns.max(1.0).powi(2)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 pairs; 8 products a pair of a Gram, 16 of a store; powers of two elsewhere, by which
    /// products are exact.
    fn probe() -> CostProbe {
        let solve = |products| SolveRate { products, seconds: 0.0 };
        CostProbe {
            pairs: 10,
            solver: EigshConfig::default(),
            per: 1,
            entry: 4.0,
            assembly: [0.5, 0.25],
            beside: BesideGram { fixed: 65_536.0, example: 4096.0 },
            product: 0.125,
            solves: [solve(8.0), solve(16.0)],
            columns: 1000,
            jacobian: PassRate { fixed: 2.0, sweep: 4.0, column: 0.5 },
            jacobian_bytes: 1 << 20,
        }
    }

    fn cluster(hosts: usize) -> Cluster {
        Cluster { hosts, memory: 1 << 30, network: 1e9, disk: 1024.0 }
    }

    #[test]
    fn costs_by_hand() {
        let cost = probe().cost(512, &cluster(1));
        let [gram, store, free] = cost.ways;
        assert_eq!((cost.rows, cost.products), (512, 80));
        // A sweep an example, a contraction a pair of them; 80 products and 10 of the certificate.
        assert_eq!(gram.assembly_s, 0.5 * 512.0 + 0.25 * 512.0 * 512.0);
        assert_eq!(gram.solve_s, 90.0 * 0.125 * 512.0 * 512.0);
        // Half of the entries, read in 512 s a block of 128 columns, less than a product takes.
        assert_eq!((store.disk, store.assembly_s - gram.assembly_s), (4 * 512 * 256, 512.0));
        assert_eq!(store.solve_s, 170.0 * 0.125 * 512.0 * 512.0);
        let vectors = EigshConfig::default().bytes(512, 10);
        assert_eq!(store.memory, (65_536 + 4096 * 512).max(vectors));
        assert_eq!(gram.memory - store.memory, 4 * 512 * 512);
        // More parameters than examples: two sweeps for 32 columns.
        assert_eq!(free.solve_s, 90.0 * (2.0 + 512.0 * (2.0 * 4.0 / 32.0 + 0.5)));
        // Products with the Jacobian, a solve of 512 numbers a vector, and the pairs three times.
        let solver = EigshConfig::default().bytes(512, 10);
        assert_eq!(free.memory, (1 << 20) + solver + 3 * 8 * 10 * 512);
        // Fewer: one.
        let [_, _, free] = probe().cost(2048, &cluster(1)).ways;
        assert_eq!(free.solve_s, 90.0 * (2.0 + 2048.0 * (4.0 / 32.0 + 0.5)));
        let solver = EigshConfig::default().bytes(1000, 10);
        assert_eq!(free.memory, (1 << 20) + solver + 3 * 8 * 10 * 2048);
    }

    #[test]
    fn hosts_share_the_work_and_exchange_columns() {
        let [one, four] = [1, 4].map(|hosts| probe().cost(512, &cluster(hosts)).ways);
        assert_eq!(four[0].assembly_s, 0.5 * 512.0 + 0.25 * 512.0 * 512.0 / 4.0);
        let sent = 90.0 * 8.0 * 512.0 * 0.75 / 1e9;
        assert_eq!(four[0].solve_s, one[0].solve_s / 4.0 + sent);
        assert_eq!(four[1].disk, one[1].disk);
        // Each holds its rows of the pairs.
        assert_eq!(one[2].memory - four[2].memory, 3 * 8 * 10 * (512 - 128));
        // A slow disk: all of a solve is reading.
        let slow = Cluster { disk: 0.0625, ..cluster(1) };
        let reading = 4.0 * 512.0 * 256.0 / slow.disk;
        assert_eq!(probe().cost(512, &slow).ways[1].solve_s, 170.0 * reading / 128.0);
    }
}
