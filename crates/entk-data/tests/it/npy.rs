//! `.npy` files: round trips, agreement with npyz in both directions, and hostile headers.

use std::fs;

use entk_data::{
    DataError, Layout,
    npy::{self, Data},
};
use npyz::WriterBuilder;
use proptest::prelude::*;

/// A file of version 1.0 with this dictionary and these bytes after it.
fn file(dictionary: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.extend(payload);
    bytes
}

fn dictionary(descr: &str, fortran: bool, shape: &str) -> String {
    let fortran = if fortran { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

/// What npyz writes for these values.
fn written_by_npyz(shape: &[u64], order: npyz::Order, values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options =
        npyz::WriteOptions::new().default_dtype().shape(shape).order(order).writer(&mut bytes);
    let mut writer = options.begin_nd().expect("begun");
    writer.extend(values.iter().copied()).expect("written");
    writer.finish().expect("finished");
    bytes
}

#[test]
fn every_element_type_round_trips() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("array.npy");
    npy::write(
        &path,
        &[2, 1, 3],
        &[1.5_f32, -0.0, f32::NAN, f32::MIN_POSITIVE, f32::INFINITY, 3.0],
    )
    .expect("written");
    let array = npy::read(&path).expect("read");
    assert_eq!(array.shape(), [2, 1, 3]);
    let Data::F32(values) = array.data() else { panic!("{array:?}") };
    assert_eq!(values[4], f32::INFINITY);
    assert!(values[2].is_nan() && values[1].is_sign_negative());
    assert!(matches!(array.check_finite(), Err(DataError::NonFinite { index: 2, .. })));
    npy::write(&path, &[2], &[std::f64::consts::PI, 1e-300]).expect("replaced");
    assert_eq!(
        npy::read(&path).expect("read").data(),
        &Data::F64(vec![std::f64::consts::PI, 1e-300])
    );
    npy::write(&path, &[], &[i64::MIN]).expect("replaced");
    let scalar = npy::read(&path).expect("read");
    assert_eq!((scalar.shape(), scalar.data()), (&[][..], &Data::I64(vec![i64::MIN])));
    npy::write(&path, &[3], &[0_u8, 9, 255]).expect("replaced");
    assert_eq!(npy::read(&path).expect("read").to_labels(256).expect("labels"), [0, 9, 255]);
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "a temporary file is left");
}

#[test]
fn large_arrays_cross_the_buffers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("array.npy");
    let values: Vec<f32> = (0..20_001).map(|i| i as f32 * 0.25).collect();
    npy::write(&path, &[values.len()], &values).expect("written");
    assert_eq!(npy::read(&path).expect("read").data(), &Data::F32(values));
}

#[test]
fn integers_of_every_width_and_both_byte_orders_are_read() {
    let cases: [(&str, &[u8], i64); 12] = [
        ("|i1", &[0xfe], -2),
        ("|u1", &[0xfe], 254),
        ("|b1", &[1], 1),
        ("|b1", &[0xff], 1), // as numpy: True is any byte but zero
        ("|b1", &[0], 0),
        ("<i2", &[0xfe, 0xff], -2),
        (">i2", &[0xff, 0xfe], -2),
        (">u2", &[0x01, 0x02], 258),
        ("<i4", &[0xfe, 0xff, 0xff, 0xff], -2),
        (">u4", &[0xff, 0xff, 0xff, 0xfe], 4_294_967_294),
        ("<i8", &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -2),
        ("<u8", &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], i64::MAX - 1),
    ];
    for (descr, payload, expected) in cases {
        let array =
            npy::parse(&file(&dictionary(descr, false, "(1,)"), payload), descr).expect("read");
        assert_eq!(array.data(), &Data::I64(vec![expected]), "{descr}");
    }
    let big = npy::parse(&file(&dictionary(">f8", false, "(1,)"), &1.25_f64.to_be_bytes()), "big")
        .expect("read");
    assert_eq!(big.data(), &Data::F64(vec![1.25]));
    let over =
        npy::parse(&file(&dictionary("<u8", false, "(1,)"), &u64::MAX.to_le_bytes()), "over");
    assert!(matches!(over, Err(DataError::Dtype { .. })));
}

#[test]
fn half_precision_is_widened() {
    // 1.5, the largest number, minus infinity, and the smallest number above 0.
    let bits = [0x3e00_u16, 0x7bff, 0xfc00, 0x0001];
    let expected = Data::F32(vec![1.5, 65504.0, f32::NEG_INFINITY, 2.0_f32.powi(-24)]);
    for (descr, payload) in
        [("<f2", bits.map(u16::to_le_bytes).concat()), (">f2", bits.map(u16::to_be_bytes).concat())]
    {
        let array = npy::parse(&file(&dictionary(descr, false, "(4,)"), &payload), descr);
        assert_eq!(array.expect("read").data(), &expected, "{descr}");
    }
}

