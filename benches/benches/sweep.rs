//! Times of forward and backward sweeps of a batch of 64, of the networks of
//! `entk_benches::subjects`. Run by `cargo bench --bench sweep`.

use candle_core::DType;
use criterion::{Criterion, criterion_group, criterion_main};
use entk::models::Model;
use entk_benches::{images, subjects};

fn sweep(c: &mut Criterion) {
    let x = images(64, DType::F32).expect("images");
    for subject in subjects().expect("networks") {
        let (network, theta) = (&subject.network, &subject.theta);
        c.bench_function(&format!("forward/{}/cpu/64", subject.name), |b| {
            b.iter(|| network.forward(theta, &x).expect("outputs"));
        });
        c.bench_function(&format!("forward_backward/{}/cpu/64", subject.name), |b| {
            b.iter(|| {
                let sweep = network.sweep(theta, &x).expect("a sweep");
                sweep.vjp(&sweep.outputs().ones_like().expect("ones")).expect("a gradient")
            });
        });
    }
}

criterion_group!(benches, sweep);
criterion_main!(benches);
