//! The figure programs as their users run them, at sizes of a second: what they write, that they go
//! on after an interruption, and what they say about bad settings.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, ensure};
use entk_cli::Record;
use entk_testing::{program, program_fails, program_succeeds, run_program};

const TINY: [&str; 8] = ["--model", "mlp", "--train", "60", "--test", "20", "--epochs", "2"];

fn run(name: &str, out: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(run_program(name, out, &[&TINY[..], arguments].concat())?)
}

fn succeed(name: &str, out: &Path, arguments: &[&str]) -> Result<()> {
    program_succeeds(name, out, &[&TINY[..], arguments].concat())?;
    Ok(())
}

fn fail(name: &str, out: &Path, arguments: &[&str]) -> Result<String> {
    Ok(program_fails(name, out, &[&TINY[..], arguments].concat())?)
}

#[test]
fn figure_2_writes_pictures_numbers_and_a_record() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("fig02", out.path(), &["--batch", "16", "--indices", "1,2,10"])?;
    for file in ["fig02.svg", "fig02.png", "fig02.csv", "tasks.csv"] {
        assert!(out.path().join(file).metadata()?.len() > 0, "{file}");
    }
    let table = std::fs::read_to_string(out.path().join("tasks.csv"))?;
    let indices: Vec<&str> =
        table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(indices, ["0", "1", "2", "10"].repeat(2), "network, then linearization");
    let record = Record::read(&out.path().join("record.json"))?;
    assert_eq!(record.results["images"], 80);
    assert_eq!(record.settings["epochs"], 2);
    Ok(())
}

