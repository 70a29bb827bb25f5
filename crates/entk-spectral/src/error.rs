//! The one error type of this crate: in come the numbers that made a call fail, out goes a message
//! that says what to do about it. Every fallible function returns [`Result`].

use entk_memory::MemoryError;

/// What fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, SpectralError>;

/// Everything that can go wrong here. Each variant carries the numbers that made it fail, and its
/// message says what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpectralError {
    /// A matrix without rows or without columns.
    #[error("the {what} is empty ({rows} x {cols}); it needs at least one sample on each side")]
    Empty {
        /// Which matrix.
        what: &'static str,
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// A matrix of another crate that is to be a kernel of one sample with itself.
    #[error(
        "the kernel matrix is {rows} x {cols}, expected as many rows as columns; for two samples make a CrossGram of it"
    )]
    NotSquare {
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// `rows * cols` does not fit a `usize`.
    #[error(
        "a {rows} x {cols} matrix has more entries than this machine can address; use fewer samples"
    )]
    TooLarge {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// A buffer whose length does not belong to the stated shape.
    #[error(
        "the buffer of the {what} has {found} entries, its shape needs {expected}; pass it row by row and in full"
    )]
    BufferLength {
        /// What the buffer holds.
        what: &'static str,
        /// Entries that the shape needs.
        expected: usize,
        /// Entries that the buffer has.
        found: usize,
    },
    /// A NaN or an infinity in a kernel matrix.
    #[error(
        "kernel entry ({row}, {col}) is {value}; the matrix, or the file it comes from, is damaged or has overflowed: write it again, in f64 where f32 is too short"
    )]
    NonFiniteEntry {
        /// Row of the first such entry in row-major order.
        row: usize,
        /// Its column.
        col: usize,
        /// Its value.
        value: f64,
    },
    /// A matrix from elsewhere that is no kernel.
    #[error(
        "the matrix is not symmetric: entry ({row}, {col}) is {lower} and entry ({col}, {row}) is {upper}, {worst:.1e} of their scale apart, {tolerance:.0e} allowed; symmetrise it if that is meant, as (K + K.T) / 2"
    )]
    NotSymmetric {
        /// Row of the entry that differs most, below the diagonal.
        row: usize,
        /// Its column.
        col: usize,
        /// Its value.
        lower: f64,
        /// The value of its mirror image.
        upper: f64,
        /// Their difference over max(|K_ii K_jj|^(1/2), |K_ij|, |K_ji|).
        worst: f64,
        /// The largest that is taken for round-off.
        tolerance: f64,
    },
    /// An index beyond what there is.
    #[error("{what} index {index} is out of range: there are {len}, counted from 0")]
    IndexOutOfRange {
        /// What is counted.
        what: &'static str,
        /// The offending index.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// A kernel whose rows cannot be those of so many outputs.
    #[error(
        "a kernel of {rows} rows has no blocks of {outputs} outputs: rows must be examples times outputs; assemble it with Outputs::Full, or pass its number of outputs"
    )]
    OutputRows {
        /// Rows of the kernel.
        rows: usize,
        /// Outputs asked for.
        outputs: usize,
    },
    /// A vector or a stack of vectors of the wrong length.
    #[error(
        "got {found} vector entries, expected {dim} per vector; pass whole vectors one after the other, at least one"
    )]
    VectorLength {
        /// Entries of one vector.
        dim: usize,
        /// Entries passed in all.
        found: usize,
    },
    /// Another number of entries than one vector has, where one is meant.
    #[error(
        "got {found} entries where one vector of {dim} is meant; measure several by the function of several, such as `alignments`"
    )]
    OneVector {
        /// Entries of a vector.
        dim: usize,
        /// Entries passed.
        found: usize,
    },
    /// A NaN or an infinity in a vector.
    #[error("entry {index} of vector {vector} is {value}; every entry must be finite")]
    NonFiniteVector {
        /// Position of the vector in the stack.
        vector: usize,
        /// Position inside the vector.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A zero vector where a direction is needed.
    #[error("vector {vector} is zero, so its ratio is undefined; leave it out")]
    ZeroVector {
        /// Position of the vector in the stack.
        vector: usize,
    },
    /// The kernel is zero everywhere, so nothing can be aligned with it.
    #[error(
        "the {n} x {n} kernel is zero everywhere, or has no positive eigenvalue, so that {measure} is undefined; check that some parameter has a non-zero gradient"
    )]
    ZeroGram {
        /// What was asked for.
        measure: &'static str,
        /// Number of samples.
        n: usize,
    },
    /// All entries of a kernel are the same, so that nothing is left without their mean.
    #[error(
        "all entries of the {n} x {n} kernel are the same, so that nothing is left when its mean is taken out; compare kernels of different inputs"
    )]
    ConstantGram {
        /// Number of samples.
        n: usize,
    },
    /// A number of eigenpairs outside `1..=available`.
    #[error(
        "K = {k} eigenpairs asked for, {available} are available; choose K from 1 to {available}"
    )]
    InvalidK {
        /// Pairs asked for.
        k: usize,
        /// Pairs there are.
        available: usize,
    },
    /// A measure of the whole spectrum asked of a part of it.
    #[error(
        "the {measure} needs all {dim} eigenpairs, only {found} are there; compute it before truncating"
    )]
    NeedsAllPairs {
        /// What was asked for.
        measure: &'static str,
        /// Pairs needed.
        dim: usize,
        /// Pairs found.
        found: usize,
    },
    /// Eigenpairs and kernel of different sizes.
    #[error(
        "the eigenvectors have {pairs} entries, the kernel has {gram} samples; both must come from the same sample"
    )]
    SizeMismatch {
        /// Dimension of the eigenvectors.
        pairs: usize,
        /// Samples of the kernel.
        gram: usize,
    },
    /// The dense solver gave up.
    #[error(
        "the dense eigensolver did not converge on this {n} x {n} kernel; please report it with the matrix"
    )]
    NoConvergence {
        /// Number of samples.
        n: usize,
    },
    /// The dense solver answered, but the answer fails a check.
    #[error(
        "the dense eigensolver's answer for this {n} x {n} kernel fails its check of {check}: found {found:e}, allowed {bound:e}; please report it with the matrix"
    )]
    UntrustedSolution {
        /// Number of samples.
        n: usize,
        /// Which check.
        check: &'static str,
        /// Measured value.
        found: f64,
        /// Largest accepted value.
        bound: f64,
    },
    /// Eigenpairs handed in from outside that cannot be such.
    #[error("eigenpair {index} is invalid: {reason}")]
    InvalidPair {
        /// Index of the pair, from 0.
        index: usize,
        /// What is wrong and what was expected.
        reason: &'static str,
    },
    /// An operator whose product with a finite vector is not finite.
    #[error(
        "entry {row} of a product of the operator is {value}; its entries must be finite and their sums within the range of f64"
    )]
    NonFiniteImage {
        /// Row of the product.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// A setting outside its range.
    #[error("setting {field} must be {expected}")]
    InvalidSetting {
        /// Name of the setting.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A solve that its observer ended.
    #[error("the solver was asked to stop after {products} products; go on from its checkpoint")]
    Stopped {
        /// Columns multiplied so far.
        products: usize,
    },
    /// A checkpoint that is not what a solve wrote.
    #[error("the checkpoint is damaged: {reason}; remove it and begin anew")]
    Checkpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint of another solve.
    #[error(
        "the checkpoint is of another solve: {field} is {found}, {expected} is asked for; restore that setting, or remove the checkpoint"
    )]
    OtherSolve {
        /// The setting that differs.
        field: &'static str,
        /// That of this solve.
        expected: String,
        /// That of the checkpoint.
        found: String,
    },
    /// A computation over several ranks that another of them ended.
    #[error("rank {rank} failed, and with it this one; what it says tells why")]
    OtherRank {
        /// The first rank that failed.
        rank: usize,
    },
    /// More ranks than parts of the rows.
    #[error(
        "{ranks} ranks for {n} rows in {bands} bands of {band}: each rank needs one; use {bands} ranks or fewer, or smaller tiles"
    )]
    TooManyRanks {
        /// How many ranks there are.
        ranks: usize,
        /// Rows in all.
        n: usize,
        /// Rows of a band.
        band: usize,
        /// How many bands that makes.
        bands: usize,
    },
    /// An operator whose file the system would not read.
    #[error("the operator cannot be read: {reason}")]
    Unreadable {
        /// Which file, and what the system says.
        reason: String,
        /// The kind of that error.
        kind: std::io::ErrorKind,
    },
    /// An operator that could not be applied.
    #[error("the operator failed: {reason}")]
    Operator {
        /// What its implementation says.
        reason: String,
    },
    /// The iterative solver stopped at a limit before every pair had converged.
    #[error(
        "{got} of {wanted} eigenpairs converged within the {limit}; raise it, loosen the tolerance, or ask for fewer pairs"
    )]
    NotConverged {
        /// Pairs asked for.
        wanted: usize,
        /// Leading pairs that reached the tolerance.
        got: usize,
        /// Estimated residual of every wanted pair, divided by the largest eigenvalue.
        residuals: Vec<f64>,
        /// Which limit stopped it.
        limit: &'static str,
    },
    /// A computation that memory cannot hold.
    #[error(transparent)]
    NoMemory(#[from] MemoryError),
    /// An allocation failed.
    #[error(
        "no memory for {bytes} bytes of {what}; use fewer samples, or a solver for the top K pairs only"
    )]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// How many bytes.
        bytes: usize,
    },
    /// A negative eigenvalue that round-off does not explain.
    #[error(
        "smallest eigenvalue {smallest:e} is below the round-off bound {bound:e} (largest {largest:e}, {negative} negative): this is no Gram matrix of gradients; assemble it in f64, or check how it was made"
    )]
    NotPositiveSemidefinite {
        /// Smallest eigenvalue.
        smallest: f64,
        /// Largest eigenvalue.
        largest: f64,
        /// The accepted bound, -10 N eps lambda_1.
        bound: f64,
        /// How many eigenvalues are negative.
        negative: usize,
    },
    /// The inverse of a kernel that is singular to working accuracy.
    #[error(
        "the kernel is singular to working accuracy: smallest eigenvalue {smallest:e}, noise floor {floor:e} (largest {largest:e}); drop duplicate samples, use f64, or restrict the target to the leading eigenvectors"
    )]
    Singular {
        /// Smallest eigenvalue.
        smallest: f64,
        /// Largest eigenvalue.
        largest: f64,
        /// Eigenvalues at or below this are not distinguishable from zero.
        floor: f64,
    },
    /// A finite input whose result does not fit an f64.
    #[error("the {quantity} overflows f64; divide the kernel or the vectors by a constant")]
    Overflow {
        /// What overflowed.
        quantity: &'static str,
    },
    /// A class label other than 0 and 1.
    #[error(
        "label {value} of sample {index} is neither 0 nor 1: map the classes to them, or take a target of real numbers for each class"
    )]
    InvalidLabel {
        /// Index of the sample.
        index: usize,
        /// The label found.
        value: u8,
    },
    /// A margin bound that is negative or not finite.
    #[error("margin bound {bound} must be finite and not negative")]
    InvalidBound {
        /// The bound passed.
        bound: f64,
    },
}
