//! What `predict` works on: flags come in; kernels, targets and, where they start, outputs go out,
//! from the network of the flags or from files. Called by its main.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use entk::{
    data::{Dataset, arrays, load},
    device::memory::ensure,
    gram::{Assembly, GramConfig, Store, StoreConfig},
    models::{Activation, Model, Network, Params},
    predict::Columns,
    spectral::{CrossGram, EigshConfig, Gram, eigh_bytes},
};
use entk_cli::{
    InitialKernel, KernelChoice, LabelTargets, Labels, NetworkSource, Run, ensure_input,
    ensure_square, open_store, read_cross_gram, read_gram,
};

use crate::commands::predict::flags::Flags;

/// Images per forward pass.
const BATCH: usize = 256;

/// The kernel of the training inputs.
pub enum TrainKernel {
    Memory(Gram),
    Store(Box<Store>),
}

/// Kernels and targets of training and test inputs.
pub struct Problem {
    pub train: TrainKernel,
    pub cross: CrossGram,
    /// The kernel of the test inputs, with --gp.
    pub test: Option<Gram>,
    pub targets: LabelTargets,
    pub test_targets: LabelTargets,
    /// Outputs at theta_0 of training and test inputs, as the tables of targets.
    pub offsets: Option<[Columns; 2]>,
    /// Rows of the kernel that an example has.
    pub rows: usize,
    /// Which kernel of the network, and what an entry of it is over that of one output.
    pub kernel: Option<KernelChoice>,
    pub scale: f64,
    /// Where inputs and labels come from.
    pub origin: String,
}

impl Problem {
    pub fn read(run: &Run, flags: &Flags) -> Result<Self> {
        let problem = match &flags.gram {
            Some(path) => of_files(run, flags, path),
            None => NetworkProblem::load(run, flags)?.assemble(run, flags),
        }?;
        problem.check(flags)?;
        Ok(problem)
    }

    /// A table of this problem from numbers example by example: (N, C), or for a full kernel one
    /// column of N C.
    pub fn table(&self, targets: &LabelTargets) -> Result<Columns> {
        table(self.rows, targets.columns, &targets.values)
    }

    /// Refuses kernels and targets that do not fit each other.
    fn check(&self, flags: &Flags) -> Result<()> {
        let (train, rows) = (self.targets.values.len() / self.targets.columns, self.rows);
        let test = self.test_targets.values.len() / self.test_targets.columns;
        let shape = [self.cross.rows(), self.cross.cols()];
        ensure_input(shape == [test * rows, train * rows], || {
            let expected = [test * rows, train * rows];
            format!(
                "the kernel between test inputs (rows) and training inputs (columns) has shape \
                 {shape:?}; {test} test and {train} training labels need {expected:?}"
            )
        })?;
        ensure_input(self.targets.columns == self.test_targets.columns, || {
            let (a, b) = (self.targets.columns, self.test_targets.columns);
            format!("training targets have {a} columns, test targets {b}; give both alike")
        })?;
        ensure_input(!flags.gp || self.test.is_some(), || {
            "--gp: give the kernel of the test inputs with --test-gram".into()
        })
    }
}

/// Values example by example, for a kernel with so many rows an example.
fn table(rows: usize, columns: usize, values: &[f64]) -> Result<Columns> {
    let columns = if rows > 1 { 1 } else { columns };
    Ok(Columns::from_rows(values.len() / columns, columns, values)?)
}

/// Refuses kernels that do not fit each other or the memory, from the headers of their files.
fn check_files(flags: &Flags, path: &Path) -> Result<()> {
    let mut held = 0_u64;
    let mut shape = |path: &Path| -> Result<Vec<usize>> {
        let header = arrays::describe(path)?;
        held = held.saturating_add(header.bytes);
        Ok(header.shape)
    };
    let cross = shape(given(flags.cross.as_deref(), "--cross")?)?;
    for path in flags.test_gram.iter() {
        ensure_square(path, &shape(path)?)?;
    }
    let rows = if path.is_dir() {
        open_store(path)?.grid().n()
    } else {
        let gram = shape(path)?;
        ensure_square(path, &gram)?;
        gram[0]
    };
    ensure_input(cross.len() == 2 && cross[1] == rows, || {
        let remedy = match cross[..] {
            [first, _] if first == rows => {
                "; it has a row for each: transpose it, or write it with `gram --inputs TEST --cross \
                 TRAIN`"
            }
            _ => "",
        };
        format!(
            "--cross: expected a column for each of the {rows} rows of --gram, found \
             {cross:?}{remedy}"
        )
    })?;
    ensure_memory(flags, rows, held)
}

