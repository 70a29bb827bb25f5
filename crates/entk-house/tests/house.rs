//! The layout of the workspace: what is allowed, as data, and one test a rule.
use std::path::Path;

use entk_house::{
    circles,
    docs::{self, book},
    file_calls,
    functions::{functions, long},
    manifests, packages, sizes,
    tree::{Finding, Tree},
    words::{self, Banned, Scope},
};

/// Crates from the lowest up; those in one row do not know each other.
const ORDER: [&[&str]; 10] = [
    &["entk-memory", "entk-house"],
    &["entk-device"],
    &["entk-data", "entk-models"],
    &["entk-linearize", "entk-torch"],
    &["entk-spectral"],
    &["entk-gram", "entk-mpi", "entk-predict", "entk-train"],
    &["entk"],
    &["entk-cli"],
    &["examples", "docs"],
    &["benches"],
];
/// Crates that only tests use.
const TESTING: [&str; 1] = ["entk-testing"];

const MOST_FILES_IN_FOLDER: usize = 13;
const MOST_LINES: usize = 400;
const MOST_COLUMNS: usize = 100;
const MEDIAN_FUNCTION: usize = 6;
const NINE_IN_TEN_FUNCTIONS: usize = 20;

const fn word(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, scope: Scope::Word, package: "", instead }
}

const fn noun(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, scope: Scope::Noun, package: "", instead }
}

const fn name(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, scope: Scope::Name, package: "", instead }
}

const fn type_name(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, scope: Scope::Type, package: "", instead }
}

const fn in_gram(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, scope: Scope::Type, package: "entk-gram", instead }
}

/// Words that a reader would have to learn, and the ones to use.
const BANNED: [Banned; 35] = [
    word("leaf", "`KeptFactor` for a factor on a device, `parameter` for one of a network"),
    noun("leaves", "`factors` on a device, `parameters` of a network"),
    word("piece", "`HostFactor`, `ChannelRange` or what it is a part of"),
    word("pieces", "`factors`, `ranges` or what they are parts of"),
    word("pace", "`StepSchedule`"),
    word("facts", "`HostSummary`"),
    word("settled", "`in_shorter_form`"),
    Banned { package: "entk-gram", ..noun("joined", "`concat`") },
    word("deal", "`partition_tiles`"),
    word("dealt", "`partition_tiles`"),
    name("together", "`fill_tiles`, `all` or what runs side by side"),
    name("stay", "`resident`"),
    name("again_if_damaged", "`recompute_if_damaged`"),
    Banned { scope: Scope::Module, ..name("known", "`known_answers`") },
    Banned { scope: Scope::Module, ..name("work", "what it computes: `kernel`") },
    Banned { scope: Scope::Module, ..name("panels", "`logits` or `tall`") },
    type_name("KernelCheck", "`KnownAnswer`"),
    type_name("Features", "`KeptFactors`"),
    type_name("PairForm", "`Contraction`"),
    type_name("Region", "`TileRange`"),
    type_name("Demand", "`Workload`"),
    type_name("Probe", "`FactorSizes`"),
    type_name("At", "`Step`"),
    type_name("Update", "`Optimizer`"),
    type_name("Decay", "`WeightDecay`"),
    type_name("TopPairs", "`CertifiedPairs`"),
    type_name("Singular", "`SingularTriplets`"),
    type_name("Stored", "`StoreReport`"),
    type_name("Written", "`TileWriter`"),
    type_name("Kernel", "`HostOp` for a loop, `Launch` on a GPU, `Ntk` for a kernel"),
    type_name("Sizes", "the sizes of what"),
    in_gram("Pair", "`FactorPair`"),
    in_gram("Unit", "`ColumnBlock`"),
    in_gram("Term", "`Operand`"),
    in_gram("Group", "`SweepGroup`"),
];

/// Categories of the registry that fit crates of this family.
const CATEGORIES: [&str; 12] = [
    "algorithms",
    "concurrency",
    "data-structures",
    "development-tools::testing",
    "encoding",
    "filesystem",
    "hardware-support",
    "mathematics",
    "memory-management",
    "parser-implementations",
    "science",
    "simulation",
];

/// Types whose name each crate has on purpose.
const IN_EVERY_CRATE: [&str; 2] = ["Result", "Sealed"];

/// Where operations on files are defined, and readers of what the system says of a process and of
/// the output of a C compiler.
const FILE_CALLS: [&str; 3] = [
    "crates/entk-device/src/files/",
    "crates/entk-memory/src/lib.rs",
    "crates/entk-device/src/launch/host.rs",
];

/// Documentation that begins so can be read only beside that of its neighbour.
const POINTING: [&str; 2] = ["The same", "Those of"];

fn tree() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("a readable workspace")
}

fn none(rule: &str, findings: Vec<Finding>) {
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} times against: {rule}\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    none("no circle of imports", circles::circles(&tree()));
}

#[test]
fn imports_name_the_module_that_defines_the_item() {
    none("import from the module that defines the item", circles::detours(&tree()));
}

#[test]
fn crates_know_only_those_below_them() {
    none("the order of crates", manifests::upward(&tree(), &ORDER, &TESTING));
}

#[test]
fn published_crates_have_what_a_registry_asks_for() {
    none("whole manifests", packages::unpublishable(&tree(), &CATEGORIES));
}

#[test]
fn folders_hold_few_files() {
    none("few files a folder", sizes::full_folders(&tree(), MOST_FILES_IN_FOLDER));
}

#[test]
fn files_are_short() {
    none("short files", sizes::long_files(&tree(), MOST_LINES));
}

#[test]
fn library_files_have_heads() {
    none("a head for every file", sizes::headless(&tree()));
}

#[test]
fn lines_are_narrow() {
    none("one width of lines", sizes::wide_lines(&tree(), MOST_COLUMNS));
}

#[test]
fn functions_are_short() {
    let functions = tree().libraries().flat_map(functions).collect();
    none("short functions", long(functions, MEDIAN_FUNCTION, NINE_IN_TEN_FUNCTIONS));
}

#[test]
fn words_are_those_of_the_notation() {
    let mut findings = words::banned_words(&tree(), &BANNED);
    findings.retain(|finding| !finding.path.ends_with("entk-house/tests/house.rs"));
    none("the words of docs/notation.md", findings);
}

#[test]
fn arguments_are_called_params() {
    none("`params: &Params`", words::theta_arguments(&tree()));
}

#[test]
fn a_public_type_has_one_crate() {
    none("one meaning a name", words::doubled_types(&tree(), &IN_EVERY_CRATE));
}

#[test]
fn files_go_through_one_module() {
    none("one place for operations on files", file_calls::direct_file_calls(&tree(), &FILE_CALLS));
}

#[test]
fn documents_name_paths_that_exist() {
    none("paths in documents", docs::missing_paths(&tree()));
}

#[test]
fn the_book_is_whole() {
    none("chapters and links of the book", book::broken(&tree(), "docs/book/src"));
}

#[test]
fn documentation_begins_with_what_it_is_about() {
    none("whole sentences", docs::pointing_docs(&tree(), &POINTING));
}