#[test]
fn linearizations_alone_have_the_rows_that_they_have_beside_networks() -> Result<()> {
    let rows = |flags: &[&str]| -> Result<Vec<String>> {
        let out = tempfile::tempdir()?;
        succeed("fig02", out.path(), &[&["--batch", "16", "--indices", "1,2,10"], flags].concat())?;
        let table = std::fs::read_to_string(out.path().join("tasks.csv"))?;
        Ok(table.lines().filter(|row| row.contains("linearization")).map(String::from).collect())
    };
    let alone = rows(&["--linear-only"])?;
    assert_eq!(alone.len(), 4);
    assert_eq!(alone, rows(&[])?);
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_numbers() -> Result<()> {
    let tables: Vec<String> = (["3", "3", "4"].iter())
        .map(|seed| {
            let out = tempfile::tempdir()?;
            let flags = ["--batch", "16", "--indices", "2,5", "--seed", seed];
            succeed("fig02", out.path(), &flags)?;
            Ok(std::fs::read_to_string(out.path().join("tasks.csv"))?)
        })
        .collect::<Result<_>>()?;
    assert_eq!(tables[0], tables[1]);
    assert_ne!(tables[0], tables[2]);
    Ok(())
}

/// What every figure program takes here, its own flags, and the table that it writes beside the
/// numbers drawn.
const FIGURES: [(&str, &[&str], &str); 10] = [
    ("fig02", &["--indices", "1,2,10", "--seeds", "2", "--optimizer", "adam"], "tasks.csv"),
    ("fig03", &["--indices", "1,2,10", "--seeds", "2"], "tasks.csv"),
    ("fig04", &["--indices", "1,1024"], "directions.csv"),
    ("fig05", &["--seeds", "2"], "sizes.csv"),
    ("fig06", &["--index", "5", "--top", "10", "--seeds", "2"], "epochs.csv"),
    ("fig07", &["--trained", "3,5", "--shown", "20", "--seeds", "2"], "alignments.csv"),
    ("fig08", &["--index", "3", "--seeds", "2"], "epochs.csv"),
    ("fig09", &["--index", "3", "--seeds", "2"], "linearizations.csv"),
    ("inductive", &["--indices", "1,2,10", "--seeds", "2"], "eigenfunctions.csv"),
    ("layer_alignment", &["--index", "3", "--seeds", "2"], "layers.csv"),
];

/// The numbers that a program drew and those of its table.
fn numbers(out: &Path, name: &str, table: &str) -> Result<[String; 2]> {
    let read = |file: &str| Ok::<_, anyhow::Error>(std::fs::read_to_string(out.join(file))?);
    Ok([read(&format!("{name}.csv"))?, read(table)?])
}

#[test]
fn figures_go_on_from_what_is_whole_and_end_with_the_same_numbers() -> Result<()> {
    for (name, flags, table) in FIGURES {
        let out = tempfile::tempdir()?;
        let flags = [&["--batch", "16"], flags].concat();
        let again = || -> Result<([String; 2], Record)> {
            succeed(name, out.path(), &flags)?;
            for file in [format!("{name}.svg"), format!("{name}.png")] {
                ensure!(out.path().join(&file).metadata()?.len() > 0, "{file}");
            }
            let record = Record::read(&out.path().join("record.json"))?;
            Ok((numbers(out.path(), name, table)?, record))
        };
        let (first, record) = again()?;
        assert!(record.cache.computed > 0, "{name}");
        let (second, record) = again()?;
        assert_eq!((record.cache.computed, &second), (0, &first), "{name}");
        assert!(record.cache.reused > 0, "{name}");

        // Every other file damaged.
        for (at, file) in files(&out.path().join("cache"))?.into_iter().enumerate() {
            if at % 2 == 0 {
                std::fs::write(file, "damaged")?;
            }
        }
        let (third, record) = again()?;
        assert_eq!(third, first, "{name}");
        assert!(record.cache.computed > 0, "{name}");
    }
    Ok(())
}

#[test]
fn train_learns_every_kind_of_task_in_either_space() -> Result<()> {
    let of = |name| ["--task", name, "--index", "2"];
    let (eigenfunction, nad) = (of("eigenfunction"), of("nad"));
    for task in [&["--task", "cifar2"][..], &eigenfunction, &nad] {
        let train = |flags: &[&str]| -> Result<Vec<f64>> {
            let out = tempfile::tempdir()?;
            let flags = [task, &["--batch", "16"], flags].concat();
            succeed("train", out.path(), &flags)?;
            ensure!(
                out.path().join("accuracy.svg").exists() && out.path().join("loss.svg").exists()
            );
            let mut table = csv::Reader::from_path(out.path().join("epochs.csv"))?;
            let at = table.headers()?.iter().position(|name| name == "train_loss");
            let at = at.context("a column of training losses")?;
            table.records().map(|row| Ok(row?[at].parse()?)).collect()
        };
        let (network, weights) = (train(&[])?, train(&["--linearize"])?);
        let coefficients = train(&["--dual"])?;
        assert_eq!((network.len(), weights.len(), coefficients.len()), (2, 2, 2));
        assert_ne!(network, weights, "{task:?}");
        for (a, b) in weights.iter().zip(&coefficients) {
            // The same steps, in f32 and over a kernel in f32.
            assert!((a - b).abs() <= 1e-3 * a.abs(), "{task:?}: {a} {b}");
        }
    }
    let out = tempfile::tempdir()?;
    let message =
        fail("train", out.path(), &["--task", "nad", "--index", "1025", "--batch", "16"])?;
    assert!(message.contains("--index 1025") && message.contains("1024"), "{message}");
    Ok(())
}

#[test]
fn a_gpu_that_is_absent_is_an_error_and_auto_takes_the_cpu() -> Result<()> {
    let out = tempfile::tempdir()?;
    if entk::device::device_count() > 0 {
        eprintln!("skipped: there is a GPU");
        return Ok(());
    }
    for name in ["fig02", "fig04", "train"] {
        let flags = ["--device", "cuda:1", "--batch", "16"];
        let message = fail(name, &out.path().join(name), &flags)?;
        assert!(message.contains("GPU") && message.contains("device `cpu`"), "{message}");
    }
    let output = run("train", out.path(), &["--device", "auto", "--batch", "16"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("device: cpu: "), "{said}");
    Ok(())
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(if path.is_dir() { files(&path)? } else { vec![path] });
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_killed_figure_goes_on_and_ends_with_the_same_numbers() -> Result<()> {
    let (killed, whole) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let flags = ["--batch", "16", "--index", "5", "--top", "10", "--seeds", "3"];
    let mut child = program("fig06")?
        .arg("--out")
        .arg(killed.path())
        .args(TINY)
        .args(flags)
        .stderr(std::process::Stdio::null())
        .spawn()?;
    // Its table grows task by task: killed with the first, it has five to go.
    while !killed.path().join("epochs.csv").exists() && child.try_wait()?.is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    succeed("fig06", killed.path(), &flags)?;
    succeed("fig06", whole.path(), &flags)?;
    let numbers = |out: &Path| numbers(out, "fig06", "epochs.csv");
    assert_eq!(numbers(killed.path())?, numbers(whole.path())?);
    assert!(Record::read(&killed.path().join("record.json"))?.cache.reused > 0);
    Ok(())
}

#[test]
fn figures_share_their_work() -> Result<()> {
    let out = tempfile::tempdir()?;
    let cache = out.path().join("cache");
    let cache = cache.to_str().context("a path in Unicode")?;
    let flags = ["--batch", "16", "--indices", "1,2,5", "--cache", cache];
    succeed("fig02", &out.path().join("fig02"), &flags)?;
    succeed("fig03", &out.path().join("fig03"), &flags)?;
    let record = Record::read(&out.path().join("fig03/record.json"))?;
    assert_eq!(record.cache.computed, 0);
    Ok(())
}

#[test]
fn figure_10_shows_directions_of_the_networks_asked_for() -> Result<()> {
    let out = tempfile::tempdir()?;
    program_succeeds("fig10", out.path(), &["--count", "3", "--width", "2"])?;
    let shown = |folder: &Path| -> Result<([usize; 3], usize)> {
        let table = std::fs::read_to_string(folder.join("directions.csv"))?;
        let of = |model: &str| table.lines().filter(|line| line.starts_with(model)).count();
        let svg = std::fs::read_to_string(folder.join("fig10.svg"))?;
        Ok((["mlp", "lenet5", "resnet18"].map(of), svg.matches("<image").count()))
    };
    assert_eq!(shown(out.path())?, ([3, 3, 3], 18));
    let one = out.path().join("one");
    program_succeeds("fig10", &one, &["--count", "3", "--model", "mlp"])?;
    assert_eq!(shown(&one)?, ([3, 0, 0], 6));
    Ok(())
}

#[test]
fn the_report_is_one_page_that_loads_nothing() -> Result<()> {
    let root = tempfile::tempdir()?;
    succeed("fig03", &root.path().join("fig03"), &["--batch", "16", "--indices", "1,2"])?;
    succeed("fig08", &root.path().join("a<b"), &["--batch", "16", "--index", "2", "--seeds", "1"])?;
    std::fs::create_dir(root.path().join("unfinished"))?;
    let report = |folder: &Path| {
        program("report")?.arg("--results").arg(folder).output().map_err(Into::into)
    };
    let output: Result<Output> = report(root.path());
    ensure!(output?.status.success());
    let page = std::fs::read_to_string(root.path().join("report.html"))?;
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("Figure 13") && page.contains("Figure 8: a&lt;b"));
    // 60 images here, 50,000 in the paper, and CIFAR-10.
    assert!(page.contains("50000") && page.contains("cifar10"));
    for loader in ["<script", "src=\"http", "url(", "@import", "<link"] {
        assert!(!page.contains(loader), "{loader}");
    }
    let empty: Output = report(&root.path().join("unfinished"))?;
    let message = String::from_utf8_lossy(&empty.stderr).into_owned();
    assert!(!empty.status.success() && message.contains("record.json"), "{message}");
    Ok(())
}

#[test]
fn table_1_reports_energies_and_accuracies() -> Result<()> {
    let out = tempfile::tempdir()?;
    // A minibatch of 128 needs as many images.
    let sizes = ["--seeds", "2", "--top", "10", "--initial-only"];
    succeed("table1", out.path(), &sizes)?;
    let table = std::fs::read_to_string(out.path().join("table1.csv"))?;
    assert_eq!(table.lines().count(), 3);
    for line in table.lines().skip(1) {
        let energy: f64 = line.split(',').nth(1).context("a second column")?.parse()?;
        assert!(energy > 0.0 && energy <= 1.0, "{line}");
    }
    Ok(())
}

#[test]
fn label_flips_counts_labels_of_both_kernels() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("label_flips", out.path(), &["--indices", "1,40", "--gelu"])?;
    let table = std::fs::read_to_string(out.path().join("label_flips.csv"))?;
    let rows = numeric(&table)?;
    assert_eq!([rows[0][0], rows[1][0]], [1.0, 40.0]);
    assert!(rows[0][1] > rows[1][1] && rows[1][1] > 0.0, "shares of the trace fall: {table}");
    // 80 inputs determine the first eigenfunction far better than f32 resolves: no flip, and a
    // certificate.
    assert_eq!(rows[0][2..5], [0.0; 3]);
    for row in &rows {
        let [_, _, flipped, flipped_centred, uncertain, residual, gap] = row[..] else {
            anyhow::bail!("{table}");
        };
        assert!(flipped <= uncertain && flipped_centred <= 40.0, "{table}");
        assert!(residual > 0.0 && gap > 0.0, "{table}");
    }
    assert!(out.path().join("labels.svg").exists());
    let message = fail("label_flips", &out.path().join("none"), &["--indices", "80"])?;
    assert!(message.contains("80"), "{message}");
    Ok(())
}

/// The rows of a table of numbers.
fn numeric(table: &str) -> Result<Vec<Vec<f64>>> {
    let rows = table.lines().skip(1);
    rows.map(|line| Ok(line.split(',').map(str::parse).collect::<Result<_, _>>()?)).collect()
}

#[test]
fn inductive_eigenfunctions_are_those_of_the_training_images() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("inductive", out.path(), &["--batch", "16", "--indices", "1,30"])?;
    let rows = numeric(&std::fs::read_to_string(out.path().join("eigenfunctions.csv"))?)?;
    // Nearly all images say the same of the first, few of the thirtieth.
    assert!(rows[0][2] > 0.95 && rows[0][3] > 0.9, "{rows:?}");
    let [_, _, .., train, test, error] = rows[0][..] else { anyhow::bail!("{rows:?}") };
    assert!((train - test).abs() < 4.0 * error && error > 0.0, "{rows:?}");
    assert!(rows[1][8] < train && rows[1][8] > 0.0, "{rows:?}");
    Ok(())
}