/// Refuses a kernel of so many rows beside `held` bytes, with what is computed from it.
fn ensure_memory(flags: &Flags, rows: usize, held: u64) -> Result<()> {
    let solved = match flags.cg {
        Some(pairs) => EigshConfig::default().bytes(rows, pairs.clamp(1, rows)),
        // All pairs, and then the factor beside them.
        None => eigh_bytes(rows).saturating_add(8 * (rows as u64).saturating_mul(rows as u64)),
    };
    let what = format!("the solution of {rows} rows");
    let remedy = "use fewer examples, or --cg over a store";
    Ok(ensure(&what, held.saturating_add(solved), None, remedy)?)
}

fn of_files(run: &Run, flags: &Flags, path: &Path) -> Result<Problem> {
    check_files(flags, path)?;
    let train = if path.is_dir() {
        ensure_input(flags.cg.is_some(), || {
            format!("--gram {}: a store is solved by --cg K", path.display())
        })?;
        TrainKernel::Store(Box::new(open_store(path)?))
    } else {
        TrainKernel::Memory(run.stage("read", 1, |_| read_gram(path))?)
    };
    let n = match &train {
        TrainKernel::Memory(gram) => gram.n(),
        TrainKernel::Store(store) => store.grid().n(),
    };
    let cross = read_cross_gram(given(flags.cross.as_deref(), "--cross")?)?;
    let labels = |path: Option<&Path>, flag, count| Labels::read(given(path, flag)?, count);
    let train_labels = labels(flags.labels.as_deref(), "--labels", n)?;
    let test_labels = labels(flags.test_labels.as_deref(), "--test-labels", cross.rows())?;
    train_labels.ensure_same_classes(&test_labels)?;
    let [targets, test_targets] = targets(flags, &train_labels, &test_labels)?;
    Ok(Problem {
        train,
        cross,
        test: flags.test_gram.as_deref().map(read_gram).transpose()?,
        targets,
        test_targets,
        offsets: None,
        rows: 1,
        kernel: None,
        scale: 1.0,
        origin: path.display().to_string(),
    })
}

fn given<'a>(path: Option<&'a Path>, flag: &str) -> Result<&'a Path> {
    path.with_context(|| format!("--gram needs {flag}"))
}

/// Targets of training and test inputs by the rule of the flags, of as many classes.
fn targets(flags: &Flags, train: &Labels, test: &Labels) -> Result<[LabelTargets; 2]> {
    let targets = train.targets(Some(flags.targets), flags.network.classes.unwrap_or(1))?;
    let test = test.targets(Some(flags.targets), targets.columns)?;
    Ok([targets, test])
}

/// The network of the flags at its start, and its images.
struct NetworkProblem {
    network: Network,
    theta0: Params,
    train: Tensor,
    test: Tensor,
    labels: [Labels; 2],
    origin: String,
}

impl NetworkProblem {
    fn load(run: &Run, flags: &Flags) -> Result<Self> {
        let device = flags.device.open()?;
        let networks = NetworkSource::open(run, &flags.network, DType::F32, &device)?;
        let loaded = load(flags.data.source(), flags.data_root.as_deref())?;
        run.note(format_args!("images of {}: {}", flags.data.source(), loaded.origin));
        let (split, _) = loaded.split.standardized()?;
        let train = subset(&split.train, "--train", flags.train, flags.seed)?;
        let test = subset(&split.test, "--test", flags.test, flags.seed)?;
        let (channels, height, width) = train.images().image_shape();
        let network = networks.network(&[channels, height, width], Activation::Relu)?;
        let labels = [&train, &test].map(|data| Labels::of_classes(data.name(), data.labels()));
        Ok(Self {
            theta0: networks.start(&network, flags.seed)?,
            network,
            train: train.images().tensor().to_device(&device)?,
            test: test.images().tensor().to_device(&device)?,
            labels,
            origin: loaded.origin.to_string(),
        })
    }

