//! Times of eigenpairs of a Gram of the MLP, by both solvers, and of products with such a Gram, by
//! the number of columns. Run by `cargo bench --bench spectral`.

use candle_core::DType;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use entk::{
    gram::{GramConfig, gram},
    spectral::{EigshConfig, Gram, SymmetricOperator, eigh, eigsh},
};
use entk_benches::{images, subjects};

fn kernel(n: usize) -> Gram {
    let mlp = subjects().expect("networks").swap_remove(0);
    let x = images(n, DType::F32).expect("images");
    gram(&mlp.network, &mlp.theta, &x, &GramConfig::default()).expect("a Gram")
}

fn solvers(c: &mut Criterion) {
    let kernel = kernel(1000);
    let mut group = c.benchmark_group("eigenpairs/1000/cpu");
    group.sample_size(10);
    group.bench_function("eigh", |b| b.iter(|| eigh(&kernel).expect("all pairs")));
    for k in [10, 100, 300] {
        group.bench_with_input(BenchmarkId::new("eigsh", k), &k, |b, &k| {
            b.iter(|| eigsh(&kernel, k, &EigshConfig::default()).expect("leading pairs"));
        });
    }
    group.finish();
}

/// K X with K in f32 and X in f64, by the number of columns.
fn products(c: &mut Criterion) {
    let n = 4000;
    let kernel = kernel(n);
    let mut group = c.benchmark_group(format!("product/{n}/cpu"));
    group.sample_size(20);
    for columns in [1, 32, 128] {
        let x = vec![1.0; columns * n];
        let mut images = vec![0.0; columns * n];
        group.throughput(Throughput::Elements((2 * n * n * columns) as u64));
        group.bench_function(columns.to_string(), |b| {
            b.iter(|| kernel.apply(&x, &mut images).expect("a product"));
        });
    }
    group.finish();
}

criterion_group!(benches, solvers, products);
criterion_main!(benches);
