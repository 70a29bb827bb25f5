//! Figure 10: the first neural anisotropy directions (NADs) of the paper's networks at
//! initialisation, as images and by the magnitude of their Fourier transform, frequency 0 in the
//! middle.
//!
//! Writes `directions.csv`, the picture `fig10` (SVG, PNG and the numbers drawn) and `record.json`.

#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, Parser};
use entk_cli::{
    DeviceFlags, Directions, EXIT_CODES, ModelFlags, ModelName, PAPER_WIDTH, Run, SIDE,
    ensure_input, exit, exit_without_flags, fourier_magnitude, parse_seed, parse_size,
    plot::{Image, ImageGrid},
    takes_negative, try_parse,
};
use serde::Serialize;
use serde_json::json;

/// Filters of the first stage of ResNet18 with --quick, at most.
const QUICK_WIDTH: usize = 16;

/// The first anisotropy directions of networks at initialisation (Figure 10). Nothing is trained.
#[derive(Parser, Serialize)]
#[command(name = "fig10", version, after_help = EXIT_CODES)]
struct Flags {
    /// Networks, one below another
    #[arg(long, value_enum, value_name = "NAME,..", value_delimiter = ',',
          default_values_t = [ModelName::Mlp, ModelName::LeNet5, ModelName::ResNet18])]
    model: Vec<ModelName>,

    /// Filters of the first stage of resnet18; 64 is the paper's, at most 16 with --quick
    #[arg(long, value_name = "N", value_parser = parse_size, default_value_t = PAPER_WIDTH)]
    width: usize,

    /// Directions of each network
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_size)]
    count: usize,

    /// Seed of the initialisation
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    seed: u64,

    /// Where to compute
    #[command(flatten)]
    #[serde(flatten)]
    device: DeviceFlags,

    /// Folder for the results, in place of those of an earlier run [default: results/fig10]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Folder of what runs share and, killed, go on from [default: results/cache, or OUT/cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// A smaller network, for a first look
    #[arg(long)]
    quick: bool,
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
    let mut line = Flags::command().mut_args(takes_negative);
    match try_parse::<Flags>(&mut line, std::env::args_os()) {
        Ok(flags) => exit(draw(&flags)),
        Err(error) => exit_without_flags(&error),
    }
}

fn draw(flags: &Flags) -> Result<()> {
    let width = if flags.quick { flags.width.min(QUICK_WIDTH) } else { flags.width };
    let (count, pixels) = (flags.count, SIDE * SIDE);
    ensure_input(count <= pixels, || format!("--count {count}: there are {pixels} directions"))?;
    let run = Run::start("fig10", flags.out.as_deref())?.with_cache(flags.cache.as_deref());
    let device = flags.device.open()?;
    let (mut rows, mut images, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for &model in &flags.model {
        let network = ModelFlags { width, ..model.into() };
        let directions = Directions::find(&run, &network, &device, flags.seed)?;
        rows.extend(table(model, &directions, count));
        images.extend(pictures(&directions, count));
        labels.extend([model.title(), "Fourier"]);
    }
    run.save_table("directions", &rows)?;
    let filters = match flags.model.contains(&ModelName::ResNet18) {
        true => format!("ResNet18 with {width} filters in its first stage, "),
        false => String::new(),
    };
    let grid = ImageGrid::new(count, images).row_labels(labels).note(format!(
        "{filters}seed {}. Blue below 0, red above; each image on its own scale.",
        flags.seed
    ));
    run.save_figure("fig10", &grid)?;
    run.finish(flags.seed, flags, &json!({ "origin": "synthetic", "width": width }))?;
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
