//! What an assembly will need, before it begins: made by the engines from a `Workload` and its
//! `Schedule`, printed and checked by programs.

mod order;
pub(crate) mod rate;
mod record;
pub(crate) mod schedule;
mod steps;
pub(crate) mod workload;

use std::fmt;

use entk_device::memory::{MemoryLimit, in_gib, in_gib_above};
use serde::Serialize;

use crate::{
    error::{GramError, Result},
    factors::form::FormCosts,
    ntk::Ntk,
    plan::{
        schedule::Schedule,
        workload::{PROGRAM, Workload},
    },
    tiles::grid::Grid,
};
pub use crate::{
    factors::form::{Form, LayerPlan},
    plan::order::Order,
};

/// Tiles of a store that are in memory at once: computed, waiting, written, and as bytes.
pub(crate) const TILES: u64 = 4;
/// Edges of tiles that are offered in place of a kernel in memory.
const EDGES: [usize; 4] = [2048, 1024, 512, 256];

/// Where the kernel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Target {
    /// The full square in memory.
    Memory,
    /// A store with tiles of this edge.
    Store {
        /// In examples.
        edge: usize,
    },
}

/// Memory under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// What it is for, and when it is there if not always.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What an assembly will need. Printing it gives a table.
///
/// Memory and operations are counted; times are estimates from one micro-batch and one product.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    target: Target,
    layers: Vec<LayerPlan>,
    work: Workload,
    schedule: Schedule,
    place: Place,
    /// Rows of the kernel that an example has.
    rows_per_example: usize,
    /// Of one sweep over all examples.
    sweep_operations: f64,
    /// Bytes of an entry of the kernel.
    entry: u64,
    /// Pairs of rows whose products are wanted.
    pairs: f64,
    sweep_s: f64,
    contraction_s: f64,
}

/// Where an assembly holds its operands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// In the memory of the process, as these say; the kernel comes on top.
    Host {
        /// During the sweeps.
        sweeping: Buffer,
        /// During the products.
        contracting: Vec<Buffer>,
    },
    /// On a device; whether that is the CPU, so that its memory is the process's.
    Device { is_cpu: bool },
}

/// What an engine tells a plan.
pub(crate) struct EngineCosts {
    pub(crate) forms: &'static FormCosts,
    pub(crate) work: Workload,
    pub(crate) place: Place,
    /// Pairs of rows whose products are wanted.
    pub(crate) pairs: f64,
    /// Seconds of one sweep over all examples; 0 where it is not estimated.
    pub(crate) sweep_s: f64,
    /// Operations of products a second; infinite where it is not estimated.
    pub(crate) rate: f64,
}

impl Plan {
    /// # Errors
    /// [`GramError::Memory`] for a device that cannot hold what one tile needs. The process's own
    /// memory is checked by [`Plan::check`].
    pub(crate) fn new(ntk: &Ntk<'_>, target: Target, costs: EngineCosts) -> Result<Self> {
        let EngineCosts { forms, work, place, pairs, sweep_s, rate } = costs;
        let schedule = match (Schedule::new(&work), &place) {
            (Err(_), Place::Host { .. }) => Schedule::smallest(&work),
            (schedule, _) => schedule?,
        };
        let (layers, strategy) = (ntk.layers()?, ntk.config.strategy);
        let mut per_example = ntk.model.operations();
        for (at, layer) in layers.iter().enumerate() {
            let form = layer.form(strategy, forms);
            let is_first = layers.get(at + 1).is_none_or(|next| next.group != layer.group);
            // Factors of a trace have all outputs side by side, rows of blocks one each.
            let passes = ntk.rows_per_example() as f64;
            per_example += passes * layer.backward_operations(form, is_first);
        }
        let mut plan = Self {
            target,
            layers: layers.iter().map(|layer| layer.plan(strategy, forms)).collect(),
            work,
            schedule,
            place,
            rows_per_example: ntk.rows_per_example(),
            sweep_operations: per_example * ntk.inputs.dim(0)? as f64,
            entry: ntk.dtype().size_in_bytes() as u64,
            pairs,
            sweep_s,
            contraction_s: 0.0,
        };
        plan.contraction_s = plan.operations() / rate;
        Ok(plan)
    }

    /// The first layer's products of `inputs` numbers each are given.
    pub(crate) fn with_given_products(mut self, inputs: usize) -> Self {
        if let Some(first) = self.layers.last_mut() {
            first.columns -= first.columns.min(inputs);
        }
        self
    }

