//! A run of a small program, and what it refuses.

use serde_json::{Value, json};

use crate::{archive::schema::Program, error::Result, trace::run::Run};

/// Three numbers from 0 on, of which the file says this.
fn three_numbers(dtype: u64, sizes: &[i64]) -> Program {
    let size = |size: &i64| json!({ "as_int": size });
    let sizes: Vec<Value> = sizes.iter().map(size).collect();
    let node = json!({
        "target": "torch.ops.aten.arange.default",
        "inputs": [{ "name": "end", "arg": { "as_int": 3 } }],
        "outputs": [{ "as_tensor": { "name": "numbers" } }],
    });
    let meta = json!({
        "dtype": dtype, "sizes": sizes, "requires_grad": false, "layout": 7,
        "strides": [{ "as_int": 1 }], "storage_offset": { "as_int": 0 },
    });
    let graph = json!({ "nodes": [node], "tensor_values": { "numbers": meta } });
    let signature = json!({ "input_specs": [], "output_specs": [] });
    let program = json!({ "graph_module": { "graph": graph, "signature": signature } });
    serde_json::from_value(program).expect("a program")
}

/// Runs it for its own batch, or for one example in place of so many.
fn run(program: &Program, rebatch: Option<usize>) -> Result<()> {
    Run::new(program, rebatch).trace()
}

/// Codes of element types: 5 is i64, 7 is f32.
#[test]
fn results_of_another_shape_or_kind_than_the_file_says_are_refused() {
    assert!(run(&three_numbers(5, &[3]), None).is_ok());
    for (dtype, sizes) in [(5, &[4][..]), (5, &[3, 1]), (5, &[]), (7, &[3]), (99, &[3])] {
        let error = run(&three_numbers(dtype, sizes), None).expect_err("refused").to_string();
        let said = format!("the file says code {dtype}");
        assert!(error.contains(&said) && error.contains("aten.arange.default"), "{error}");
    }
    // For one example in place of a batch sizes may differ, but neither axes nor kinds.
    assert!(run(&three_numbers(5, &[12]), Some(4)).is_ok());
    assert!(run(&three_numbers(5, &[12, 1]), Some(4)).is_err());
    assert!(run(&three_numbers(7, &[12]), Some(4)).is_err());
}
