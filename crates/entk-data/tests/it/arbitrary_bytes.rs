//! Whatever the bytes, every parser returns: a value that satisfies its type, or an error. None
//! panics.

use std::io::Write;

use entk_data::{Images, cifar, idx, npy};
use proptest::prelude::*;

/// Bytes that begin like a file of one of the formats, so that random ones reach beyond the magic
/// number.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        Vec::new(),
        vec![0, 0, 8, 1, 0, 0, 0],
        vec![0, 0, 8, 3, 0, 0, 0],
        vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0],
        vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
        b"\x93NUMPY\x01\x00".to_vec(),
        b"\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': False, 'shape': (".to_vec(),
        b"\x93NUMPY\x02\x00\x30\x00\x00\x00{'descr':".to_vec(),
    ]);
    (start, prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(start, rest)| [start, rest].concat())
}

/// A dictionary built from the words of the grammar in any order.
fn dictionary() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "'",
        "\"",
        ",",
        ":",
        " ",
        "descr",
        "'descr'",
        "'shape'",
        "'fortran_order'",
        "True",
        "False",
        "'<f4'",
        "'>i8'",
        "'|O'",
        "0",
        "2",
        "18446744073709551615",
        "-",
        "\\",
        "é",
        "\n",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40)
        .prop_map(|words| words.concat().into_bytes())
}

fn image_count(images: &Images) -> usize {
    let values = images.to_vec().expect("values");
    assert!(values.iter().all(|x| x.is_finite()));
    assert_eq!(values.len(), images.tensor().elem_count());
    images.count()
}

fn parse_with_all(bytes: &[u8]) {
    if let Ok(images) = idx::parse_images(bytes, "bytes") {
        assert!(image_count(&images) > 0);
    }
    if let Ok(labels) = idx::parse_labels(bytes, "bytes", 10) {
        assert!(!labels.is_empty() && labels.iter().all(|&label| label < 10));
    }
    if let Ok(batch) = cifar::parse_batch(bytes, "bytes") {
        assert_eq!(image_count(batch.images()), batch.count());
    }
    if let Ok(array) = npy::parse(bytes, "bytes") {
        assert_eq!(array.to_f64().len(), array.shape().iter().product::<usize>());
    }
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn no_parser_panics(bytes in bytes()) {
        parse_with_all(&bytes);
    }

    #[test]
    fn no_parser_panics_behind_a_valid_gzip_layer(bytes in bytes()) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).expect("written");
        parse_with_all(&encoder.finish().expect("finished"));
    }

    #[test]
    fn no_dictionary_panics(
        text in dictionary(),
        payload in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text);
        bytes.extend(payload);
        parse_with_all(&bytes);
    }

    /// One changed byte in a good file gives another good file or an error.
    #[test]
    fn no_flipped_byte_panics(at in 0_usize..1000, flip in 1_u8..) {
        let good: [&[u8]; 3] = [
            &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6],
            &[0, 0, 8, 1, 0, 0, 0, 2, 9, 8],
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 2), }    \nabcdefgh",
        ];
        for file in good {
            let mut bytes = file.to_vec();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            parse_with_all(&bytes);
        }
    }
}
