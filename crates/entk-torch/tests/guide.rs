//! The guide to networks of PyTorch lists every operation that has a rule.

use entk_testing::check_document;
use entk_torch::supported_operations;

const BEGIN: &str = "<!-- operations: begin -->";
const END: &str = "<!-- operations: end -->";

/// After a change of the rules, `UPDATE_DOCS=1 cargo test -p entk-torch --test guide` writes the
/// guide's table.
#[test]
fn the_table_of_the_guide_is_that_of_the_rules() {
    let mut rows = "| family | operations |\n| --- | --- |\n".to_owned();
    for (family, operations) in supported_operations() {
        let names: Vec<String> = operations.iter().map(|name| format!("`{name}`")).collect();
        rows += &format!("| {family} | {} |\n", names.join(" "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pytorch.md");
    check_document(path, [BEGIN, END], &rows);
}