#[test]
fn layers_share_the_whole_alignment() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("layer_alignment", out.path(), &["--batch", "16", "--index", "3", "--seeds", "1"])?;
    let table = std::fs::read_to_string(out.path().join("layers.csv"))?;
    let lines: Vec<&str> = table.lines().skip(1).collect();
    // Two tasks, epochs 0 to 2, and the three layers of the MLP.
    assert_eq!(lines.len(), 2 * 3 * 3);
    for epoch in lines.chunks(3) {
        let field = |line: &&str, at: usize| line.split(',').nth(at).map(str::to_owned);
        let layers: Vec<_> = epoch.iter().filter_map(|line| field(line, 3)).collect();
        assert_eq!(layers, ["fc1", "fc2", "fc3"]);
        let shares = epoch.iter().filter_map(|line| field(line, 5)?.parse::<f64>().ok());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-12, "{epoch:?}");
    }
    Ok(())
}

#[test]
fn frozen_statistics_are_a_third_curve_of_a_network_with_norms() -> Result<()> {
    let out = tempfile::tempdir()?;
    let message = fail("fig02", out.path(), &["--frozen-norms"])?;
    assert!(message.contains("mlp has no batch norms"), "{message}");
    let output = program("fig02")?
        .args(["--model", "resnet18", "--width", "2", "--train", "32", "--test", "8"])
        .args(["--epochs", "1", "--batch", "16", "--indices", "2", "--frozen-norms", "--out"])
        .arg(out.path())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(out.path().join("tasks.csv"))?;
    let of = |model: &str| table.lines().filter(|line| line.contains(model)).count();
    assert_eq!((of("linearization"), of("frozen"), table.lines().count()), (2, 2, 7));
    Ok(())
}

#[test]
fn bad_settings_say_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "not a folder")?;
    let message = fail("fig02", &blocked.join("results"), &["--batch", "16"])?;
    assert!(message.contains("file"), "{message}");

    let out = folder.path().join("out");
    let cases: [(&[&str], &str); 7] = [
        (&["--indices", "1,81"], "81"),
        (&["--indices", "0"], "0"),
        (&["--batch", "61"], "61"),
        (&["--seeds", "0"], "from 1"),
        (&["--data", "cifar10"], "cifar"),
        (&["--data", "mnist"], "fetch the four idx files of mnist"),
        (&["--data-root", "/nonexistent/folder"], "/nonexistent/folder"),
    ];
    for (arguments, expected) in cases {
        let batch: &[&str] = if arguments[0] == "--batch" { &[] } else { &["--batch", "16"] };
        let message = fail("fig02", &out, &[batch, arguments].concat())?;
        assert!(message.to_lowercase().contains(expected), "{arguments:?}: {message}");
    }
    Ok(())
}
