pub(crate) mod rate;

use std::{fmt, time::Instant};

use entk_models::{Factor, Real};
use faer::Par;

use crate::{
    assembly::Assembly,
    config::Strategy,
    cpu::{
        kept::{Piece, pieces},
        pair::PairForm,
    },
    device::{
        config::DeviceConfig,
        schedule::edge as device_edge,
        sizes::{DevicePlan, Probe},
    },
    error::{GramError, Result},
    factors::{
        Swept, factors_from,
        form::{Form, LayerPlan, backward_operations, in_flight},
    },
    grid::Grid,
    memory::MemoryLimit,
    plan::rate::rate,
    units::gib,
};

/// Edge of the product that measures this machine's rate.
const PROBE: usize = 768;
/// Tiles of a store that are in memory at once: computed, waiting, written, and as bytes.
const TILES: u64 = 4;

/// The program, its threads and its small allocations.
const PROGRAM: u64 = 40 << 20;

/// Where the kernel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// What it is for.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What an assembly will need. Printing it gives a table.
///
/// Times are estimates from one micro-batch and one product; memory is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Rows of the kernel: the number of examples N, or N C for full blocks of C outputs.
    pub n: usize,
    /// Where the kernel goes.
    pub target: Target,
    /// Layer by layer, last first.
    pub layers: Vec<LayerPlan>,
    /// What stays in memory to the end.
    pub resident: Vec<Buffer>,
    /// What is in memory during the sweeps, and then no longer.
    pub sweeping: Buffer,
    /// What is in memory from then on.
    pub contracting: Vec<Buffer>,
    /// Bytes on disk.
    pub disk: u64,
    /// Operations of the contraction of N (N + 1) / 2 pairs.
    pub operations: f64,
    /// Operations of the matrix products in the sweeps: of every layer the values, of every
    /// active layer the input's cotangent, and the rows of convolutions.
    pub sweep_operations: f64,
    /// Estimated seconds of the sweeps.
    pub sweep_s: f64,
    /// Estimated seconds of the contraction.
    pub contraction_s: f64,
    /// What happens on a device, where factors and products are; times are not estimated then.
    pub device: Option<DevicePlan>,
    item: u64,
    entry: u64,
    edge: usize,
}

impl Assembly<'_> {
    /// Plans the assembly: one sweep of a micro-batch shows the layers, one product the machine.
    ///
    /// # Errors
    /// Inputs or parameters that do not fit the model.
    /// [`GramError::DeviceMemory`] for a kernel whose single tile does not fit the device.
    pub fn plan(&self, target: Target) -> Result<Plan> {
        if let Some(config) = self.device_config() {
            return self.planned_on_device(target, &config);
        }
        match self.params.dtype() {
            candle_core::DType::F64 => self.planned::<f64>(target, 8),
            _ => self.planned::<f32>(target, 4),
        }
    }

    /// One example shows the layers; times are not estimated.
    fn planned_on_device(&self, target: Target, config: &DeviceConfig) -> Result<Plan> {
        let n = self.rows_of(self.inputs)?;
        let probe = Probe::new(self)?;
        let edge = match target {
            Target::Memory => config.edge.unwrap_or_else(|| device_edge(n)),
            Target::Store { edge } => edge,
        };
        let device = self.device_plan(edge.clamp(1, n), &probe, config)?;
        let on_host = if self.params.device().is_cpu() { device.peak } else { 0 };
        let sets = device.tiles.div_ceil(device.resident_tiles) * device.sweeps;
        let mut plan = Plan {
            n,
            target,
            layers: probe.layers(),
            resident: vec![Buffer { name: "program".into(), bytes: PROGRAM + on_host }],
            sweeping: Buffer { name: "sweeps".into(), bytes: 0 },
            contracting: Vec::new(),
            disk: 0,
            operations: 0.0,
            sweep_operations: probe.operations * (self.inputs.dim(0)? * sets) as f64,
            sweep_s: 0.0,
            contraction_s: 0.0,
            device: Some(device),
            item: self.params.dtype().size_in_bytes() as u64,
            entry: self.dtype().size_in_bytes() as u64,
            edge,
        };
        plan.size(0);
        Ok(plan)
    }

    fn planned<T: Real>(&self, target: Target, item: u64) -> Result<Plan> {
        let n = self.rows_of(self.inputs)?;
        let start = Instant::now();
        let Swept { groups, count } =
            factors_from(self.model, self.params, self.inputs, &self.config, 0)?;
        let (mut layers, mut swept, mut per_example) = (Vec::new(), 0, self.model.operations());
        let factors: Vec<_> = groups.into_iter().take(1).flatten().collect();
        let first = factors.len().saturating_sub(1);
        for (at, factor) in factors.into_iter().enumerate() {
            swept += in_flight(&factor);
            per_example += backward_operations(&factor, at == first);
            layers.push(layer::<T>(factor, count, self.config.strategy)?);
        }
        if let (Some(_), Some(first)) = (self.products, layers.last_mut()) {
            first.columns -= first.columns.min(self.inputs.elem_count() / self.inputs.dim(0)?);
        }
        let threads = rayon::current_num_threads() as f64;
        let batches = self.inputs.dim(0)?.div_ceil(self.config.micro_batch) as f64;
        let held = self.inputs.elem_count() + self.params.count();
        let sweeping = Buffer {
            name: format!("sweeps of {threads} micro-batches of {}", self.config.micro_batch),
            // Values and cotangents, of each layer and of the activation after it.
            bytes: (2 * swept) as u64 * item * threads as u64,
        };
        let base = held as u64 * item + PROGRAM;
        let mut plan = Plan {
            n,
            target,
            layers,
            resident: vec![Buffer { name: "inputs, parameters and program".into(), bytes: base }],
            sweeping,
            contracting: Vec::new(),
            disk: 0,
            operations: 0.0,
            sweep_operations: per_example * self.inputs.dim(0)? as f64,
            sweep_s: start.elapsed().as_secs_f64() * batches / threads,
            contraction_s: 0.0,
            device: None,
            item,
            entry: if self.dtype() == candle_core::DType::F64 { 8 } else { 4 },
            edge: self.config.tile,
        };
        plan.size(self.config.expansion as u64);
        plan.contraction_s = plan.operations / rate::<T>(PROBE, Par::Seq) / threads;
        Ok(plan)
    }
}

