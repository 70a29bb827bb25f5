//! Numbers of plans, worked out by hand: forms and sizes of layers, memory, disk and operations,
//! and what is said where they do not fit.

use candle_core::DType;
use entk_gram::{
    Assembly, CpuConfig, DeviceConfig, Engine, GramConfig, GramError, MemoryLimit, Outputs,
    plan::{Form, LayerPlan, Plan, Target},
    store::Part,
};
use entk_models::{Conv2d, Dense, Flatten, Layer, Model, Network, Sequential};
use entk_testing::{Case, TestResult, kernel_cases, needs_cpu, normal, test_device};

/// What a program takes whatever it computes.
const PROGRAM: u64 = 40 << 20;

fn case(name: &str) -> TestResult<Case> {
    Ok(kernel_cases()?.into_iter().find(|case| case.name == name).ok_or("no such case")?)
}

/// The plan of a case on two threads, nine examples swept at a time.
fn plan(case: &Case, outputs: Outputs, target: Target) -> Result<Plan, GramError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let config = GramConfig { outputs, micro_batch: Some(9), ..GramConfig::default() };
    pool.expect("threads")
        .install(|| Assembly::new(&case.network, &case.theta, &case.x, &config)?.plan(target))
}

/// Names, numbers and form of each layer, last first: parameters, kept, columns.
fn assert_layers(name: &str, outputs: Outputs, expected: &[(&str, [usize; 3])]) -> TestResult {
    let plan = plan(&case(name)?, outputs, Target::Memory)?;
    let layers =
        plan.layers().iter().map(|LayerPlan { names, parameters, form, kept, columns }| {
            (format!("{} {form:?}", names.join(" ")), [*parameters, *kept, *columns])
        });
    let expected: Vec<_> = expected.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
    assert_eq!(layers.collect::<Vec<_>>(), expected, "{name}, {outputs:?}");
    Ok(())
}

#[test]
fn layers_are_kept_in_their_shortest_form() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    let sum = Outputs::SumOfLogits;
    // 20-30-20-1: inputs and cotangents, but for the last layer, whose rows are shorter.
    let mlp = [
        ("fc3.weight fc3.bias Rows", [21, 21, 21]),
        ("fc2.weight fc2.bias Dense", [30 * 20 + 20, 30 + 20, 30 + 20]),
        ("fc1.weight fc1.bias Dense", [20 * 30 + 30, 20 + 30, 20 + 30]),
    ];
    assert_layers("mlp", sum, &mlp)?;
    // Pairs of 4 input pixels with themselves for one output pixel; of 2 x 2 pixels with each
    // other; and 24 outputs on 4 pixels, of which more pairs than parameters would be multiplied.
    let few = [
        ("fc.weight fc.bias Rows", [41, 41, 41]),
        ("conv3.weight Pixels", [9 * 37 * 40, 4 * 37 + 40, 4 * 37 + 40]),
        (
            "conv2.weight conv2.bias Pixels",
            [9 * 24 * 37 + 37, 4 * (24 + 37) + 37, 16 * (24 + 37) + 37],
        ),
        ("conv1.weight conv1.bias Expanded", [9 * 24 + 24, 16 + 4 * 24 + 24, 9 * 24 + 24]),
    ];
    assert_layers("convolutions on few pixels", sum, &few)?;
    // 5 tokens of 40: every id once at most. 5 (9 + 14) numbers are fewer than 9 x 14.
    let ids = [
        ("head.weight head.bias Rows", [15, 15, 15]),
        ("fc.weight fc.bias Expanded", [9 * 14 + 14, 5 * (9 + 14) + 14, 9 * 14 + 14]),
        ("table.weight Embedding", [40 * 9, 5 + 5 * 9, 5 * 9]),
    ];
    assert_layers("embedding", sum, &ids)?;
    // 6 (8 + 14) numbers are more than 8 x 14.
    let rows = [
        ("head.weight head.bias Rows", [15, 15, 15]),
        ("fc.weight fc.bias Rows", [8 * 14 + 14; 3]),
        ("table.weight Embedding", [9 * 8, 6 + 6 * 8, 6 * 8]),
    ];
    assert_layers("embedding of few rows", sum, &rows)?;
    Ok(())
}

/// The form of the first layer of a network that ends in one number.
fn first_form(input: &[usize], layer: impl Layer + 'static, width: usize) -> TestResult<Form> {
    let layers = Sequential::new().then(layer).then(Flatten).then(Dense::new("fc", width, 1));
    let network = Network::new(input, layers)?;
    let theta = network.init(0, DType::F64, test_device())?;
    let x = normal(&[&[2], input].concat(), 1)?;
    let plan = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
    Ok(plan.plan(Target::Memory)?.layers().last().ok_or("no layer")?.form)
}