    /// Rows of the kernel: the number of examples N, or N C for full blocks of C outputs; of a part
    /// of a store those that its tiles need.
    pub fn n(&self) -> usize {
        self.work.rows
    }

    /// Number of examples; of a part of a store those that its tiles need.
    pub fn examples(&self) -> usize {
        self.n() / self.rows_per_example
    }

    /// Where the kernel goes.
    pub fn target(&self) -> Target {
        self.target
    }

    /// FactorSizes by layer, last first.
    pub fn layers(&self) -> &[LayerPlan] {
        &self.layers
    }

    /// The order of the work.
    pub fn order(&self) -> Order {
        Order::new(&self.work, &self.schedule)
    }

    /// Sweeps over all examples.
    fn sweeps(&self) -> f64 {
        let Order { tiles, resident_tiles, sweeps, .. } = self.order();
        (tiles.div_ceil(resident_tiles.max(1)) * sweeps) as f64
    }

    /// Bytes on disk.
    pub fn disk(&self) -> u64 {
        match self.target {
            Target::Memory => 0,
            Target::Store { edge } => {
                let edge = edge.min(self.n());
                self.work.tiles as u64 * ((edge * edge) as u64 * self.entry + 4)
            }
        }
    }

    /// Operations of the contraction of N (N + 1) / 2 pairs, or of those of a part.
    pub fn operations(&self) -> f64 {
        let columns: usize = self.layers.iter().map(|layer| layer.columns).sum();
        2.0 * self.pairs * columns as f64
    }

    /// Operations of the matrix products in the sweeps: of every layer the values, of every active
    /// layer the input's cotangent, and the rows of convolutions.
    pub fn sweep_operations(&self) -> f64 {
        self.sweep_operations * self.sweeps()
    }

    /// Estimated seconds of the sweeps; 0 on a device.
    pub fn sweep_s(&self) -> f64 {
        self.sweep_s * self.sweeps()
    }

    /// Estimated seconds of the contraction; 0 on a device.
    pub fn contraction_s(&self) -> f64 {
        self.contraction_s
    }

    /// Memory of the process, by what it is for.
    pub fn buffers(&self) -> Vec<Buffer> {
        let buffer = |name: &str, bytes| Buffer { name: name.into(), bytes };
        let kernel = self.kernel();
        let mut buffers = Vec::new();
        match &self.place {
            Place::Device { is_cpu } => {
                let tensors = if *is_cpu { self.schedule.peak } else { 0 };
                buffers.extend([buffer("program", PROGRAM + tensors), kernel]);
            }
            Place::Host { sweeping, contracting } => {
                buffers.push(buffer("inputs, parameters and program", self.work.held));
                buffers.push(buffer("gradient factors", self.factors()));
                let first = |b: &Buffer| buffer(&format!("{} (first)", b.name), b.bytes);
                let then = |b: &Buffer| buffer(&format!("{} (then)", b.name), b.bytes);
                buffers.push(first(sweeping));
                buffers.extend(contracting.iter().map(then));
                let whole = self.schedule.operands_are_resident();
                buffers.push(if whole { then(&kernel) } else { kernel });
            }
        }
        buffers
    }

    /// Bytes of the factors that are kept at a time.
    fn factors(&self) -> u64 {
        let chunks = self.schedule.groups.iter().flat_map(|group| &group.chunks);
        let bytes = chunks
            .map(|chunk| chunk.iter().map(|block| self.work.operand_bytes(block)).sum::<u64>());
        bytes.max().unwrap_or(0)
    }

    /// The kernel, or its tiles, in memory.
    fn kernel(&self) -> Buffer {
        let square = |edge: u64| edge * edge * self.entry;
        match self.target {
            Target::Memory => {
                Buffer { name: "kernel, full".into(), bytes: square(self.n() as u64) }
            }
            Target::Store { edge } => {
                let edge = edge.min(self.n()) as u64;
                let bytes = TILES * square(edge);
                Buffer { name: "tiles on their way to disk".into(), bytes }
            }
        }
    }

    /// Largest memory of the process at any time, in bytes.
    pub fn peak(&self) -> u64 {
        match self.place {
            Place::Host { .. } => self.schedule.peak,
            Place::Device { .. } => self.buffers().iter().map(|buffer| buffer.bytes).sum(),
        }
    }

