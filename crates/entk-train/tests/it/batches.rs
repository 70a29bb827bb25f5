use entk_train::{Minibatches, Schedule, TrainError};

fn order(batches: &Minibatches, epoch: usize) -> Vec<u32> {
    batches.epoch(epoch).iter().flatten().copied().collect()
}

#[test]
fn every_epoch_is_the_beginning_of_a_permutation() {
    for (examples, batch) in [(1, 1), (2, 1), (7, 7), (10, 4), (257, 128), (1000, 33)] {
        let batches = Minibatches::new(examples, batch, 3).unwrap();
        assert_eq!(batches.per_epoch(), examples / batch);
        for epoch in [1, 2, 50] {
            let indices = order(&batches, epoch);
            assert_eq!(indices.len(), examples / batch * batch);
            assert!(batches.epoch(epoch).iter().all(|minibatch| minibatch.len() == batch));
            let mut seen = vec![false; examples];
            for index in indices {
                assert!(!std::mem::replace(&mut seen[index as usize], true), "{index} twice");
            }
        }
    }
}

#[test]
fn the_order_depends_on_seed_and_epoch_alone() {
    let batches = |seed| Minibatches::new(100, 10, seed).unwrap();
    assert_eq!(order(&batches(1), 4), order(&batches(1), 4));
    assert_ne!(order(&batches(1), 4), order(&batches(1), 5));
    assert_ne!(order(&batches(1), 4), order(&batches(2), 4));
    // Seed and epoch are not simply added.
    assert_ne!(order(&batches(1), 5), order(&batches(2), 4));
}

#[test]
fn the_dropped_examples_change_from_epoch_to_epoch() {
    let batches = Minibatches::new(10, 9, 0).unwrap();
    let dropped: std::collections::BTreeSet<u32> =
        (1..=60).map(|epoch| 45 - order(&batches, epoch).iter().sum::<u32>()).collect();
    assert_eq!(dropped.len(), 10);
}

#[test]
fn a_batch_that_cannot_be_filled_is_refused() {
    let error = Minibatches::new(127, 128, 0).unwrap_err();
    assert!(matches!(error, TrainError::TooFewExamples { examples: 127, batch: 128 }));
    assert!(error.to_string().contains("set `batch` to at most 127"), "{error}");
    assert!(matches!(Minibatches::new(5, 0, 0), Err(TrainError::Setting { .. })));
    assert!(matches!(
        Minibatches::new(1 << 32, 1, 0),
        Err(TrainError::TooManyExamples { examples: 0x1_0000_0000 })
    ));
}

#[test]
fn the_linear_schedule_ends_one_step_before_zero() {
    let steps = 8;
    for step in 0..steps {
        let factor = Schedule::Linear.factor(step, steps);
        assert_eq!(factor, (steps - step) as f64 / steps as f64);
        assert_eq!(Schedule::Constant.factor(step, steps), 1.0);
    }
    assert_eq!(Schedule::Linear.factor(steps, steps), 0.0);
    assert_eq!(Schedule::Linear.factor(steps + 1, steps), 0.0);
    assert_eq!(Schedule::Linear.factor(0, 0), 0.0);
}
