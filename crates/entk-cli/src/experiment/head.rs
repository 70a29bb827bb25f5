//! The width of the head in a file of weights, which no flag need say: the file and a network for
//! any number of outputs come in, that number goes out. Called where networks are built.

use std::path::Path;

use anyhow::Result;
use entk::models::{Model, Network, Params};

/// The head of a file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The parameter that shows the width.
    pub(crate) name: String,
    /// Outputs.
    pub(crate) width: usize,
}

impl Head {
    /// The head of the network that `of_outputs` builds: the first parameter whose shape depends on
    /// the number of outputs. None if the file has no such tensor.
    ///
    /// # Errors
    /// A file that cannot be read, or a network that cannot be built.
    pub(crate) fn find(
        weights: &Path,
        of_outputs: impl Fn(usize) -> Result<Network>,
    ) -> Result<Option<Self>> {
        let shapes = Params::shapes_in(weights)?;
        let [one, two] = [of_outputs(1)?.specs(), of_outputs(2)?.specs()];
        let mut widths = one.into_iter().zip(two).filter_map(|(one, two)| {
            let axis = one.shape.iter().zip(&two.shape).position(|(a, b)| a != b)?;
            let width = *shapes.get(&one.name)?.get(axis)?;
            Some(Self { name: one.name, width })
        });
        Ok(widths.find(|head| head.width > 0))
    }
}
