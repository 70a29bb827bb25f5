//! Writes mutants into a copy of the workspace, many in one build.
//!
//! `mutants TREE SEED COUNT [SKIPPED ...]`: draws COUNT places of every library crate below
//! TREE/crates, without those of the ids SKIPPED, and changes what stands there into
//! `if crate::mutant(ID) { mutant } else { original }`. Prints a line of JSON for each. A process
//! is mutant ID when `MUTANT=ID` is in its environment. `run.py` calls it.

mod mutate;

use std::{
    fs,
    path::{Path, PathBuf},
};

use mutate::{Mutant, Mutator};

/// Library crates, and the first id of each.
const CRATES: [&str; 10] = [
    "entk-device",
    "entk-data",
    "entk-models",
    "entk-torch",
    "entk-linearize",
    "entk-spectral",
    "entk-gram",
    "entk-predict",
    "entk-train",
    "entk-memory",
];
const IDS: usize = 100_000;

/// Files that only a GPU, the compiler of kernels or a test runs.
const LEFT_OUT: [&str; 9] = [
    "/tests.rs",
    "/rules/tests/",
    "/conv/oracle.rs",
    "/entrywise/references.rs",
    "/entk-device/src/device/",
    "/launch/",
    "/self_test/",
    "/files/faults.rs",
    "/no_device.rs",
];

/// What the library of a crate gets; with `MUTANT_SEEN` each place reached leaves a file there.
const SWITCH: &str = "
#[doc(hidden)]
pub(crate) fn mutant(id: usize) -> bool {
    use std::{path::PathBuf, sync::{OnceLock, atomic::{AtomicBool, Ordering}}};
    static ACTIVE: OnceLock<(Option<usize>, Option<PathBuf>)> = OnceLock::new();
    static SEEN: [AtomicBool; 100_000] = [const { AtomicBool::new(false) }; 100_000];
    let (active, folder) = ACTIVE.get_or_init(|| {
        let active = std::env::var(\"MUTANT\").ok().and_then(|id| id.parse().ok());
        (active, std::env::var_os(\"MUTANT_SEEN\").map(PathBuf::from))
    });
    if let Some(folder) = folder
        && !SEEN[id % 100_000].swap(true, Ordering::Relaxed)
    {
        let _ = std::fs::write(folder.join(id.to_string()), \"\");
    }
    *active == Some(id)
}
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tree, seed, count, skipped @ ..] = arguments.as_slice() else {
        panic!("usage: mutants TREE SEED COUNT [SKIPPED ...]");
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let skipped: Vec<usize> = skipped.iter().map(number).collect();
    for (at, name) in CRATES.into_iter().enumerate() {
        let source = Path::new(tree).join("crates").join(name).join("src");
        let mut files = Vec::new();
        collect(&source, &mut files);
        files.sort();
        let total = count_places(&files);
        let chosen = draw(total, number(count), number(seed) as u64 + at as u64);
        let chosen: Vec<usize> = chosen.into_iter().map(|place| IDS * at + place).collect();
        let chosen = chosen.into_iter().filter(|id| !skipped.contains(id)).collect();
        write(&files, Mutator::new(IDS * at, chosen), tree, name, total);
        let library = source.join("lib.rs");
        let text = fs::read_to_string(&library).expect("a library") + SWITCH;
        fs::write(library, text).expect("a library");
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let shown = path.display().to_string();
        if path.is_dir() {
            collect(&path, files);
        } else if shown.ends_with(".rs") && !LEFT_OUT.iter().any(|part| shown.contains(part)) {
            files.push(path);
        }
    }
}

fn parse(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).expect("a file");
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn count_places(files: &[PathBuf]) -> usize {
    let mut mutator = Mutator::new(0, Vec::new());
    files.iter().for_each(|path| mutator.visit(&mut parse(path)));
    mutator.places()
}

fn write(files: &[PathBuf], mut mutator: Mutator, tree: &str, name: &str, total: usize) {
    for path in files {
        let (mut file, before) = (parse(path), mutator.mutants.len());
        mutator.visit(&mut file);
        let shown = path.strip_prefix(tree).unwrap_or(path).display().to_string();
        for Mutant { id, line, what } in &mutator.mutants[before..] {
            let json = serde_json::json!({
                "id": id, "crate": name, "file": shown, "line": line, "what": what, "of": total,
            });
            println!("{json}");
        }
        if mutator.mutants.len() > before {
            fs::write(path, prettyplease::unparse(&file)).expect("a file");
        }
    }
}

/// So many of the numbers below `total`, by splitmix64.
fn draw(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut all: Vec<usize> = (0..total).collect();
    for at in 0..count.min(total) {
        let other = at + (next() % (total - at) as u64) as usize;
        all.swap(at, other);
    }
    all.truncate(count);
    all.sort_unstable();
    all
}
