use entk_spectral::{
    BinaryTarget, SpectralError, alignment, alignments, eigh, energy_concentration, energy_curve,
    inverse_quadratic, rayleigh_alignment, rayleigh_alignments, uncertain_labels,
};
use entk_testing::normals;

use crate::support::{assert_close, dot, gram_f32, gram_f64, random_gram, round_off};

#[test]
fn batches_agree_with_single_targets() {
    let gram = gram_f32(90, &random_gram(1, 90, 40).entries().to_f64_vec());
    let targets = normals(90 * 300, 2);
    let (text, figures) =
        (alignments(&gram, &targets).unwrap(), rayleigh_alignments(&gram, &targets).unwrap());
    assert_eq!((text.len(), figures.len()), (300, 300));
    for ((f, text), figures) in targets.chunks_exact(90).zip(text).zip(figures) {
        assert_close(text, alignment(&gram, f).unwrap(), round_off(90) * text);
        assert_close(figures, rayleigh_alignment(&gram, f).unwrap(), round_off(90) * figures);
    }
}

#[test]
fn on_signs_the_two_normalisations_differ_by_the_sample_size() {
    let gram = random_gram(3, 60, 20);
    let signs = BinaryTarget::from_vector(&normals(60, 4)).unwrap().signs();
    let figures = rayleigh_alignment(&gram, &signs).unwrap();
    assert_close(60.0 * alignment(&gram, &signs).unwrap(), figures, round_off(60) * figures);
}

#[test]
fn alignment_on_an_eigenvector_is_its_eigenvalue() {
    let gram = random_gram(5, 40, 60);
    let pairs = eigh(&gram).unwrap();
    for (value, phi) in pairs.iter() {
        assert_close(
            rayleigh_alignment(&gram, phi).unwrap(),
            value,
            round_off(40) * pairs.values()[0],
        );
    }
}

#[test]
fn alignments_of_extreme_scales() {
    let entries = random_gram(6, 12, 20).entries().to_f64_vec();
    let f = normals(12, 7);
    let plain = gram_f64(12, entries.clone());
    let (text, figures) = (alignment(&plain, &f).unwrap(), rayleigh_alignment(&plain, &f).unwrap());
    let scaled = |x: &[f64], s: f64| x.iter().map(|x| x * s).collect::<Vec<_>>();
    for s in [1e-200, 1e200] {
        assert_close(
            rayleigh_alignment(&plain, &scaled(&f, s)).unwrap(),
            figures,
            round_off(12) * figures,
        );
        // s^-2 in the kernel, s in the target: nothing under- or overflows on the way.
        let kernel = gram_f64(12, scaled(&scaled(&entries, s.sqrt().recip()), s.sqrt().recip()));
        let f = scaled(&f, s.sqrt());
        assert_close(alignment(&kernel, &f).unwrap(), text, round_off(12) * text);
    }
    let huge = scaled(&f, 1e200);
    assert_eq!(alignment(&plain, &huge), Err(SpectralError::Overflow { quantity: "alignment" }));
}

#[test]
fn a_target_outside_the_range_of_the_kernel_has_alignment_zero() {
    let gram = gram_f64(2, vec![1.0, 0.0, 0.0, 0.0]);
    assert_eq!(alignment(&gram, &[0.0, 1.0]), Ok(0.0));
    assert_eq!(rayleigh_alignment(&gram, &[0.0, 1.0]), Ok(0.0));
}