#[test]
fn images_and_labels_come_out_checked() {
    let bytes = file(&dictionary("|u1", false, "(1, 1, 2, 3)"), &[0, 1, 2, 3, 4, 5]);
    let array = npy::parse(&bytes, "pixels").expect("read");
    let images = array.to_images(Layout::Nhwc).expect("images");
    assert_eq!(images.image_shape(), (3, 1, 2));
    assert_eq!(images.to_vec().expect("values"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert!(matches!(array.to_labels(10), Err(DataError::Shape { .. })));
    let floats = |values: [f64; 2]| {
        npy::parse(
            &file(&dictionary("<f8", false, "(2,)"), &values.map(f64::to_le_bytes).concat()),
            "labels",
        )
        .expect("read")
    };
    assert_eq!(floats([0.0, 9.0]).to_labels(10).expect("labels"), [0, 9]);
    assert!(matches!(floats([0.0, 10.0]).to_labels(10), Err(DataError::Label { index: 1, .. })));
    for bad in [0.5, -1.0, 256.0, f64::NAN] {
        assert!(matches!(floats([1.0, bad]).to_labels(10), Err(DataError::Dtype { .. })), "{bad}");
    }
    assert!(matches!(floats([0.0, 1.0]).to_images(Layout::Nchw), Err(DataError::Shape { .. })));
    let beyond = file(&dictionary("<f8", false, "(1, 1, 1, 1)"), &1e300_f64.to_le_bytes());
    let beyond = npy::parse(&beyond, "beyond f32").expect("read").to_images(Layout::Nchw);
    assert!(matches!(beyond, Err(DataError::NonFinite { .. })));
}

#[test]
fn objects_and_records_are_refused_with_a_way_out() {
    for (dictionary, hint) in [
        (dictionary("|O", false, "(1,)"), "allow_pickle"),
        (dictionary("<f16", false, "(1,)"), "astype"),
        (dictionary("<c8", false, "(1,)"), "astype"),
        (dictionary("<U3", false, "(1,)"), "astype"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}".to_owned(), "astype"),
    ] {
        let error = npy::parse(&file(&dictionary, &[0; 16]), "weights.npy").expect_err("refused");
        assert!(matches!(error, DataError::Dtype { .. }), "{error}");
        assert!(
            error.to_string().contains(hint) && error.to_string().contains("weights.npy"),
            "{error}"
        );
    }
}

#[test]
fn hostile_headers_are_refused_at_once() {
    let nested = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {}", "(".repeat(5000));
    let lists = format!("{{'descr': {}", "[".repeat(9000));
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    let cases = [
        file(&nested, &[]),
        file(&lists, &[]),
        file(&dictionary("<f8", false, "(4294967296, 4294967296)"), &[]),
        file(&dictionary("<f8", false, "(18446744073709551615, 2)"), &[]),
        file(&dictionary("<f8", false, "(18446744073709551616,)"), &[]),
        file(&dictionary("<f8", false, "(-1,)"), &[]),
        file(&dictionary("<f8", false, "(1.5,)"), &[]),
        file(&dictionary("<f8", false, "(1,,2)"), &[]),
        file("{'descr': '<f8', 'fortran_order': False, }", &[]),
        file("{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &[]),
        file("{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}", &[]),
        file("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} + 1", &[]),
        file("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 'x'}", &[]),
        long,
        b"\x93NUMPY\x09\x00\x00\x00".to_vec(),
        b"PK\x03\x04 a zip archive".to_vec(),
        b"\x93NUM".to_vec(),
        Vec::new(),
    ];
    for bytes in cases {
        let error = npy::parse(&bytes, "hostile.npy").expect_err("refused");
        assert!(matches!(error, DataError::NpyHeader { .. }), "{error}");
        assert!(error.to_string().contains("hostile.npy"), "{error}");
    }
    assert!(matches!(
        npy::parse(&file(&dictionary("<f8", false, "(0, 3)"), &[]), "none"),
        Err(DataError::Empty { .. })
    ));
}

#[test]
fn the_length_must_be_what_the_shape_says() {
    let good = file(&dictionary("<f4", false, "(2, 3)"), &[0; 24]);
    assert!(npy::parse(&good, "good").is_ok());
    for length in 0..good.len() {
        assert!(npy::parse(&good[..length], "cut").is_err(), "{length} bytes");
    }
    let cut = npy::parse(&good[..good.len() - 1], "cut");
    assert!(matches!(cut, Err(DataError::Truncated { expected: 24, found: 23, .. })));
    let long = npy::parse(&[good.as_slice(), &[0]].concat(), "long");
    assert!(matches!(long, Err(DataError::Oversized { expected: 24, .. })));
    // A terabyte declared, 100 bytes there: refused before allocating.
    let large =
        npy::parse(&file(&dictionary("<f4", false, "(500000, 500000)"), &[0; 100]), "large");
    assert!(matches!(large, Err(DataError::Truncated { .. })));
}

#[test]
fn bad_arguments_and_folders_are_refused_without_leftovers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("array.npy");
    assert!(matches!(npy::write(&path, &[2, 2], &[1.0_f32; 3]), Err(DataError::Shape { .. })));
    assert!(matches!(npy::write(&path, &[1; 33], &[1.0_f32]), Err(DataError::Shape { .. })));
    assert!(matches!(npy::write::<f32>(&path, &[0], &[]), Err(DataError::Empty { .. })));
    assert!(matches!(
        npy::write(&path, &[usize::MAX, 2], &[1.0_f32]),
        Err(DataError::Shape { .. })
    ));
    let missing = folder.path().join("no such folder");
    let message =
        npy::write(missing.join("a.npy"), &[1], &[1.0_f32]).expect_err("no folder").to_string();
    assert!(message.contains("no such folder"), "{message}");
    // A folder of that name is in the way.
    fs::create_dir(&path).expect("folder");
    assert!(matches!(
        npy::write(&path, &[1], &[1.0_f32]),
        Err(DataError::Io { action: "rename to", .. })
    ));
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "a temporary file is left");
    let error = npy::read(folder.path().join("missing.npy")).expect_err("missing");
    assert!(matches!(error, DataError::Io { action: "open", .. }), "{error}");
}

#[test]
fn numpys_own_bytes_are_written() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("array.npy");
    // numpy's most axes.
    npy::write(&path, &[1; 32], &[1_u8]).expect("written");
    assert_eq!(npy::read(&path).expect("read").shape(), [1; 32]);
    npy::write(&path, &[3], &[1_u8, 2, 3]).expect("written");
    // numpy.save of numpy.array([1, 2, 3], numpy.uint8), numpy 2.4: 128 bytes of header.
    let mut expected =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }"
            .to_vec();
    expected.resize(127, b' ');
    expected.extend(b"\n\x01\x02\x03");
    assert_eq!(fs::read(&path).expect("read"), expected);
    npy::write(&path, &[1, 3], &[1_u8, 2, 3]).expect("written");
    let bytes = fs::read(&path).expect("read");
    assert!(String::from_utf8_lossy(&bytes).contains("'shape': (1, 3), }"), "{bytes:?}");
}

