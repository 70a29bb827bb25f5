//! Images in folders: order, channels, sizes, transparency, and files that are no images. PNG is
//! written here by the crate `png`; the JPEG files of tests/data are 8 x 8 pixels from the crate
//! `jpeg-encoder`, at quality 100.

use std::{fs, path::Path};

use entk_data::{
    DataError, Result as DataResult,
    examples::{ExampleKind, describe_inputs, read_inputs, read_labels},
    folders::{Alpha, Channels, FolderConfig, ImageFolder, parse_image, read_folder},
};
use png::{BitDepth, ColorType, Encoder};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A PNG of so many columns and rows of 8 bits.
fn png(
    color: ColorType,
    [width, height]: [u32; 2],
    samples: &[u8],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.write_header()?.write_image_data(samples)?;
    Ok(bytes)
}

/// 3 x 2 pixels of colours.
fn colours() -> Result<Vec<u8>, png::EncodingError> {
    let pixel = |at: u8| [at % 3, at / 3, 255];
    png(ColorType::Rgb, [3, 2], &(0..6).flat_map(pixel).collect::<Vec<_>>())
}

fn gray(size: [u32; 2], value: u8) -> Result<Vec<u8>, png::EncodingError> {
    png(ColorType::Grayscale, size, &vec![value; (size[0] * size[1]) as usize])
}

fn jpeg(name: &str) -> std::io::Result<Vec<u8>> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name))
}

fn write(root: &Path, name: &str, bytes: impl AsRef<[u8]>) -> TestResult {
    let path = root.join(name);
    fs::create_dir_all(path.parent().ok_or("a folder")?)?;
    Ok(fs::write(path, bytes)?)
}

fn read(root: &Path) -> DataResult<ImageFolder> {
    read_folder(root, &FolderConfig::default())
}

fn refusal(root: &Path) -> String {
    read(root).map_or_else(|error| error.to_string(), |folder| format!("{folder:?}"))
}

fn are_close(found: &[f32], expected: &[f32], by: f32) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= by)
}

#[test]
fn classes_and_files_come_in_the_order_of_their_names() -> TestResult {
    let root = tempfile::tempdir()?;
    for name in ["dog/2.png", "dog/10.PNG", "cat/z.png"] {
        write(root.path(), name, colours()?)?;
    }
    write(root.path(), "cat/notes.txt", "not an image")?;
    write(root.path(), "cat/.hidden.png", "not an image")?;
    write(root.path(), "readme.md", "beside the classes")?;
    fs::create_dir(root.path().join(".cache"))?;
    let folder = read(root.path())?;
    assert_eq!(folder.classes, ["cat", "dog"]);
    assert_eq!((folder.data.labels(), folder.data.classes()), ([0, 1, 1].as_slice(), 2));
    let names: Vec<_> = folder.files.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["z.png", "10.PNG", "2.png"]);
    assert_eq!(folder.data.images().image_shape(), (3, 2, 3));
    let values = folder.data.images().to_vec()?;
    let red = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0].map(|x: f32| x / 255.0);
    let green = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0].map(|y: f32| y / 255.0);
    assert_eq!(values[..18], [red, green, [1.0; 6]].concat());
    Ok(())
}

#[test]
fn a_folder_is_inputs_and_labels_of_programs() -> TestResult {
    let root = tempfile::tempdir()?;
    write(root.path(), "b/1.png", gray([3, 2], 255)?)?;
    write(root.path(), "a/1.png", gray([3, 2], 0)?)?;
    write(root.path(), "b/2.png", gray([3, 2], 51)?)?;
    assert_eq!(ExampleKind::of(root.path()), ExampleKind::Folder);
    let header = describe_inputs(root.path())?;
    assert_eq!((header.shape, header.is_whole, header.bytes), (vec![3, 1, 2, 3], false, 72));
    let all = read_inputs(root.path(), usize::MAX)?;
    assert_eq!(all.shape(), [3, 1, 2, 3]);
    assert!((all.to_f64()[12] - 0.2).abs() < 1e-6 && all.to_f64()[6..12] == [1.0; 6]);
    let first = read_inputs(root.path(), 2)?;
    assert_eq!(
        (first.shape(), first.to_f64()),
        ([2, 1, 2, 3].as_slice(), all.to_f64()[..12].into())
    );
    let labels = read_labels(root.path())?;
    assert_eq!((labels.array.shape(), labels.array.to_f64()), ([3].as_slice(), vec![0., 1., 1.]));
    assert_eq!(labels.classes, ["a", "b"]);
    Ok(())
}