impl Plan {
    /// Largest memory at any time, in bytes.
    pub fn peak(&self) -> u64 {
        let sum = |buffers: &[Buffer]| buffers.iter().map(|buffer| buffer.bytes).sum::<u64>();
        sum(&self.resident) + self.sweeping.bytes.max(sum(&self.contracting))
    }

    /// Refuses a plan that needs more than `limit`, naming its buffers and what would fit.
    ///
    /// # Errors
    /// [`GramError::TooMuchMemory`].
    pub fn check(&self, limit: &MemoryLimit) -> Result<()> {
        if self.peak() <= limit.bytes {
            return Ok(());
        }
        let advice = self.alternatives(limit.bytes);
        Err(GramError::TooMuchMemory { plan: Box::new(self.clone()), limit: limit.clone(), advice })
    }

    /// The same for another number of examples or target.
    fn with(&self, n: usize, target: Target) -> Self {
        let mut other = Self { n, target, ..self.clone() };
        let expansion = self.contracting.iter().find(|buffer| buffer.name == EXPANSION);
        // The inputs are held already; fewer of them free nothing.
        other.resident.truncate(1);
        other.size(expansion.map_or(0, |buffer| buffer.bytes));
        other
    }

    /// Plans that need at most `bytes`.
    fn alternatives(&self, bytes: u64) -> Vec<String> {
        let mut advice = Vec::new();
        if let Some(edge) = [2048, 1024, 512, 256]
            .into_iter()
            .find(|&edge| self.with(self.n, Target::Store { edge }).peak() <= bytes)
        {
            let plan = self.with(self.n, Target::Store { edge });
            advice.push(format!(
                "a store on disk with tiles of {edge}: peak {}, {} on disk",
                gib(plan.peak()),
                gib(plan.disk)
            ));
        }
        let fits = |n: usize| self.with(n, self.target).peak() <= bytes;
        // The largest number of examples that fits, by bisection.
        let (mut low, mut high) = (0, self.n);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        if low > 0 {
            let peak = self.with(low, self.target).peak();
            advice.push(format!("{low} examples in place of {}: peak {}", self.n, gib(peak)));
        }
        if advice.is_empty() {
            let least = self.with(1, Target::Store { edge: 256 }).peak();
            advice.push(format!("a limit of at least {}, or a smaller micro-batch", gib(least)));
        }
        advice
    }

