use entk_spectral::{CrossGram, Entries, EntryType, Gram, SpectralError};
use entk_testing::normals;
use rayon::ThreadPoolBuilder;

use crate::support::{assert_close, gram_f32, gram_f64, naive_matvec, random_gram, round_off};

/// Around the block sizes of mirroring (8, 64) and of products (128, 512).
const LADDER: [usize; 14] = [1, 2, 3, 7, 8, 9, 63, 64, 65, 71, 128, 129, 200, 530];

#[test]
fn the_upper_triangle_is_never_read_and_becomes_the_mirror_image() {
    for n in LADDER {
        let entry = |i: usize, j: usize| (i * n + j) as f64;
        let lower = |at: usize| if at % n <= at / n { entry(at / n, at % n) } else { f64::NAN };
        let buffer: Vec<f64> = (0..n * n).map(lower).collect();
        for gram in [gram_f64(n, buffer.clone()), gram_f32(n, &buffer)] {
            for i in 0..n {
                for j in 0..=i {
                    assert_eq!(gram.get(i, j), entry(i, j), "({i}, {j}) of {n}");
                    assert_eq!(gram.get(j, i), entry(i, j), "({j}, {i}) of {n}");
                }
            }
        }
    }
}

#[test]
fn the_first_non_finite_entry_is_named() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut buffer = vec![1.0; 90 * 90];
        buffer[70 * 90 + 3] = bad;
        buffer[70 * 90 + 70] = bad;
        buffer[89 * 90] = bad;
        buffer[5] = bad; // Upper triangle: does not count.
        let f32s = buffer.iter().map(|&x| x as f32).collect();
        for error in [
            Gram::from_lower_f64(90, buffer).unwrap_err(),
            Gram::from_lower_f32(90, f32s).unwrap_err(),
        ] {
            assert!(matches!(
                error,
                SpectralError::NonFiniteEntry { row: 70, col: 3, value } if !value.is_finite()
            ));
            assert!(error.to_string().contains("(70, 3)"), "{error}");
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    assert!(matches!(Gram::from_lower_f64(0, vec![]), Err(SpectralError::Empty { rows: 0, .. })));
    assert!(matches!(
        Gram::from_lower_f32(3, vec![0.0; 8]),
        Err(SpectralError::BufferLength { expected: 9, found: 8, .. })
    ));
    assert!(matches!(
        Gram::from_lower_f64(usize::MAX, vec![]),
        Err(SpectralError::TooLarge { .. })
    ));
    assert!(matches!(CrossGram::from_f64(2, 0, vec![]), Err(SpectralError::Empty { cols: 0, .. })));
    assert!(matches!(
        CrossGram::from_f32(2, 2, vec![0.0; 5]),
        Err(SpectralError::BufferLength { expected: 4, found: 5, .. })
    ));
}

#[test]
fn trace_and_norm() {
    let gram = random_gram(1, 70, 5);
    let n = gram.n();
    let all = gram.to_f64().entries().to_f64_vec();
    assert_close(
        gram.trace().unwrap(),
        (0..n).map(|i| gram.get(i, i)).sum(),
        round_off(n) * gram.trace().unwrap(),
    );
    let naive = all.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert_close(gram.frobenius().unwrap(), naive, round_off(n) * naive);
    assert_eq!(gram.max_abs(), all.iter().fold(0.0, |m, x| x.abs().max(m)));
}

#[test]
fn norms_of_huge_and_tiny_kernels_do_not_overflow() {
    for s in [1e300, 1e-300, 1e-320] {
        let gram = gram_f64(2, vec![3.0 * s, 0.0, 0.0, 4.0 * s]);
        // 1e-320 is subnormal with three digits.
        let tolerance = if s < 1e-307 { 1e-3 } else { round_off(2) };
        assert_close(gram.frobenius().unwrap() / s, 5.0, 5.0 * tolerance);
    }
    let gram = gram_f64(2, vec![1.5e308; 4]);
    assert_eq!(gram.trace(), Err(SpectralError::Overflow { quantity: "trace" }));
    assert_eq!(gram.frobenius(), Err(SpectralError::Overflow { quantity: "Frobenius norm" }));
    assert!(matches!(gram.matvec(&[1.0, 1.0]), Err(SpectralError::Overflow { .. })));
}

#[test]
fn rows_are_views_in_the_stored_type() {
    let entries = [1.0, 0.0, 2.0, 3.0];
    let (single, double) = (gram_f32(2, &entries), gram_f64(2, entries.to_vec()));
    assert_eq!((single.entry_type(), double.entry_type()), (EntryType::F32, EntryType::F64));
    assert_eq!(single.row(0), Entries::F32(&[1.0, 2.0]));
    assert_eq!(double.row(1), Entries::F64(&[2.0, 3.0]));
    assert_eq!(double.entries().len(), 4);
    assert_eq!(single.to_f64(), double);
    assert_eq!(single.diagonal(), [1.0, 3.0]);
    assert_eq!(format!("{single:?}"), "Gram { n: 2, entry_type: F32, .. }");
}