proptest! {
    #![proptest_config(crate::cases(64))]

    /// Fortran order is the C order of the reversed axes: npyz writes the reversed array, we must
    /// read its transpose.
    #[test]
    fn both_axis_orders_agree_with_npyz(shape in prop::collection::vec(1_u64..5, 0..5)) {
        let count = shape.iter().product::<u64>();
        let values: Vec<f64> = (0..count).map(|i| i as f64).collect();
        let written = |order| written_by_npyz(&shape, order, &values);
        let rows = npy::parse(&written(npyz::Order::C), "C").expect("read");
        prop_assert_eq!(rows.to_f64(), values.clone());
        let columns = npy::parse(&written(npyz::Order::Fortran), "Fortran").expect("read");
        let wide: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
        prop_assert_eq!(columns.shape(), wide.as_slice());
        // Row-major position to multi-index to column-major position, from the definition.
        for (position, value) in columns.to_f64().into_iter().enumerate() {
            let (mut rest, mut index) = (position, vec![0; wide.len()]);
            for axis in (0..wide.len()).rev() {
                index[axis] = rest % wide[axis];
                rest /= wide[axis];
            }
            let axes = (0..wide.len()).rev();
            let column_major = axes.fold(0, |at, axis| at * wide[axis] + index[axis]);
            prop_assert_eq!(value, values[column_major]);
        }
    }

    #[test]
    fn npyz_reads_what_we_write(
        shape in prop::collection::vec(1_usize..6, 0..4),
        scale in -1e6..1e6,
    ) {
        let values: Vec<f64> = (0..shape.iter().product()).map(|i| i as f64 * scale).collect();
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("array.npy");
        npy::write(&path, &shape, &values).expect("written");
        let bytes = fs::read(&path).expect("read");
        let theirs = npyz::NpyFile::new(bytes.as_slice()).expect("header");
        let wide: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        prop_assert_eq!(theirs.shape(), wide.as_slice());
        prop_assert_eq!(theirs.into_vec::<f64>().expect("values"), values);
    }
}