    /// Fills in buffers, disk and operations.
    fn size(&mut self, expansion: u64) {
        let n = self.n as u64;
        self.contracting = Vec::new();
        if self.device.is_none() {
            let kept: usize = self.layers.iter().map(|layer| layer.kept).sum();
            let bytes = n * kept as u64 * self.item;
            self.resident.push(Buffer { name: "gradient factors".into(), bytes });
            let threads = rayon::current_num_threads() as u64;
            let bytes = (self.edge as u64).pow(2) * 3 * self.entry * threads;
            self.contracting.push(Buffer { name: "scratch of the threads".into(), bytes });
            if self.layers.iter().any(|layer| layer.form == Form::Conv) {
                self.contracting.push(Buffer { name: EXPANSION.into(), bytes: expansion });
            }
        }
        let kernel = match self.target {
            Target::Memory => Buffer { name: "kernel, full".into(), bytes: n * n * self.entry },
            Target::Store { edge } => {
                let (grid, edge) = (Grid::new(self.n, edge), edge.min(self.n) as u64);
                self.disk = grid.lower().count() as u64 * (edge * edge * self.entry + 4);
                Buffer {
                    name: "tiles on their way to disk".into(),
                    bytes: TILES * edge * edge * self.entry,
                }
            }
        };
        self.contracting.push(kernel);
        let columns: usize = self.layers.iter().map(|layer| layer.columns).sum();
        self.operations = self.n as f64 * (self.n as f64 + 1.0) * columns as f64;
    }
}

const EXPANSION: &str = "expanded convolution rows";

fn layer<T: Real>(factor: Factor, count: usize, strategy: Strategy) -> Result<LayerPlan> {
    let names = factor.names().into_iter().map(str::to_owned).collect();
    let parameters = factor.width();
    let pieces = pieces::<T>(vec![factor], count, strategy)?;
    let mut plan = LayerPlan { names, parameters, form: Form::Rows, kept: 0, columns: 0 };
    for piece in &pieces {
        let (kept, columns) = match piece {
            Piece::Rows(rows) => (rows.len() / count, rows.len() / count),
            Piece::Pair { inputs, cotangents, form } => {
                let kept = (inputs.len() + cotangents.len()) / count;
                let columns;
                (plan.form, columns) = match form {
                    PairForm::Hadamard { .. } => (Form::Dense, kept),
                    PairForm::Pixels(pixels) => (Form::Pixels, pixels.columns()),
                    PairForm::Expanded(expansion) => (Form::Conv, expansion.all_columns()),
                };
                (kept, columns)
            }
        };
        plan.kept += kept;
        plan.columns += columns;
    }
    Ok(plan)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} examples, {:?}", self.n, self.target)?;
        writeln!(
            f,
            "  {:<44} {:>12} {:>6} {:>10} {:>10}",
            "layer", "parameters", "form", "kept", "columns"
        )?;
        for layer in &self.layers {
            let (names, form) = (layer.names.join(", "), format!("{:?}", layer.form));
            writeln!(
                f,
                "  {names:<44} {:>12} {form:>6} {:>10} {:>10}",
                layer.parameters, layer.kept, layer.columns
            )?;
        }
        self.write_buffers(f)?;
        writeln!(f, "  disk {}", gib(self.disk))?;
        writeln!(
            f,
            "  {:.3e} operations of the sweeps and {:.3e} of the contraction",
            self.sweep_operations, self.operations
        )?;
        match &self.device {
            Some(device) => write!(f, "  {device}"),
            None => write!(
                f,
                "  about {:.0} s of sweeps and {:.0} s of products",
                self.sweep_s, self.contraction_s
            ),
        }
    }
}

impl Plan {
    pub(crate) fn write_buffers(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        let always = self.resident.iter().map(|buffer| (buffer, ""));
        let during = std::iter::once((&self.sweeping, " (first)"));
        let then = self.contracting.iter().map(|buffer| (buffer, " (then)"));
        for (Buffer { name, bytes }, when) in always.chain(during).chain(then) {
            writeln!(f, "  {:.<44} {:>12}", format!("{name}{when} "), gib(*bytes))?;
        }
        writeln!(f, "  {:.<44} {:>12}", "peak ", gib(self.peak()))
    }
}
