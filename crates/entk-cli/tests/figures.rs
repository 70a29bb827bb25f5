//! Figures as files: what a reader of the SVG or PNG sees.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, Result};
use entk_cli::plot::{
    Axis, Baseline, Drawing, Figure, FigureGrid, Image, ImageGrid, Legend, LineStyle, Marker,
    Series,
};

fn accuracy(title: &str) -> Figure {
    let network = vec![(1.0, 0.98), (10.0, 0.85), (100.0, 0.7), (1000.0, 0.55)];
    let band = network.iter().map(|&(_, y)| (y - 0.02, y + 0.02)).collect();
    let linear = vec![(1.0, 0.97), (10.0, 0.89), (100.0, 0.78), (1000.0, 0.65)];
    Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
        .title(title)
        .series(Series::new("network", network).band(band))
        .series(Series::new("linearization", linear).color(1).line(LineStyle::Dashed))
        .baseline(Baseline::horizontal("chance", 0.5))
}

/// Width, height and pixels of a PNG file.
fn read_png(path: &Path) -> Result<(u32, u32, Vec<[u8; 3]>)> {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path)?));
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().context("the image is too large")?];
    let info = reader.next_frame(&mut bytes)?;
    Ok((info.width, info.height, bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect()))
}

/// The texts of an SVG file, in the order drawn.
fn texts(svg: &str) -> Vec<String> {
    let elements = svg.split("<text").skip(1);
    let text =
        |element: &str| Some(element.split_once('>')?.1.split_once("</text>")?.0.trim().to_owned());
    elements.filter_map(text).collect()
}

#[test]
fn the_svg_says_everything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [svg, _] = accuracy("MLP").note("Three seeds.").save(folder.path(), "accuracy")?;
    let texts = texts(&std::fs::read_to_string(svg)?);
    let expected = [
        "MLP",
        "eigenfunction index",
        "test accuracy",
        "network",
        "linearization",
        "chance",
        "1",
        "10",
        "100",
        "1000",
        "60%",
        "80%",
        "100%",
        "Three seeds.",
    ];
    for text in expected {
        assert!(texts.iter().any(|found| found == text), "{text:?} is not among {texts:?}");
    }
    Ok(())
}

#[test]
fn the_png_is_a_column_wide_and_shows_the_curves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [_, png] = accuracy("MLP").save(folder.path(), "accuracy")?;
    let (width, height, pixels) = read_png(&png)?;
    assert_eq!(width, 1040, "a column of 252 points and two edges of 4, at 4 pixels a point");
    assert!((600..1000).contains(&height), "{height}");
    let colors: HashSet<[u8; 3]> = pixels.iter().copied().collect();
    assert!(colors.len() > 100, "{} colours", colors.len());
    for curve in [[0, 114, 178], [213, 94, 0]] {
        let count = pixels.iter().filter(|&&pixel| pixel == curve).count();
        assert!(count > 500, "{count} pixels of {curve:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_cut_off_at_the_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let grid = FigureGrid::row(vec![accuracy("MLP"), accuracy("LeNet5")])
        .title("Accuracy")
        .note("Small print.");
    let images = ImageGrid::new(2, vec![Image::gray("a", 2, vec![0.0, 1.0, 1.0, 0.0]); 3])
        .row_labels(["NAD", "FFT"]);
    for paths in [grid.save(folder.path(), "grid")?, images.save(folder.path(), "images")?] {
        let (width, height, pixels) = read_png(&paths[1])?;
        let (width, height) = (width as usize, height as usize);
        let on_edge = |at: usize| {
            at < width
                || at >= width * (height - 1)
                || at.is_multiple_of(width)
                || at % width == width - 1
        };
        let marked = pixels
            .iter()
            .enumerate()
            .filter(|&(at, &pixel)| on_edge(at) && pixel != [255; 3])
            .count();
        assert_eq!(marked, 0, "marks on the edge of {}", paths[1].display());
    }
    Ok(())
}

#[test]
fn panels_with_the_same_names_share_a_legend() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let count = |panels: Vec<Figure>, stem: &str| -> Result<usize> {
        let [svg, _] = FigureGrid::row(panels).save(folder.path(), stem)?;
        let texts = texts(&std::fs::read_to_string(svg)?);
        Ok(texts.iter().filter(|text| *text == "linearization").count())
    };
    assert_eq!(count(vec![accuracy("MLP"), accuracy("LeNet5")], "same")?, 1);
    let other = accuracy("LeNet5").baseline(Baseline::vertical("trained", 500.0));
    assert_eq!(count(vec![accuracy("MLP"), other], "different")?, 2);
    assert_eq!(count(vec![accuracy("MLP").legend(Legend::Hidden)], "hidden")?, 0);
    Ok(())
}

