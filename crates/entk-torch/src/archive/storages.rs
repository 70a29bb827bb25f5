//! Tensors as views of stored blocks of numbers: entries of the configuration go in, tensors in
//! row-major order come out, widened to f64 or f32. Extents are checked against the block first.

use std::{collections::HashMap, rc::Rc};

use candle_core::{Device, Tensor};
use half::{bf16, f16};

use crate::{
    archive::{
        argument::Size,
        container::Container,
        schema::{TensorEntry, TensorMeta},
    },
    error::{Result, TorchError},
};

/// What the numbers of a tensor are, in the order in which one turns into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Elements {
    Truth,
    Whole,
    Real,
}

impl Elements {
    /// Kind of the numbers, and bytes of one, for a code of an element type.
    pub(crate) fn of_code(code: u64) -> Option<(Self, usize)> {
        Some(match code {
            1 | 2 => (Self::Whole, 1),
            3 => (Self::Whole, 2),
            4 => (Self::Whole, 4),
            5 => (Self::Whole, 8),
            6 | 13 => (Self::Real, 2),
            7 => (Self::Real, 4),
            8 => (Self::Real, 8),
            12 => (Self::Truth, 1),
            _ => return None,
        })
    }
}

/// A tensor of an archive.
#[derive(Debug, Clone)]
pub(crate) struct StoredTensor {
    pub(crate) elements: Elements,
    /// On the host: f64, or f32 where that holds all that is stored.
    pub(crate) tensor: Tensor,
    pub(crate) requires_grad: bool,
    /// The block and the view of it: equal for two names of one tensor.
    pub(crate) place: (String, String),
}

/// The blocks of one folder.
pub(crate) struct Storages<'c> {
    container: &'c mut Container,
    folder: String,
    blocks: HashMap<String, Rc<Vec<u8>>>,
}

impl<'c> Storages<'c> {
    pub(crate) fn new(container: &'c mut Container, folder: String) -> Self {
        Self { container, folder, blocks: HashMap::new() }
    }

    /// The tensor of an entry, without copies of blocks that several share.
    pub(crate) fn tensor(&mut self, name: &str, entry: &TensorEntry) -> Result<StoredTensor> {
        let refused = |reason: &str| refused(name, reason);
        let meta = entry.tensor_meta.as_ref().filter(|_| !entry.use_pickle).ok_or_else(|| {
            refused("is a pickled tensor subclass; turn it into a plain tensor before the export")
        })?;
        if entry.path_name.contains(['/', '\\']) || entry.path_name.contains("..") {
            return Err(refused(&format!("lies outside its folder: {:?}", entry.path_name)));
        }
        if meta.layout != 7 {
            return Err(refused("is sparse; use `to_dense()` before the export"));
        }
        let Some((elements, bytes)) = Elements::of_code(meta.dtype) else {
            let reason = format!("has an element type (code {}) that is not read", meta.dtype);
            return Err(refused(&reason));
        };
        let view = View::new(name, meta)?;
        let block = self.block(&entry.path_name)?;
        view.ensure_within(name, block.len() / bytes)?;
        let number = |place: usize| &block[place * bytes..(place + 1) * bytes];
        let (first, count) = (view.offset, view.count());
        let flat = match view.is_row_major() {
            true => widened(meta.dtype, (first..first + count).map(number), count),
            false => widened(meta.dtype, view.places().map(number), count),
        };
        let tensor = flat?.reshape(view.sizes.as_slice())?;
        let place = (entry.path_name.clone(), format!("{view:?}"));
        Ok(StoredTensor { elements, tensor, requires_grad: meta.requires_grad, place })
    }

    fn block(&mut self, path: &str) -> Result<Rc<Vec<u8>>> {
        if let Some(block) = self.blocks.get(path) {
            return Ok(block.clone());
        }
        let block = Rc::new(self.container.read(&format!("{}/{path}", self.folder))?);
        self.blocks.insert(path.to_owned(), block.clone());
        Ok(block)
    }
}

fn refused(name: &str, reason: &str) -> TorchError {
    TorchError::Tensor { name: name.to_owned(), reason: reason.to_owned() }
}