#[test]
fn depths_palettes_and_formats_give_the_same_values() -> TestResult {
    let root = tempfile::tempdir()?;
    write(root.path(), "a/gray.png", gray([2, 2], 51)?)?;
    let mut deep = Vec::new();
    let mut encoder = Encoder::new(&mut deep, 2, 2);
    encoder.set_depth(BitDepth::Sixteen);
    encoder.write_header()?.write_image_data(&13107_u16.to_be_bytes().repeat(4))?;
    write(root.path(), "b/deep.png", deep)?;
    // Bits 1, 0 and 0, 1.
    let mut bits = Vec::new();
    let mut encoder = Encoder::new(&mut bits, 2, 2);
    encoder.set_depth(BitDepth::One);
    encoder.write_header()?.write_image_data(&[0b1000_0000, 0b0100_0000])?;
    write(root.path(), "c/bits.png", bits)?;
    let values = read(root.path())?.data.images().to_vec()?;
    assert!(are_close(&values[..8], &[0.2; 8], 1e-6), "{values:?}");
    assert_eq!(values[8..], [1.0, 0.0, 0.0, 1.0]);

    let root = tempfile::tempdir()?;
    let mut palette = Vec::new();
    let mut encoder = Encoder::new(&mut palette, 8, 8);
    encoder.set_color(ColorType::Indexed);
    encoder.set_palette([0, 0, 0, 255, 0, 0].as_slice());
    encoder.write_header()?.write_image_data(&[1; 64])?;
    write(root.path(), "a/palette.png", palette)?;
    write(root.path(), "b/red.jpg", jpeg("red.jpg")?)?;
    write(root.path(), "c/progressive.JPEG", jpeg("progressive.jpg")?)?;
    let values = read(root.path())?.data.images().to_vec()?;
    let red = [[1.0; 64], [0.0; 64], [0.0; 64]].concat();
    assert!(values[..192] == red && are_close(&values, &red.repeat(3), 0.02), "{values:?}");
    Ok(())
}

#[test]
fn a_large_image_of_one_value_is_no_lie() -> TestResult {
    let root = tempfile::tempdir()?;
    let mut white = Vec::new();
    let mut encoder = Encoder::new(&mut white, 4000, 1000);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(&[255; 500_000])?;
    assert!(white.len() < 4_000_000 / 1032, "{} bytes", white.len());
    write(root.path(), "a/1.png", &white)?;
    write(root.path(), "b/1.png", &white)?;
    assert!(read(root.path())?.data.images().to_vec()?.iter().all(|value| *value == 1.0));
    Ok(())
}

#[test]
fn channels_are_as_asked() -> TestResult {
    let root = tempfile::tempdir()?;
    write(root.path(), "a/gray.jpg", jpeg("gray.jpg")?)?;
    write(root.path(), "b/gray.png", gray([8, 8], 51)?)?;
    let stored = read(root.path())?.data.images().to_vec()?;
    let row = [0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8];
    assert!(are_close(&stored[..64], &row.repeat(8), 0.02), "{stored:?}");
    write(root.path(), "b/x.png", png(ColorType::Rgb, [8, 8], &[255, 0, 51].repeat(64))?)?;
    let mixed = refusal(root.path());
    assert!(mixed.contains("x.png: bad image: 3 channels, expected 1 as "), "{mixed}");
    assert!(mixed.contains("gray.jpg"), "{mixed}");
    let of =
        |channels| read_folder(root.path(), &FolderConfig { channels, ..FolderConfig::default() });
    let luminance = of(Channels::Gray)?.data.images().to_vec()?;
    assert!(are_close(&luminance[128..], &[0.2126 + 0.2 * 0.0722; 64], 1e-6), "{luminance:?}");
    let colours = of(Channels::Rgb)?.data;
    assert_eq!(colours.images().image_shape(), (3, 8, 8));
    let values = colours.images().to_vec()?;
    assert_eq!(values[..64], values[128..192]);
    let x = [[1.0; 64], [0.0; 64], [0.2; 64]].concat();
    assert!(are_close(&values[384..], &x, 1e-6), "{values:?}");
    Ok(())
}

