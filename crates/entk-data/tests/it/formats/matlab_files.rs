//! SVHN in MATLAB files that are written here as MATLAB, Octave and scipy write them, and damaged
//! ones.

use std::io::Write;

use entk_data::{DataError, DataSource, Dataset, Result as DataResult, load, svhn};
use flate2::{Compression, write::ZlibEncoder};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Bytes in the order of the file.
#[derive(Clone, Copy)]
struct Order {
    is_big: bool,
}

impl Order {
    fn word(self, word: u32) -> [u8; 4] {
        if self.is_big { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    /// An element: type, length, bytes, zeros up to a multiple of eight; of at most four bytes in
    /// its tag.
    fn element(self, kind: u32, bytes: &[u8]) -> Vec<u8> {
        let mut element = if (1..=4).contains(&bytes.len()) {
            self.word((bytes.len() as u32) << 16 | kind).to_vec()
        } else {
            [self.word(kind), self.word(bytes.len() as u32)].concat()
        };
        element.extend(bytes);
        element.resize(element.len().next_multiple_of(8), 0);
        element
    }

    /// A matrix whose numbers are stored as elements of type `kind`.
    fn matrix(self, name: &str, shape: &[u32], kind: u32, bytes: &[u8]) -> Vec<u8> {
        let flags = [self.word(9), self.word(0)].concat();
        let shape = shape.iter().flat_map(|size| self.word(*size)).collect::<Vec<u8>>();
        let parts = [
            self.element(6, &flags),
            self.element(5, &shape),
            self.element(1, name.as_bytes()),
            self.element(kind, bytes),
        ];
        self.element(14, &parts.concat())
    }

    fn file(self, elements: &[Vec<u8>]) -> Vec<u8> {
        let mut file = b"MATLAB 5.0 MAT-file, written by a test".to_vec();
        file.resize(124, b' ');
        file.extend(if self.is_big { [1, 0, b'M', b'I'] } else { [0, 1, b'I', b'M'] });
        file.extend(elements.concat());
        file
    }

    fn compressed(self, element: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(element).expect("in memory");
        let packed = encoder.finish().expect("in memory");
        [self.word(15).to_vec(), self.word(packed.len() as u32).to_vec(), packed].concat()
    }
}

const LITTLE: Order = Order { is_big: false };

/// X of so many images; pixel (row, column, channel) of image n has a value of its own.
fn pixels(count: usize) -> Vec<u8> {
    let mut values = Vec::new();
    for n in 0..count {
        for channel in 0..3 {
            for column in 0..32 {
                for row in 0..32 {
                    values.push(pixel(n, channel, row, column));
                }
            }
        }
    }
    values
}

fn pixel(n: usize, channel: usize, row: usize, column: usize) -> u8 {
    (n * 97 + channel * 61 + row * 7 + column * 31) as u8
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read(bytes: &[u8]) -> DataResult<Dataset> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.mat");
    std::fs::write(&path, bytes).expect("written");
    svhn::read_file(&path)
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).map_or_else(|error| error.to_string(), |data| format!("{data:?}"))
}

fn check(data: &Dataset, labels: &[u8]) -> TestResult {
    assert_eq!((data.labels(), data.classes()), (labels, 10));
    assert_eq!(data.images().image_shape(), (3, 32, 32));
    let values: Vec<Vec<f32>> = data.images().tensor().flatten_from(1)?.to_vec2()?;
    for (n, image) in values.iter().enumerate() {
        for (at, value) in image.iter().enumerate() {
            let (channel, row, column) = (at / 1024, at / 32 % 32, at % 32);
            assert_eq!(*value, f32::from(pixel(n, channel, row, column)) / 255.0);
        }
    }
    Ok(())
}

#[test]
fn files_of_every_writer_are_read() -> TestResult {
    let x = |order: Order, count: u32| {
        order.matrix("X", &[32, 32, 3, count], 2, &pixels(count as usize))
    };
    for is_big in [false, true] {
        let order = Order { is_big };
        let y = order.matrix("y", &[3, 1], 2, &[10, 1, 9]);
        let other = order.matrix("comment", &[1, 2], 4, &[0, 65, 0, 66]);
        for is_packed in [false, true] {
            let part = |element: &Vec<u8>| {
                if is_packed { order.compressed(element) } else { element.clone() }
            };
            let (x, y, other) = (part(&x(order, 3)), part(&y), part(&other));
            check(&read(&order.file(&[x.clone(), y.clone()]))?, &[0, 1, 9])?;
            check(&read(&order.file(&[other, y, x]))?, &[0, 1, 9])?;
        }
    }
    // Labels as MATLAB's doubles, stored as they are and as short integers.
    let of = |kind, bytes: &[u8]| {
        read(&LITTLE.file(&[x(LITTLE, 2), LITTLE.matrix("y", &[2, 1], kind, bytes)]))
    };
    check(&of(9, &doubles(&[10.0, 5.0]))?, &[0, 5])?;
    check(&of(1, &[10, 5])?, &[0, 5])?;
    check(&of(4, &[10, 0, 5, 0])?, &[0, 5])?;
    check(&of(5, &[10, 0, 0, 0, 5, 0, 0, 0])?, &[0, 5])?;
    for (kind, bytes) in [
        (9, doubles(&[10.0, 5.5])),
        (9, doubles(&[10.0, f64::NAN])),
        (9, doubles(&[10.0, -1.0])),
        (1, vec![10, 0xff]),
        (3, vec![10, 0, 0xff, 0xff]),
        (2, vec![10, 0]),
        (2, vec![10, 11]),
        (7, vec![0; 8]),
    ] {
        let refused = of(kind, &bytes);
        assert!(matches!(refused, Err(DataError::Dtype { .. })), "{kind} {bytes:?}: {refused:?}");
    }
    // One image, whose last axis MATLAB leaves out.
    let one = LITTLE.matrix("X", &[32, 32, 3], 2, &pixels(1));
    check(&read(&LITTLE.file(&[one, LITTLE.matrix("y", &[1, 1], 2, &[4])]))?, &[4])
}

#[test]
fn a_folder_of_both_files_is_found_by_name() -> TestResult {
    let root = tempfile::tempdir()?;
    let folder = root.path().join("svhn");
    std::fs::create_dir(&folder)?;
    let file = |count: u32, labels: &[u8]| {
        let x = LITTLE.matrix("X", &[32, 32, 3, count], 2, &pixels(count as usize));
        let y = LITTLE.matrix("y", &[count, 1], 2, labels);
        LITTLE.file(&[LITTLE.compressed(&x), LITTLE.compressed(&y)])
    };
    std::fs::write(folder.join("train_32x32.mat"), file(2, &[10, 3]))?;
    let half = load(DataSource::Svhn, Some(root.path())).expect_err("half of it");
    assert!(half.to_string().contains("test_32x32.mat"), "{half}");
    std::fs::write(folder.join("test_32x32.mat"), file(1, &[7]))?;
    let split = load("svhn".parse()?, Some(root.path()))?.split;
    assert_eq!((split.train.labels(), split.train.name()), ([0, 3].as_slice(), "svhn train"));
    check(&split.test, &[7])
}

#[test]
fn damaged_files_are_refused() -> TestResult {
    let x = LITTLE.matrix("X", &[32, 32, 3, 1], 2, &pixels(1));
    let y = LITTLE.matrix("y", &[1, 1], 2, &[4]);
    for packed in [false, true] {
        let part =
            |element: &Vec<u8>| if packed { LITTLE.compressed(element) } else { element.clone() };
        let whole = LITTLE.file(&[part(&x), part(&y)]);
        check(&read(&whole)?, &[4])?;
        for length in (0..whole.len()).step_by(13).chain([whole.len() - 1]) {
            assert!(read(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }
    let mut packed = LITTLE.file(&[LITTLE.compressed(&x), LITTLE.compressed(&y)]);
    packed[150] ^= 255;
    assert!(refusal(&packed).contains("damaged"), "{}", refusal(&packed));
    assert!(refusal(&LITTLE.file(std::slice::from_ref(&y))).contains("no matrix \"X\""));
    assert!(refusal(&LITTLE.file(std::slice::from_ref(&x))).contains("no matrix \"y\""));
    let transposed = LITTLE.matrix("X", &[1, 3, 32, 32], 2, &pixels(1));
    assert!(refusal(&LITTLE.file(&[transposed, y.clone()])).contains("(32, 32, 3, N)"));
    let two = LITTLE.matrix("y", &[2, 1], 2, &[4, 5]);
    assert!(refusal(&LITTLE.file(&[x.clone(), two])).contains("expected (1, 1)"));
    let huge = LITTLE.matrix("X", &[u32::MAX, u32::MAX, u32::MAX, 9], 2, &pixels(1));
    assert!(refusal(&LITTLE.file(&[huge, y.clone()])).contains("cut off"));
    let long = LITTLE.matrix("X", &[32, 32, 3, 1 << 20], 2, &pixels(1));
    assert!(refusal(&LITTLE.file(&[LITTLE.compressed(&long)])).contains("3221225472 bytes"));
    let none = LITTLE.matrix("X", &[32, 32, 3, 0], 2, &[]);
    assert!(refusal(&LITTLE.file(&[none, y.clone()])).contains("is empty"));
    let mut hdf5 = LITTLE.file(&[]);
    hdf5[124..126].copy_from_slice(&[0, 2]);
    assert!(refusal(&hdf5).contains("7.3"), "{}", refusal(&hdf5));
    hdf5[124..126].copy_from_slice(&[7, 7]);
    assert!(refusal(&hdf5).contains("bad MATLAB file"));
    assert!(refusal(b"words").contains("cut off"));
    Ok(())
}
