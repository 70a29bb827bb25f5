use entk_spectral::{
    BinaryTarget, Eigenpairs, EntryType, SpectralError, check_psd, eigh, residual_ratio,
};

use crate::support::{gram_f32, random_gram};

#[test]
fn layout_and_access() {
    let pairs = eigh(&random_gram(1, 6, 9)).unwrap();
    assert_eq!((pairs.len(), pairs.dim(), pairs.is_empty()), (6, 6, false));
    assert_eq!(pairs.vector(2), &pairs.vectors()[12..18]);
    assert_eq!(pairs.pair(2).unwrap(), (pairs.values()[2], pairs.vector(2)));
    assert_eq!(pairs.iter().len(), 6);
    assert!(matches!(pairs.pair(6), Err(SpectralError::IndexOutOfRange { index: 6, len: 6, .. })));
    assert!(matches!(
        BinaryTarget::from_pair(&pairs, 9),
        Err(SpectralError::IndexOutOfRange { .. })
    ));
}

#[test]
fn truncation_keeps_the_leading_pairs() {
    let gram = random_gram(2, 8, 12);
    let all = eigh(&gram).unwrap();
    let some = all.clone().truncate(3).unwrap();
    assert_eq!((some.len(), some.dim()), (3, 8));
    assert_eq!(some.values(), &all.values()[..3]);
    assert_eq!(some.vectors(), &all.vectors()[..24]);
    // What needs the whole spectrum says so.
    let expected = |e| matches!(e, SpectralError::NeedsAllPairs { dim: 8, found: 3, .. });
    assert!(expected(check_psd(&some).unwrap_err()));
    assert!(expected(residual_ratio(&gram, &some).unwrap_err()));
    assert!(expected(entk_spectral::inverse_quadratic(&some, &[1.0; 8]).unwrap_err()));
}

#[test]
fn equal_eigenvalues_are_in_order() {
    let parts =
        |values| Eigenpairs::from_parts(values, vec![1.0, 0.0, 0.0, 1.0], 2, EntryType::F64);
    assert_eq!(parts(vec![3.0, 3.0]).unwrap().values(), [3.0, 3.0]);
    let refused = parts(vec![3.0, 3.0 + 1e-15]).unwrap_err();
    assert!(matches!(refused, SpectralError::InvalidPair { index: 1, .. }), "{refused}");
}

#[test]
fn the_entry_type_of_the_gram_is_remembered() {
    let entries = random_gram(3, 5, 9).entries().to_f64_vec();
    assert_eq!(eigh(&gram_f32(5, &entries)).unwrap().entry_type(), EntryType::F32);
}

#[test]
fn stored_pairs_come_back_with_their_sign_fixed() {
    let pairs = eigh(&random_gram(4, 7, 9)).unwrap();
    let flipped = pairs.vectors().iter().map(|x| -x).collect();
    let restored =
        Eigenpairs::from_parts(pairs.values().to_vec(), flipped, 7, EntryType::F64).unwrap();
    assert_eq!(restored, pairs);
}

#[test]
fn invalid_stored_pairs_are_refused() {
    let build = |values: &[f64], vectors: &[f64]| {
        Eigenpairs::from_parts(values.to_vec(), vectors.to_vec(), 2, EntryType::F64).unwrap_err()
    };
    let invalid = |error| match error {
        SpectralError::InvalidPair { index, .. } => index,
        other => panic!("{other:?}"),
    };
    let unit = [1.0, 0.0, 0.0, 1.0];
    assert_eq!(invalid(build(&[1.0, 2.0], &unit)), 1);
    assert_eq!(invalid(build(&[f64::NAN, 1.0], &unit)), 0);
    assert_eq!(invalid(build(&[2.0, 1.0], &[1.0, 0.0, f64::NAN, 0.0])), 1);
    assert_eq!(invalid(build(&[2.0, 1.0], &[1.0, 0.0, 0.5, 0.5])), 1);
    assert!(matches!(build(&[], &[]), SpectralError::InvalidK { k: 0, available: 2 }));
    assert!(matches!(build(&[1.0; 3], &[0.0; 6]), SpectralError::InvalidK { k: 3, available: 2 }));
    assert!(matches!(
        build(&[1.0], &unit),
        SpectralError::BufferLength { expected: 2, found: 4, .. }
    ));
}

#[test]
fn another_sample_size_is_refused() {
    let (gram, pairs) = (random_gram(5, 4, 9), eigh(&random_gram(5, 5, 9)).unwrap());
    let expected = SpectralError::SizeMismatch { pairs: 5, gram: 4 };
    assert_eq!(residual_ratio(&gram, &pairs), Err(expected.clone()));
    assert_eq!(entk_spectral::residual_norms(&gram, &pairs), Err(expected));
}