#[test]
fn bad_targets_are_refused() {
    let gram = random_gram(8, 3, 9);
    let pairs = eigh(&gram).unwrap();
    let zero = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(alignments(&gram, &zero), Err(SpectralError::ZeroVector { vector: 1 }));
    assert_eq!(rayleigh_alignment(&gram, &zero[3..]), Err(SpectralError::ZeroVector { vector: 0 }));
    assert_eq!(
        energy_concentration(&pairs, &zero[3..], 1),
        Err(SpectralError::ZeroVector { vector: 0 })
    );
    for (bad, is_length) in
        [(&zero[..2], true), (&zero[..], true), (&[1.0, f64::NAN, 0.0][..], false)]
    {
        let errors = [
            alignment(&gram, bad).unwrap_err(),
            rayleigh_alignment(&gram, bad).unwrap_err(),
            energy_concentration(&pairs, bad, 2).unwrap_err(),
            energy_curve(&pairs, bad).unwrap_err(),
            inverse_quadratic(&pairs, bad).unwrap_err(),
            pairs.coefficients(bad).unwrap_err(),
        ];
        for error in errors {
            match error {
                SpectralError::OneVector { dim: 3, .. } => assert!(is_length),
                SpectralError::NonFiniteVector { vector: 0, index: 1, .. } => assert!(!is_length),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn energy_against_the_definition() {
    let pairs = eigh(&random_gram(9, 30, 50)).unwrap();
    let y = BinaryTarget::from_vector(&normals(30, 10)).unwrap().signs();
    let curve = energy_curve(&pairs, &y).unwrap();
    for (k, energy) in (1..).zip(&curve) {
        let share: f64 =
            (0..k).map(|j| dot(pairs.vector(j), &y).powi(2)).sum::<f64>() / dot(&y, &y);
        assert_close(energy.squared, share, round_off(30));
        assert_close(energy.ratio * energy.ratio, share, round_off(30));
        assert_eq!(energy_concentration(&pairs, &y, k), Ok(*energy));
    }
    let tiny: Vec<f64> = y.iter().map(|y| y * 2.0_f64.powi(-1000)).collect();
    assert_eq!(energy_curve(&pairs, &tiny), Ok(curve), "independent of the length of y");
}

#[test]
fn inverse_quadratic_against_the_definition() {
    let gram = random_gram(11, 20, 200);
    let pairs = eigh(&gram).unwrap();
    let g = normals(20, 12);
    // With f = K g it is g^T K g.
    let f = gram.matvec(&g).unwrap();
    let norm = inverse_quadratic(&pairs, &f).unwrap();
    assert_close(norm.value, dot(&g, &f), round_off(20) * norm.condition * norm.value);
    assert_close(norm.condition, pairs.values()[0] / pairs.values()[19], 0.0);
    assert_eq!(inverse_quadratic(&pairs, &[0.0; 20]).unwrap().value, 0.0);
    for s in [1e-150, 1e150] {
        let f: Vec<f64> = f.iter().map(|f| f * s).collect();
        let found = inverse_quadratic(&pairs, &f).unwrap().value / s / s;
        assert_close(found, norm.value, round_off(20) * norm.value);
    }
}

#[test]
fn f32_kernels_are_singular_sooner() {
    // Smallest eigenvalue 1e-8 of the largest: between the two round-offs.
    let entries = vec![1.0, 0.0, 0.0, 1e-8];
    let refused = inverse_quadratic(&eigh(&gram_f32(2, &entries)).unwrap(), &[1.0, 1.0]);
    assert!(matches!(refused, Err(SpectralError::Singular { .. })));
    let accepted = inverse_quadratic(&eigh(&gram_f64(2, entries)).unwrap(), &[1.0, 1.0]).unwrap();
    assert_close(accepted.condition, 1e8, 1e8 * 1e8 * round_off(2));
    assert_close(accepted.value, 1.0 + 1e8, accepted.value * accepted.condition * round_off(2));
}

#[test]
fn labels_follow_the_sign_and_zero_is_class_zero() {
    let target = BinaryTarget::from_vector(&[0.3, 0.0, -0.0, -0.2, 5e-324]).unwrap();
    assert_eq!(target.labels(), [1, 0, 0, 0, 1]);
    assert_eq!(target.signs(), [1.0, -1.0, -1.0, -1.0, 1.0]);
    assert_eq!(target.positive_fraction(), 0.4);
    assert_eq!((target.len(), target.is_empty()), (5, false));
    assert_eq!(BinaryTarget::from_labels(target.labels().to_vec()), Ok(target));
    assert_eq!(BinaryTarget::from_vector(&[1.0, 1.0]).unwrap().positive_fraction(), 1.0);
}

#[test]
fn bad_labels_are_refused() {
    assert!(matches!(BinaryTarget::from_vector(&[]), Err(SpectralError::VectorLength { .. })));
    assert!(matches!(BinaryTarget::from_labels(vec![]), Err(SpectralError::VectorLength { .. })));
    let nan = BinaryTarget::from_vector(&[1.0, f64::NAN]);
    assert!(matches!(nan, Err(SpectralError::NonFiniteVector { index: 1, .. })));
    let two = BinaryTarget::from_labels(vec![1, 0, 2]);
    assert_eq!(two, Err(SpectralError::InvalidLabel { index: 2, value: 2 }));
}

#[test]
fn overlap_of_gaussian_entries_is_about_the_root_of_two_over_pi() {
    let m = 100_000;
    let phi = normals(m, 13);
    let target = BinaryTarget::from_vector(&phi).unwrap();
    let expected = std::f64::consts::FRAC_2_PI.sqrt();
    // Standard deviation of |x|: (1 - 2/pi)^(1/2) = 0.6; five sigma of the mean.
    assert_close(target.overlap(&phi).unwrap(), expected, 5.0 * 0.6 / (m as f64).sqrt());
    let length = dot(&phi, &phi).sqrt();
    let l1: f64 = phi.iter().map(|x| x.abs()).sum();
    assert_close(target.overlap(&phi).unwrap(), l1 / length / (m as f64).sqrt(), round_off(m));
    assert_eq!(
        BinaryTarget::from_vector(&[1.0]).unwrap().overlap(&[0.0]),
        Err(SpectralError::ZeroVector { vector: 0 })
    );
}

#[test]
fn margins_count_both_signs_and_the_bound_itself() {
    let phi = [0.5, -0.1, 0.1, 0.0, -0.5];
    for (bound, expected) in [(0.0, 1), (0.05, 1), (0.1, 3), (0.5, 5)] {
        assert_eq!(uncertain_labels(&phi, bound), Ok(expected));
    }
    for bound in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(uncertain_labels(&phi, bound), Err(SpectralError::InvalidBound { .. })));
    }
    assert!(uncertain_labels(&[], 0.1).is_err());
}
