//! Spectra of kernel matrices: eigenpairs, alignment, energy concentration.
//!
//! This crate knows no networks. It starts from a [`Gram`], the matrix Theta(x_i, x_j) of the
//! empirical neural tangent kernel (or any other kernel) on a sample, and answers what the kernel
//! says about learning a target:
//!
//! * [`eigh`] gives all [`Eigenpairs`] of a Gram, with descending eigenvalues, unit vectors and a
//!   fixed sign; [`residual_ratio`], [`orthogonality_ratio`] and [`residual_norms`] say how good
//!   they are, [`check_psd`] whether they can come from a Gram of gradients.
//! * [`eigsh`] gives the largest k of them, for kernels too large for that: of any
//!   [`SymmetricOperator`], in memory or read tile by tile ([`TiledOperator`]), with the residual
//!   of each; [`svds`] the singular triplets of any [`LinearOperator`].
//! * [`BinaryTarget`] turns an eigenvector phi_j into the labels of a classification task,
//!   sign(phi_j).
//! * [`alignment`] (f^T K f / m^2, the paper's text) and [`rayleigh_alignment`] (y^T K y / ||y||^2,
//!   its figures) measure how easy a target is for the kernel; [`energy_concentration`] how much of
//!   it lies in the leading eigenvectors; [`inverse_quadratic`] its norm in the kernel's Hilbert
//!   space; [`unbiased_alignments`] estimate the alignment in the population, with errors.
//! * [`centred_kernel_alignment`] and [`principal_cosines`] compare two kernels, [`effective_rank`]
//!   and [`layer_shares`] describe one, [`Gram::centred`] takes the mean gradient out of it.
//! * [`StochasticLanczos`] estimates norms, ranks and the density of eigenvalues of operators too
//!   large for any of this, from a few hundred products, and [`sampled_frobenius`] from the kernel
//!   of a sample; each [`Estimate`] has its confidence interval.
//! * [`CrossGram`] is the kernel between two samples, for predictions; with it [`extend`] continues
//!   eigenvectors to new inputs, and [`nystrom`] gives those of a large sample from a few
//!   landmarks.
//! * [`OutputBlocks`] takes a kernel of several outputs apart: the kernel of each, those between
//!   two, their trace and their sum.
//!
//! "The paper" is *What can linearized neural networks actually say about generalization?*,
//! NeurIPS 2021. Index 0 here is its index 1.
//!
//! # Example
//!
//! ```
//! use entk_spectral::{BinaryTarget, Gram, alignment, eigh, energy_concentration};
//!
//! // The kernel of a linear model with features (1, x) at x = -3, -1, 1, 3.
//! let x = [-3.0, -1.0, 1.0, 3.0];
//! let entries = x.iter().flat_map(|a| x.map(|b| 1.0 + a * b)).collect();
//! let gram = Gram::from_lower_f64(4, entries)?;
//!
//! let pairs = eigh(&gram)?;
//! assert!((pairs.values()[0] - 20.0).abs() < 1e-13);
//! assert!(pairs.values()[2].abs() < 1e-13, "two features: rank 2");
//!
//! // The first eigenvector splits the line; its labels are easy for this kernel,
//! // while inner against outer points are invisible to it.
//! let easy = BinaryTarget::from_pair(&pairs, 0)?;
//! assert_eq!(easy.labels(), [1, 1, 0, 0]);
//! let hard = BinaryTarget::from_labels(vec![1, 0, 0, 1])?;
//! assert!((alignment(&gram, &easy.signs())? - 4.0).abs() < 1e-13);
//! assert!(alignment(&gram, &hard.signs())?.abs() < 1e-13);
//! assert!((energy_concentration(&pairs, &easy.signs(), 1)?.ratio - 0.8_f64.sqrt()).abs() < 1e-13);
//! # Ok::<(), entk_spectral::SpectralError>(())
//! ```
//!
//! # Precision and repeatability
//!
//! A Gram stores f32 or f64; every sum, vector and eigenvalue is f64. Products with a Gram, solvers
//! and metrics give the same bits for any number of threads. No function panics on bad input,
//! except plain element access, which indexes as slices do and says so.

#![forbid(unsafe_code)]

#[cfg(any(feature = "faer", feature = "nalgebra", feature = "ndarray"))]
mod conversions;
mod dense;
mod display;
mod eigenpairs;
mod entries;
mod error;
mod kernel;
mod metrics;
mod ranks;
mod solvers;
mod statistics;
mod target;

pub use eigenpairs::{Eigenpairs, SIGN_TIE};
pub use entries::{Entries, EntryType};
pub use error::{Result, SpectralError};
pub use kernel::{
    blocks::OutputBlocks,
    cross::CrossGram,
    distributed_row_gram::DistributedRowGram,
    distributed_tiles::DistributedTiles,
    gram::Gram,
    operator::{LinearOperator, SymmetricOperator, check_images},
    row_gram::{ColumnGram, RowGram},
    rows::KernelRows,
    tiles::{LowerTiles, Tile, TiledOperator, for_each_tile},
};
pub use metrics::{
    alignment::{alignment, alignments, rayleigh_alignment, rayleigh_alignments},
    compare::{centred_kernel_alignment, principal_cosines},
    energy::{EnergyConcentration, energy_concentration, energy_curve},
    rank::{EffectiveRank, effective_rank, layer_shares},
    rkhs::{InverseQuadratic, inverse_quadratic},
    unbiased::{AlignmentEstimate, unbiased_alignments},
};
pub use ranks::{
    communicator::{Communicator, OneRank, Ranks},
    operator::DistributedOperator,
    row_bands::RowBands,
};
pub use solvers::{
    certified_pairs::{CLUSTER, CertifiedPairs, DistributedPairs, Solver},
    eigh::{eigh, eigh_bytes},
    eigsh::{EigshObserver, EigshProgress, EigshRun, eigsh},
    eigsh_config::EigshConfig,
    nystrom::{extend, nystrom},
    psd::{PsdReport, check_psd},
    residuals::{orthogonality_ratio, residual_norms, residual_ratio},
    row_gram::eigsh_row_gram,
    svds::{SingularTriplets, svds},
};
pub use statistics::{
    config::StatisticsConfig,
    interval::Estimate,
    sampled::sampled_frobenius,
    spectrum::{DensityPoint, SpectrumStatistics},
    stochastic_lanczos::StochasticLanczos,
};
pub use target::{BinaryTarget, uncertain_labels};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
