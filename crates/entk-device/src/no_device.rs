//! The same names in a build without CUDA: the CPU is the only device.

use std::{collections::VecDeque, marker::PhantomData};

use candle_core::{CudaStorage, Device, Error, Layout, Result as CandleResult, Tensor, WithDType};

use crate::{
    error::{DeviceError, Result},
    host_copies::on_host,
    launch::Launch,
    precision::Precision,
    properties::DeviceProperties,
};

/// Element types of copies to the host: f32 and f64.
pub trait Entry: WithDType {}
impl Entry for f32 {}
impl Entry for f64 {}

pub(crate) fn open(ordinal: usize) -> Result<Device> {
    Err(DeviceError::NotCompiled { ordinal })
}

pub(crate) fn count() -> usize {
    0
}

pub(crate) fn properties(_: &Device) -> Result<Option<DeviceProperties>> {
    Ok(None)
}

pub(crate) fn run(_: &Launch, _: &[(&CudaStorage, &Layout)]) -> CandleResult<CudaStorage> {
    Err(Error::NotCompiledWithCudaSupport)
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
