use std::ops::Range;

use candle_core::{Device, Tensor};
use entk_models::{Factor, Geometry, Real};

use crate::{
    error::Result,
    rows::{Rows, reserved},
};

/// Columns that one expansion yields at least: filters are taken together until they reach it.
const UNIT_COLUMNS: usize = 512;
/// Filters that one expansion takes at least, as far as there are; see
/// [`SHORTEST`](crate::rows::SHORTEST).
const UNIT_FILTERS: usize = 16;

/// A convolution whose Jacobian rows (C' C k k numbers an example) are longer than the factors
/// they are made of: its inputs and cotangents are kept, and the rows of a few filters at a time
/// are expanded where they are multiplied.
#[derive(Debug)]
pub(crate) struct ConvPair<T> {
    geometry: Geometry,
    inputs: Vec<T>,
    cotangents: Vec<T>,
}

impl<T: Real> ConvPair<T> {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry, inputs: Vec::new(), cotangents: Vec::new() }
    }

    /// Whether factors take less memory than rows.
    pub(crate) fn is_smaller(geometry: &Geometry) -> bool {
        geometry.input_len() + geometry.output_len() < geometry.patch() * geometry.filters
    }

    /// An empty pair of the same geometry with memory for `n` examples.
    pub(crate) fn with_capacity(&self, n: usize) -> Result<Self> {
        Ok(Self {
            geometry: self.geometry,
            inputs: reserved(n, self.geometry.input_len())?,
            cotangents: reserved(n, self.geometry.output_len())?,
        })
    }

    pub(crate) fn extend(&mut self, inputs: &[T], cotangents: &[T]) {
        self.inputs.extend_from_slice(inputs);
        self.cotangents.extend_from_slice(cotangents);
    }

    /// Ranges of filters that are expanded together. A function of the geometry alone, so that
    /// every entry of K is the same sequence of operations whatever the memory.
    pub(crate) fn units(&self) -> Vec<Range<usize>> {
        let (filters, patch) = (self.geometry.filters, self.geometry.patch());
        let unit = UNIT_COLUMNS.div_ceil(patch).max(UNIT_FILTERS);
        (0..filters).step_by(unit).map(|f| f..(f + unit).min(filters)).collect()
    }

    /// Columns of the rows of these filters.
    pub(crate) fn columns(&self, filters: &Range<usize>) -> usize {
        filters.len() * self.geometry.patch()
    }

    /// Jacobian rows of a range of examples for some filters. Cost: one product of inner size
    /// H' W' an example.
    pub(crate) fn expand(
        &self,
        examples: &Range<usize>,
        filters: &Range<usize>,
    ) -> Result<Rows<T>> {
        let g = &self.geometry;
        let part =
            |values: &[T], len: usize| values[examples.start * len..examples.end * len].to_vec();
        let cotangents: Vec<T> = (self.cotangents
            [examples.start * g.output_len()..examples.end * g.output_len()])
            .chunks_exact(g.output_len())
            .flat_map(|image| {
                &image[filters.start * g.output_pixels()..filters.end * g.output_pixels()]
            })
            .copied()
            .collect();
        let [height, width] = g.output;
        let shape = (examples.len(), filters.len(), height, width);
        let image = (examples.len(), g.channels, g.input[0], g.input[1]);
        let factor = Factor::Conv {
            weight: String::new(),
            bias: None,
            inputs: Tensor::from_vec(part(&self.inputs, g.input_len()), image, &Device::Cpu)?,
            cotangents: Tensor::from_vec(cotangents, shape, &Device::Cpu)?,
            geometry: Geometry { filters: filters.len(), ..*g },
        };
        let rows = factor.rows()?.flatten_all()?.to_vec1::<T>()?;
        Ok(Rows::from_values(rows, self.columns(filters)))
    }
}
