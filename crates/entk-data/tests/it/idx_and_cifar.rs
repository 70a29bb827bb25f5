//! IDX and CIFAR-10 files: round trips of generated files, and every way in which a file can be
//! wrong.

use std::{fs, io::Write, path::Path};

use entk_data::{DataError, DataSource, Origin, cifar, idx, load};
use flate2::{Compression, write::GzEncoder};

fn idx_images(sizes: [u32; 3], pixels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(pixels);
    bytes
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend((labels.len() as u32).to_be_bytes());
    bytes.extend(labels);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

/// Three training and two test images of 2 x 4 pixels.
fn write_files(folder: &Path, compressed: bool) {
    let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
    let files = [
        ("train-images-idx3-ubyte", idx_images([3, 2, 4], &pixels)),
        ("train-labels-idx1-ubyte", idx_labels(&[9, 0, 4])),
        ("t10k-images-idx3-ubyte", idx_images([2, 2, 4], &pixels[..16])),
        ("t10k-labels-idx1-ubyte", idx_labels(&[1, 2])),
    ];
    fs::create_dir_all(folder).expect("folder");
    for (name, bytes) in files {
        let (name, bytes) = if compressed {
            (format!("{name}.gz"), gzip(&bytes))
        } else {
            (name.to_owned(), bytes)
        };
        fs::write(folder.join(name), bytes).expect("written");
    }
}

#[test]
fn plain_and_compressed_folders_read_the_same() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for compressed in [false, true] {
        let path = folder.path().join(format!("{compressed}"));
        write_files(&path, compressed);
        let split = idx::read_split(&path, "generated").expect("read");
        assert_eq!(split.train.labels(), [9, 0, 4]);
        assert_eq!(split.test.labels(), [1, 2]);
        assert_eq!(split.train.images().tensor().dims(), [3, 1, 2, 4]);
        let expected: Vec<f32> = (0..24).map(|i| (i * 10) as f32 / 255.0).collect();
        assert_eq!(split.train.images().to_vec().expect("values"), expected);
        assert_eq!(split.train.name(), "generated train");
    }
}

#[test]
fn load_finds_torchvisions_folders() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_files(&folder.path().join("MNIST/raw"), true);
    write_files(&folder.path().join("FashionMNIST/raw"), false);
    for source in [DataSource::Mnist, DataSource::FashionMnist] {
        let loaded = load(source, Some(folder.path())).expect("loaded");
        assert_eq!(loaded.split.test.count(), 2);
        assert!(matches!(loaded.origin, Origin::Path(path) if path.ends_with("raw")));
    }
}

#[test]
fn missing_files_are_all_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_files(folder.path(), false);
    fs::remove_file(folder.path().join("train-labels-idx1-ubyte")).expect("removed");
    fs::remove_file(folder.path().join("t10k-images-idx3-ubyte")).expect("removed");
    let message =
        load(DataSource::FashionMnist, Some(folder.path())).expect_err("incomplete").to_string();
    assert!(
        message.contains("train-labels-idx1-ubyte") && message.contains("t10k-images-idx3-ubyte"),
        "{message}"
    );
    let message = cifar::read_split(folder.path()).expect_err("nothing there").to_string();
    assert!(
        message.contains("data_batch_1.bin") && message.contains("test_batch.bin"),
        "{message}"
    );
}