/// Sizes, strides and offset in elements.
#[derive(Debug)]
struct View {
    sizes: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl View {
    fn new(name: &str, meta: &TensorMeta) -> Result<Self> {
        let number = |size: &Size| match size {
            Size::Known(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        let all = |list: &[Size]| list.iter().map(number).collect::<Option<Vec<_>>>();
        let view = || {
            let (sizes, strides) = (all(&meta.sizes)?, all(&meta.strides)?);
            Some(Self { sizes, strides, offset: number(&meta.storage_offset)? })
        };
        let view =
            view().ok_or_else(|| refused(name, "has sizes that are no numbers from 0 on"))?;
        if view.sizes.len() != view.strides.len() {
            return Err(refused(name, "has another number of strides than of sizes"));
        }
        Ok(view)
    }

    fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Whether the entries lie one behind the other.
    fn is_row_major(&self) -> bool {
        let mut next = 1;
        let mut axes = self.sizes.iter().zip(&self.strides).rev();
        axes.all(|(size, stride)| {
            let fits = *size == 1 || *stride == next;
            next *= size;
            fits
        })
    }

    /// Refuses a view that reaches beyond `stored` elements or repeats many of them.
    fn ensure_within(&self, name: &str, stored: usize) -> Result<()> {
        // Strides of a tensor without entries are products of its other sizes.
        let others = self.sizes.iter().filter(|size| **size > 0);
        let fits = others.copied().try_fold(1usize, usize::checked_mul).is_some();
        if self.sizes.contains(&0) && fits {
            return Ok(());
        }
        let reach = |sum: Option<usize>, (size, stride): (&usize, &usize)| {
            sum?.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        };
        let last = self.sizes.iter().zip(&self.strides).fold(Some(self.offset), reach);
        let count = self.sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        match (last, count) {
            (Some(last), Some(count)) if fits && last < stored && count <= stored => Ok(()),
            _ => Err(refused(
                name,
                &format!(
                    "of sizes {:?}, strides {:?} and offset {} does not lie within the {stored} \
                     numbers that are stored; save it again, as a contiguous tensor",
                    self.sizes, self.strides, self.offset
                ),
            )),
        }
    }

    /// Places of the entries in row-major order.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.count()).map(|flat| {
            let axes = self.sizes.iter().zip(&self.strides).rev();
            let step = |(place, rest): (usize, usize), (size, stride): (&usize, &usize)| {
                (place + rest % size * stride, rest / size)
            };
            axes.fold((self.offset, flat), step).0
        })
    }
}

/// Numbers of a code of an element type, as f32 if that holds them all, else as f64.
fn widened<'b>(code: u64, numbers: impl Iterator<Item = &'b [u8]>, count: usize) -> Result<Tensor> {
    fn vector<'b, const B: usize, T: candle_core::WithDType>(
        numbers: impl Iterator<Item = &'b [u8]>,
        number: impl Fn([u8; B]) -> T,
    ) -> Vec<T> {
        let bytes = |slice: &[u8]| std::array::from_fn(|at| slice[at]);
        numbers.map(|slice| number(bytes(slice))).collect()
    }
    let device = &Device::Cpu;
    Ok(match code {
        1 => Tensor::from_vec(vector(numbers, |[b]: [u8; 1]| f64::from(b)), count, device),
        2 => Tensor::from_vec(vector(numbers, |b| f64::from(i8::from_le_bytes(b))), count, device),
        3 => Tensor::from_vec(vector(numbers, |b| f64::from(i16::from_le_bytes(b))), count, device),
        4 => Tensor::from_vec(vector(numbers, |b| f64::from(i32::from_le_bytes(b))), count, device),
        5 => Tensor::from_vec(vector(numbers, |b| i64::from_le_bytes(b) as f64), count, device),
        6 => Tensor::from_vec(vector(numbers, |b| f16::from_le_bytes(b).to_f32()), count, device),
        7 => Tensor::from_vec(vector(numbers, f32::from_le_bytes), count, device),
        8 => Tensor::from_vec(vector(numbers, f64::from_le_bytes), count, device),
        12 => {
            let truth = |[b]: [u8; 1]| f64::from(u8::from(b != 0));
            Tensor::from_vec(vector(numbers, truth), count, device)
        }
        _ => Tensor::from_vec(vector(numbers, |b| bf16::from_le_bytes(b).to_f32()), count, device),
    }?)
}
