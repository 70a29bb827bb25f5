//! Predictions against those of neural-tangents, which tools/reference/predictions.py has stored.

use std::collections::HashMap;

use entk_predict::{
    Cholesky, CholeskyConfig, Columns, Ensemble, SquaredLossFlow, posterior_covariance, predict,
    predict_all,
};
use entk_spectral::{CrossGram, Gram, eigh};

use crate::support::{assert_close, entries};

/// The kernels have condition numbers up to 1e4, and eigh of neural-tangents that of f64.
const TOLERANCE: f64 = 1e-10;
const TIMES: usize = 5;

struct Golden {
    values: HashMap<String, serde_json::Value>,
    n: usize,
    m: usize,
    c: usize,
}

impl Golden {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/predictions.json");
        let values: HashMap<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let count = |name: &str| values[name].as_u64().unwrap() as usize;
        let (n, m, c) = (count("train"), count("test"), count("outputs"));
        Self { n, m, c, values }
    }

    fn list(&self, name: &str) -> Vec<f64> {
        self.values[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn table(&self, name: &str, rows: usize) -> Columns {
        Columns::from_rows(rows, self.c, &self.list(name)).unwrap()
    }

    fn gram(&self, name: &str, n: usize) -> Gram {
        Gram::from_lower_f64(n, self.list(name)).unwrap()
    }

    fn cross(&self, name: &str) -> CrossGram {
        CrossGram::from_f64(self.m, self.n, self.list(name)).unwrap()
    }
}

#[test]
fn gradient_flow() {
    let golden = Golden::read();
    let pairs = eigh(&golden.gram("ntk", golden.n)).unwrap();
    let (y, f0) = (golden.table("targets", golden.n), golden.table("offset", golden.n));
    let times = golden.list("times");
    let flow = SquaredLossFlow::new(&pairs, &y, Some(&f0), golden.n).unwrap();
    let coefficients = flow.coefficients(&times).unwrap();
    let offset = golden.table("offset_test", golden.m);
    let test = predict_all(&golden.cross("ntk_cross"), &coefficients, Some(&offset)).unwrap();
    let train = flow.train_outputs(&times).unwrap();
    for k in 0..TIMES {
        assert_close(&test[k].to_rows(), &golden.list(&format!("flow_test_{k}")), TOLERANCE);
        assert_close(&train[k].to_rows(), &golden.list(&format!("flow_train_{k}")), TOLERANCE);
    }
}

#[test]
fn gradient_flow_of_a_full_kernel() {
    let golden = Golden::read();
    let (rows, stack) = (golden.n * golden.c, |name: &str| {
        let values = golden.list(name);
        Columns::from_rows(values.len(), 1, &values).unwrap()
    });
    let pairs = eigh(&golden.gram("full", rows)).unwrap();
    let flow =
        SquaredLossFlow::new(&pairs, &stack("targets"), Some(&stack("offset")), golden.n).unwrap();
    let coefficients = flow.coefficients(&golden.list("times")).unwrap();
    let cross = CrossGram::from_f64(golden.m * golden.c, rows, golden.list("full_cross")).unwrap();
    let test = predict_all(&cross, &coefficients, Some(&stack("offset_test"))).unwrap();
    for (k, test) in test.iter().enumerate() {
        assert_close(test.values(), &golden.list(&format!("full_test_{k}")), TOLERANCE);
    }
}

#[test]
fn ensembles_of_trained_networks() {
    let golden = Golden::read();
    let pairs = eigh(&golden.gram("ntk", golden.n)).unwrap();
    let times = golden.list("times");
    let (theta, prior) = (golden.cross("ntk_cross"), golden.cross("nngp_cross"));
    let y = golden.table("targets", golden.n);
    let flow = SquaredLossFlow::new(&pairs, &y, None, golden.n).unwrap();
    let means = predict_all(&theta, &flow.coefficients(&times).unwrap(), None).unwrap();
    let ensemble = Ensemble::new(&pairs, &golden.gram("nngp", golden.n), golden.n).unwrap();
    let test = golden.gram("nngp_test", golden.m);
    let covariances = ensemble.covariances(&theta, &prior, &test, &times).unwrap();
    for k in 0..TIMES {
        let covariance = golden.list(&format!("ensemble_covariance_{k}"));
        assert_close(&entries(&covariances[k].matrix), &covariance, TOLERANCE);
        assert_close(&means[k].to_rows(), &golden.list(&format!("ensemble_mean_{k}")), TOLERANCE);
    }
}

#[test]
fn posteriors_of_gaussian_processes() {
    let golden = Golden::read();
    let noise = golden.values["noise"].as_f64().unwrap();
    let gram = golden.gram("nngp", golden.n);
    let factor = Cholesky::new(&gram, noise, CholeskyConfig::default()).unwrap();
    let alpha = factor.solve(&golden.table("targets", golden.n)).unwrap().coefficients;
    let cross = golden.cross("nngp_cross");
    let mean = predict(&cross, &alpha, None).unwrap();
    assert_close(&mean.to_rows(), &golden.list("posterior_mean"), TOLERANCE);
    let test = golden.gram("nngp_test", golden.m);
    let covariance = posterior_covariance(&factor, &cross, &test).unwrap();
    assert_close(&entries(&covariance.matrix), &golden.list("posterior_covariance"), TOLERANCE);
}