/// Where two forms cost about the same: multiply-adds, and 16 for each addition of a product.
#[test]
fn the_cheaper_of_two_forms_is_taken() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    // Of 2 x 2 pixels 16 pairs on either side, 36 pairs read by a tap: 16 (C + C') + 16 (16 + 36)
    // against 9 C C', 1,184 against 1,089, then 1,216 against 1,296.
    let conv = |c: usize| first_form(&[c, 2, 2], Conv2d::new("a", c, c, 3), 4 * c);
    assert_eq!([conv(11)?, conv(12)?], [Form::Expanded, Form::Pixels]);
    // Four pairs of two tokens: 4 (2 n + 32) against n^2, 256 against 256, then 264 against 289.
    let tokens = |n: usize| first_form(&[2, n], Dense::new("a", n, n), 2 * n);
    assert_eq!([tokens(16)?, tokens(17)?], [Form::Expanded, Form::Pixels]);
    // Inputs, outputs and two more against their product: 8 against 8, then 9 against 10.
    let dense = |n: usize| first_form(&[2], Dense::new("a", 2, n), n);
    assert_eq!([dense(4)?, dense(5)?], [Form::Rows, Form::Dense]);
    Ok(())
}

/// Two tokens of 60, 70 and 75 numbers; then 150, 12 and 2 numbers of an example.
#[test]
fn rows_of_an_example_share_its_inputs() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    let parameters = [60 * 70 + 70, 70 * 75, 150 * 12 + 12, 12 * 2 + 2];
    let names = [
        "head.weight head.bias Dense",
        "one.weight one.bias Dense",
        "b.weight Pixels",
        "a.weight a.bias Pixels",
    ];
    let layers = |kept: [usize; 4], columns: [usize; 4]| {
        [3, 2, 1, 0].map(|at: usize| (names[3 - at], [parameters[at], kept[at], columns[at]]))
    };
    // Tokens are multiplied with each other, four pairs of them.
    let kept = [2 * (60 + 70) + 70, 2 * (70 + 75), 150 + 12, 12 + 2];
    let columns = [4 * (60 + 70) + 70, 4 * (70 + 75), 150 + 12, 12 + 2];
    assert_layers("few tokens, two outputs", Outputs::SumOfLogits, &layers(kept, columns))?;
    // Half of the inputs to each of two rows, a quarter of their products to each of four pairs.
    let kept = [60 + 2 * 70 + 70, 70 + 2 * 75, 75 + 12, 6 + 2];
    let columns = [60 + 4 * 70 + 70, 70 + 4 * 75, 38 + 12, 3 + 2];
    assert_layers("few tokens, two outputs", Outputs::Full, &layers(kept, columns))?;
    // Of a trace the three outputs of each layer are side by side, but for the last one, whose
    // outputs have one input and a weight each.
    let trace = [
        ("fc2.weight fc2.bias Dense", [30 * 3 + 3, 30 + 3, 30 + 3]),
        ("fc1.weight fc1.bias Dense", [20 * 90 + 90, 20 + 90, 20 + 90]),
    ];
    assert_layers("mlp, three outputs", Outputs::Trace, &trace)
}

#[test]
fn memory_and_disk_are_those_of_the_shapes() -> TestResult {
    if needs_cpu("the memory of the CPU's engine") {
        return Ok(());
    }
    let case = case("mlp")?;
    let memory = plan(&case, Outputs::SumOfLogits, Target::Memory)?;
    // 83 inputs of 20, and the parameters.
    let held = 8 * (83 * 20 + 630 + 620 + 21) + PROGRAM;
    let factors = 8 * 83 * (21 + 50 + 50);
    // Two micro-batches of 9: values, inputs and cotangents of the layers, and what is kept.
    let values = case.network.summary().values() as u64;
    let sweeps = 8 * 18 * (values + (20 + 30) + (30 + 20) + (20 + 1) + (21 + 50 + 50));
    // A part of a tile, and two products beside it, for each thread.
    let scratch = 8 * 2 * 3 * 256 * 256;
    let kernel = 8 * 83 * 83;
    let buffers = |plan: &Plan| {
        plan.buffers().into_iter().map(|buffer| (buffer.name, buffer.bytes)).collect::<Vec<_>>()
    };
    let common = [
        ("inputs, parameters and program", held),
        ("gradient factors", factors),
        ("sweeps of 2 micro-batches of 9 (first)", sweeps),
        ("scratch of the threads (then)", scratch),
    ];
    let with = |name: &'static str, bytes: u64| {
        let all = common.into_iter().chain([(name, bytes)]);
        all.map(|(name, bytes)| (name.to_owned(), bytes)).collect::<Vec<_>>()
    };
    assert_eq!(buffers(&memory), with("kernel, full (then)", kernel));
    assert_eq!(memory.peak(), held + factors + sweeps.max(scratch + kernel));
    assert_eq!((memory.n(), memory.examples(), memory.disk()), (83, 83, 0));

    let store = plan(&case, Outputs::SumOfLogits, Target::Store { edge: 32 })?;
    // Three rows of tiles, six tiles with a checksum each; four are on their way.
    let tile = 8 * 32 * 32;
    assert_eq!(buffers(&store), with("tiles on their way to disk (then)", 4 * tile));
    assert_eq!(store.peak(), held + factors + sweeps.max(scratch + 4 * tile));
    assert_eq!(store.disk(), 6 * (tile + 4));
    Ok(())
}