#[test]
fn transparency_is_refused_dropped_or_laid_over_a_gray() -> TestResult {
    for (color, pixel, dropped, over) in [
        (
            ColorType::Rgba,
            [255, 0, 51, 51].as_slice(),
            [1.0, 0.0, 0.2].as_slice(),
            [0.6, 0.4, 0.44].as_slice(),
        ),
        (ColorType::GrayscaleAlpha, &[255, 51], &[1.0], &[0.6]),
    ] {
        let root = tempfile::tempdir()?;
        write(root.path(), "a/half.png", png(color, [1, 1], pixel)?)?;
        write(root.path(), "b/half.png", png(color, [1, 1], pixel)?)?;
        let message = refusal(root.path());
        assert!(message.contains("half.png: bad image: expected no alpha channel"), "{message}");
        for (alpha, expected) in [(Alpha::Drop, dropped), (Alpha::Over(0.5), over)] {
            let config = FolderConfig { alpha, ..FolderConfig::default() };
            let values = read_folder(root.path(), &config)?.data.images().to_vec()?;
            assert!(are_close(&values, &expected.repeat(2), 1e-6), "{values:?}, {expected:?}");
        }
    }
    Ok(())
}

#[test]
fn other_sizes_are_refused_with_both() -> TestResult {
    let root = tempfile::tempdir()?;
    write(root.path(), "a/1.png", gray([4, 2], 0)?)?;
    for (name, bytes) in [("b/2.png", gray([2, 4], 0)?), ("b/2.jpg", jpeg("gray.jpg")?)] {
        write(root.path(), name, bytes)?;
        let message = refusal(root.path());
        let found = if name.ends_with("png") { "[4, 2]" } else { "[8, 8]" };
        for part in [name, &format!("shape {found}"), "expected [2, 4]", "a/1.png; resize"] {
            assert!(message.contains(part), "{part:?} not in {message}");
        }
        fs::remove_file(root.path().join(name))?;
    }
    Ok(())
}

#[test]
fn folders_that_are_no_classes_are_named() -> TestResult {
    let root = tempfile::tempdir()?;
    assert!(refusal(root.path()).contains("subfolders, one a class"));
    assert!(matches!(read(&root.path().join("absent")), Err(DataError::Io { .. })));
    write(root.path(), "a/1.png", colours()?)?;
    assert!(matches!(read(root.path()), Err(DataError::Classes { found: 1, .. })));
    fs::create_dir(root.path().join("b"))?;
    let message = refusal(root.path());
    assert!(message.contains("b (images, png, jpg, jpeg) is empty"), "{message}");
    for class in 0..257 {
        write(root.path(), &format!("{class}/1.png"), "")?;
    }
    fs::remove_dir(root.path().join("b"))?;
    assert!(matches!(read(root.path()), Err(DataError::Classes { found: 258, .. })));
    Ok(())
}

#[test]
fn files_that_are_no_images_are_named() -> TestResult {
    let root = tempfile::tempdir()?;
    write(root.path(), "a/1.png", gray([8, 8], 9)?)?;
    let bad = |bytes: &[u8]| -> Result<String, Box<dyn std::error::Error>> {
        write(root.path(), "b/bad.png", bytes)?;
        Ok(refusal(root.path()))
    };
    for bytes in [&b""[..], b"words", b"GIF89a and more"] {
        let message = bad(bytes)?;
        assert!(message.contains("bad.png: bad image: expected PNG or JPEG"), "{message}");
    }
    // A header of 2^20 x 2^20 pixels with its checksum, as the first file and so of the right size.
    let mut huge = gray([8, 8], 9)?;
    huge[16..24].copy_from_slice(&[0, 0x10, 0, 0, 0, 0x10, 0, 0]);
    let checksum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    write(root.path(), "a/0.png", huge)?;
    let message = refusal(root.path());
    assert!(message.contains("0.png: bad image: its header says 1099511627776"), "{message}");
    Ok(())
}

/// The checksum of PNG, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        let step = |sum: u32| (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum))
    })
}

#[test]
fn damaged_images_are_refused_or_read_whole() -> TestResult {
    let ramp = png(ColorType::Grayscale, [8, 8], &(0..64).collect::<Vec<_>>())?;
    let files = [ramp, jpeg("gray.jpg")?, jpeg("red.jpg")?, jpeg("progressive.jpg")?];
    for whole in files {
        let parse = |bytes: &[u8]| parse_image(bytes, "x", &FolderConfig::default());
        assert_eq!(parse(&whole)?.count(), 1);
        for length in 0..whole.len() {
            let cut = parse(&whole[..length]);
            assert!(matches!(cut, Err(DataError::Format { .. })), "{length}: {cut:?}");
        }
        // Whatever byte is changed, there is an image or an error.
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            if let Ok(image) = parse(&changed) {
                let (channels, height, width) = image.image_shape();
                assert_eq!(image.to_vec()?.len(), channels * height * width);
            }
        }
    }
    Ok(())
}
