//! Every operation of the list passes the whole check, in both precisions, with inputs of each
//! example and with shared ones; run with the feature `mock-device` too, on the path of a device.

use candle_core::DType;
use entk_models::{
    Operation, Result,
    check::{self, Input},
};
use entk_testing::operations::{InputLaw, Numbers, OperationVisitor, visit_operations};
use proptest::prelude::*;

/// Examples of a batch.
const EXAMPLES: usize = 3;

struct WholeCheck {
    dtype: DType,
    seed: u64,
    /// Whether inputs that may follow from parameters do.
    shared: bool,
}

impl WholeCheck {
    fn input(&self, law: &InputLaw, place: u64) -> Result<Input> {
        let shared = self.shared && law.shared;
        let examples = if shared { 1 } else { EXAMPLES };
        let tensor = law.draw(examples, self.seed.wrapping_mul(31).wrapping_add(place))?;
        let tensor = match law.numbers {
            Numbers::Ids(_) => tensor,
            _ => tensor.to_dtype(self.dtype)?,
        };
        Ok(if shared { Input::Shared(tensor.squeeze(0)?) } else { Input::Each(tensor) })
    }
}

impl OperationVisitor for WholeCheck {
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        laws: &[InputLaw],
    ) -> Result<()> {
        let has_weight = (0..laws.len()).any(|input| operation.needs_shared(input));
        let has_shared = laws.iter().any(|law| law.shared);
        if if self.shared { !has_shared } else { has_weight } {
            return Ok(());
        }
        let inputs = laws.iter().zip(0..).map(|(law, place)| self.input(law, place));
        let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
        let report = check::operation(operation, &inputs)?;
        let Self { dtype, seed, shared } = self;
        let passed = report.ensure();
        assert!(passed.is_ok(), "{name}, {dtype:?}, seed {seed}, shared {shared}:\n{report}");
        assert!(!report.mixed.is_empty(), "{name}: has no mixed derivative");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn every_operation_passes_the_whole_check(seed in 0u64..1 << 32) {
        for dtype in [DType::F64, DType::F32] {
            for shared in [false, true] {
                visit_operations(&mut WholeCheck { dtype, seed, shared }).unwrap();
            }
        }
    }
}

/// Draws nothing: counts the list, so that a test that visits no operation fails.
struct Count(usize);

impl OperationVisitor for Count {
    fn visit<O: Operation + Clone>(&mut self, _: &str, _: O, laws: &[InputLaw]) -> Result<()> {
        self.0 += usize::from(!laws.is_empty());
        Ok(())
    }
}

#[test]
fn the_list_is_not_empty() -> Result<()> {
    let mut count = Count(0);
    visit_operations(&mut count)?;
    assert!(count.0 > 50, "{}", count.0);
    Ok(())
}
