//! What takes long is told to whoever listens: spans and events of the feature `tracing`.

#![cfg(feature = "tracing")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use entk::{prelude::*, spectral::Solver};
use entk_testing::TestResult;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Names of spans in the order in which they began, and fields of events.
#[derive(Clone, Default)]
struct Listener {
    spans: Arc<Mutex<Vec<String>>>,
    events: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicU64>,
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("entk")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        self.spans.lock().expect("a lock").push(fields.0);
        Id::from_u64(1 + self.count.fetch_add(1, Ordering::Relaxed))
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.events.lock().expect("a lock").push(fields.0);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn work() -> TestResult {
    let sample = embedded()?.standardized()?.0.train.stratified_subset(60, 0)?;
    let network = MlpConfig { input: [1, 28, 28], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let kernel = gram(&network, &theta, sample.images().tensor(), &GramConfig::default())?;
    eigh(&kernel)?;
    let config = EigshConfig { solver: Solver::Krylov, ..EigshConfig::default() };
    eigsh(&kernel, 3, &config)?;
    let examples = Examples::new(sample.images().tensor().clone(), sample.binary_labels())?;
    let config = SgdConfig { epochs: 2, batch: 20, ..SgdConfig::default() };
    fit(&network, &theta, &examples, None, &config)?;
    Ok(())
}

#[test]
fn what_takes_long_has_a_span_with_its_size() -> TestResult {
    let listener = Listener::default();
    tracing::subscriber::with_default(listener.clone(), work)?;
    let spans = listener.spans.lock().expect("a lock").clone();
    for expected in ["gram rows=60", "eigh n=60", "eigsh n=60 k=3", "fit epochs=2", "epoch epoch=2"]
    {
        assert!(spans.iter().any(|span| span == expected), "no {expected:?} in {spans:?}");
    }
    let events = listener.events.lock().expect("a lock").clone();
    assert!(events.iter().any(|event| event.contains("wanted=3")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("minibatch_loss=")), "{events:?}");
    Ok(())
}