/// Of tensors on the CPU, which are in the memory of the process.
#[test]
fn tensors_of_the_host_are_in_the_program() -> TestResult {
    let case = case("mlp")?;
    let theta = case.theta.to_device(&candle_core::Device::Cpu)?;
    let x = case.x.to_device(&candle_core::Device::Cpu)?;
    let engine = Engine::Tensors(DeviceConfig::default());
    let config = GramConfig { engine, ..GramConfig::default() };
    let plan = Assembly::new(&case.network, &theta, &x, &config)?.plan(Target::Memory)?;
    let program = &plan.buffers()[0];
    // The factors of all layers, at least.
    assert!(program.bytes >= PROGRAM + 8 * 83 * (21 + 50 + 50), "{program:?}");
    assert_eq!(program.bytes, PROGRAM + plan.order().peak);
    Ok(())
}

/// 20-30-3 on 83 examples.
#[test]
fn operations_of_several_outputs_are_those_of_all_passes() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    let case = case("mlp, three outputs")?;
    let forward = 2 * (20 * 30 + 30 * 3);
    let full = plan(&case, Outputs::Full, Target::Memory)?;
    // Three rows an example: each with the cotangent of the second layer's inputs, none of the
    // first's.
    assert_eq!(full.sweep_operations(), f64::from(83 * (forward + 3 * 2 * 30 * 3)));
    assert_eq!((full.n(), full.examples()), (249, 83));
    let columns = (30_usize.div_ceil(9) + 3) + (20_usize.div_ceil(9) + 30);
    assert_eq!(full.operations(), (249 * 250 * columns) as f64);
    Ok(())
}

/// 11 x 11 tiles, 66 of them on and below the diagonal.
#[test]
fn a_part_takes_the_examples_of_its_tiles_alone() -> TestResult {
    if needs_cpu("the bits of parts of the examples") {
        return Ok(());
    }
    let (case, edge, count) = (case("mlp")?, 8, 16);
    let config = GramConfig::default();
    let assembly = Assembly::new(&case.network, &case.theta, &case.x, &config)?;
    let whole = assembly.plan(Target::Store { edge })?;
    let factors = |plan: &Plan| plan.buffers()[1].bytes;
    let (mut examples, mut operations, mut disk) = (0, 0.0, 0);
    for index in 1..=count {
        let part = assembly.plan_part(edge, Part::new(index, count)?)?;
        assert_eq!(factors(&part) * 83, factors(&whole) * part.examples() as u64);
        assert!(part.examples() <= 83 * 3 / 4, "{}", part.examples());
        examples += part.examples();
        operations += part.operations();
        disk += part.disk();
    }
    assert_eq!((operations, disk), (whole.operations(), whole.disk()));
    assert!(examples <= 83 * count / 2, "{examples}");
    assert_eq!(assembly.plan_part(edge, Part::default())?.examples(), 83);
    // More parts than tiles: some have none.
    assert_eq!(assembly.plan_part(83, Part::new(1, 2)?)?.disk(), 0);
    Ok(())
}

#[test]
fn what_does_not_fit_is_offered_in_sizes_that_do() -> TestResult {
    if needs_cpu("the memory of the CPU's engine") {
        return Ok(());
    }
    let case = case("mlp")?;
    let theta = case.theta.to_dtype(DType::F64)?;
    let small = |x: &candle_core::Tensor, memory: u64, target| {
        let cpu = CpuConfig { tile: 16, memory: Some(memory), ..CpuConfig::default() };
        let engine = Engine::Cpu(cpu);
        let config = GramConfig { micro_batch: Some(2), engine, ..GramConfig::default() };
        Assembly::new(&case.network, &theta, x, &config)?.plan(target)
    };
    let x = normal(&[2000, 1, 4, 5], 3)?;
    let bytes = PROGRAM + (20 << 20);
    let limit = MemoryLimit { bytes, source: "a test".into() };
    let plan = small(&x, bytes, Target::Memory)?;
    let Err(GramError::TooMuchMemory { needed, advice, .. }) = plan.check(&limit) else {
        return Err("32 MB of entries fit 20 MiB".into());
    };
    assert!(needed == plan.peak() && needed > bytes);
    // The largest edge that fits: the next one would not.
    let stored = |edge| Ok::<_, GramError>(small(&x, bytes, Target::Store { edge })?.peak());
    let edge =
        [2048, 1024, 512, 256].into_iter().find(|edge| stored(*edge).is_ok_and(|p| p <= bytes));
    let edge = edge.ok_or("no edge")?;
    assert!(advice[0].contains(&format!("tiles of {edge}:")), "{advice:?}");
    // So many examples fit, and hardly more: those left out free their inputs as well.
    let offered: usize = advice[1].split(' ').next().ok_or("no count")?.parse()?;
    let fits = |count| -> Result<bool, GramError> {
        Ok(small(&x.narrow(0, 0, count)?, bytes, Target::Memory)?.peak() <= bytes)
    };
    assert!(fits(offered)? && !fits(offered + offered / 50)?, "{advice:?}");
    let enough = MemoryLimit { bytes: needed, source: "a test".into() };
    assert!(plan.check(&enough).is_ok());
    Ok(())
}
