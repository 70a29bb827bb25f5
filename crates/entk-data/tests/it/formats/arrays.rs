//! Arrays of every format: files of numpy and PyTorch themselves, small ones of every element type,
//! and damaged ones.

use std::path::{Path, PathBuf};

use entk_data::{
    DataError, Result as DataResult,
    arrays::{self, ArrayRows},
    npy::{self, Array, Data},
};
use safetensors::{Dtype, tensor::TensorView};

use crate::formats::zip_files::{Entry, archive, entry};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn named(path: &Path, name: &str) -> PathBuf {
    PathBuf::from(format!("{}:{name}", path.display()))
}

fn x() -> Data {
    Data::F32((0..24_u8).map(|i| f32::from(i) / 4.0).collect())
}

/// The bytes of a `.npy` file.
fn npy_bytes<T: npy::Element>(shape: &[usize], values: &[T]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    npy::write(&path, shape, values).expect("written");
    std::fs::read(path).expect("read")
}

/// What reading this file gives.
fn read_bytes(bytes: &[u8], name: Option<&str>) -> DataResult<Array> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("written");
    arrays::read(name.map_or(path.clone(), |name| named(&path, name)))
}

fn refusal(bytes: &[u8], name: Option<&str>) -> String {
    read_bytes(bytes, name).map_or_else(|error| error.to_string(), |array| format!("{array:?}"))
}

#[test]
fn archives_of_numpy_are_read_by_name() -> TestResult {
    for file in ["stored.npz", "deflated.npz"] {
        let path = data(file);
        let array = arrays::read(named(&path, "x"))?;
        assert_eq!((array.shape(), array.data()), ([4, 3, 2].as_slice(), &x()), "{file}");
        assert_eq!(arrays::read(named(&path, "y"))?.data(), &Data::I64(vec![3, 1, 2, 0]));
        // In Fortran order and half precision.
        let half = Data::F32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(arrays::read(named(&path, "h"))?.data(), &half, "{file}");
        let header = arrays::describe(named(&path, "y"))?;
        assert_eq!((header.shape, header.is_whole, header.bytes), (vec![4], true, 32));
        for name in [None, Some("z")] {
            let path = name.map_or(path.clone(), |name| named(&path, name));
            let error = arrays::read(path).map(|_| ()).expect_err("three arrays");
            assert!(matches!(error, DataError::ArrayName { .. }), "{error}");
            assert!(error.to_string().contains("h, x, y"), "{error}");
        }
    }
    assert_eq!(arrays::read(data("single.npz"))?.data(), &x());
    Ok(())
}

#[test]
fn tensors_of_pytorch_are_read_by_name() -> TestResult {
    assert_eq!(arrays::read(data("tensor.pt"))?.data(), &x());
    let path = data("dictionary.pt");
    let read = |name: &str| arrays::read(named(&path, name)).map(Array::into_parts);
    assert_eq!(read("x")?, (vec![4, 3, 2], x()));
    assert_eq!(read("y")?, (vec![4], Data::I64(vec![3, 1, 2, 0])));
    let transposed = Data::F64(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(read("transposed")?, (vec![3, 2], transposed));
    assert_eq!(read("part")?, (vec![4], Data::I64(vec![7, 8, 9, 10])));
    assert_eq!(read("nested.half")?, (vec![2], Data::F32(vec![1.5, -2.0])));
    assert_eq!(read("nested.brain")?, (vec![2], Data::F32(vec![1.5, -2.0])));
    assert_eq!(read("nested.list.0")?, (vec![2], Data::I64(vec![1, 0])));
    assert_eq!(read("nested.list.2")?, (vec![1], Data::I64(vec![-3])));
    assert_eq!(read("weight")?, (vec![2], Data::F32(vec![1.0, 1.0])));
    let message = |name| read(name).map_or_else(|error| error.to_string(), |_| "read".into());
    assert!(message("skips").contains("x.contiguous()"), "{}", message("skips"));
    assert!(message("complex").contains("ComplexFloatStorage"), "{}", message("complex"));
    assert!(
        message("epoch").contains("nested.list.0, nested.list.2, part"),
        "{}",
        message("epoch")
    );
    Ok(())
}

#[test]
fn parts_of_any_format_are_those_of_the_whole() -> TestResult {
    let folder = tempfile::tempdir()?;
    let tensors = folder.path().join("x.safetensors");
    std::fs::write(&tensors, safetensors(&[("x", Dtype::F32, &[4, 3, 2], &floats())])?)?;
    for path in [named(&data("stored.npz"), "x"), data("tensor.pt"), tensors.clone()] {
        let (rows, whole) = (ArrayRows::open(&path)?, arrays::read(&path)?.to_f64());
        assert_eq!(rows.shape(), [4, 3, 2]);
        for range in [0..4, 1..3, 3..4] {
            let expected = &whole[range.start * 6..range.end * 6];
            assert_eq!(rows.rows(range)?.to_f64(), expected, "{}", path.display());
        }
        for most in [1, 3, 9] {
            let part = arrays::read_leading(&path, most)?;
            assert_eq!(part.shape(), [most.min(4), 3, 2]);
            assert_eq!(part.to_f64(), whole[..most.min(4) * 6]);
        }
    }
    let part = arrays::read_leading(named(&data("deflated.npz"), "x"), 2)?;
    assert_eq!(part.to_f64(), arrays::read(&tensors)?.to_f64()[..12]);
    // Fortran order: the first examples lie everywhere.
    let part = arrays::read_leading(named(&data("stored.npz"), "h"), 1)?;
    assert_eq!((part.shape(), part.to_f64()), ([1, 3].as_slice(), vec![0.0, 1.0, 2.0]));
    for (file, name) in
        [("deflated.npz", "x"), ("stored.npz", "h"), ("dictionary.pt", "transposed")]
    {
        let error = ArrayRows::open(named(&data(file), name)).map(|_| ()).expect_err(file);
        assert!(matches!(error, DataError::Format { .. }), "{error}");
    }
    Ok(())
}

fn floats() -> Vec<u8> {
    (0..24_u8).flat_map(|i| (f32::from(i) / 4.0).to_le_bytes()).collect()
}

fn safetensors(
    tensors: &[(&str, Dtype, &[usize], &[u8])],
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?))
    });
    safetensors::serialize(views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?, None)
}