#[test]
fn different_numbers_of_images_and_labels_name_both_files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_files(folder.path(), false);
    fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx_labels(&[1])).expect("written");
    let error = idx::read_split(folder.path(), "generated").expect_err("mismatch");
    assert!(matches!(error, DataError::CountMismatch { images: 2, labels: 1, .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("t10k-images-idx3-ubyte") && message.contains("t10k-labels-idx1-ubyte"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = idx::read_images("no/such/file").expect_err("missing");
    assert!(matches!(error, DataError::Io { action: "open", .. }), "{error}");
    assert!(error.to_string().contains("no/such/file"), "{error}");
    assert!(matches!(idx::read_labels("no/such/file", 10), Err(DataError::Io { .. })));
    assert!(matches!(cifar::read_batch("no/such/file"), Err(DataError::Io { .. })));
}

/// Every prefix is refused, plain and compressed; so is every file with a byte too many.
#[test]
fn wrong_lengths_are_refused_at_every_byte() {
    let good = idx_images([1, 2, 3], &[7; 6]);
    for length in 0..good.len() {
        for bytes in [good[..length].to_vec(), gzip(&good[..length])] {
            let error = idx::parse_images(&bytes, "cut file").expect_err("cut off");
            assert!(matches!(error, DataError::Truncated { .. }), "{length}: {error}");
            assert!(error.to_string().contains("cut file"), "{error}");
        }
    }
    let long = [good.as_slice(), &[0]].concat();
    for bytes in [long.clone(), gzip(&long)] {
        assert!(matches!(
            idx::parse_images(&bytes, "long file"),
            Err(DataError::Oversized { expected: 6, .. })
        ));
    }
    assert!(idx::parse_images(&gzip(&good), "good file").is_ok());
}

#[test]
fn a_damaged_gzip_stream_is_refused_and_named() {
    let good = gzip(&idx_labels(&[3; 500]));
    let end = good.len();
    // Body, checksum (eight bytes before the end), length, and a second stream that is none.
    let mut damaged: Vec<Vec<u8>> = [end - 12, end - 8, end - 4]
        .into_iter()
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            bytes
        })
        .collect();
    damaged.push([good.as_slice(), b"garbage"].concat());
    damaged.extend((2..end).map(|length| good[..length].to_vec()));
    for bytes in damaged {
        let error = idx::parse_labels(&bytes, "labels.gz", 10).expect_err("damaged");
        assert!(matches!(error, DataError::Gzip { .. }), "{error}");
        assert!(error.to_string().contains("labels.gz"), "{error}");
    }
    let mut wrong_checksum = good;
    wrong_checksum[end - 8] ^= 1;
    let message =
        idx::parse_labels(&wrong_checksum, "labels.gz", 10).expect_err("damaged").to_string();
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn a_wrong_magic_number_is_shown() {
    let labels = idx_labels(&[1, 2, 3, 4, 5, 6, 7, 8]);
    match idx::parse_images(&labels, "labels given as images") {
        Err(DataError::Magic { expected: 0x803, found: 0x801, .. }) => {}
        other => panic!("expected an error, got {other:?}"),
    }
    assert!(matches!(
        idx::parse_labels(b"<!DOCTYPE html>", "page", 10),
        Err(DataError::Magic { found: 0x3c21_444f, .. })
    ));
}

#[test]
fn absurd_headers_are_refused_before_allocating() {
    let huge = idx_images([u32::MAX; 3], &[]);
    assert!(matches!(idx::parse_images(&huge, "huge"), Err(DataError::TooLarge { .. })));
    assert!(matches!(idx::parse_images(&gzip(&huge), "huge"), Err(DataError::TooLarge { .. })));
    // Within the limit, but more than so few bytes can hold.
    let large = idx_images([1 << 10, 1 << 9, 1 << 9], &[0; 100]);
    assert!(matches!(idx::parse_images(&large, "large"), Err(DataError::Truncated { .. })));
    assert!(matches!(idx::parse_images(&gzip(&large), "large"), Err(DataError::Truncated { .. })));
    assert!(matches!(
        idx::parse_images(&idx_images([0, 28, 28], &[]), "none"),
        Err(DataError::Empty { .. })
    ));
    assert!(matches!(
        idx::parse_labels(&idx_labels(&[]), "none", 10),
        Err(DataError::Empty { .. })
    ));
}

#[test]
fn labels_out_of_range_are_shown_with_their_index() {
    let error =
        idx::parse_labels(&idx_labels(&[0, 9, 10]), "label file", 10).expect_err("label 10");
    assert!(matches!(error, DataError::Label { index: 2, found: 10, .. }), "{error}");
    let mut record = vec![0; 2 * 3073];
    record[3073] = 200;
    let error = cifar::parse_batch(&record, "batch").expect_err("label 200");
    assert!(matches!(error, DataError::Label { index: 1, found: 200, classes: 10, .. }), "{error}");
}

#[test]
fn cifar_records_are_planes_of_rows() {
    let mut record: Vec<u8> = vec![8];
    record.extend((0..3072).map(|i| (i / 1024 * 80 + i % 32) as u8));
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("batch.bin");
    fs::write(&path, record.repeat(2)).expect("written");
    let batch = cifar::read_batch(&path).expect("read");
    assert_eq!(batch.labels(), [8, 8]);
    let pixels = batch.images().tensor().to_dtype(candle_core::DType::F64).expect("f64");
    for (channel, row, column) in [(0, 0, 0), (1, 31, 2), (2, 5, 31)] {
        let pixel =
            pixels.get(1).and_then(|image| image.get(channel)).and_then(|plane| plane.get(row));
        let pixel = pixel
            .and_then(|row| row.get(column))
            .and_then(|pixel| pixel.to_scalar::<f64>())
            .expect("pixel");
        assert_eq!((pixel * 255.0).round() as usize, channel * 80 + column);
    }
}

#[test]
fn cifar_files_of_a_wrong_length_are_refused() {
    assert!(matches!(cifar::parse_batch(&[], "empty"), Err(DataError::Empty { .. })));
    for length in [1, 3072, 3074, 2 * 3073 - 1] {
        match cifar::parse_batch(&vec![0; length], "batch") {
            Err(DataError::Records { record: 3073, found, .. }) => assert_eq!(found, length),
            other => panic!("expected an error, got {other:?}"),
        }
    }
}

#[test]
fn a_few_compressed_bytes_do_not_fill_the_memory() {
    // 80 MiB of zeros, a thousand times the file.
    let bytes = gzip(&idx_images([80 << 10, 32, 32], &vec![0; 80 << 20]));
    match idx::parse_images(&bytes, "zeros.gz") {
        Err(DataError::TooLarge { limit, found, .. }) => {
            assert_eq!((limit, found), (64 << 20, 80 << 20));
        }
        other => panic!("{other:?}"),
    }
    let blank = gzip(&idx_images([1000, 32, 32], &vec![0; 1000 << 10]));
    assert!(blank.len() < 10_000 && idx::parse_images(&blank, "blank.gz").is_ok());
}