    /// Refuses a plan that needs more than `limit`, naming its buffers and what would fit.
    ///
    /// # Errors
    /// [`GramError::TooMuchMemory`].
    pub fn check(&self, limit: &MemoryLimit) -> Result<()> {
        if self.peak() <= limit.bytes {
            return Ok(());
        }
        let mut buffers = String::new();
        // Writing to a string does not fail.
        let _ = self.write_buffers(&mut buffers);
        let advice = self.alternatives(limit.bytes);
        Err(GramError::TooMuchMemory { needed: self.peak(), limit: limit.clone(), buffers, advice })
    }

    /// This plan for another number of rows or another target, where `bytes` may be used.
    fn with(&self, n: usize, target: Target, bytes: u64) -> Self {
        let (tiles, edge, waiting) = match target {
            Target::Memory => (1, n as u64, 0),
            Target::Store { edge } => {
                let grid = Grid::new(n, edge);
                (grid.lower().count(), grid.edge() as u64, TILES - 1)
            }
        };
        let tile = edge * edge * self.entry;
        let pairs = n as f64 * (n as f64 + 1.0) / 2.0;
        let mut plan = Self { target, pairs, ..self.clone() };
        plan.work = Workload { rows: n, tiles, tile, waiting, limit: bytes, ..self.work.clone() };
        if matches!(plan.place, Place::Host { .. }) {
            let work = &plan.work;
            plan.schedule = Schedule::new(work).unwrap_or_else(|_| Schedule::smallest(work));
        }
        plan
    }

    /// Plans that need at most `bytes`.
    fn alternatives(&self, bytes: u64) -> Vec<String> {
        let with = |n, target| self.with(n, target, bytes);
        let mut advice = Vec::new();
        let stored = EDGES.into_iter().map(|edge| with(self.n(), Target::Store { edge }));
        if let Some(plan) = stored.into_iter().find(|plan| plan.peak() <= bytes)
            && let Target::Store { edge } = plan.target
        {
            let (peak, disk) = (in_gib(plan.peak()), in_gib(plan.disk()));
            advice
                .push(format!("a store on disk with tiles of {edge}: peak {peak}, {disk} on disk"));
        }
        // The largest number of examples that fits, by bisection.
        let of_examples = |count| with(count * self.rows_per_example, self.target);
        let (mut low, mut high) = (0, self.examples());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let fits = of_examples(middle).peak() <= bytes;
            if fits { low = middle } else { high = middle }
        }
        if low > 0 {
            let peak = in_gib(of_examples(low).peak());
            advice.push(format!("{low} examples in place of {}: peak {peak}", self.examples()));
        }
        if advice.is_empty() {
            // What does not fit has the smallest schedule, so that this is enough.
            let store = with(self.n(), Target::Store { edge: EDGES[3] });
            let least = in_gib_above(store.peak().min(self.peak()));
            let memory = if store.peak() < self.peak() { "a store on disk and " } else { "" };
            advice.push(format!("{memory}a limit of at least {least}, or a smaller micro-batch"));
        }
        advice
    }

    fn write_buffers(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        for Buffer { name, bytes } in self.buffers() {
            writeln!(f, "  {:.<44} {:>12}", format!("{name} "), in_gib(bytes))?;
        }
        writeln!(f, "  {:.<44} {:>12}", "peak ", in_gib(self.peak()))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} examples", self.examples())?;
        if self.rows_per_example > 1 {
            write!(f, " of {} rows", self.rows_per_example)?;
        }
        writeln!(f, ", {:?}", self.target)?;
        let [layer, parameters, form, kept, columns] =
            ["layer", "parameters", "form", "kept", "columns"];
        writeln!(f, "  {layer:<44} {parameters:>12} {form:>8} {kept:>10} {columns:>10}")?;
        for LayerPlan { names, parameters, form, kept, columns } in &self.layers {
            let (names, form) = (names.join(", "), format!("{form:?}"));
            writeln!(f, "  {names:<44} {parameters:>12} {form:>8} {kept:>10} {columns:>10}")?;
        }
        self.write_buffers(f)?;
        writeln!(f, "  disk {}", in_gib(self.disk()))?;
        writeln!(
            f,
            "  {:.3e} operations of the sweeps and {:.3e} of the contraction",
            self.sweep_operations(),
            self.operations()
        )?;
        write!(f, "  {}", self.order())?;
        if matches!(self.place, Place::Device { .. }) {
            return Ok(());
        }
        let (sweep_s, contraction_s) = (self.sweep_s(), self.contraction_s);
        write!(f, "\n  about {sweep_s:.0} s of sweeps and {contraction_s:.0} s of products")
    }
}