#[test]
fn safetensors_of_every_element_type_are_read() -> TestResult {
    let cases: [(Dtype, &[u8], Data); 13] = [
        (Dtype::BOOL, &[1], Data::I64(vec![1])),
        (Dtype::U8, &[0xfe], Data::I64(vec![254])),
        (Dtype::I8, &[0xfe], Data::I64(vec![-2])),
        (Dtype::U16, &[0xfe, 0xff], Data::I64(vec![65534])),
        (Dtype::I16, &[0xfe, 0xff], Data::I64(vec![-2])),
        (Dtype::F16, &[0x00, 0x3e], Data::F32(vec![1.5])),
        (Dtype::BF16, &[0xc0, 0x3f], Data::F32(vec![1.5])),
        (Dtype::U32, &[0xfe, 0xff, 0xff, 0xff], Data::I64(vec![4_294_967_294])),
        (Dtype::I32, &[0xfe, 0xff, 0xff, 0xff], Data::I64(vec![-2])),
        (Dtype::F32, &1.5_f32.to_le_bytes(), Data::F32(vec![1.5])),
        (Dtype::U64, &7_u64.to_le_bytes(), Data::I64(vec![7])),
        (Dtype::I64, &(-7_i64).to_le_bytes(), Data::I64(vec![-7])),
        (Dtype::F64, &1.5_f64.to_le_bytes(), Data::F64(vec![1.5])),
    ];
    for (dtype, bytes, expected) in cases {
        // A tensor before it, so that it does not begin where the numbers do.
        let file = safetensors(&[("z", dtype, &[], bytes), ("other", Dtype::U64, &[1], &[9; 8])])?;
        assert_eq!(read_bytes(&file, Some("z"))?.data(), &expected, "{dtype:?}");
    }
    let eight = safetensors(&[("z", Dtype::F8_E4M3, &[1], &[0])])?;
    assert!(refusal(&eight, None).contains("element type F8_E4M3"));
    let none = safetensors(&[("z", Dtype::F32, &[0, 2], &[])])?;
    assert!(refusal(&none, None).contains("is empty"));
    Ok(())
}

#[test]
fn damaged_safetensors_are_refused() -> TestResult {
    let whole = safetensors(&[("x", Dtype::F32, &[4, 3, 2], &floats())])?;
    for length in 0..whole.len() {
        assert!(read_bytes(&whole[..length], None).is_err(), "{length} bytes");
    }
    assert!(refusal(&whole[..whole.len() - 1], None).contains("cut off"));
    assert!(refusal(&[&whole[..], &[0]].concat(), None).contains("more follow"));
    let huge = [&(1_u64 << 40).to_le_bytes()[..], &whole[8..]].concat();
    assert!(refusal(&huge, None).contains("says 1099511627776 bytes of names"));
    let text = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    let large = r#"{"x":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#;
    let beyond = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let short = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#;
    for json in [large, beyond, short, "{}", "{", r#"{"x":1}"#] {
        let message = refusal(&[text(json), vec![0; 12]].concat(), None);
        assert!(
            message.contains("bad safetensors file") || message.contains("more follow"),
            "{message}"
        );
    }
    Ok(())
}

