//! What a kernel's launch is: a function, its sizes, and how long its inputs and output are.

#[cfg(any(test, feature = "__host-check"))]
pub(crate) mod host;
pub(crate) mod kernels;
#[cfg(any(test, feature = "cuda", feature = "__host-check"))]
pub(crate) mod sizes;
pub(crate) mod sources;

use crate::{error::DeviceError, launch::sources::Source};

/// Entries of one launch, and of one input: kernels count in 32 bits.
pub(crate) const MOST_ENTRIES: usize = (1 << 31) - 1;
/// Inputs that a kernel takes.
pub(crate) const MOST_INPUTS: usize = 4;
/// Sizes that a kernel takes.
pub(crate) const MOST_SIZES: usize = 14;

/// One kernel launch as plain data: which function, with which sizes, on inputs and an output of
/// which lengths. Only this crate makes them, each beside its kernel's index arithmetic, so that
/// running one on slices of those lengths stays within them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    source: Source,
    name: &'static str,
    sizes: Vec<usize>,
    inputs: Vec<usize>,
    output: usize,
}

impl Launch {
    pub(crate) fn new(
        source: Source,
        name: &'static str,
        sizes: &[usize],
        inputs: &[usize],
        output: usize,
    ) -> Self {
        Self { source, name, sizes: sizes.to_vec(), inputs: inputs.to_vec(), output }
    }

    /// The file of the kernel.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The name of the kernel.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Sizes that the kernel's index arithmetic uses.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Entries of each input.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// Entries of the output, one a thread.
    pub fn output(&self) -> usize {
        self.output
    }

    pub(crate) fn check(&self, inputs: &[usize]) -> Result<(), DeviceError> {
        let all = self.sizes.iter().chain(&self.inputs).chain([&self.output]);
        if let Some(got) = all.copied().find(|size| *size > MOST_ENTRIES) {
            return Err(DeviceError::TooLarge { what: self.name, got, most: MOST_ENTRIES });
        }
        let most = [inputs.len() <= MOST_INPUTS, self.sizes.len() <= MOST_SIZES];
        if inputs != self.inputs || most != [true; 2] {
            let expected = format!("inputs of {:?} entries", self.inputs);
            return Err(DeviceError::Shape { what: self.name, expected, got: inputs.to_vec() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_refuses_other_lengths_and_too_many_entries() {
        let launch = Launch::round(5, 10);
        assert!(launch.check(&[5]).is_ok());
        for lengths in [&[][..], &[4], &[6], &[5, 5]] {
            assert!(matches!(launch.check(lengths), Err(DeviceError::Shape { .. })), "{lengths:?}");
        }
        let long = Launch::round(MOST_ENTRIES + 1, 10);
        let refused = long.check(&[MOST_ENTRIES + 1]);
        assert!(matches!(refused, Err(DeviceError::TooLarge { .. })), "{refused:?}");
    }
}