    fn assemble(self, run: &Run, flags: &Flags) -> Result<Problem> {
        let kernel = flags.outputs.of_one(self.network.outputs())?;
        let (rows, classes) = (kernel.rows_per_example(), kernel.classes);
        let [targets, test_targets] = targets(flags, &self.labels[0], &self.labels[1])?;
        let n = (self.train.dim(0)? + self.test.dim(0)?).saturating_mul(rows);
        let joint = if flags.cg.is_some() { 0 } else { 8 * (n as u64).saturating_mul(n as u64) };
        ensure_memory(flags, self.train.dim(0)? * rows, joint)?;
        ensure_input(rows == 1 || targets.columns == classes, || {
            let columns = targets.columns;
            format!("--outputs full: {classes} outputs for {columns} columns of targets; --classes")
        })?;
        let (train, cross, test) = match flags.cg {
            Some(_) => self.stored(run, &kernel)?,
            None => self.in_memory(run, &kernel)?,
        };
        Ok(Problem {
            train,
            cross,
            test,
            offsets: self.offsets(flags, rows, targets.columns)?,
            targets,
            test_targets,
            rows,
            scale: scale(&kernel),
            kernel: Some(kernel),
            origin: self.origin,
        })
    }

    /// All three kernels from that of all images.
    fn in_memory(&self, run: &Run, kernel: &KernelChoice) -> Result<Kernels> {
        let all = Tensor::cat(&[&self.train, &self.test], 0)?;
        let outputs = kernel.outputs.kernel();
        let joint = InitialKernel::find(run, &self.network, &self.theta0, &all, outputs)?.gram;
        let n = self.train.dim(0)? * kernel.rows_per_example();
        let (seen, new): (Vec<usize>, Vec<usize>) = (0..joint.n()).partition(|&i| i < n);
        let train = TrainKernel::Memory(joint.principal(&seen)?);
        Ok((train, joint.block(&new, &seen)?, Some(joint.principal(&new)?)))
    }

    /// The kernel of the training images in a store of the results, which a second run goes on
    /// with.
    fn stored(&self, run: &Run, kernel: &KernelChoice) -> Result<Kernels> {
        let config = GramConfig { outputs: kernel.outputs.kernel(), ..GramConfig::default() };
        let of = |inputs| Assembly::new(&self.network, &self.theta0, inputs, &config);
        let store = run.stage("kernel", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            let folder = run.folder().file("gram.zarr");
            let assembly = of(&self.train)?.observed(&observe);
            Ok(assembly.store(folder, &StoreConfig::default())?.store)
        })?;
        let cross = run.stage("cross", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            Ok(of(&self.test)?.observed(&observe).cross(&self.train)?)
        })?;
        Ok((TrainKernel::Store(Box::new(store)), cross, None))
    }

    fn offsets(&self, flags: &Flags, rows: usize, columns: usize) -> Result<Option<[Columns; 2]>> {
        if !flags.from_outputs {
            return Ok(None);
        }
        let outputs = self.network.outputs();
        ensure_input(outputs == columns, || {
            format!(
                "--from-outputs: the network has {outputs} outputs for {columns} columns of \
                 targets; give --classes {columns}"
            )
        })?;
        let of = |inputs: &Tensor| table(rows, columns, &self.outputs(inputs)?);
        Ok(Some([of(&self.train)?, of(&self.test)?]))
    }

    /// Outputs at theta_0, example by example.
    fn outputs(&self, inputs: &Tensor) -> Result<Vec<f64>> {
        let (n, mut outputs) = (inputs.dim(0)?, Vec::new());
        for first in (0..n).step_by(BATCH) {
            let batch = inputs.narrow(0, first, BATCH.min(n - first))?;
            let values = self.network.forward(&self.theta0, &batch)?;
            outputs.extend(values.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        }
        Ok(outputs)
    }
}

type Kernels = (TrainKernel, CrossGram, Option<Gram>);

/// What K is over the mean kernel of one output: C for the trace. The times of gradient flow are
/// those of the mean.
fn scale(kernel: &KernelChoice) -> f64 {
    match kernel.outputs {
        entk_cli::OutputChoice::Trace => kernel.classes as f64,
        _ => 1.0,
    }
}

fn subset(data: &Dataset, flag: &str, n: usize, seed: u64) -> Result<Dataset> {
    ensure_input(n <= data.count(), || {
        let (name, count) = (data.name(), data.count());
        format!("{flag} {n}: {name} has {count} images; lower it or give --data-root")
    })?;
    Ok(data.stratified_subset(n, seed)?)
}