#[test]
fn damaged_archives_of_numpy_are_refused() {
    let array = npy_bytes(&[4], &[1.0_f64, 2.0, 3.0, 4.0]);
    let of = |change: &dyn Fn(&mut Entry), is_deflated| {
        let mut entry = entry("x.npy", &array, is_deflated);
        change(&mut entry);
        refusal(&archive(&[entry]), None)
    };
    for is_deflated in [false, true] {
        let good = of(&|_| {}, is_deflated);
        assert!(good.contains("[1.0, 2.0, 3.0, 4.0]"), "{good}");
        let checksum = of(&|entry| entry.checksum ^= 1, is_deflated);
        assert!(checksum.contains("checksum"), "{checksum}");
        let huge = of(&|entry| entry.size = u32::MAX - 1, is_deflated);
        assert!(huge.contains("cut off"), "{huge}");
        let long = of(&|entry| entry.size += 8, is_deflated);
        assert!(long.contains("more follow") || long.contains("cut off"), "{long}");
        let short = of(&|entry| entry.size -= 8, is_deflated);
        assert!(short.contains("cut off"), "{short}");
    }
    let flipped = of(&|entry| entry.packed[20] ^= 255, true);
    assert!(flipped.contains("damaged") || flipped.contains("bad"), "{flipped}");
    let cut = of(&|entry| entry.packed.truncate(30), true);
    assert!(cut.contains("damaged"), "{cut}");
    let bzip2 = of(&|entry| entry.method = 12, false);
    assert!(bzip2.contains("compressed by"), "{bzip2}");
    let none = refusal(&archive(&[entry("readme.txt", b"words", false)]), None);
    assert!(none.contains("numpy.savez"), "{none}");
    let nothing = refusal(&archive(&[]), None);
    assert!(nothing.contains("numpy.savez"), "{nothing}");
    let whole = archive(&[entry("x.npy", &array, false)]);
    for length in 0..whole.len() {
        assert!(read_bytes(&whole[..length], None).is_err(), "{length} bytes");
    }
    let text = archive(&[entry("x.npy", b"words", false)]);
    assert!(refusal(&text, None).contains("bad .npy header"));
}

/// An array whose header declares more than its entry has is refused before memory is taken.
#[test]
fn headers_larger_than_their_entry_are_refused() {
    let array = npy_bytes(&[4], &[1.0_f64, 2.0, 3.0, 4.0]);
    let text = String::from_utf8_lossy(&array[10..118]).replace("(4,), ", "(1099511627776,), ");
    let header = [&array[..10], &text.as_bytes()[..118]].concat();
    let mut bytes = header.clone();
    bytes[8] = 118;
    let message = refusal(&archive(&[entry("x.npy", &bytes, true)]), None);
    assert!(message.contains("8796093022208 bytes"), "{message}");
}

