//! Copies of tensors of a GPU into page-locked memory, on a stream of their own: tensors go in,
//! their entries come out in the same order. Called by `HostCopies`.

use std::{collections::VecDeque, sync::Arc};

use candle_core::{
    Device, Storage, Tensor,
    backend::BackendStorage,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaEvent, CudaStream, DevicePtr, PinnedHostSlice, result},
    },
};

use super::Entry;
use crate::{
    error::{DeviceError, Result},
    transfer::on_host,
};

/// Page-locked buffers and the copies into them that are under way, oldest first.
#[derive(Debug)]
pub(crate) struct Pinned<T: Entry> {
    /// A stream of its own; none on the CPU.
    stream: Option<Arc<CudaStream>>,
    free: Vec<PinnedHostSlice<T>>,
    waiting: VecDeque<(Tensor, Option<Copying<T>>)>,
}

#[derive(Debug)]
struct Copying<T: Entry> {
    buffer: PinnedHostSlice<T>,
    done: CudaEvent,
}

impl<T: Entry> Pinned<T> {
    pub(crate) fn new(device: &Device, capacity: usize, slots: usize) -> Result<Self> {
        let Device::Cuda(device) = device else {
            return Ok(Self { stream: None, free: Vec::new(), waiting: VecDeque::new() });
        };
        let stream = device.cuda_stream().fork().w()?;
        let free = (0..slots)
            .map(|_| {
                // SAFETY: the memory is unset, and no reference to it is made before it is filled
                // with zeros below. Without the write-combining flag, which makes reads slow.
                let mut buffer =
                    unsafe { stream.context().alloc_pinned_with_flags::<T>(capacity, 0) }.w()?;
                let entries = buffer.as_mut_ptr().w()?;
                // SAFETY: `capacity` entries were allocated at this address; zero bits are a
                // number.
                unsafe { std::ptr::write_bytes(entries, 0, capacity) };
                Ok(buffer)
            })
            .collect::<Result<_>>()?;
        Ok(Self { stream: Some(stream), free, waiting: VecDeque::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Starts a copy; the caller has seen that a buffer is free and long enough.
    pub(crate) fn start(&mut self, tensor: Tensor) -> Result<()> {
        let Some(stream) = &self.stream else {
            self.waiting.push_back((tensor, None));
            return Ok(());
        };
        let Some(mut buffer) = self.free.pop() else {
            return Err(DeviceError::Busy { slots: self.waiting.len() });
        };
        let done = {
            let (storage, layout) = tensor.storage_and_layout();
            let (Storage::Cuda(storage), Some((start, end))) =
                (&*storage, layout.contiguous_offsets())
            else {
                self.free.push(buffer);
                return Err(candle_core::Error::Msg("copy: not a tensor of the GPU".into()).into());
            };
            debug_assert_eq!(storage.device().cuda_stream().context(), stream.context());
            stream.context().bind_to_thread().w()?;
            // Only the stream that the tensor was computed on knows when it is.
            stream.join(&storage.device().cuda_stream()).w()?;
            let view = storage.as_cuda_slice::<T>()?.slice(start..end);
            let (source, _read) = view.device_ptr(stream);
            let entries = &mut buffer.as_mut_slice().w()?[..end - start];
            // SAFETY: source and buffer hold this many entries. The copy runs after all that the
            // tensor's stream was given before it. The tensor is kept, nothing writes to it, and
            // the buffer is not read, until `done` has passed.
            unsafe { result::memcpy_dtoh_async(entries, source, stream.cu_stream()) }.w()?;
            stream.record_event(None).w()?
        };
        self.waiting.push_back((tensor, Some(Copying { buffer, done })));
        Ok(())
    }

    pub(crate) fn take<R>(&mut self, read: impl FnOnce(&[T]) -> R) -> Result<Option<R>> {
        match self.waiting.pop_front() {
            None => Ok(None),
            Some((tensor, None)) => on_host(&tensor, read).map(Some),
            Some((tensor, Some(Copying { buffer, done }))) => {
                let waited = done.synchronize().w();
                let result = match waited {
                    Ok(()) => Ok(Some(read(&buffer.as_slice().w()?[..tensor.elem_count()]))),
                    Err(error) => Err(error.into()),
                };
                self.free.push(buffer);
                result
            }
        }
    }
}

impl<T: Entry> Drop for Pinned<T> {
    /// Buffers must outlive the copies into them.
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // An error here has been or will be reported by the call that caused it.
            let _ = stream.synchronize();
        }
    }
}
