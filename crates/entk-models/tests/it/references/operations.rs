//! Operations against PyTorch: two numbers an operation, computed there by
//! tools/operations_by_torch.py.

use candle_core::Tensor;
use entk_models::{AvgPool1d, MaxPool1d, NormMode, Operation, PoolWindows, Result};
use entk_testing::{
    operations::{InputLaw, Numbers, OperationVisitor, visit_operations},
    test_device,
};

/// Name, sum of y_j sin(j + 1) over the result of two examples, and sum of dx_i cos(i + 1) over its
/// gradient with respect to all inputs.
#[rustfmt::skip]
const REFERENCES: &[(&str, f64, f64)] = &[
    ("max pooling, tiles", 6.265545464450, 3.057603331605),
    ("average pooling, tiles", 0.669342362809, 0.711688984547),
    ("average pooling, tiles, entries alone", 0.669342362809, 0.711688984547),
    ("max pooling, tiles with a rest", 2.867067493552, 3.659840327286),
    ("average pooling, tiles with a rest", -0.320029229594, -0.220346476636),
    ("average pooling, tiles with a rest, entries alone", -0.320029229594, -0.220346476636),
    ("max pooling, overlapping", -3.717816439274, 0.457563937769),
    ("average pooling, overlapping", 0.468244325232, -0.003444326079),
    ("average pooling, overlapping, entries alone", -0.720487478903, -0.080562234886),
    ("max pooling, with gaps", 1.822747348709, -1.853833380406),
    ("average pooling, with gaps", -1.396548844202, -0.233961648108),
    ("average pooling, with gaps, entries alone", -1.396548844202, -0.233961648108),
    ("max pooling, of two sizes", -5.489987844429, -2.473233714395),
    ("average pooling, of two sizes", -0.181193425482, -0.261106445018),
    ("average pooling, of two sizes, entries alone", -0.364863256215, -0.752463972287),
    ("max pooling, dilated", 3.950631358971, 2.155164932850),
    ("max pooling, ceil mode", 6.550505562439, -1.818047259755),
    ("average pooling, ceil mode", -9.649638277357, -0.755157879893),
    ("average pooling, ceil mode, entries alone", -9.649638277357, -0.755157879893),
    ("max pooling, ceil mode in the padding", 1.982247617577, -0.527944113764),
    ("average pooling, ceil mode in the padding", -0.198014385117, -0.710848981727),
    ("average pooling, ceil mode in the padding, entries alone", -0.377956104881, -0.897530618128),
    ("max pooling, whole planes", -0.030346047231, 0.158778919027),
    ("average pooling, whole planes", -0.102060184633, -0.115479829114),
    ("average pooling, whole planes, entries alone", -0.102060184633, -0.115479829114),
    ("max pooling, 1-D", -1.056248111419, -2.017643127015),
    ("max pooling, adaptive", 0.276928564836, 3.869389063186),
    ("average pooling, 1-D", -3.682069801935, -0.841670823647),
    ("average pooling, 1-D tiles", -0.082960784945, -0.072939408719),
    ("average pooling, 3-D", 0.597874763136, -0.005437978342),
    ("average pooling, adaptive", -0.802773973484, -0.216758082667),
    ("average pooling, to more", -0.395511388134, 2.235397063345),
    ("upsampling by 2, nearest", 2.750571265755, 1.291050270044),
    ("upsampling to 7 x 2, nearest", -12.840019577767, 1.500565597563),
    ("upsampling by 1.7, nearest", -0.720574796304, 0.723125886204),
    ("upsampling, 3-D, nearest", 3.965666270557, 0.904332261055),
    ("upsampling by 2, linear", 1.274522086979, 1.192489427949),
    ("upsampling to 7 x 2, linear", 0.933609875649, 0.668079060158),
    ("upsampling by 1.7, linear", -2.421104096175, 0.705748602043),
    ("upsampling, 3-D, linear", 0.007960555647, 0.609472906843),
    ("upsampling by 2, linear, corners aligned", 2.187591751603, 0.619780526750),
    ("upsampling to 7 x 2, linear, corners aligned", 1.790263943299, 1.046779258572),
    ("upsampling by 1.7, linear, corners aligned", -2.742815247168, 0.608457760859),
    ("upsampling, 3-D, linear, corners aligned", -0.399002376796, 0.583585329602),
    ("reshape", -8.969953684595, 0.344589000040),
    ("flatten", -8.969953684595, 0.344589000040),
    ("flatten the last axes", -8.969953684595, 0.344589000040),
    ("permute", -2.218106747764, 27.469107393011),
    ("transpose", -6.124751520161, 0.133828613689),
    ("slice", 2.343167709646, 8.332559472529),
    ("slice with a step", -11.765144792383, -0.839347147444),
    ("select", 2.388615792702, -5.016193950277),
    ("select the last", 1.867584982415, -0.459577487621),
    ("roll", 1.018810357902, -53.022404045778),
    ("index select", 2.668715855372, -10.894994948475),
    ("expand", 0.783253899216, -0.917192234662),
    ("expand ones", 6.637974903115, -0.221192907386),
    ("expand a number", 0.000000000000, -0.046582747844),
    ("pad", 11.544414230809, -8.930106704076),
    ("pad, with ones", 1.510624976723, 2.314327740545),
    ("pad, reflected", 4.448295674055, 1.581281272498),
    ("pad, replicated", -9.606848855623, 1.985153053640),
    ("pad, circular", -0.765683980095, 1.847340888482),
    ("concat", -2.670980053430, -3.624464410024),
    ("concat of one", -3.962646255176, 0.174981052734),
    ("concat along the last axis", 11.482325801583, 0.038750541078),
    ("stack", 11.482325801583, 0.038750541078),
    ("stack behind", 29.989319194606, 0.493063606074),
    ("add, equal shapes", 1.015272630862, 0.142434954058),
    ("add, a vector", 0.703478997541, 0.904752306427),
    ("add, a scale of channels", 0.377934311780, 2.219596798217),
    ("add, one number", -1.053047132453, -0.079586615732),
    ("add, behind", 3.360788782807, 2.195340773704),
    ("add, both repeat", 3.842643864717, -5.168394554598),
    ("add, two axes apart", -10.279896053148, -1.434536077016),
    ("subtract, equal shapes", -1.570709572502, 0.000000000000),
    ("subtract, a vector", -1.258915939181, -0.762317352369),
    ("subtract, a scale of channels", -5.258721798625, -1.348830087943),
    ("subtract, one number", 0.497610190813, 0.222021569790),
    ("subtract, behind", -5.272027570428, 1.324574063430),
    ("subtract, both repeat", -7.108787717215, -1.615705230278),
    ("subtract, two axes apart", 5.399108566303, 2.305302787290),
    ("multiply, equal shapes", 1.479020171974, 0.363639851115),
    ("multiply, a vector", 6.677557756615, 0.254236181247),
    ("multiply, a scale of channels", 17.231520868117, 1.556441940414),
    ("multiply, one number", 3.740585287894, -0.087386753275),
    ("multiply, behind", -0.762250679587, 0.737690887920),
    ("multiply, both repeat", -6.603809334840, -10.433953349399),
    ("multiply, two axes apart", 11.486819748344, -0.212053889759),
    ("divide, equal shapes", 0.696679172201, -0.136607317776),
    ("divide, a vector", -1.402513257618, 1.713490258810),
    ("divide, a scale of channels", -1.059915605854, 0.069370016910),
    ("divide, one number", -0.145658629378, -0.028905745469),
    ("divide, behind", -0.788747490605, -0.791161315770),
    ("divide, both repeat", -0.418198570327, -3.398714908247),
    ("divide, two axes apart", -0.701624739100, 0.178311624280),
    ("sum over [0]", 3.224822010088, 8.829630820886),
    ("mean over [0]", 1.074940670029, 2.943210273629),
    ("max over [0]", 0.715875586011, 12.871816354718),
    ("variance over [0]", 4.788609779457, -1.120748149021),
    ("sum over [3]", -1.996590093206, -1.679882482033),
    ("mean over [3]", -0.399318018641, -0.335976496407),
    ("max over [3]", 2.087869489846, 0.322831758203),
    ("variance over [3]", 2.077168710649, 0.538336349807),
    ("sum over [1, 2]", 3.894327450800, 3.557346611372),
    ("mean over [1, 2]", 0.486790931350, 0.444668326422),
    ("max over [1, 2]", 0.840151068816, -0.574425243710),
    ("variance over [1, 2]", -1.228498170932, 0.313283189066),
    ("sum over [0, 2]", -6.540145471691, -1.040377343787),
    ("mean over [0, 2]", -1.090024245282, -0.173396223965),
    ("max over [0, 2]", 3.631036644487, 0.909196888907),
    ("variance over [0, 2]", 3.917606295268, 1.901994661325),
    ("sum over [3, 1, 0]", -3.665201639986, 0.156796324917),
    ("mean over [3, 1, 0]", -0.061086694000, 0.002613272082),
    ("max over [3, 1, 0]", 3.405257773157, 0.395058458197),
    ("variance over [3, 1, 0]", 5.142393959729, 0.081882533684),
    ("sum over [0, 1, 2, 3]", 2.795718722495, 0.450552802344),
    ("mean over [0, 1, 2, 3]", 0.023297656021, 0.003754606686),
    ("max over [0, 1, 2, 3]", 5.252305234901, -0.166683751364),
    ("variance over [0, 1, 2, 3]", 8.419805834391, -0.113256862450),
    ("sum, axes kept", -2.816459875003, -1.581993808113),
    ("mean, axes kept", -0.140822993750, -0.079099690406),
    ("max, axes kept", -0.376124259999, 0.864499377234),
    ("variance, unbiased, axes kept", -0.347243007583, 0.632186953344),
    ("global mean", 0.069787586424, -0.066847269465),
    ("layer norm", 5.633592443739, -10.781883983056),
    ("layer norm, no bias", -6.986098577346, -3.950714542855),
    ("layer norm, no weight", -6.713300468651, -0.722648261453),
    ("layer norm over two axes", -4.134851543946, -14.102698588179),
    ("layer norm over two axes, no bias", -0.420337336385, -0.079535102911),
    ("layer norm over two axes, no weight", -4.670958113056, 0.065530080406),
    ("rms norm", 5.363959571260, -11.217837880641),
    ("rms norm, no bias", -7.255731449825, -4.386668440439),
    ("rms norm, no weight", -6.580543861709, -0.633381315811),
    ("group norm", 4.713567603438, 1.339571266449),
    ("group norm, no bias", -1.981240930045, 0.169944724119),
    ("group norm, no weight", -2.383955282542, 0.207864148663),
    ("instance norm", 4.255077127579, 1.269064475884),
    ("instance norm, no bias", -2.439731405904, 0.099437933555),
    ("instance norm, no weight", -1.849660177362, 0.295032546756),
    ("group norm, 1-D", -7.978029070306, -0.961236552703),
    ("group norm without pixels", -0.408106847142, 3.004705271413),
    ("weight norm", 0.589907838960, 0.033022811006),
    ("matrix product", -2.921308784262, 3.427065491348),
    ("matrix product, transposed", 64.451113125522, 20.793341164080),
    ("matrix products", -17.446790653566, 13.546581865461),
    ("matrix products, transposed", -108.859472900996, 32.399069992620),
    ("matrix products with one", 9.680727460190, 1.946343067627),
    ("matrix products of one", 11.446882898429, 10.416486525793),
    ("matrix products, axes that meet", 0.735053768726, -28.312328098203),
    ("axes that meet, transposed", -42.850841353320, -20.615381743880),
    ("row times column", 4.179801243445, 3.836656998425),
    ("softmax over 0", -1.291704044418, 0.063218873285),
    ("log-softmax over 0", -9.440337609551, 1.129091558090),
    ("softmax over 1", -1.463462702525, -0.170935615630),
    ("log-softmax over 1", -10.706795591120, 1.170746233915),
    ("softmax over 2", -1.019052486839, -0.508460433894),
    ("log-softmax over 2", -6.339869101825, 0.574025965641),
    ("attention", -2.456116000594, -22.325720469692),
    ("attention, scaled", -2.178681404966, -22.704788858397),
    ("attention, causal", 0.393622983934, -27.610486397997),
    ("attention, causal on more keys", 1.548763319782, 1.148868961734),
    ("attention, masked", -1.314250383082, -23.182214320060),
    ("attention, chosen keys", -1.243701903534, -22.798742231365),
    ("attention, heads in groups", 2.486555951273, 2.533700978602),
    ("attention in groups, causal", -7.150684906696, -3.402555639685),
    ("attention in groups, masked", -12.985918068023, -1.867284371211),
    ("attention, packed", 2.633379725247, -5.123848582771),
    ("attention, packed, causal and masked", 0.239610258122, -5.284482587351),
    ("attention, packed, causal", 9.346623078780, -9.795873306292),
    ("convolution, groups", 4.615978315029, 9.384740858104),
    ("convolution, groups, no bias", 3.748644981584, 4.525660059502),
    ("convolution, groups of many", 166.729134211556, 11.357357063014),
    ("convolution, groups of many, no bias", 167.579967232057, 15.325496618609),
    ("convolution, depthwise", 94.684467145127, -7.280183385808),
    ("convolution, depthwise, no bias", 95.449090464449, -9.255463303374),
    ("convolution, depthwise and dilated", 12.442259841784, 4.210335420876),
    ("convolution, depthwise and dilated, no bias", 5.747451308301, 3.040708878546),
    ("convolution, depthwise signals", -12.294802460549, 1.434798165282),
    ("convolution, depthwise signals, no bias", -4.974467493654, 1.569992342706),
    ("transposed convolution, groups", 40.193162197573, -53.850583544534),
    ("transposed convolution, groups, no bias", 59.218302499399, -55.322973367790),
];
/// Digits of the table, and f64 round-off of a few hundred terms of size 3.
const TOLERANCE: f64 = 1e-11;

