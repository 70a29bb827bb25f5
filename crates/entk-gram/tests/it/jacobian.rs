//! The Jacobian as an operator: its Gram against the kernel that is assembled, adjoint products,
//! eigenpairs from either side, and what is refused.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::{DType, Tensor};
use entk_gram::{Accumulate, GramConfig, GramError, InputSource, JacobianOperator, Outputs, gram};
use entk_linearize::Jacobian;
use entk_models::{MlpConfig, Model};
use entk_spectral::{
    EigshConfig, Gram, LinearOperator, RowGram, SymmetricOperator, eigsh, eigsh_row_gram, svds,
};
use entk_testing::{Case, TestResult, kernel_cases, normal, normals, relative_error, test_device};

use crate::common::{DOUBLE, SINGLE, distance, outputs_of};

/// Columns of a product: one whole chunk and a part of one.
const COLUMNS: usize = 11;
/// Residuals of eigenpairs, relative to the largest eigenvalue.
const TOLERANCE: f64 = 1e-10;

fn config(outputs: Outputs) -> GramConfig {
    GramConfig {
        outputs,
        micro_batch: Some(9),
        accumulate: Accumulate::F64,
        ..GramConfig::default()
    }
}

#[test]
fn its_gram_is_the_kernel() -> TestResult {
    for case in kernel_cases()? {
        for outputs in outputs_of(&case.network) {
            let config = config(outputs);
            let Case { network, theta, x, .. } = &case;
            let kernel = gram(network, theta, x, &config)?;
            let jacobian = JacobianOperator::new(network, theta, x, &config)?;
            let formed = RowGram::new(&jacobian).to_gram()?.into_owned();
            let error = distance(&formed, &kernel);
            assert!(error <= DOUBLE, "{} {outputs:?}: {error:e}", case.name);

            let (theta, x) = case.to_dtype(DType::F32)?;
            let jacobian = JacobianOperator::new(network, &theta, &x, &config)?;
            let formed = RowGram::new(&jacobian).to_gram()?.into_owned();
            let error = distance(&formed, &kernel);
            assert!(error <= SINGLE, "{} {outputs:?}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn products_are_adjoint_and_both_are_one_pass() -> TestResult {
    for Case { name, network, theta, x, .. } in kernel_cases()? {
        for outputs in outputs_of(&network) {
            let j = JacobianOperator::new(&network, &theta, &x, &config(outputs))?;
            let (m, n) = (j.rows(), j.cols());
            let (v, u) = (normals(n * COLUMNS, 1), normals(m * COLUMNS, 2));
            let (mut jv, mut ju, mut both) =
                (vec![0.0; u.len()], vec![0.0; v.len()], vec![0.0; v.len()]);
            j.apply(&v, &mut jv)?;
            j.apply_transposed(&u, &mut ju)?;
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            for c in 0..COLUMNS {
                let (rows, columns) = (c * m..(c + 1) * m, c * n..(c + 1) * n);
                let left = dot(&jv[rows.clone()], &u[rows.clone()]);
                let right = dot(&v[columns.clone()], &ju[columns]);
                let size =
                    dot(&jv[rows.clone()], &jv[rows.clone()]) * dot(&u[rows.clone()], &u[rows]);
                assert!(
                    (left - right).abs() <= DOUBLE * size.sqrt(),
                    "{name} {outputs:?} {left} {right}"
                );
            }
            j.apply_column_gram(&v, &mut both)?;
            let mut apart = vec![0.0; v.len()];
            j.apply_transposed(&jv, &mut apart)?;
            assert!(relative_error(&both, &apart) <= DOUBLE, "{name} {outputs:?}");
        }
    }
    Ok(())
}

#[test]
fn one_pass_gives_the_diagonal_and_the_gradients_of_targets() -> TestResult {
    for Case { name, network, theta, x, .. } in kernel_cases()? {
        for outputs in outputs_of(&network) {
            let config = config(outputs);
            let j = JacobianOperator::new(&network, &theta, &x, &config)?;
            let (kernel, n) = (gram(&network, &theta, &x, &config)?, j.rows());
            let y = normals(n * COLUMNS, 1);
            let mut g = vec![f64::NAN; j.cols() * COLUMNS];
            let diagonal = j.diagonal_and_gradients(&y, &mut g)?;
            let error = relative_error(&diagonal, &kernel.diagonal());
            assert!(error <= DOUBLE, "{name} {outputs:?}: {error:e}");
            let mut expected = vec![0.0; g.len()];
            j.apply_transposed(&y, &mut expected)?;
            assert_eq!(g, expected, "{name} {outputs:?}");
            assert_eq!(j.diagonal_and_gradients(&[], &mut [])?, diagonal);
            assert!(j.diagonal_and_gradients(&y[1..], &mut g).is_err());
        }
    }
    Ok(())
}

/// Processes that share the examples: rows of the whole, and sums of the parts.
#[test]
fn some_examples_are_rows_of_the_whole() -> TestResult {
    for Case { name, network, theta, x, .. } in kernel_cases()? {
        let j = JacobianOperator::new(&network, &theta, &x, &config(Outputs::Full))?;
        let (per, examples) = (j.rows_per_example(), x.dim(0)?);
        let cut = examples / 2;
        let (v, u) = (normals(j.cols(), 1), normals(j.rows(), 2));
        let (mut whole, mut concat) = (vec![0.0; j.rows()], Vec::new());
        let (mut sum, mut expected) = (vec![0.0; j.cols()], vec![0.0; j.cols()]);
        j.apply(&v, &mut whole)?;
        j.apply_transposed(&u, &mut expected)?;
        for part in [0..cut, cut..examples] {
            let rows = part.start * per..part.end * per;
            // A part of a part counts from its own first example.
            let j = j.of_examples(part.start..examples)?.of_examples(0..part.len())?;
            let (mut y, mut g) = (vec![f64::NAN; rows.len()], vec![f64::NAN; j.cols()]);
            j.apply(&v, &mut y)?;
            j.apply_transposed(&u[rows], &mut g)?;
            concat.append(&mut y);
            sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
        }
        assert!(relative_error(&concat, &whole) <= DOUBLE, "{name}");
        assert!(relative_error(&sum, &expected) <= DOUBLE, "{name}");
        assert!(j.of_examples(0..0).is_err() && j.of_examples(1..examples + 1).is_err());
    }
    Ok(())
}

/// Quadratic forms layer by layer, against the kernels of the layers.
#[test]
fn layers_share_the_quadratic_form_of_a_target() -> TestResult {
    let Case { network, theta, x, .. } = kernel_cases()?.swap_remove(0);
    let config = config(Outputs::Trace);
    let j = JacobianOperator::new(&network, &theta, &x, &config)?;
    let (y, mut g) = (normals(j.rows(), 1), vec![0.0; j.cols()]);
    j.diagonal_and_gradients(&y, &mut g)?;
    let layers = j.layer_columns();
    assert_eq!(layers.last().map(|(_, columns)| columns.end), Some(j.cols()));
    for (names, columns) in layers {
        let config = GramConfig { layers: vec![names[0].clone()], ..config.clone() };
        let kernel = gram(&network, &theta, &x, &config)?;
        let form: f64 = kernel.matvec(&y)?.iter().zip(&y).map(|(k, y)| k * y).sum();
        let found: f64 = g[columns].iter().map(|g| g * g).sum();
        assert!((found - form).abs() <= DOUBLE * form, "{names:?}: {found} {form}");
    }
    Ok(())
}

#[test]
fn columns_have_the_names_of_parameters() -> TestResult {
    for Case { name, network, theta, x, .. } in kernel_cases()? {
        let j = JacobianOperator::new(&network, &theta, &x, &config(Outputs::Full))?;
        let u = normals(j.rows(), 3);
        let mut column = vec![0.0; j.cols()];
        j.apply_transposed(&u, &mut column)?;
        let expected = Jacobian::new(&network, &theta, &x)?.vjp(&u)?;
        let error = j.to_params(&column)?.sub(&expected)?.norm()?;
        assert!(error <= DOUBLE * expected.norm()?, "{name}: {error:e}");
        assert!(j.to_params(&column[1..]).is_err());
    }
    Ok(())
}

/// The kernel of a layer alone, and a trace, whose columns are those of all outputs.
#[test]
fn layers_are_chosen_and_a_trace_has_more_columns() -> TestResult {
    let network = MlpConfig { input: [1, 3, 3], outputs: 3, ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F64, test_device())?;
    let x = normal(&[20, 1, 3, 3], 1)?;
    let layers = vec![network.specs()[0].name.clone()];
    let config = GramConfig { layers, ..config(Outputs::Trace) };
    let j = JacobianOperator::new(&network, &theta, &x, &config)?;
    let width = theta.get(&config.layers[0])?.dim(0)?;
    assert_eq!(j.cols(), 3 * (9 * width + width));
    let formed = RowGram::new(&j).to_gram()?.into_owned();
    assert!(distance(&formed, &gram(&network, &theta, &x, &config)?) <= DOUBLE);
    assert!(j.to_params(&vec![0.0; j.cols()]).is_err());
    Ok(())
}

/// Both sides: fewer and more examples than parameters, in both precisions.
#[test]
fn eigenpairs_are_those_of_the_kernel() -> TestResult {
    let config_of =
        |k: usize| EigshConfig { block: Some(4), basis: Some(k + 30), ..EigshConfig::default() };
    for (count, hidden) in [(40, 20), (300, 4)] {
        let config =
            MlpConfig { input: [1, 3, 3], hidden: vec![hidden, hidden], ..MlpConfig::default() };
        let network = config.network()?;
        for dtype in [DType::F64, DType::F32] {
            let theta = network.init(0, dtype, test_device())?;
            let x = normal(&[count, 1, 3, 3], 1)?.to_dtype(dtype)?;
            let j = JacobianOperator::new(&network, &theta, &x, &GramConfig::default())?;
            let settings = GramConfig { accumulate: Accumulate::F64, ..GramConfig::default() };
            let kernel: Gram = gram(&network, &theta, &x, &settings)?;
            let (found, expected) =
                (eigsh_row_gram(&j, 10, &config_of(10))?, eigsh(&kernel, 10, &config_of(10))?);
            let scale = expected.pairs.values()[0];
            assert!(
                found.residuals.iter().all(|r| *r <= TOLERANCE * scale),
                "{:?}",
                found.residuals
            );
            // f32 kernels sum over pixels and parameters in another order.
            let tolerance = if dtype == DType::F64 { TOLERANCE } else { SINGLE };
            for (a, b) in found.pairs.values().iter().zip(expected.pairs.values()) {
                assert!((a - b).abs() <= tolerance * scale, "{count} {dtype:?} {a} {b}");
            }
            let triplets = svds(&j, 3, &config_of(3))?;
            for (sigma, lambda) in triplets.values.iter().zip(found.pairs.values()) {
                assert!((sigma * sigma - lambda).abs() <= TOLERANCE * scale);
            }
        }
    }
    Ok(())
}

/// Examples that are read, and the ranges that were asked for.
struct Recorded(Tensor, Mutex<Vec<Range<usize>>>);

impl InputSource for Recorded {
    fn examples(&self) -> usize {
        self.0.examples()
    }

    fn read(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        self.1
            .lock()
            .map_err(|error| candle_core::Error::Msg(error.to_string()))?
            .push(range.clone());
        self.0.read(range)
    }
}

#[test]
fn examples_are_read_in_groups_and_every_thread_count_gives_the_same_bits() -> TestResult {
    let network = MlpConfig { input: [1, 3, 3], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let x = normal(&[1100, 1, 3, 3], 1)?.to_dtype(DType::F32)?;
    let source = Recorded(x.clone(), Mutex::default());
    let j = JacobianOperator::new(&network, &theta, &source, &GramConfig::default())?;
    let v = normals(j.cols() * COLUMNS, 1);
    let product = |threads: usize| -> TestResult<Vec<f64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut images = vec![0.0; v.len()];
        pool.install(|| j.apply_column_gram(&v, &mut images))?;
        Ok(images)
    };
    let one = product(1)?;
    assert_eq!(source.1.lock().unwrap()[1..], [0..512, 512..1024, 1024..1100]);
    assert_eq!(one, product(2)?);
    assert_eq!(one, product(3)?);
    Ok(())
}

#[test]
fn bad_examples_and_requests_to_stop_end_a_product() -> TestResult {
    let network = MlpConfig { input: [1, 3, 3], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F64, test_device())?;
    let mut entries = normals(600 * 9, 1);
    entries[590 * 9] = f64::NAN;
    let x = Tensor::from_vec(entries, (600, 1, 3, 3), test_device())?;
    let j = JacobianOperator::new(&network, &theta, &x, &GramConfig::default())?;
    let (v, mut images) = (normals(j.cols(), 1), vec![0.0; j.rows()]);
    let error = j.apply(&v, &mut images).unwrap_err().to_string();
    assert!(error.contains("counted from example 512 on") && error.contains("NaN"), "{error}");
    assert!(j.apply(&v[1..], &mut images).is_err() && j.apply_transposed(&v, &mut images).is_err());

    let (x, stop) = (normal(&[4, 1, 3, 3], 1)?, AtomicBool::new(false));
    let j = JacobianOperator::new(&network, &theta, &x, &GramConfig::default())?.stoppable(&stop);
    let mut images = vec![0.0; 4];
    j.apply(&v, &mut images)?;
    stop.store(true, Ordering::Relaxed);
    assert!(j.apply(&v, &mut images).unwrap_err().to_string().contains("stopped"));

    let none = Tensor::zeros((0, 1, 3, 3), DType::F64, test_device())?;
    let refused = JacobianOperator::new(&network, &theta, &none, &GramConfig::default());
    assert!(matches!(refused, Err(GramError::Setting { .. })));
    Ok(())
}
