//! Figure 10: the first neural anisotropy directions (NADs) of LeNet5 and ResNet18 at
//! initialisation, as images and by the magnitude of their Fourier transform, frequency 0 in the
//! middle.
//!
//! Writes `directions.csv`, the picture `fig10` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use entk_cli::{
    CommonFlags, Defaults, Directions, EXIT_CODES, ModelFlags, ModelName, SIDE, Size, ensure_input,
    exit, fourier_magnitude, parse_flags, parse_size,
    plot::{Image, ImageGrid},
};
use serde::Serialize;
use serde_json::json;

/// Filters of the first stage of ResNet18 with --quick.
const QUICK_WIDTH: usize = 16;

/// The first anisotropy directions of LeNet5 and ResNet18 (Figure 10). Nothing is trained: of the
/// common flags only --width, --seed, --quick (at most 16 filters) and the folders are used.
#[derive(Parser, Serialize)]
#[command(name = "fig10", version, after_help = EXIT_CODES)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    common: CommonFlags,

    /// Directions of each network
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_size)]
    count: usize,
}

/// One direction.
#[derive(Serialize)]
struct Row {
    model: ModelName,
    parameters: usize,
    index: usize,
    singular_value: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        // Whose --width is read.
        model: ModelName::ResNet18,
        train: Size::new(1, 1),
        test: Size::new(1, 1),
        epochs: Size::new(1, 1),
        ..Defaults::default()
    });
    let asked = flags.common.network.width;
    let width = if flags.common.quick { asked.min(QUICK_WIDTH) } else { asked };
    let (count, pixels) = (flags.count, SIDE * SIDE);
    ensure_input(count <= pixels, || format!("--count {count}: there are {pixels} directions"))?;
    let run = flags.common.start("fig10")?;
    let (mut rows, mut images, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for model in [ModelName::LeNet5, ModelName::ResNet18] {
        let network = ModelFlags { model: model.into(), width, ..flags.common.network.clone() };
        let common = CommonFlags { network, ..flags.common.clone() };
        let directions = Directions::find(&run, &common)?;
        rows.extend(table(model, &directions, count));
        images.extend(pictures(&directions, count));
        labels.extend([model.title(), "Fourier"]);
    }
    run.save_table("directions", &rows)?;
    let grid = ImageGrid::new(count, images).row_labels(labels).note(format!(
        "ResNet18 with {} filters in its first stage, seed {}. Blue below 0, red above; each image on its own scale.",
        width, flags.common.seed
    ));
    run.save_figure("fig10", &grid)?;
    run.finish(flags.common.seed, &flags, &json!({ "origin": "synthetic", "width": width }))?;
    Ok(())
}

fn table(model: ModelName, directions: &Directions, count: usize) -> impl Iterator<Item = Row> {
    let parameters = directions.theta0.count();
    directions.pairs.values().iter().take(count).enumerate().map(move |(at, value)| Row {
        model,
        parameters,
        index: at + 1,
        singular_value: value.max(0.0).sqrt(),
    })
}

/// The first `count` directions, then the magnitudes of their Fourier transforms.
fn pictures(directions: &Directions, count: usize) -> Vec<Image> {
    let leading = || directions.pairs.iter().take(count).map(|(_, direction)| direction);
    let direction = |(at, pixels): (usize, &[f64])| {
        Image::diverging((at + 1).to_string(), SIDE, pixels.to_vec())
    };
    let fourier = leading().map(|pixels| Image::gray("", SIDE, fourier_magnitude(pixels, SIDE)));
    leading().enumerate().map(direction).chain(fourier).collect()
}
