//! Which kernel of several outputs: how the kernels of one network follow from each other.

use entk_gram::{Assembly, GramConfig, Outputs, cross_gram, gram};
use entk_models::{Model, ModelError};
use entk_spectral::{Gram, OutputBlocks, check_psd, eigh};
use entk_testing::{Case, TestResult, kernel_cases};

use crate::common::{DOUBLE, distance};

fn config(outputs: Outputs) -> GramConfig {
    GramConfig { outputs, micro_batch: Some(9), ..GramConfig::default() }
}

fn kernel(case: &Case, outputs: Outputs) -> Result<Gram, entk_gram::GramError> {
    gram(&case.network, &case.theta, &case.x, &config(outputs))
}

#[test]
fn trace_sum_and_single_outputs_are_blocks_of_the_full_kernel() -> TestResult {
    for case in kernel_cases()? {
        let (full, c) = (kernel(&case, Outputs::Full)?, case.network.outputs());
        assert_eq!(full.n(), 83 * c);
        assert!(check_psd(&eigh(&full)?).is_ok(), "{}", case.name);
        let blocks = OutputBlocks::new(&full, c)?;
        let close = |found: &Gram, expected: &Gram, what: &str| {
            let error = distance(found, expected);
            assert!(error <= DOUBLE * c as f64, "{} {what}: {error:e}", case.name);
        };
        close(&blocks.trace()?, &kernel(&case, Outputs::Trace)?, "trace");
        for output in 0..c {
            close(&blocks.gram(output)?, &kernel(&case, Outputs::One(output))?, "one");
        }
        // Sums of outputs may cancel: relative to what is added.
        let (sum, found) = (kernel(&case, Outputs::SumOfLogits)?, blocks.sum()?);
        let scale = |i: usize| (0..c).map(|a| full.get(i * c + a, i * c + a)).sum::<f64>();
        for (i, j) in (0..83).flat_map(|i| (0..83).map(move |j| (i, j))) {
            let error = (found.get(i, j) - sum.get(i, j)).abs();
            assert!(error <= DOUBLE * c as f64 * (scale(i) * scale(j)).sqrt(), "{}", case.name);
        }
    }
    Ok(())
}

#[test]
fn blocks_between_outputs_are_those_of_a_cross_kernel() -> TestResult {
    for case in kernel_cases()?.into_iter().filter(|case| case.network.outputs() > 1) {
        let (full, c) = (kernel(&case, Outputs::Full)?, case.network.outputs());
        let full_config = config(Outputs::Full);
        let cross = cross_gram(&case.network, &case.theta, &case.x, &case.x, &full_config)?;
        let block = OutputBlocks::new(&full, c)?.cross(0, c - 1)?;
        for (i, j) in (0..83).flat_map(|i| (0..83).map(move |j| (i, j))) {
            let (row, col) = (i * c, j * c + c - 1);
            let scale = (full.get(row, row) * full.get(col, col)).sqrt();
            let error = (block.get(i, j) - cross.get(row, col)).abs();
            assert!(error <= DOUBLE * scale, "{} {i} {j}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn an_output_that_the_network_does_not_have_is_refused() -> TestResult {
    for case in kernel_cases()? {
        let outputs = case.network.outputs();
        let refused =
            Assembly::new(&case.network, &case.theta, &case.x, &config(Outputs::One(outputs)));
        let message = refused.map(|_| ()).expect_err("no such output").to_string();
        let expected = ModelError::NoOutput { asked: outputs, outputs }.to_string();
        assert_eq!(message, expected, "{}", case.name);
    }
    Ok(())
}
