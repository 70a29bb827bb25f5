//! Times of whole Gram matrices, sweeps included: the networks of `entk_benches::subjects` at 500
//! to 2,000 images, entries a second. Run by `cargo bench --bench gram`.

use candle_core::DType;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use entk::gram::{GramConfig, gram};
use entk_benches::{images, subjects};

fn assembly(c: &mut Criterion) {
    for subject in subjects().expect("networks") {
        let mut group = c.benchmark_group(format!("gram/{}/cpu", subject.name));
        group.sample_size(10);
        for n in [500, 1000, 2000] {
            let x = images(n, DType::F32).expect("images");
            group.throughput(Throughput::Elements((n * (n + 1) / 2) as u64));
            group.bench_function(n.to_string(), |b| {
                let config = GramConfig::default();
                b.iter(|| gram(&subject.network, &subject.theta, &x, &config).expect("a Gram"));
            });
        }
    }
}

criterion_group!(benches, assembly);
criterion_main!(benches);
