//! Every operation of the list passes the whole check, in both precisions, with inputs of each
//! example and with shared ones; run on the software GPU too.

use std::collections::BTreeMap;

use candle_core::DType;
use entk_models::{
    ModelError, Operation, Result,
    check::{self, Input},
};
use entk_testing::{
    check_document,
    operations::{InputLaw, Numbers, OperationVisitor, visit_operations},
    test_device,
};
use proptest::{prelude::*, test_runner::RngSeed};

/// Around the guide's table.
const BEGIN: &str = "<!-- table of operations -->";
const END: &str = "<!-- end of the table -->";

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
        Ok(match (shared, law.constant) {
            (true, true) => Input::Constant(tensor.squeeze(0)?),
            (true, false) => Input::Shared(tensor.squeeze(0)?),
            _ => Input::Each(tensor),
        })
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
        let report = match check::operation(operation, &inputs) {
            // A GPU launches nothing for no entries, and says so.
            Err(ModelError::NoEntries { .. }) if !test_device().is_cpu() => return Ok(()),
            checked => checked?,
        };
        let Self { dtype, seed, shared } = self;
        let passed = report.ensure();
        assert!(passed.is_ok(), "{name}, {dtype:?}, seed {seed}, shared {shared}:\n{report}");
        assert!(!report.mixed.is_empty(), "{name}: has no mixed derivative");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        rng_seed: RngSeed::Fixed(0x6f70_6572),
        ..ProptestConfig::default()
    })]
    #[test]
    fn every_operation_passes_the_whole_check(seed in 0u64..1 << 32) {
        for dtype in [DType::F64, DType::F32] {
            for shared in [false, true] {
                visit_operations(&mut WholeCheck { dtype, seed, shared }).unwrap();
            }
        }
    }
}

/// The operations of the list by the name of their type, with the names of their cases.
#[derive(Default)]
struct Table(BTreeMap<String, Vec<String>>);

impl OperationVisitor for Table {
    fn visit<O: Operation + Clone>(&mut self, name: &str, _: O, _: &[InputLaw]) -> Result<()> {
        let path = std::any::type_name::<O>().split('<').next().unwrap_or_default();
        let operation = path.rsplit("::").next().unwrap_or_default().to_owned();
        self.0.entry(operation).or_default().push(name.to_owned());
        Ok(())
    }
}

/// The guide's table. After a change of the list, `UPDATE_DOCS=1 cargo test -p entk-models table`
/// writes it.
#[test]
fn the_table_of_the_guide_is_that_of_the_list() -> Result<()> {
    let mut table = Table::default();
    visit_operations(&mut table)?;
    assert!(table.0.len() > 20, "{}", table.0.len());
    let mut rows = "| operation | checked as |\n| --- | --- |\n".to_owned();
    for (operation, cases) in &table.0 {
        rows += &format!("| `{operation}` | {} |\n", cases.join("; "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    check_document(path, [BEGIN, END], &rows);
    Ok(())
}