#[test]
fn damaged_files_of_pytorch_are_refused() -> TestResult {
    let whole = std::fs::read(data("tensor.pt"))?;
    for length in (0..whole.len()).step_by(7) {
        assert!(read_bytes(&whole[..length], None).is_err(), "{length} bytes");
    }
    let old = refusal(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", None);
    assert!(old.contains("before 1.6"), "{old}");
    let numbers = 24 * 4;
    let of = |pickle: &[u8], storage: &[u8]| {
        let entries = [entry("t/data.pkl", pickle, false), entry("t/data/0", storage, false)];
        refusal(&archive(&entries), None)
    };
    let pickle = pickle_of(&whole);
    assert!(of(&pickle, &floats()).contains("5.75"));
    let short = of(&pickle, &floats()[..numbers - 1]);
    assert!(short.contains("96 bytes of storage expected, 95 found"), "{short}");
    // The shape (4, 3, 2) as (4, 255, 2), with strides that are no longer dense, and as (255, 3,
    // 2).
    let shape = pickle.windows(6).position(|bytes| bytes == b"K\x04K\x03K\x02").ok_or("a shape")?;
    let with = |at: usize, byte: u8| {
        let mut pickle = pickle.clone();
        pickle[shape + at] = byte;
        of(&pickle, &floats())
    };
    assert!(with(3, 255).contains("strides"), "{}", with(3, 255));
    assert!(with(1, 255).contains("cut off"), "{}", with(1, 255));
    assert!(with(1, 0).contains("is empty"), "{}", with(1, 0));
    let lost = refusal(&archive(&[entry("t/data.pkl", &pickle, false)]), None);
    assert!(lost.contains("lacks its numbers"), "{lost}");
    for (bytes, expected) in [
        (&b""[..], "ends within its pickle"),
        (b"\x80\x02", "ends within"),
        (b"\x80\x02.", "more objects than it has"),
        (b"\x80\x02N.", "holds no tensor"),
        (b"\x80\x02(t\x85t.", "more objects"),
        (b"\x80\x02h\x07.", "asks for object 7"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "ends within"),
        (b"\x80\x02\x8a\x09123456789.", "number of 9 bytes"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "holds no tensor"),
        (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "instruction 0x95"),
        // A list that contains itself.
        (b"\x80\x02]q\x00h\x00a.", "holds no tensor"),
    ] {
        let message = of(bytes, &floats());
        assert!(message.contains(expected), "{expected:?} not in {message}");
    }
    Ok(())
}

/// A tensor of one number with so many axes, as `torch.save` writes it.
fn pickle_of_axes(axes: usize) -> Vec<u8> {
    let ones = [&b"("[..], &b"K\x01".repeat(axes), b"t"].concat();
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n",
        &b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0"[..],
        &ones,
        &ones,
        b"\x89ccollections\nOrderedDict\n)RtR.",
    ]
    .concat()
}

#[test]
fn tensors_have_at_most_64_axes() -> TestResult {
    let of = |axes| {
        let (pickle, number) = (pickle_of_axes(axes), 2.5_f32.to_le_bytes());
        archive(&[entry("t/data.pkl", &pickle, false), entry("t/data/0", &number, false)])
    };
    for axes in [1, 64] {
        let array = read_bytes(&of(axes), None)?;
        assert_eq!((array.shape(), array.data()), (&vec![1; axes][..], &Data::F32(vec![2.5])));
    }
    assert!(refusal(&of(65), None).contains("holds no tensor"));
    Ok(())
}

/// The pickle in an archive of one tensor, which ends with the memo of its last object.
fn pickle_of(archive: &[u8]) -> Vec<u8> {
    let find = |from: usize, bytes: &[u8]| {
        let at = archive[from..].windows(bytes.len()).position(|window| window == bytes);
        from + at.expect("a pickle")
    };
    let start = find(0, b"\x80\x02");
    archive[start..find(start, b"Rq\x0b.") + 4].to_vec()
}

/// Texts that double with every step would fill memory if they were copied.
#[test]
fn pickles_that_repeat_themselves_take_little_memory() {
    let mut pickle = b"\x80\x02]q\x00".to_vec();
    for level in 1..60_u8 {
        pickle.extend([b']', b'q', level, b'(', b'h', level - 1, b'h', level - 1, b'e']);
    }
    pickle.push(b'.');
    let message = refusal(&archive(&[entry("t/data.pkl", &pickle, false)]), None);
    assert!(message.contains("holds no tensor"), "{message}");
    // Tuples in tuples, a hundred thousand deep.
    let mut pickle = b"\x80\x02)".to_vec();
    pickle.extend([0x85; 100_000]);
    pickle.push(b'.');
    let message = refusal(&archive(&[entry("t/data.pkl", &pickle, true)]), None);
    assert!(message.contains("holds no tensor"), "{message}");
}

#[test]
fn what_is_no_array_is_refused_by_what_it_is() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    npy::write(&path, &[2], &[1.0_f32, f32::NAN])?;
    let array = arrays::read(&path)?;
    assert!(matches!(array.check_finite(), Err(DataError::NonFinite { index: 1, .. })));
    let message =
        arrays::read(named(&path, "x")).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message.contains("leave the name out"), "{message}");
    assert!(refusal(b"words", None).contains("too short"));
    assert!(refusal(b"these are words", None).contains("bad .npy header"));
    let absent = arrays::read(folder.path().join("absent.npz:x"));
    assert!(matches!(absent, Err(DataError::Io { .. })));
    #[cfg(unix)]
    assert!(matches!(arrays::describe("/dev/null"), Err(DataError::Pipe { .. })));
    Ok(())
}