/// The function of 0, 1, ..., in this shape.
fn wave(shape: &[usize], function: impl Fn(f64) -> f64) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|at| function(at as f64)).collect();
    Ok(Tensor::from_vec::<_, f64>(values, shape, test_device())?)
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok((a * b)?.sum_all()?.to_scalar()?)
}

/// How many references were met.
struct References(usize);

impl OperationVisitor for References {
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        laws: &[InputLaw],
    ) -> Result<()> {
        let Some((_, value, moved)) = REFERENCES.iter().find(|entry| entry.0 == name) else {
            return Ok(());
        };
        self.0 += 1;
        let input = |(k, law): (usize, &InputLaw)| {
            let shape = [&[2], &law.shape[..]].concat();
            let positive = law.numbers == Numbers::Positive;
            wave(&shape, |i| {
                let whole = (3.0 * (3.0 * i + k as f64).sin()).round();
                if positive { whole.abs() + 1.0 } else { whole }
            })
        };
        let inputs = laws.iter().enumerate().map(input).collect::<Result<Vec<_>>>()?;
        let (y, cache) = operation.forward(&inputs.iter().collect::<Vec<_>>(), NormMode::Frozen)?;
        let dy = wave(y.dims(), |j| (j + 1.0).sin())?;
        let ours = dot(&y, &dy)?;
        assert!((ours - value).abs() <= TOLERANCE, "{name}: {ours} for {value}");
        let cotangents = operation.vjp(&cache, &dy, &vec![true; inputs.len()])?;
        let along = |dx: &Tensor| dot(dx, &wave(dx.dims(), |i| (i + 1.0).cos())?);
        let ours: f64 = cotangents.iter().flatten().map(along).sum::<Result<_>>()?;
        assert!((ours - moved).abs() <= TOLERANCE, "{name}: {ours} for {moved}");
        Ok(())
    }
}

