//! Examples that are read some at a time: from files against the reader of whole files, and
//! augmented images against a plain loop.

use candle_core::{DType, Tensor};
use entk_data::{AugmentedImages, DataError, Images, arrays::ArrayRows, npy};
use entk_device::InputSource;

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[test]
fn rows_of_a_file_are_those_of_the_whole() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    let values: Vec<f64> = (0..7 * 6).map(f64::from).collect();
    npy::write(&path, &[7, 2, 3], &values)?;
    let rows = ArrayRows::open(&path)?;
    assert_eq!((rows.examples(), rows.shape()), (7, [7, 2, 3].as_slice()));
    let whole = npy::read(&path)?.to_tensor()?;
    for range in [0..7, 3..5, 6..7, 0..1] {
        let part = rows.read(range.clone())?;
        let expected = whole.narrow(0, range.start, range.len())?;
        assert_eq!(part.dims(), expected.dims());
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
        assert_eq!(flat(&part)?, flat(&expected)?);
    }
    assert!(matches!(rows.rows(5..8), Err(DataError::Index { index: 7, count: 7 })));
    assert!(matches!(rows.rows(2..2), Err(DataError::Index { .. })));
    let labels = folder.path().join("y.npy");
    npy::write(&labels, &[5], &[0_i64, 1, 2, 3, 4])?;
    assert_eq!(ArrayRows::open(&labels)?.read(1..3)?.dtype(), DType::I64);
    Ok(())
}

#[test]
fn files_that_cannot_be_read_by_rows_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    npy::write(&path, &[4, 2], &[1.0_f32; 8])?;
    let bytes = std::fs::read(&path)?;
    std::fs::write(&path, &bytes[..bytes.len() - 1])?;
    assert!(matches!(ArrayRows::open(&path), Err(DataError::Truncated { .. })));
    std::fs::write(&path, [&bytes[..], &[0]].concat())?;
    assert!(matches!(ArrayRows::open(&path), Err(DataError::Oversized { .. })));
    let mut fortran = bytes.clone();
    let at = bytes.windows(5).position(|word| word == b"False").ok_or("an order")?;
    fortran[at..at + 5].copy_from_slice(b"True ");
    std::fs::write(&path, fortran)?;
    assert!(matches!(ArrayRows::open(&path), Err(DataError::Format { .. })));
    // A file that shrinks after it was opened.
    std::fs::write(&path, &bytes)?;
    let rows = ArrayRows::open(&path)?;
    std::fs::write(&path, &bytes[..bytes.len() - 8])?;
    assert!(matches!(rows.rows(3..4), Err(DataError::Io { .. })));
    npy::write(&path, &[], &[1.0_f32])?;
    assert!(matches!(ArrayRows::open(&path), Err(DataError::Shape { .. })));
    Ok(())
}

/// The image shifted by (down, right) pixels and mirrored, pixel by pixel.
fn moved(
    image: &[f32],
    [height, width]: [i64; 2],
    [down, right]: [i64; 2],
    mirror: bool,
) -> Vec<f32> {
    let mut out = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let column = if mirror { width - 1 - column } else { column };
            let (row, column) = (row + down, column + right);
            let inside = (0..height).contains(&row) && (0..width).contains(&column);
            out.push(if inside { image[(row * width + column) as usize] } else { 0.0 });
        }
    }
    out
}

#[test]
fn augmented_images_are_shifted_mirrored_and_repeatable() -> TestResult {
    let (count, height, width, shift) = (3, 5, 4, 2);
    // Two channels, which move together.
    let pixels: Vec<f32> = (0..2 * count * height * width).map(|i| 1.0 + i as f32).collect();
    let images = Images::from_vec(pixels.clone(), (count, 2, height, width))?;
    let source = AugmentedImages::new(images.clone(), 600, shift, 7)?;
    let all = source.read(0..600)?.flatten_from(1)?.to_vec2::<f32>()?;
    let size = [height as i64, width as i64];
    let mut seen = std::collections::HashSet::new();
    for (i, found) in all.iter().enumerate() {
        let plane = height * width;
        let image = &pixels[i % count * 2 * plane..][..2 * plane];
        if i < count {
            assert_eq!(found, image);
            continue;
        }
        let shifts = (-2..=2).flat_map(|down| (-2..=2).map(move |right| [down, right]));
        let mut ways = shifts.flat_map(|by| [(by, false), (by, true)]);
        let of = |plane: &[f32], (by, mirror)| moved(plane, size, by, mirror);
        let all = |way| [of(&image[..plane], way), of(&image[plane..], way)].concat();
        let way = ways.find(|way| all(*way) == *found);
        seen.insert(way.ok_or("not a shift or mirror image")?);
    }
    // 25 shifts, mirrored or not: 597 draws miss one of 50 with probability 3e-4.
    assert_eq!(seen.len(), 50);
    // Any range gives the same examples, and another seed others.
    let part = source.read(333..377)?.flatten_from(1)?.to_vec2::<f32>()?;
    assert_eq!(part, all[333..377]);
    let other = AugmentedImages::new(images.clone(), 600, shift, 8)?;
    assert_ne!(other.read(333..377)?.flatten_from(1)?.to_vec2::<f32>()?, part);
    assert!(matches!(AugmentedImages::new(images, 0, 1, 0), Err(DataError::Empty { .. })));
    Ok(())
}
