//! Wrong uses of flags, heads and labels: exit codes, and messages that name the remedy.

use anyhow::Result;
use candle_core::{DType, Device};
use entk::{
    data::npy,
    models::{MlpConfig, Model},
};

use crate::{Folder, N, run};

#[test]
fn wrong_uses_name_the_remedy() -> Result<()> {
    let folder = Folder::new()?;
    let (out, weights) = (folder.path("out"), folder.text("w.safetensors"));
    let network = MlpConfig { input: [1, 4, 4], outputs: 4, ..Default::default() }.network()?;
    network.init(3, DType::F64, &Device::Cpu)?.save(&weights)?;
    let (twelve, wide) = (folder.text("twelve.npy"), folder.text("wide.npy"));
    npy::write(&twelve, &[N], &[0_i64, 1, 12, 0, 1])?;
    npy::write(&wide, &[N, 2], &[0.5; 2 * N])?;
    let (x, y) = (&*folder.inputs, &*folder.labels);
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["--inputs", x, "--classes", "3", "--outputs", "class:3"], 65, &["outputs 0 to 2"]),
        (&["--inputs", x, "--outputs", "class:1"], 65, &["outputs 0 to 0", "--classes"]),
        (&["--inputs", x, "--outputs", "all"], 2, &["class:K"]),
        (&["--inputs", x, "--classes", "0"], 2, &["at least 1"]),
        (&["--inputs", x, "--weights", &weights, "--classes", "3"], 65, &["fc3.weight", "has 4"]),
        (
            &["--inputs", x, "--labels", &twelve, "--classes", "3"],
            65,
            &["found 12 at index 2", "0 to 2"],
        ),
        (
            &["--inputs", x, "--labels", y, "--targets", "signs"],
            65,
            &["found 2 at index 2", "below:K"],
        ),
        (&["--inputs", x, "--labels", y, "--targets", "class:7"], 65, &["classes 0 to 2"]),
        (&["--inputs", x, "--labels", y, "--targets", "halves"], 2, &["one-hot"]),
        (
            &["--inputs", x, "--labels", &wide, "--classes", "3", "--outputs", "full"],
            65,
            &["2 columns", "3 outputs"],
        ),
        (
            &[
                "--inputs",
                x,
                "--labels",
                y,
                "--targets",
                "below:1",
                "--classes",
                "3",
                "--outputs",
                "full",
            ],
            65,
            &["--targets one-hot"],
        ),
        (&["--inputs", x, "--targets", "signs"], 65, &["give --labels"]),
        (&["--inputs", x, "--classes", "3", "--top", "6"], 65, &["--top 6", "5"]),
    ];
    for (arguments, code, expected) in cases {
        let output = run("gram", &out, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {part:?} not in {said}");
        }
        assert!(!out.join("record.json").exists());
    }
    Ok(())
}