#[test]
fn operations_are_those_of_pytorch() -> Result<()> {
    let mut references = References(0);
    visit_operations(&mut references)?;
    assert_eq!(references.0, REFERENCES.len());
    Ok(())
}

/// Kinds of pooling along one axis: how many windows of the grid are taken and refused, and the sum
/// over all that are taken of the results' products with sin(j + 1).
const WINDOWS: [(&str, usize, usize, f64); 3] = [
    ("max", 1112, 1192, 408.7622022673),
    ("average", 473, 295, -77.7951450147),
    ("entries alone", 473, 295, -86.7686790315),
];
/// That sum for averages of axes of 1 to 11 entries to 1 to 11 outputs.
const ADAPTIVE: f64 = 4.4986500808;
/// Ten digits, of a thousand sums.
const GRID_TOLERANCE: f64 = 1e-9;

/// Entries of an axis and windows along it: every window, stride, padding and dilation, rounded
/// down and up.
fn grid(dilations: usize) -> Vec<(usize, PoolWindows<1>)> {
    let mut grid = Vec::new();
    for n in 1..9 {
        for (window, stride) in (1..5).flat_map(|window| (1..5).map(move |s| (window, s))) {
            for (padding, dilation) in (0..3).flat_map(|p| (1..=dilations).map(move |d| (p, d))) {
                let windows = PoolWindows::new(window).with_stride(stride).with_padding(padding);
                let windows = windows.with_dilation(dilation);
                grid.extend([(n, windows), (n, windows.with_ceil_mode())]);
            }
        }
    }
    grid
}

