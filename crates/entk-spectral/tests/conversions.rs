//! Kernels and eigenvectors as matrices of other crates and back; each part needs the feature of
//! its name.

#![cfg(any(feature = "faer", feature = "nalgebra", feature = "ndarray"))]

use entk_spectral::{CrossGram, Eigenpairs, Gram, Result, SpectralError, eigh};

/// Entry (i, j) of a symmetric matrix, and of one that is not.
fn entry(i: usize, j: usize) -> f64 {
    1.0 / (1 + i + j) as f64
}

fn slanted(i: usize, j: usize) -> f64 {
    entry(i, j) + if i > j { 1.0 } else { 0.0 }
}

/// What every crate's matrices must do, given its way to make one and to read an entry.
fn check<M>(
    make: impl Fn(usize, usize, fn(usize, usize) -> f64) -> M,
    read: impl Fn(&M, usize, usize) -> f64,
    gram: impl Fn(&M) -> Result<Gram>,
    cross: impl Fn(&M) -> Result<CrossGram>,
    of_gram: impl Fn(&Gram) -> M,
    of_pairs: impl Fn(&Eigenpairs) -> M,
) -> Result<()> {
    let kernel = gram(&make(4, 4, entry))?;
    let all = (0..4).flat_map(|i| (0..4).map(move |j| (i, j)));
    assert!(all.clone().all(|(i, j)| kernel.get(i, j) == entry(i, j)));
    let back = of_gram(&kernel);
    assert!(all.clone().all(|(i, j)| read(&back, i, j) == entry(i, j)));

    let rectangle = cross(&make(2, 3, slanted))?;
    assert_eq!((rectangle.rows(), rectangle.cols()), (2, 3));
    assert!((0..2).all(|i| (0..3).all(|j| rectangle.get(i, j) == slanted(i, j))));

    // K Phi = Phi Lambda.
    let pairs = eigh(&kernel)?.truncate(2)?;
    let phi = of_pairs(&pairs);
    for j in 0..2 {
        for i in 0..4 {
            let image: f64 = (0..4).map(|at| entry(i, at) * read(&phi, at, j)).sum();
            assert!((image - pairs.values()[j] * read(&phi, i, j)).abs() < 1e-14);
        }
    }

    let refused = gram(&make(2, 3, entry));
    assert!(matches!(refused, Err(SpectralError::NotSquare { rows: 2, cols: 3 })), "{refused:?}");
    let refused = gram(&make(3, 3, slanted));
    assert!(matches!(refused, Err(SpectralError::NotSymmetric { .. })), "{refused:?}");
    assert!(matches!(gram(&make(0, 0, entry)), Err(SpectralError::Empty { .. })));
    Ok(())
}

#[cfg(feature = "faer")]
#[test]
fn faer() -> Result<()> {
    use faer::Mat;
    check(
        Mat::from_fn,
        |m, i, j| m[(i, j)],
        |m| m.as_ref().try_into(),
        |m| m.as_ref().try_into(),
        |kernel| kernel.into(),
        |pairs| pairs.into(),
    )?;
    let single = Mat::from_fn(3, 3, |i, j| entry(i, j) as f32);
    assert_eq!(Gram::try_from(single.as_ref())?.get(1, 2), f64::from(0.25_f32));
    // Any order of axes: a view of every second row and column.
    let wide = Mat::from_fn(8, 8, |i, j| entry(i / 2, j / 2));
    let view = wide.as_ref();
    let view = view.submatrix(0, 0, 8, 8).transpose();
    assert_eq!(Gram::try_from(view)?.get(6, 2), entry(3, 1));
    Ok(())
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray() -> Result<()> {
    use ndarray::{Array2, s};
    check(
        |rows, cols, entry| Array2::from_shape_fn((rows, cols), |(i, j)| entry(i, j)),
        |m, i, j| m[(i, j)],
        |m| m.view().try_into(),
        |m| m.view().try_into(),
        |kernel| kernel.into(),
        |pairs| pairs.into(),
    )?;
    let wide = Array2::from_shape_fn((8, 8), |(i, j)| entry(i / 2, j / 2) as f32);
    let kernel = Gram::try_from(wide.slice(s![..;2, ..;2]))?;
    assert_eq!((kernel.n(), kernel.get(3, 1)), (4, f64::from(0.2_f32)));
    Ok(())
}

#[cfg(feature = "nalgebra")]
#[test]
fn nalgebra() -> Result<()> {
    use nalgebra::DMatrix;
    check(
        DMatrix::from_fn,
        |m, i, j| m[(i, j)],
        |m| m.try_into(),
        |m| m.try_into(),
        |kernel| kernel.into(),
        |pairs| pairs.into(),
    )?;
    let single = DMatrix::from_fn(3, 3, |i, j| entry(i, j) as f32);
    assert_eq!(Gram::try_from(&single)?.get(1, 2), f64::from(0.25_f32));
    Ok(())
}
