//! How many examples are swept at a time: a function of the kernel alone, from the memory that a
//! sweep of one takes. Engines, plans and identities ask it.

use crate::{
    config::{GramConfig, Outputs},
    error::Result,
    factors::form::FactorSizes,
    ntk::Ntk,
};

/// Most examples, where nothing else is said: more make no product faster.
const MOST: usize = 64;
/// That on the host where several outputs are swept, whose cotangents side by side should stay in
/// cache.
const MOST_OF_SEVERAL: usize = 16;
/// Bytes that the values and cotangents of one micro-batch should take at most: more only touch new
/// memory, which costs more than to use the same again. Where the parameters take more bytes, as
/// many as they: they are read once a micro-batch.
const BYTES: usize = 128 << 20;
/// Bytes that the values of as many micro-batches as a group has outputs take at most: a bound of
/// its factors, which have no cotangents of activations and pooling.
const GROUP_BYTES: usize = 256 << 20;
/// Micro-batches are a multiple of this on the host, so that they keep threads busy side by side.
const SIDE_BY_SIDE: usize = 2;

/// Examples of a micro-batch, of `n` in all and at most `most`: as equal as can be.
fn equal(n: usize, most: usize, multiple: usize) -> usize {
    let batches = n.div_ceil(most.max(1)).next_multiple_of(multiple);
    n.div_ceil(batches.max(1)).max(1)
}

impl Ntk<'_> {
    /// Examples that are swept at a time, of `n`: as many as the settings say, but never more than
    /// there are. It depends on neither threads nor memory.
    pub(crate) fn micro_batch(&self, n: usize) -> usize {
        let GramConfig { micro_batch, .. } = self.config;
        if let Some(micro_batch) = micro_batch {
            return micro_batch.min(n).max(1);
        }
        let multiple = if self.params.device().is_cpu() { SIDE_BY_SIDE } else { 1 };
        equal(n, self.most(), multiple)
    }

    /// Most examples of a micro-batch where nothing is said.
    fn most(&self) -> usize {
        let bytes = BYTES.max(self.params.count() * self.item());
        let is_several = self.swept_outputs() > 1 && self.params.device().is_cpu();
        let most = if is_several { MOST_OF_SEVERAL } else { MOST };
        (bytes / (2 * self.values * self.item()).max(1)).clamp(1, most)
    }

    /// Outputs whose factors are at hand at the same time: all, or as many as have small
    /// cotangents, but never one alone of several, since only two show whether they have one
    /// input. A function of the kernel alone.
    pub(crate) fn outputs_at_once(&self) -> usize {
        let bytes = self.most() * self.values * self.item();
        let outputs = self.swept_outputs();
        (GROUP_BYTES / bytes.max(1)).clamp(outputs.min(2), outputs.max(1))
    }

    /// Bytes of all values of one example, and of the factors of a group of outputs.
    pub(crate) fn sweep_bytes(&self) -> Result<usize> {
        let outputs = if self.config.outputs == Outputs::Full { self.outputs_at_once() } else { 1 };
        let numbers = |layer: &FactorSizes| {
            let [inputs, cotangents] = layer.lengths();
            inputs + outputs * cotangents
        };
        // Of a trace, the first group is the largest.
        let layers = self.layers()?.iter().filter(|layer| layer.group == 0);
        Ok((self.values + layers.map(numbers).sum::<usize>()) * self.item())
    }

    /// Bytes of a number of the parameters.
    pub(crate) fn item(&self) -> usize {
        self.params.dtype().size_in_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batches_are_equal_and_never_larger_than_the_set() {
        for n in 1..400 {
            for (most, multiple) in [(64, 2), (64, 1), (7, 2), (1, 2), (1, 1)] {
                let batch = equal(n, most, multiple);
                let batches = n.div_ceil(batch);
                assert!((1..=most.min(n)).contains(&batch), "{n} {most}: {batch}");
                // No batch more than sizes ask for, and hardly an example too many.
                assert!(batches <= n.div_ceil(most).next_multiple_of(multiple), "{n} {most}");
                assert!(batch * batches < n + batches, "{n} {most}: {batch}");
            }
        }
        assert_eq!([4, 64, 65, 100, 130, 200].map(|n| equal(n, 64, 2)), [2, 32, 33, 50, 33, 50]);
    }
}
