//! The names of the device module in a build without CUDA: the CPU is the only device, and whatever
//! asks for another is an error. Called in its place.

use std::{collections::VecDeque, marker::PhantomData};

use candle_core::{CudaStorage, Device, Error, Layout, Result as CandleResult, Tensor, WithDType};

use crate::{
    error::{DeviceError, Result},
    launch::Launch,
    products::precision::Precision,
    properties::{DeviceProperties, PoolUse},
    transfer::on_host,
};

/// Element types of copies to the host: f32 and f64.
pub trait Entry: WithDType {}
impl Entry for f32 {}
impl Entry for f64 {}

pub(crate) fn open(ordinal: usize) -> Result<Device> {
    Err(DeviceError::NotCompiled { ordinal })
}

/// GPUs that this program can open: 0 where there is no driver, and without the feature `cuda`.
pub fn device_count() -> usize {
    0
}

impl DeviceProperties {
    /// What the driver says of a GPU; none for the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn of(_: &Device) -> Result<Option<Self>> {
        Ok(None)
    }
}

impl PoolUse {
    /// What tensors hold of a GPU's memory when all its work is done; counts the highest use anew
    /// from now on. None for the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn take(_: &Device) -> Result<Option<Self>> {
        Ok(None)
    }
}

impl Launch {
    /// Runs the kernel on contiguous inputs of f32 or of f64 and returns the output.
    ///
    /// # Errors
    /// Inputs of other lengths or types, sizes beyond 2^31, and those of the device.
    pub fn run(&self, inputs: &[(&CudaStorage, &Layout)]) -> CandleResult<CudaStorage> {
        let lengths: Vec<_> = inputs.iter().map(|(_, l)| l.shape().elem_count()).collect();
        self.check(&lengths)?;
        Err(Error::NotCompiledWithCudaSupport)
    }
}

pub(crate) fn answer<T: Entry>(_: &Device, _: &Launch, _: &[Vec<T>]) -> Result<Vec<T>> {
    Err(Error::NotCompiledWithCudaSupport.into())
}

type View<'a, S> = (S, &'a Layout);

pub(crate) fn add_product(
    _: Precision,
    _: View<'_, &mut CudaStorage>,
    _: View<'_, &CudaStorage>,
    _: View<'_, &CudaStorage>,
) -> CandleResult<()> {
    Err(Error::NotCompiledWithCudaSupport)
}

/// Tensors of the host, waiting to be read.
#[derive(Debug)]
pub(crate) struct Pinned<T> {
    waiting: VecDeque<Tensor>,
    entries: PhantomData<T>,
}

impl<T: Entry> Pinned<T> {
    pub(crate) fn new(_: &Device, _: usize, _: usize) -> Result<Self> {
        Ok(Self { waiting: VecDeque::new(), entries: PhantomData })
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn start(&mut self, tensor: Tensor) -> Result<()> {
        self.waiting.push_back(tensor);
        Ok(())
    }

    pub(crate) fn take<R>(&mut self, read: impl FnOnce(&[T]) -> R) -> Result<Option<R>> {
        self.waiting.pop_front().map(|tensor| on_host(&tensor, read)).transpose()
    }
}