/// The product of one operation's result on an axis of n entries, where it takes them.
fn product(operation: &impl Operation, n: usize) -> Result<Option<f64>> {
    let x = wave(&[1, 1, n], |i| (3.0 * (3.0 * i).sin()).round())?;
    let Ok(shape) = operation.output_shape(&[&[1, n]]) else { return Ok(None) };
    let y = operation.forward(&[&x], NormMode::Frozen)?.0;
    assert_eq!(y.dims()[1..], shape);
    dot(&y, &wave(y.dims(), |j| (j + 1.0).sin())?).map(Some)
}

#[test]
fn windows_of_all_sizes_are_those_of_pytorch() -> Result<()> {
    for (kind, taken, refused, sum) in WINDOWS {
        let products = (grid(if kind == "max" { 3 } else { 1 }).into_iter())
            .map(|(n, windows)| match kind {
                "max" => product(&MaxPool1d::new(windows), n),
                "average" => product(&AvgPool1d::new(windows), n),
                _ => product(&AvgPool1d::new(windows).without_padding_in_count(), n),
            })
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(products.len(), taken + refused, "{kind}");
        assert_eq!(products.iter().flatten().count(), taken, "{kind}");
        let ours: f64 = products.iter().flatten().sum();
        assert!((ours - sum).abs() <= GRID_TOLERANCE, "{kind}: {ours} for {sum}");
    }
    let pairs = (1..12).flat_map(|n| (1..12).map(move |outputs| (n, outputs)));
    let products = pairs.map(|(n, outputs)| product(&AvgPool1d::adaptive(outputs), n));
    let ours: f64 = products.map(|p| Ok(p?.unwrap_or(f64::NAN))).sum::<Result<_>>()?;
    assert!((ours - ADAPTIVE).abs() <= GRID_TOLERANCE, "{ours} for {ADAPTIVE}");
    Ok(())
}
