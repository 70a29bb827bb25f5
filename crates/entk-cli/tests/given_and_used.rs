//! What is given to a command is used or refused, and its record says what was used: files of
//! whole numbers and with channels last, kernels the wrong way round, folders that are no stores.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{normals, program_fails, program_succeeds, run_program};

/// Round-off of an f32 kernel's eigenvalues, relative to the largest.
const SINGLE: f64 = 1e-5;

/// Images (N, 1, 4, 4) of pixels from 0 to 255.
const N: usize = 12;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        let pixels: Vec<i64> = (0..16 * N as i64).map(|at| at * at * 37 % 256).collect();
        npy::write(folder.path("whole.npy"), &[N, 1, 4, 4], &pixels)?;
        let floats: Vec<f32> = pixels.iter().map(|x| *x as f32).collect();
        npy::write(folder.path("float.npy"), &[N, 1, 4, 4], &floats)?;
        npy::write(folder.path("y.npy"), &[N], &(0..N as i64).map(|n| n % 2).collect::<Vec<_>>())?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn values(out: &Path) -> Result<Vec<f64>> {
    Ok(npy::read(out.join("eigvals.npy"))?.to_f64())
}

fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= SINGLE * b.abs().max(1.0), "{a} {b}");
    }
}

fn settings(out: &Path) -> Result<(Record, Vec<String>)> {
    let record = Record::read(&out.join("record.json"))?;
    let names = record.settings.as_object().context("settings by name")?.keys().cloned();
    let names = names.collect();
    Ok((record, names))
}

#[test]
fn whole_numbers_are_taken_as_floats_by_every_command_and_noted() -> Result<()> {
    let folder = Folder::new()?;
    let mut found = Vec::new();
    for name in ["whole.npy", "float.npy"] {
        let (x, out) = (folder.text(name), folder.path(&format!("eigen-{name}")));
        let said = program_succeeds("eigen", &out, &["--inputs", &x, "--k", "3"])?;
        ensure!(said.contains("divide pixels by 255"), "{name}: {said}");
        found.push(values(&out)?);
        let flags = ["--deflation", "2", "--probes", "8", "--steps", "2", "--sample", "10"];
        let out = folder.path(&format!("stats-{name}"));
        let said = program_succeeds("stats", &out, &[&["--inputs", &x][..], &flags].concat())?;
        ensure!(said.contains("divide pixels by 255"), "{name}: {said}");
        let out = folder.path(&format!("gram-{name}"));
        let said = program_succeeds("gram", &out, &["--inputs", &x, "--no-eigen"])?;
        ensure!(said.contains("divide pixels by 255"), "{name}: {said}");
    }
    assert_close(&found[0], &found[1]);
    // What is no pixel is not called one.
    npy::write(folder.path("signed.npy"), &[3, 1, 4, 4], &(-24..24).collect::<Vec<i64>>())?;
    let out = folder.path("signed");
    let x = folder.text("signed.npy");
    let said = program_succeeds("gram", &out, &["--inputs", &x, "--no-eigen"])?;
    ensure!(said.contains("from -24 to 23") && !said.contains("divide"), "{said}");
    Ok(())
}

#[test]
fn channels_last_are_read_by_commands_without_a_gram() -> Result<()> {
    let folder = Folder::new()?;
    let (n, c, side) = (8, 3, 6);
    let pixels = normals(n * c * side * side, 1);
    npy::write(folder.path("first.npy"), &[n, c, side, side], &pixels)?;
    let at = |i: usize, row: usize, column: usize, channel: usize| {
        pixels[((i * c + channel) * side + row) * side + column]
    };
    let mut last = Vec::new();
    for i in 0..n {
        for place in 0..side * side * c {
            last.push(at(i, place / (side * c), place / c % side, place % c));
        }
    }
    npy::write(folder.path("last.npy"), &[n, side, side, c], &last)?;
    let (first, last) = (folder.text("first.npy"), folder.text("last.npy"));
    let (a, b) = (folder.path("a"), folder.path("b"));
    let refused = program_fails("eigen", &b, &["--inputs", &last, "--k", "2"])?;
    ensure!(refused.contains("--layout nhwc"), "{refused}");
    let k = ["--k", "4", "--dtype", "f64", "--matrix-free"];
    program_succeeds("eigen", &a, &[&["--inputs", &first][..], &k].concat())?;
    let layout = ["--inputs", &last, "--layout", "nhwc"];
    program_succeeds("eigen", &b, &[&layout[..], &k].concat())?;
    assert_close(&values(&b)?, &values(&a)?);
    Ok(())
}

#[test]
fn inputs_that_are_not_finite_are_named_with_their_file() -> Result<()> {
    let folder = Folder::new()?;
    let mut pixels = vec![0.5_f32; 16 * N];
    pixels[20] = f32::NAN;
    npy::write(folder.path("nan.npy"), &[N, 1, 4, 4], &pixels)?;
    let x = folder.text("nan.npy");
    let said = program_fails("eigen", &folder.path("out"), &["--inputs", &x, "--k", "2"])?;
    ensure!(said.contains("nan.npy") && said.contains("NaN"), "{said}");
    Ok(())
}

