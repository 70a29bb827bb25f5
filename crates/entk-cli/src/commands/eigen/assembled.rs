//! Eigenpairs of a kernel that was assembled: a .npy file or a store comes in, pairs go out, of the
//! whole or of what is taken out of it. Called by the program's main.

use std::path::Path;

use anyhow::{Context, Result};
use entk::{
    data::arrays,
    device::memory::ensure,
    spectral::{CertifiedPairs, Gram, KernelRows, OutputBlocks, SymmetricOperator, eigh_bytes},
};
use entk_cli::{
    KernelChoice, OutputChoice, Run, ensure_input, ensure_square, open_store, read_gram,
};

use crate::commands::eigen::{flags::Flags, solve::Solve};

/// The pairs of --gram, and what its rows are where the flags say it.
pub fn of_gram(solve: &Solve<'_>, path: &Path) -> Result<(CertifiedPairs, Option<KernelChoice>)> {
    let (run, flags) = (solve.run, solve.flags);
    let choice = flags.kernel_of_gram()?;
    let kernel = choice.as_ref();
    if path.is_dir() {
        return Ok((of_store(solve, path, kernel)?, choice));
    }
    ensure_file_fits(path, flags, kernel)?;
    let gram = run.stage("read", 1, |_| read_gram(path))?;
    note_negative(run, path, &gram.diagonal());
    let pairs = match reduced(path, kernel, &gram)? {
        Some(reduced) => solve.gram(&reduced)?,
        None => solve.gram(&gram)?,
    };
    Ok((pairs, choice))
}

/// Eigenpairs of a store: of its tiles, or of what is taken out of them.
fn of_store(
    solve: &Solve<'_>,
    path: &Path,
    kernel: Option<&KernelChoice>,
) -> Result<CertifiedPairs> {
    let (run, flags) = (solve.run, solve.flags);
    let store = open_store(path)?;
    ensure_fits(path, flags, kernel, store.grid().n(), 0)?;
    let is_full = kernel.is_none_or(|kernel| kernel.outputs == OutputChoice::Full);
    if !is_full {
        let rows = run.stage("check", 1, |_| Ok(store.rows()?))?;
        let reduced = reduced(path, kernel, &rows)?;
        return solve.gram(&reduced.context("a kernel that is taken out of another")?);
    }
    let operator = run.stage("check", 1, |_| Ok(store.operator()?))?;
    let (rows, classes) = (operator.n(), kernel.map_or(1, |kernel| kernel.classes));
    ensure_input(rows.is_multiple_of(classes), || {
        format!("--classes {classes}: {rows} rows are none of so many outputs; correct --classes")
    })?;
    let root = store.commit()?.map_or_else(String::new, |commit| commit.root);
    solve.pairs(&operator, &root)
}

/// The kernel that --outputs takes out of a full one; none where it is the whole.
fn reduced(
    path: &Path,
    kernel: Option<&KernelChoice>,
    full: &dyn KernelRows,
) -> Result<Option<Gram>> {
    let Some(kernel) = kernel else { return Ok(None) };
    let blocks = OutputBlocks::new(full, kernel.classes)
        .with_context(|| format!("--classes {} of {}", kernel.classes, path.display()))?;
    Ok(match kernel.outputs {
        OutputChoice::Trace => Some(blocks.trace()?),
        OutputChoice::Sum => Some(blocks.sum()?),
        OutputChoice::Class(class) => Some(blocks.gram(class)?),
        OutputChoice::Full | OutputChoice::Pairs => None,
    })
}

/// Refuses a file whose entries and pairs memory cannot hold, from its header.
fn ensure_file_fits(path: &Path, flags: &Flags, kernel: Option<&KernelChoice>) -> Result<()> {
    let header = arrays::describe(path)?;
    ensure_square(path, &header.shape)?;
    let (rows, k) = (header.shape[0], flags.k(header.shape[0]));
    ensure_input(k <= rows, || format!("--k {k}: {} has {rows} rows; lower --k", path.display()))?;
    ensure_fits(path, flags, kernel, rows, header.bytes)
}

/// Refuses pairs that memory cannot hold beside so many bytes of the kernel.
fn ensure_fits(
    path: &Path,
    flags: &Flags,
    kernel: Option<&KernelChoice>,
    rows: usize,
    held: u64,
) -> Result<()> {
    let taken = kernel.filter(|kernel| kernel.outputs != OutputChoice::Full);
    let solved = taken.map_or(rows, |kernel| rows / kernel.classes);
    let k = flags.k(solved);
    let square = (solved as u64).saturating_mul(solved as u64).saturating_mul(8);
    let is_dense = flags.config()?.bytes(solved, k) == eigh_bytes(solved);
    // What is taken out of a kernel, or a store that is solved as a whole, is a matrix of its own.
    let own = if taken.is_some() || (is_dense && held == 0) { square } else { 0 };
    let pairs = flags.config()?.bytes(solved, k).saturating_add(own);
    let what = format!("{}: {k} eigenpairs of {solved} rows", path.display());
    let remedy =
        "ask for fewer with --k, or assemble with `gram --store`, which is never read whole";
    Ok(ensure(&what, held.saturating_add(pairs), None, remedy)?)
}

/// Says which entry of the diagonal is negative, if one is: no kernel of gradients has such.
fn note_negative(run: &Run, path: &Path, diagonal: &[f64]) {
    if let Some(i) = diagonal.iter().position(|x| *x < 0.0) {
        run.note(format_args!(
            "{}: entry ({i}, {i}) is {}: the matrix is not positive semi-definite, and so no kernel \
             of gradients",
            path.display(),
            diagonal[i]
        ));
    }
}