#[test]
fn principal_submatrices_follow_the_indices() {
    let gram = gram_f32(9, random_gram(3, 9, 4).entries().to_f64_vec().as_slice());
    let indices = [7, 0, 0, 4];
    let part = gram.principal(&indices).unwrap();
    let block = gram.block(&indices[..2], &indices).unwrap();
    assert_eq!((part.n(), part.entry_type()), (4, EntryType::F32));
    assert_eq!((block.rows(), block.cols()), (2, 4));
    for (a, &i) in indices.iter().enumerate() {
        for (b, &j) in indices.iter().enumerate() {
            assert_eq!(part.get(a, b), gram.get(i, j));
            assert_eq!(part.get(a, b), part.get(b, a));
            if a < 2 {
                assert_eq!(block.get(a, b), gram.get(i, j));
            }
        }
    }
    assert!(matches!(
        gram.principal(&[3, 9]),
        Err(SpectralError::IndexOutOfRange { index: 9, len: 9, .. })
    ));
    assert!(matches!(gram.principal(&[]), Err(SpectralError::Empty { .. })));
}

#[test]
fn products_agree_with_the_definition() {
    for (seed, n) in LADDER.into_iter().enumerate() {
        let gram = random_gram(seed as u64, n, 3);
        for count in [1, 2, 5] {
            let x = normals(n * count, 99 + seed as u64);
            let y = gram.product(&x).unwrap();
            for (x, y) in x.chunks_exact(n).zip(y.chunks_exact(n)) {
                let tolerance =
                    round_off(n) * gram.max_abs() * x.iter().map(|x| x.abs()).sum::<f64>();
                for (found, expected) in y.iter().zip(naive_matvec(&gram, x)) {
                    assert_close(*found, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn f32_entries_are_accumulated_in_f64() {
    let single = gram_f32(140, &random_gram(5, 140, 9).entries().to_f64_vec());
    let x = normals(3 * 140, 6);
    // Widening first changes nothing, not even a bit.
    assert_eq!(single.product(&x), single.to_f64().product(&x));
    assert_eq!(single.matvec(&x[..140]), single.to_f64().matvec(&x[..140]));
}

#[test]
fn products_have_the_same_bits_for_any_number_of_threads() {
    let gram = random_gram(7, 700, 3);
    let x = normals(700 * 40, 8);
    let compute =
        || (gram.matvec(&x[..700]).unwrap(), gram.product(&x).unwrap(), gram.frobenius().unwrap());
    let with =
        |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(compute);
    let reference = with(1);
    assert!([2, 3, 4].into_iter().all(|threads| with(threads) == reference));
}

#[test]
fn cross_products_are_rectangular() {
    let (rows, cols) = (150, 3);
    let entries = normals(rows * cols, 11);
    let single =
        CrossGram::from_f32(rows, cols, entries.iter().map(|&x| x as f32).collect()).unwrap();
    let double = CrossGram::from_f64(rows, cols, entries.clone()).unwrap();
    let x = normals(2 * cols, 12);
    for (cross, tolerance) in
        [(double, round_off(cols)), (single, 2.0 * cols as f64 * f64::from(f32::EPSILON))]
    {
        let y = cross.product(&x).unwrap();
        assert_eq!(y.len(), 2 * rows);
        for (c, x) in x.chunks_exact(cols).enumerate() {
            assert_eq!(cross.matvec(x).unwrap().len(), rows);
            for i in 0..rows {
                let expected = crate::support::dot(&entries[i * cols..(i + 1) * cols], x);
                let size = 4.0 * x.iter().map(|x| x.abs()).sum::<f64>();
                assert_close(y[c * rows + i], expected, tolerance * size);
            }
        }
        assert_eq!(cross.row(149).len(), cols);
        assert_eq!(cross.entries().len(), rows * cols);
    }
    let nan = CrossGram::from_f64(2, 2, vec![0.0, 0.0, f64::NAN, 0.0]);
    assert!(matches!(nan, Err(SpectralError::NonFiniteEntry { row: 1, col: 0, .. })));
}

#[test]
fn bad_vectors_are_refused() {
    let gram = gram_f64(2, vec![1.0, 0.0, 0.0, 1.0]);
    for wrong in [&[][..], &[1.0], &[1.0, 2.0, 3.0]] {
        assert!(matches!(gram.product(wrong), Err(SpectralError::VectorLength { dim: 2, .. })));
        assert!(matches!(gram.matvec(wrong), Err(SpectralError::OneVector { dim: 2, .. })));
    }
    assert!(matches!(gram.matvec(&[0.0; 4]), Err(SpectralError::OneVector { dim: 2, found: 4 })));
    assert!(matches!(
        gram.product(&[1.0, 2.0, 3.0, f64::INFINITY]),
        Err(SpectralError::NonFiniteVector { vector: 1, index: 1, .. })
    ));
}