#[test]
fn a_record_has_the_settings_that_were_read_and_the_command_as_it_was() -> Result<()> {
    let folder = Folder::new()?;
    let (x, y) = (folder.text("float.npy"), folder.text("y.npy"));
    let (gram, eigen) = (folder.path("gram"), folder.path("eigen"));
    program_succeeds("gram", &gram, &["--inputs", &x, "--cross", &x])?;
    let (record, _) = settings(&gram)?;
    assert_eq!(record.command[..2], ["entk", "gram"]);
    let file = |name: &str| gram.join(name).display().to_string();
    let (kernel, cross) = (file("gram.npy"), file("cross.npy"));

    program_succeeds("eigen", &eigen, &["--gram", &kernel, "--k", "3"])?;
    let (_, names) = settings(&eigen)?;
    for unread in ["model", "activation", "width", "dtype"] {
        assert!(!names.iter().any(|name| name == unread), "{unread} in {names:?}");
    }

    let out = folder.path("predict");
    let own = ["--gram", &kernel, "--cross", &cross, "--labels", &y, "--test-labels", &y];
    program_succeeds("predict", &out, &[&own[..], &["--targets", "signs"]].concat())?;
    let (record, names) = settings(&out)?;
    for unread in ["model", "data", "train", "test"] {
        assert!(!names.iter().any(|name| name == unread), "{unread} in {names:?}");
    }
    assert_eq!(record.results["train"], N);

    let out = folder.path("train");
    let own = ["--inputs", &x, "--labels", &y, "--batch", "4", "--epochs", "1", "--model", "mlp"];
    program_succeeds("train", &out, &[&own[..], &["--learning-rate", "1e-6"]].concat())?;
    let (record, names) = settings(&out)?;
    for unread in ["data", "train", "test", "index"] {
        assert!(!names.iter().any(|name| name == unread), "{unread} in {names:?}");
    }
    assert_eq!(record.results["train"], N);

    // The page of all of them claims no data set.
    let page = folder.path("page.html");
    let results = folder.0.path().display().to_string();
    run_program("report", &page, &["--results", &results])?;
    let page = std::fs::read_to_string(&page)?;
    assert!(page.contains("Results of 4 runs") && !page.contains("fashion-mnist"), "{page}");
    Ok(())
}

#[test]
fn a_record_of_another_command_is_not_replaced_without_a_word() -> Result<()> {
    let folder = Folder::new()?;
    let (x, out) = (folder.text("float.npy"), folder.path("out"));
    let gram = ["--inputs", &x, "--no-eigen"];
    program_succeeds("gram", &out, &gram)?;
    ensure!(!program_succeeds("gram", &out, &gram)?.contains("replaces the record"));
    let kernel = out.join("gram.npy").display().to_string();
    let said = program_succeeds("eigen", &out, &["--gram", &kernel, "--k", "2"])?;
    ensure!(said.contains("replaces the record of `gram`"), "{said}");
    Ok(())
}

#[test]
fn a_kernel_the_wrong_way_round_is_refused_with_the_command_that_writes_it() -> Result<()> {
    let folder = Folder::new()?;
    npy::write(folder.path("k.npy"), &[3, 3], &[2.0, 0., 0., 0., 2.0, 0., 0., 0., 2.0])?;
    npy::write(folder.path("turned.npy"), &[3, 2], &[0.5; 6])?;
    npy::write(folder.path("y3.npy"), &[3], &[0_i64, 1, 1])?;
    npy::write(folder.path("y2.npy"), &[2], &[0_i64, 1])?;
    let [k, cross, y, test] =
        ["k.npy", "turned.npy", "y3.npy", "y2.npy"].map(|name| folder.text(name));
    let own = ["--gram", &k, "--cross", &cross, "--labels", &y, "--test-labels", &test];
    let said = program_fails("predict", &folder.path("out"), &own)?;
    ensure!(said.contains("transpose it") && said.contains("--cross TRAIN"), "{said}");
    let said = program_fails("predict", &folder.path("out"), &["--outputs", "pairs"])?;
    ensure!(said.contains("--outputs pairs: only `gram`"), "{said}");
    Ok(())
}

#[test]
fn a_store_that_is_not_there_is_said_and_no_folder_made() -> Result<()> {
    let folder = Folder::new()?;
    let out = folder.path("nowhere");
    for words in [&["finish"][..], &["missing", "--parts", "2"]] {
        let said = program_fails("gram", &out, words)?;
        ensure!(said.contains("no such store") && !out.exists(), "{words:?}: {said}");
    }
    let (x, out) = (folder.text("float.npy"), folder.path("stored"));
    program_succeeds("gram", &out, &["--inputs", &x, "--store", "--no-eigen"])?;
    let stored = out.display().to_string();
    let said = program_fails("eigen", &folder.path("out"), &["--gram", &stored, "--k", "2"])?;
    ensure!(said.contains("give ") && said.contains("gram.zarr"), "{said}");
    Ok(())
}

#[test]
fn classes_counted_from_one_and_a_precision_of_another_type_are_said() -> Result<()> {
    let folder = Folder::new()?;
    let from_one: Vec<i64> = (0..N as i64).map(|n| 1 + n % 2).collect();
    npy::write(folder.path("from_one.npy"), &[N], &from_one)?;
    let [x, y, from_one] = ["float.npy", "y.npy", "from_one.npy"].map(|name| folder.text(name));
    let said = |labels: &str| {
        let flags = ["--inputs", &x, "--labels", labels, "--targets", "one-hot", "--no-eigen"];
        program_succeeds("gram", &folder.path("out"), &flags)
    };
    ensure!(said(&from_one)?.contains("classes are counted from 0"));
    ensure!(!said(&y)?.contains("classes are counted from 0"));
    let mixed = ["--inputs", &x, "--dtype", "f64", "--precision", "tf32"];
    let refused = program_fails("gram", &folder.path("mixed"), &mixed)?;
    ensure!(refused.contains("--precision does not go with --dtype"), "{refused}");
    Ok(())
}
