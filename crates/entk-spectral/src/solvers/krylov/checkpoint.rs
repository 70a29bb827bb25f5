//! The state of a block Lanczos process as bytes: written between two blocks, read to go on with
//! the same bits. Solves that may be interrupted call it.
//!
//! The bytes are those of whole columns, whatever the number of ranks that write or read them.
//! Eight bytes that name the format, then little-endian numbers of eight bytes: the [`Header`] and
//! the arrays, and a CRC-32C of all before it.

use std::io::{self, Read, Write};

use faer::Mat;

use crate::{
    dense::vector::{BinaryScale, zeros},
    entries::EntryType,
    error::{Result, SpectralError},
    ranks::{operator::DistributedOperator, row_bands::RowBands},
    solvers::krylov::Krylov,
};

const FORMAT: [u8; 8] = *b"entkeig2";
/// Numbers of a header.
const NUMBERS: usize = 23;
/// Numbers written at a time.
const BLOCK: usize = 8192;
/// Columns of the basis that are whole on a rank at a time.
const WHOLE: usize = 16;

/// What tells a solve from another one: a checkpoint is of the same or is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Solve {
    pub(crate) k: usize,
    pub(crate) tolerance: f64,
    pub(crate) block: usize,
    pub(crate) basis: usize,
    pub(crate) seed: u64,
}

/// A writer or reader that sums up what passes.
struct Summed<T> {
    inner: T,
    crc: u32,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self { inner, crc: 0 }
    }
}

impl<W: Write> Summed<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.inner.write_all(bytes)
    }

    fn numbers(&mut self, numbers: impl Iterator<Item = u64>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(8 * BLOCK);
        for number in numbers {
            bytes.extend(number.to_le_bytes());
            if bytes.len() == 8 * BLOCK {
                self.bytes(&bytes)?;
                bytes.clear();
            }
        }
        self.bytes(&bytes)
    }

    fn reals<'x>(&mut self, reals: impl IntoIterator<Item = &'x f64>) -> io::Result<()> {
        self.numbers(reals.into_iter().map(|x| x.to_bits()))
    }
}

impl<R: Read> Summed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.inner.read_exact(bytes).map_err(|error| damaged(&error.to_string()))?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }

    fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read_reals(&mut self, into: &mut [f64]) -> Result<()> {
        let mut bytes = vec![0; 8 * BLOCK.min(into.len())];
        for block in into.chunks_mut(BLOCK) {
            let bytes = &mut bytes[..8 * block.len()];
            self.fill(bytes)?;
            for (x, bytes) in block.iter_mut().zip(bytes.chunks_exact(8)) {
                *x = bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
            }
        }
        Ok(())
    }

    /// Reads whole columns, and keeps the rows of this rank.
    fn read_columns(&mut self, rows: &RowBands<'_>, into: &mut [f64]) -> Result<()> {
        let mut column = zeros(rows.n(), "a column of a checkpoint")?;
        for own in into.chunks_exact_mut(rows.own().len()) {
            self.read_reals(&mut column)?;
            own.copy_from_slice(&column[rows.own()]);
        }
        Ok(())
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Result<Mat<f64>> {
        let mut entries = zeros(rows * cols, "a matrix of a checkpoint")?;
        self.read_reals(&mut entries)?;
        Ok(Mat::from_fn(rows, cols, |i, j| entries[j * rows + i]))
    }
}