#[test]
fn a_fixed_range_cuts_the_curve_and_keeps_it_inside() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let steep = Series::new("steep", vec![(0.0, -100.0), (1.0, 100.0)]).marker(Marker::Circle);
    let figure = Figure::new(Axis::linear("x"), Axis::linear("y").range(0.0, 1.0)).series(steep);
    let [svg, _] = figure.legend(Legend::Hidden).save(folder.path(), "steep")?;
    let svg = std::fs::read_to_string(svg)?;
    assert!(!svg.contains("<circle"), "both points lie outside the range");
    let curve = svg.lines().find(|line| line.contains("stroke=\"#0072B2\"")).context("no curve")?;
    let points = curve.split("points=\"").nth(1).context("no points")?;
    assert!(!points.contains('-'), "{points}");
    Ok(())
}

#[test]
fn points_that_cannot_be_shown_leave_gaps() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let points = vec![(1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 2.0), (5.0, 0.0), (6.0, 2.0)];
    let figure =
        Figure::new(Axis::linear("x"), Axis::log("y")).series(Series::new("curve", points));
    let [svg, _] = figure.legend(Legend::Hidden).save(folder.path(), "gaps")?;
    let svg = std::fs::read_to_string(svg)?;
    let curves = svg
        .lines()
        .filter(|line| line.starts_with("<polyline") && line.contains("#0072B2"))
        .count();
    assert_eq!(curves, 1, "only the first two points are joined");
    assert_eq!(
        svg.lines().filter(|line| line.starts_with("<circle") && line.contains("#0072B2")).count(),
        4
    );
    Ok(())
}

#[test]
fn the_same_figure_gives_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let first = accuracy("MLP").save(folder.path(), "first")?;
    let second = accuracy("MLP").save(folder.path(), "second")?;
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(std::fs::read(first)?, std::fs::read(second)?);
    }
    Ok(())
}

#[test]
fn a_figure_that_cannot_be_drawn_leaves_no_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let figure =
        Figure::new(Axis::log("x"), Axis::linear("y")).series(Series::new("a", vec![(-1.0, 1.0)]));
    let error = figure.save(folder.path(), "bad").map(|_| ()).map_err(|error| format!("{error:#}"));
    assert_eq!(error, Err("cannot draw bad: axis \"x\" has no value to show".to_owned()));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn images_are_embedded_once_each() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image =
        |name: &str| Image::diverging(name, 8, (0..64).map(|n| f64::from(n) - 31.5).collect());
    let [svg, png] =
        ImageGrid::new(2, vec![image("v1"), image("v2")]).save(folder.path(), "nads")?;
    let svg = std::fs::read_to_string(svg)?;
    assert_eq!(svg.matches("<image").count(), 2);
    assert_eq!(svg.matches("data:image/png;base64,iVBORw0KGgo").count(), 2);
    assert_eq!(texts(&svg), ["v1", "v2"]);
    let colors: HashSet<[u8; 3]> = read_png(&png)?.2.into_iter().collect();
    assert!(colors.len() >= 64);
    Ok(())
}
