//! Damaged and hostile archives: whatever the bytes, an answer or an error, and no panic. The
//! number of runs is small by default; `ENTK_FUZZ_RUNS` sets another, `ENTK_FUZZ_SEED` another
//! start.

use std::{panic::catch_unwind, path::PathBuf};

use entk::torch::{Import, import_bytes};
use entk_testing::{
    TestResult,
    archives::{Entries, archive, entries},
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::Value;

/// Small archives of all families.
const NAMES: [&str; 11] = [
    "mlp",
    "inplace",
    "attention_weights",
    "gpt2_classifier",
    "lstm",
    "scatter",
    "experts",
    "weight_norm",
    "conv3d",
    "functions",
    "windows",
];
/// Runs of each kind of damage by default: some seconds.
const RUNS: u64 = 600;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn golden(name: &str) -> TestResult<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch");
    Ok(std::fs::read(folder.join(format!("{name}.pt2")))?)
}

/// Imports bytes; the outcome does not matter, but there has to be one.
fn survives(bytes: Vec<u8>, what: &str) {
    let outcome = catch_unwind(|| match import_bytes(bytes, &Import::default()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    });
    assert!(outcome.is_ok(), "a panic: {what}");
}

/// Runs a kind of damage with seeds of its own on one archive after the other.
fn runs(damage: impl Fn(&mut ChaCha8Rng, &[u8]) -> TestResult<Vec<u8>>) -> TestResult {
    let archives = NAMES.iter().map(|name| golden(name)).collect::<TestResult<Vec<_>>>()?;
    let start = setting("ENTK_FUZZ_SEED", 0);
    for seed in start..start + setting("ENTK_FUZZ_RUNS", RUNS) {
        let at = seed as usize % archives.len();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        survives(damage(&mut rng, &archives[at])?, &format!("seed {seed} of {}", NAMES[at]));
    }
    Ok(())
}

#[test]
fn changed_bytes() -> TestResult {
    runs(|rng, bytes| {
        let mut bytes = bytes.to_vec();
        for _ in 0..rng.random_range(1..8) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        Ok(bytes)
    })
}

#[test]
fn cut_files() -> TestResult {
    runs(|rng, bytes| Ok(bytes[..rng.random_range(0..bytes.len())].to_vec()))
}

/// Numbers that programs forget.
const NUMBERS: [i64; 12] =
    [-1, 0, 1, 2, 3, 7, -2, i64::MAX, i64::MIN, 1 << 31, 1 << 40, u32::MAX as i64];

/// Places of values in a document, as steps from its root.
fn places(value: &Value, here: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    all.push(here.clone());
    let mut into = |step: String, value: &Value| {
        here.push(step);
        places(value, here, all);
        here.pop();
    };
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| into(at.to_string(), value));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| into(key.clone(), value)),
        _ => {}
    }
}

fn pointer(steps: &[String]) -> String {
    let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
    steps.iter().map(escaped).collect()
}

/// One change of a document: a number, a copy of another part, a part left out or doubled.
fn change(rng: &mut ChaCha8Rng, document: &mut Value) {
    let mut all = Vec::new();
    places(document, &mut Vec::new(), &mut all);
    let any = |rng: &mut ChaCha8Rng| pointer(&all[rng.random_range(0..all.len())]);
    let (at, other) = (any(rng), any(rng));
    let copy = document.pointer(&other).cloned().unwrap_or(Value::Null);
    let kind = rng.random_range(0..6);
    let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
    let Some(value) = document.pointer_mut(&at) else { return };
    match (kind, value) {
        (0..=2, value @ Value::Number(_)) => *value = number.into(),
        (3, Value::Array(list)) => list.truncate(list.len() / 2),
        (4, Value::Array(list)) => list.extend_from_within(..),
        (3, Value::Object(map)) => {
            let first = map.keys().next().cloned();
            first.and_then(|key| map.remove(&key));
        }
        // Large parts copied into each other grow without end.
        (_, value) if copy.as_object().is_none_or(|map| map.len() < 6) => *value = copy,
        _ => {}
    }
}

#[test]
fn changed_programs() -> TestResult {
    runs(|rng, bytes| {
        let mut all = entries(bytes)?;
        let documents: Vec<usize> =
            (0..all.len()).filter(|at| all[*at].0.ends_with(".json")).collect();
        let at = documents[rng.random_range(0..documents.len())];
        let mut document: Value = serde_json::from_slice(&all[at].1)?;
        for _ in 0..rng.random_range(1..4) {
            change(rng, &mut document);
        }
        all[at].1 = serde_json::to_vec(&document)?;
        Ok(archive(&all)?)
    })
}

/// Imports an archive with one entry changed, and gives the error.
fn refusal(name: &str, change: impl Fn(&mut Entries)) -> TestResult<String> {
    let mut all = entries(&golden(name)?)?;
    change(&mut all);
    let bytes = archive(&all)?;
    match import_bytes(bytes, &Import::default()) {
        Ok(_) => Err("taken".into()),
        Err(error) => Ok(error.to_string()),
    }
}

