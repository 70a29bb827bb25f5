//! Tables and folders of images as inputs and labels of the command: their kernels are those of the
//! same numbers in arrays, and what does not fit is refused. The folders need the feature `images`,
//! Parquet needs `parquet`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use entk::data::npy;
use entk_testing::{program_fails, run_program};

/// Twelve rows of two numbers and a class.
fn table() -> String {
    let row = |i: u32| {
        let [a, b] = [(f64::from(i) * 0.7).sin(), f64::from(i % 5)];
        format!("{a},{},{b}\n", ["yes", "no"][(i % 3 / 2) as usize])
    };
    format!("a,kind,b\n{}", (0..12).map(row).collect::<String>())
}

fn run(program: &str, out: &Path, arguments: &[&str]) -> Result<String> {
    let output = run_program(program, out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {stderr}");
    Ok(stderr)
}

fn kernel(out: &Path) -> Result<Vec<f64>> {
    Ok(npy::read(out.join("gram.npy"))?.to_f64())
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let place = Self { root: tempfile::tempdir()? };
        std::fs::write(place.path("t.csv"), table())?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[test]
fn a_table_has_the_kernel_of_its_columns() -> Result<()> {
    let place = Place::new()?;
    let (inputs, labels) = (place.shown("t.csv:-kind"), place.shown("t.csv:kind"));
    let out = place.path("table");
    let said = run("gram", &out, &["--model", "mlp", "--inputs", &inputs, "--labels", &labels])?;
    assert!(said.contains("0 no, 1 yes"), "{said}");
    let x = entk::data::examples::read_inputs(&inputs, 99)?.to_f64();
    let (array, classes) = (place.path("x.npy"), place.path("y.npy"));
    npy::write(&array, &[12, 1, 1, 2], &x)?;
    let y: Vec<i64> = (0..12).map(|i| i64::from(i % 3 < 2)).collect();
    npy::write(&classes, &[12], &y)?;
    let same = place.path("array");
    let [array, classes] = [array, classes].map(|path| path.display().to_string());
    run("gram", &same, &["--model", "mlp", "--inputs", &array, "--labels", &classes])?;
    assert_eq!(kernel(&out)?, kernel(&same)?);
    let results = |out: &Path| -> Result<serde_json::Value> {
        let record: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(out.join("record.json"))?)?;
        Ok(record["results"]["labels"]["energy_ratio"].clone())
    };
    assert!(results(&out)?.is_number());
    assert_eq!(results(&out)?, results(&same)?);
    Ok(())
}

#[test]
fn every_command_takes_a_table() -> Result<()> {
    let place = Place::new()?;
    let (inputs, labels) = (place.shown("t.csv:b,a"), place.shown("t.csv:kind"));
    let own = ["--model", "mlp", "--inputs", &inputs];
    run("eigen", &place.path("e"), &[&own[..], &["--k", "2", "--matrix-free"]].concat())?;
    run("stats", &place.path("s"), &[&own[..], &["--labels", &labels]].concat())?;
    let steps = ["--epochs", "1", "--batch", "4"];
    run("train", &place.path("t"), &[&own[..], &["--labels", &labels], &steps].concat())?;
    assert!(place.path("t/record.json").exists());
    Ok(())
}

#[test]
fn tables_that_do_not_fit_are_refused_by_their_columns() -> Result<()> {
    let place = Place::new()?;
    let refused = |program: &str, inputs: &str, labels: &str| -> Result<String> {
        let (inputs, labels) = (place.shown(inputs), place.shown(labels));
        let line = ["--model", "mlp", "--inputs", &inputs, "--labels", &labels];
        let batch: &[&str] = if program == "train" { &["--batch", "4"] } else { &[] };
        Ok(program_fails(program, &place.path("out"), &[&line, batch].concat())?)
    };
    for program in ["gram", "stats", "train"] {
        let message = refused(program, "t.csv:a,b", "t.csv:b")?;
        assert!(message.contains("give FILE:-b for the inputs"), "{program}: {message}");
    }
    let texts = refused("gram", "t.csv", "t.csv:kind")?;
    assert!(texts.contains("column \"kind\": \"yes\""), "{texts}");
    let absent = refused("gram", "t.csv:a", "t.csv:weight")?;
    assert!(absent.contains("column weight was expected, found: a, kind, b"), "{absent}");
    std::fs::write(place.path("u.csv"), table().replace("no", "maybe"))?;
    let inputs = ["t.csv:a,b", "u.csv:a,b"].map(|name| place.shown(name));
    let labels = ["t.csv:kind", "u.csv:kind"].map(|name| place.shown(name));
    let line = ["--model", "mlp", "--inputs", &inputs[0], "--labels", &labels[0]];
    let test = ["--test-inputs", &inputs[1], "--test-labels", &labels[1], "--batch", "4"];
    let other = program_fails("train", &place.path("out"), &[&line[..], &test].concat())?;
    assert!(other.contains("expected the classes no, yes as"), "{other}");
    Ok(())
}

#[test]
fn data_sets_by_name_are_read_or_their_files_named() -> Result<()> {
    let place = Place::new()?;
    let root = place.shown(".");
    for (data, files) in [
        ("cifar100", "train.bin, test.bin in"),
        ("cifar100-coarse", "train.bin, test.bin in"),
        ("emnist-letters", "emnist-letters-test-labels-idx1-ubyte in"),
        ("svhn", "train_32x32.mat, test_32x32.mat in"),
    ] {
        let line = ["--model", "mlp", "--data", data, "--data-root", &root];
        let message = program_fails("predict", &place.path("out"), &line)?;
        assert!(message.contains(files), "{data}: {message}");
    }
    // 52 letters of 4 x 4 pixels for each part.
    for part in ["train", "test"] {
        let file = |kind| place.path(&format!("emnist-letters-{part}-{kind}-ubyte"));
        let pixels = (0..52 * 16_u32).map(|p| (p * p % 251) as u8);
        let header = [0, 0, 8, 3, 0, 0, 0, 52, 0, 0, 0, 4, 0, 0, 0, 4];
        std::fs::write(file("images-idx3"), header.into_iter().chain(pixels).collect::<Vec<_>>())?;
        let labels = [0, 0, 8, 1, 0, 0, 0, 52].into_iter().chain((0..52).map(|i| i % 26 + 1));
        std::fs::write(file("labels-idx1"), labels.collect::<Vec<u8>>())?;
    }
    let sizes = ["--train", "52", "--test", "26", "--epochs", "1", "--batch", "13"];
    let line = ["--model", "mlp", "--data", "emnist-letters", "--data-root", &root];
    run("train", &place.path("two"), &[&line[..], &sizes].concat())?;
    run("train", &place.path("all"), &[&line[..], &sizes, &["--classes", "26"]].concat())?;
    let few = [&line[..], &sizes, &["--classes", "10"]].concat();
    let message = program_fails("train", &place.path("few"), &few)?;
    assert!(message.contains("give --classes 26"), "{message}");
    Ok(())
}

#[cfg(not(any(feature = "images", feature = "parquet")))]
#[test]
fn what_is_not_built_in_is_refused_with_its_feature() -> Result<()> {
    let place = Place::new()?;
    std::fs::write(place.path("t.parquet"), "PAR1")?;
    std::fs::create_dir(place.path("cat"))?;
    for (inputs, feature) in [("t.parquet", "--features parquet"), (".", "--features images")] {
        for program in ["gram", "eigen", "stats"] {
            let line = ["--model", "mlp", "--inputs", &place.shown(inputs)];
            let message = program_fails(program, &place.path("out"), &line)?;
            assert!(message.contains(feature), "{program}: {message}");
        }
    }
    Ok(())
}

#[cfg(feature = "images")]
#[test]
fn a_folder_of_images_has_the_kernel_of_its_pixels() -> Result<()> {
    let place = Place::new()?;
    let mut pixels = Vec::new();
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(place.path("images").join(class))?;
        for i in 0..5_u8 {
            let bytes: Vec<u8> = (0..16).map(|p| p * 16 + i + class.as_bytes()[0] % 7).collect();
            pixels.extend(bytes.iter().map(|byte| f32::from(*byte) / 255.0));
            let path = place.path("images").join(class).join(format!("{i}.png"));
            let mut encoder = png::Encoder::new(std::fs::File::create(path)?, 4, 4);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.write_header()?.write_image_data(&bytes)?;
        }
    }
    let (images, array) = (place.shown("images"), place.shown("x.npy"));
    npy::write(place.path("x.npy"), &[10, 1, 4, 4], &pixels)?;
    npy::write(place.path("y.npy"), &[10], &[0_i64, 0, 0, 0, 0, 1, 1, 1, 1, 1])?;
    let folder = ["--model", "mlp", "--inputs", &images, "--labels", &images];
    let said = run("gram", &place.path("folder"), &folder)?;
    assert!(said.contains("0 cat, 1 dog") && !said.contains("--layout"), "{said}");
    let same = ["--model", "mlp", "--inputs", &array, "--labels", &place.shown("y.npy")];
    run("gram", &place.path("array"), &same)?;
    assert_eq!(kernel(&place.path("folder"))?, kernel(&place.path("array"))?);
    run(
        "train",
        &place.path("train"),
        &[&folder[..], &["--epochs", "1", "--batch", "4"]].concat(),
    )?;
    run("stats", &place.path("stats"), &folder)?;
    let augmented = ["--model", "mlp", "--inputs", &images, "--augment", "12", "--k", "2"];
    run("eigen", &place.path("eigen"), &augmented)?;

    let last = [&folder[..], &["--layout", "nhwc"]].concat();
    let message = program_fails("gram", &place.path("out"), &last)?;
    assert!(message.contains("--layout nhwc") && message.contains("(N, C, H, W)"), "{message}");
    std::fs::write(place.path("images/dog/3.png"), "GIF89a")?;
    let message = program_fails("gram", &place.path("out"), &folder)?;
    assert!(message.contains("3.png: bad image: expected PNG or JPEG"), "{message}");
    Ok(())
}

#[cfg(feature = "parquet")]
#[test]
fn a_file_that_is_no_parquet_is_refused() -> Result<()> {
    let place = Place::new()?;
    std::fs::write(place.path("t.parquet"), table())?;
    let line = ["--model", "mlp", "--inputs", &place.shown("t.parquet:-kind")];
    let message = program_fails("gram", &place.path("out"), &line)?;
    assert!(message.contains("t.parquet: bad Parquet file"), "{message}");
    Ok(())
}
