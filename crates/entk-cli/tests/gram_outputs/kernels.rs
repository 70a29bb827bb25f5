//! Each kernel beside the full one, widths of heads, stores and parts, and what `eigen` takes out.

use anyhow::Result;
use candle_core::{DType, Device};
use entk::models::{MlpConfig, Model};
use entk_cli::Record;

use crate::{C, Folder, N, assert_close, block, matrix, run, succeed, sum_of};

#[test]
fn every_kernel_is_blocks_of_the_full_one() -> Result<()> {
    let folder = Folder::new()?;
    let (out, record) = folder.gram(&["--outputs", "full", "--cross", &folder.inputs])?;
    let (shape, full) = matrix(&out.join("gram.npy"))?;
    assert_eq!(shape, [N * C, N * C]);
    assert_eq!(matrix(&out.join("cross.npy"))?, (shape, full.clone()));
    assert_eq!(matrix(&out.join("outputs.npy"))?.0, [N, C]);
    assert_eq!(matrix(&out.join("eigvals.npy"))?.0, [N * C]);
    let sizes = ["classes", "rows"].map(|field| record.results[field].as_u64());
    assert_eq!((&record.results["outputs"], sizes), (&"full".into(), [Some(3), Some(15)]));
    assert!(record.results["formula"].as_str().is_some_and(|text| text.contains("n C + c")));
    assert!(record.results["largest_error"].as_f64().is_some_and(|error| error < 1e-12));

    let kernel =
        |flags: &[&str]| Ok::<_, anyhow::Error>(matrix(&folder.gram(flags)?.0.join("gram.npy"))?.1);
    let trace = sum_of((0..C).map(|c| block(&full, c, c)));
    assert_close(&kernel(&["--outputs", "trace"])?, &trace, "trace");
    assert_close(&kernel(&["--no-eigen"])?, &trace, "the default");
    let all = (0..C * C).map(|at| block(&full, at / C, at % C));
    assert_close(&kernel(&["--outputs", "sum"])?, &sum_of(all), "sum");
    for c in 0..C {
        let name = format!("class:{c}");
        assert_close(&kernel(&["--outputs", &name])?, &block(&full, c, c), &name);
    }
    Ok(())
}

#[test]
fn pairs_are_the_blocks_in_files_of_their_own() -> Result<()> {
    let folder = Folder::new()?;
    let full = matrix(&folder.gram(&["--outputs", "full"])?.0.join("gram.npy"))?.1;
    let stored = ["--outputs", "pairs", "--no-eigen", "--store", "--edge", "4"];
    for flags in [&["--outputs", "pairs"][..], &stored] {
        let (out, record) = folder.gram(flags)?;
        assert_eq!(record.results["outputs"], "pairs");
        for (c, d) in (0..C).flat_map(|c| (c..C).map(move |d| (c, d))) {
            let (shape, found) = matrix(&out.join(format!("gram_{c}_{d}.npy")))?;
            assert_eq!(shape, [N, N]);
            assert_close(&found, &block(&full, c, d), &format!("{flags:?}, {c} {d}"));
        }
        assert!(!out.join("gram.npy").exists() && !out.join("gram_1_0.npy").exists());
    }
    // Blocks of an earlier run do not stay.
    let out = folder.path("--outputs_pairs");
    let common = ["--inputs", &folder.inputs, "--classes", "3", "--no-eigen"];
    succeed("gram", &out, &common)?;
    assert!(out.join("gram.npy").exists() && !out.join("gram_0_1.npy").exists());
    Ok(())
}

#[test]
fn a_full_kernel_is_planned_stored_resumed_and_shared() -> Result<()> {
    let folder = Folder::new()?;
    let full = matrix(&folder.gram(&["--outputs", "full"])?.0.join("gram.npy"))?.1;
    let out = folder.path("store");
    let common = ["--inputs", &folder.inputs, "--classes", "3", "--dtype", "f64"];
    let stored = [&common[..], &["--outputs", "full", "--store", "--edge", "4"]].concat();
    let planned = run("gram", &out, &[&stored[..], &["--dry-run"]].concat())?;
    assert!(planned.status.success() && !out.join("gram.zarr").exists());
    for part in ["1/2", "2/2"] {
        succeed("gram", &out, &[&stored[..], &["--part", part]].concat())?;
    }
    succeed("gram", &out, &[&stored[..], &["--export", "--labels", &folder.labels]].concat())?;
    let record = Record::read(&out.join("record.json"))?;
    assert_eq!(record.results["kept_tiles"], 10);
    assert_eq!(matrix(&out.join("gram.npy"))?, (vec![N * C, N * C], full));
    let other = [&common[..], &["--outputs", "trace", "--store", "--edge", "4"]].concat();
    let refused = run("gram", &out, &other)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(65) && said.contains("outputs: "), "{said}");
    Ok(())
}

#[test]
fn the_head_of_the_weights_decides_the_width() -> Result<()> {
    let folder = Folder::new()?;
    let weights = folder.text("w.safetensors");
    let config = MlpConfig { input: [1, 4, 4], outputs: C, ..Default::default() };
    let network = config.network()?;
    network.init(3, DType::F64, &Device::Cpu)?.save(&weights)?;
    let out = folder.path("out");
    let arguments = ["--inputs", &folder.inputs, "--weights", &weights];
    let said = succeed("gram", &out, &arguments)?;
    assert!(said.contains("3 outputs: --outputs trace") && said.contains("sum_c"), "{said}");
    let record = Record::read(&out.join("record.json"))?;
    assert_eq!(record.results["classes"], C);
    assert_eq!(
        record.results["parameters"],
        network.specs().iter().map(|s| s.elem_count()).sum::<usize>()
    );
    let said = succeed("gram", &out, &[&arguments[..], &["--outputs", "sum"]].concat())?;
    assert!(!said.contains("--outputs trace"), "{said}");
    Ok(())
}

#[test]
fn eigen_takes_kernels_out_of_a_full_one() -> Result<()> {
    let folder = Folder::new()?;
    let store = ["--outputs", "full", "--store", "--edge", "4", "--export"];
    let (full, _) = folder.gram(&store)?;
    for outputs in ["trace", "sum", "class:2", "full"] {
        let (expected, _) = folder.gram(&["--outputs", outputs])?;
        let (_, expected) = matrix(&expected.join("eigvals.npy"))?;
        for source in ["gram.npy", "gram.zarr"] {
            let gram = full.join(source).display().to_string();
            let out = folder.path(&format!("eigen-{outputs}-{source}"));
            let flags = ["--gram", &gram, "--k", "3", "--classes", "3", "--outputs", outputs];
            succeed("eigen", &out, &flags)?;
            let (_, found) = matrix(&out.join("eigvals.npy"))?;
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-10 * expected[0], "{outputs}, {source}: {a} {b}");
            }
            let record = Record::read(&out.join("record.json"))?;
            assert_eq!(record.results["kernel"]["outputs"], outputs);
        }
    }
    let gram = full.join("gram.npy").display().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["--classes", "4"], "outputs"),
        (&["--classes", "3", "--outputs", "class:3"], "outputs 0 to 2"),
        (&["--classes", "3", "--outputs", "pairs"], "class:K"),
        (&["--outputs", "trace"], "--classes"),
    ];
    for (flags, expected) in cases {
        let output = run(
            "eigen",
            &folder.path("refused"),
            &[&["--gram", &gram, "--k", "3"], flags].concat(),
        )?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{flags:?}: {said}");
    }
    Ok(())
}