impl<K: DistributedOperator + ?Sized> Krylov<'_, K> {
    /// Writes all that the rest of the solve depends on but the operator. Every rank writes the
    /// same bytes.
    pub(crate) fn write(&self, solve: &Solve, restarts: usize, out: impl Write) -> io::Result<()> {
        let mut out = Summed::new(out);
        // A rank that cannot write still passes its rows to the others.
        let begun = self.write_begin(solve, restarts, &mut out);
        let basis = self.write_columns(&self.vectors[..self.own * self.dim], &mut out);
        let next = self.write_columns(&self.next, &mut out);
        begun.and(basis).and(next)?;
        out.reals(self.coupling.col_iter().flat_map(|c| c.iter()))?;
        let crc = out.crc;
        out.inner.write_all(&crc.to_le_bytes())?;
        out.inner.flush()
    }

    /// Writes what every rank has.
    fn write_begin<W: Write>(
        &self,
        solve: &Solve,
        restarts: usize,
        out: &mut Summed<W>,
    ) -> io::Result<()> {
        out.bytes(&FORMAT)?;
        out.numbers(self.header(solve, restarts).into_iter())?;
        out.reals(&self.locked)?;
        let projected = self.projected.as_ref().submatrix(0, 0, self.dim, self.dim);
        out.reals(projected.col_iter().flat_map(|c| c.iter()))
    }

    /// Writes whole columns, and gathers all of them whatever becomes of the first.
    fn write_columns<W: Write>(&self, columns: &[f64], out: &mut Summed<W>) -> io::Result<()> {
        let mut written = Ok(());
        for own in columns.chunks(WHOLE * self.own) {
            let whole = self.rows.gather(own).map_err(io::Error::other)?;
            written = written.and_then(|()| out.reals(&whole));
        }
        written
    }

    fn header(&self, solve: &Solve, restarts: usize) -> [u64; NUMBERS] {
        let position = self.rng.get_word_pos();
        let scale = self.scale.map(BinaryScale::exponent);
        [
            self.rows.n() as u64,
            self.rows.band() as u64,
            entry_number(self.operator.entry_type()),
            solve.k as u64,
            solve.tolerance.to_bits(),
            solve.block as u64,
            solve.basis as u64,
            solve.seed,
            position as u64,
            (position >> 64) as u64,
            u64::from(scale.is_some()),
            i64::from(scale.unwrap_or(0)) as u64,
            self.norm.to_bits(),
            self.dim as u64,
            self.coupled_from as u64,
            self.last_from as u64,
            self.drawn as u64,
            self.pending as u64,
            self.products as u64,
            restarts as u64,
            self.locked.len() as u64,
            self.waiting() as u64,
            self.coupling.nrows() as u64,
        ]
    }

    /// Goes on from what [`write`](Self::write) wrote; returns the restarts so far as well.
    pub(crate) fn read<'a>(
        operator: &'a K,
        solve: &Solve,
        input: impl Read,
    ) -> Result<(Krylov<'a, K>, usize)> {
        let mut input = Summed::new(input);
        let mut format = [0; 8];
        input.fill(&mut format)?;
        if format != FORMAT {
            return Err(damaged("it does not begin as one of this version"));
        }
        let mut header = [0; NUMBERS];
        for number in &mut header {
            *number = input.number()?;
        }
        let mut basis = Krylov::empty(operator, solve.block, solve.basis, solve.seed)?;
        basis.check_same(solve, &header)?;
        let [dim, coupled, last, drawn, pending, products, restarts, locked, waiting, rows] =
            sizes(&header[13..])?;
        let fits = dim <= basis.capacity
            && coupled.max(last).max(locked) <= dim
            && dim.checked_add(waiting).is_some_and(|all| all <= basis.rows.n())
            && rows <= waiting
            && waiting <= basis.capacity;
        if !fits {
            return Err(damaged("its sizes do not fit each other"));
        }
        let exponent = i32::try_from(header[11] as i64).ok().filter(|e| e.abs() <= 1100);
        let exponent = exponent.ok_or_else(|| damaged("its scale is out of range"))?;
        basis.rng.set_word_pos(u128::from(header[8]) | u128::from(header[9]) << 64);
        basis.scale = (header[10] == 1).then(|| BinaryScale::with_exponent(exponent));
        basis.norm = f64::from_bits(header[12]);
        (basis.dim, basis.coupled_from, basis.last_from) = (dim, coupled, last);
        (basis.drawn, basis.pending, basis.products) = (drawn, pending, products);
        basis.locked = zeros(locked, "values of a checkpoint")?;
        input.read_reals(&mut basis.locked)?;
        let projected = input.matrix(dim, dim)?;
        basis.projected.as_mut().submatrix_mut(0, 0, dim, dim).copy_from(&projected);
        let shared = basis.rows;
        input.read_columns(&shared, &mut basis.vectors[..basis.own * dim])?;
        basis.next = zeros(basis.own * waiting, "a block of a checkpoint")?;
        input.read_columns(&shared, &mut basis.next)?;
        basis.coupling = input.matrix(rows, dim - last)?;
        basis.check_sum(input)?;
        Ok((basis, restarts))
    }

    /// Refuses a checkpoint of another operator or of other settings.
    fn check_same(&self, solve: &Solve, header: &[u64; NUMBERS]) -> Result<()> {
        let own = self.header(solve, 0);
        let names = [
            "rows",
            "rows of a band",
            "element type",
            "pairs",
            "tolerance",
            "block",
            "basis",
            "seed",
        ];
        match names.iter().zip(own.iter().zip(header)).find(|(_, (own, found))| own != found) {
            None => Ok(()),
            Some((field, (own, found))) => {
                let show = |bits: u64| match *field {
                    "tolerance" => f64::from_bits(bits).to_string(),
                    _ => bits.to_string(),
                };
                let (expected, found) = (show(*own), show(*found));
                Err(SpectralError::OtherSolve { field, expected, found })
            }
        }
    }

    /// Refuses bytes that are not those that were written.
    fn check_sum<R: Read>(&self, mut input: Summed<R>) -> Result<()> {
        let (crc, mut stored) = (input.crc, [0; 4]);
        input.fill(&mut stored)?;
        if u32::from_le_bytes(stored) != crc {
            return Err(damaged("its checksum does not fit"));
        }
        match input.inner.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(damaged("bytes follow its end")),
        }
    }
}

fn sizes<const N: usize>(numbers: &[u64]) -> Result<[usize; N]> {
    let sizes: Vec<usize> = numbers.iter().filter_map(|x| usize::try_from(*x).ok()).collect();
    sizes.try_into().map_err(|_| damaged("its sizes are out of range"))
}

fn entry_number(entry_type: EntryType) -> u64 {
    match entry_type {
        EntryType::F32 => 32,
        EntryType::F64 => 64,
    }
}

fn damaged(reason: &str) -> SpectralError {
    SpectralError::Checkpoint { reason: reason.to_owned() }
}