fn replace(entries: &mut Entries, entry: &str, from: &str, to: &str) {
    for (_, bytes) in entries.iter_mut().filter(|(name, _)| name.ends_with(entry)) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        assert!(text.contains(from), "{from} in {entry}");
        *bytes = text.replacen(from, to, 1).into_bytes();
    }
}

#[test]
fn paths_that_leave_the_archive_are_refused() -> TestResult {
    let error = refusal("mlp", |entries| {
        replace(entries, "model_weights_config.json", "\"weight_0\"", "\"../../../etc/passwd\"");
    })?;
    assert!(error.contains("outside its folder"), "{error}");
    Ok(())
}

#[test]
fn unknown_operations_are_refused_by_name() -> TestResult {
    let error = refusal("mlp", |entries| {
        replace(entries, "model.json", "aten.relu.default", "aten.mystery.default");
    })?;
    assert!(error.contains("aten.mystery.default") && error.contains("no rule"), "{error}");
    Ok(())
}

#[test]
fn values_that_follow_from_themselves_are_refused() -> TestResult {
    let error = refusal("mlp", |entries| {
        let own =
            "\"inputs\": [{\"name\": \"self\", \"arg\": {\"as_tensor\": {\"name\": \"relu\"}}";
        let of =
            "\"inputs\": [{\"name\": \"self\", \"arg\": {\"as_tensor\": {\"name\": \"linear\"}}";
        replace(entries, "model.json", of, own);
    })?;
    assert!(error.contains("relu is read before it is computed"), "{error}");
    Ok(())
}

#[test]
fn compressed_entries_are_refused() -> TestResult {
    // Written without a compressor: only the method of the directory and the header is changed.
    let mut bytes = archive(&entries(&golden("mlp")?)?)?;
    for (mark, at) in [(b"PK\x01\x02", 10), (b"PK\x03\x04", 8)] {
        for start in 0..bytes.len() - 4 {
            if bytes[start..].starts_with(mark) {
                bytes[start + at] = 8;
            }
        }
    }
    let error = import_bytes(bytes, &Import::default()).map(|_| ()).expect_err("refused");
    let error = error.to_string();
    assert!(error.contains("compress"), "{error}");
    Ok(())
}

/// A small file that asks for a table of 32 MiB again and again.
#[test]
fn tables_without_end_are_refused() -> TestResult {
    let error = refusal("gpt2_classifier", |entries| {
        let is_program = |(name, _): &&mut (String, Vec<u8>)| name.ends_with("model.json");
        for (_, bytes) in entries.iter_mut().filter(is_program) {
            let mut program: Value = serde_json::from_slice(bytes).expect("a program");
            let graph = &mut program["graph_module"]["graph"];
            let mut meta = graph["tensor_values"]["arange"].clone();
            meta["sizes"][0]["as_int"] = (1 << 22).into();
            graph["tensor_values"]["table"] = meta;
            let nodes = graph["nodes"].as_array_mut().expect("nodes");
            let arange = |node: &Value| node["target"] == "torch.ops.aten.arange.default";
            let mut table = nodes.iter().find(|node| arange(node)).expect("positions").clone();
            table["inputs"][0]["arg"]["as_int"] = (1 << 22).into();
            table["outputs"][0]["as_tensor"]["name"] = "table".into();
            nodes.splice(0..0, std::iter::repeat_n(table, 65));
            *bytes = serde_json::to_vec(&program).expect("a program again");
        }
    })?;
    assert!(error.contains("of at most 268435456"), "{error}");
    Ok(())
}

/// A million copies of one operation, one after another.
#[test]
fn a_million_operations_are_an_answer() -> TestResult {
    let nodes = setting("ENTK_FUZZ_NODES", 100_000);
    let mut all = entries(&golden("mlp")?)?;
    for (_, bytes) in all.iter_mut().filter(|(name, _)| name.ends_with("model.json")) {
        let mut program: Value = serde_json::from_slice(bytes)?;
        let list = program["graph_module"]["graph"]["nodes"].as_array_mut();
        let list = list.ok_or("no nodes")?;
        let relu = list.iter().position(|node| node["target"] == "torch.ops.aten.relu.default");
        let relu = relu.ok_or("no relu")?;
        let mut again = list[relu].clone();
        again["inputs"][0]["arg"]["as_tensor"]["name"] =
            list[relu]["outputs"][0]["as_tensor"]["name"].clone();
        list.splice(relu + 1..relu + 1, std::iter::repeat_n(again, nodes as usize));
        *bytes = serde_json::to_vec(&program)?;
    }
    let bytes = archive(&all)?;
    assert!(import_bytes(bytes, &Import::default()).is_ok());
    Ok(())
}
