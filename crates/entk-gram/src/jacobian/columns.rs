//! Columns of parameter space, some at a time and layer by layer, as products read them: packed
//! from flat columns and unpacked again. Called by the operator of the Jacobian.

use crate::factors::form::{FactorShape, FactorSizes};

/// Columns that one task multiplies; fixed, so that bits do not depend on the threads.
pub(crate) const CHUNK: usize = 8;

/// Where the parameters of each layer are in a flat column: layer after layer, last layer first,
/// the weight before the bias.
#[derive(Debug, Clone)]
pub(crate) struct ColumnLayout {
    /// Numbers of a weight and of a bias that is kept apart, for each layer.
    parts: Vec<[usize; 2]>,
    /// Numbers of a column, P.
    pub(crate) len: usize,
}

impl ColumnLayout {
    pub(crate) fn new(layers: &[FactorSizes]) -> Self {
        let parts = layers.iter().map(|layer| match (layer.shape, layer.bias()) {
            (FactorShape::Dense { inputs, outputs }, true) => [inputs * outputs, outputs],
            _ => [layer.parameters(), 0],
        });
        let parts: Vec<[usize; 2]> = parts.collect();
        let len = parts.iter().flatten().sum();
        Self { parts, len }
    }

    /// Flat columns in chunks of [`CHUNK`].
    pub(crate) fn pack(&self, columns: &[f64]) -> Vec<ColumnChunk> {
        columns.chunks(CHUNK * self.len).map(|columns| self.chunk(columns)).collect()
    }

    /// As many chunks of zeros as `count` columns need.
    pub(crate) fn zeros(&self, count: usize) -> Vec<ColumnChunk> {
        let of = |first: usize| {
            let count = CHUNK.min(count - first);
            let zeros = |len: usize| vec![0.0; count * len];
            let layers = self.parts.iter().map(|part| part.map(zeros)).collect();
            ColumnChunk { count, layers }
        };
        (0..count).step_by(CHUNK).map(of).collect()
    }

    fn chunk(&self, columns: &[f64]) -> ColumnChunk {
        let (count, mut start) = (columns.len() / self.len, 0);
        let mut part = |len: usize| {
            let at = start;
            start += len;
            columns.chunks_exact(self.len).flat_map(|c| &c[at..at + len]).copied().collect()
        };
        let layers = self.parts.iter().map(|&[weight, bias]| [part(weight), part(bias)]).collect();
        ColumnChunk { count, layers }
    }

    /// Writes chunks as flat columns.
    pub(crate) fn unpack(&self, chunks: &[ColumnChunk], columns: &mut [f64]) {
        for (chunk, columns) in chunks.iter().zip(columns.chunks_mut(CHUNK * self.len)) {
            let mut start = 0;
            for (part, len) in chunk.layers.iter().flatten().zip(self.parts.iter().flatten()) {
                for (j, column) in columns.chunks_exact_mut(self.len).enumerate() {
                    column[start..start + len].copy_from_slice(&part[j * len..(j + 1) * len]);
                }
                start += len;
            }
        }
    }
}

/// Some columns, layer by layer.
#[derive(Debug)]
pub(crate) struct ColumnChunk {
    /// How many columns.
    pub(crate) count: usize,
    /// For each layer the columns' weights one after the other, and their biases, if those are
    /// kept apart: row-major matrices with a row a column.
    pub(crate) layers: Vec<[Vec<f64>; 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let dense = FactorSizes {
            names: vec!["w".into(), "b".into()],
            shape: FactorShape::Dense { inputs: 3, outputs: 2 },
            group: 0,
            shared_by: 1,
        };
        let rows = FactorSizes {
            names: vec!["r".into()],
            shape: FactorShape::Rows { columns: 4 },
            ..dense.clone()
        };
        let layout = ColumnLayout::new(&[dense, rows]);
        assert_eq!(layout.len, 6 + 2 + 4);
        for count in [1, CHUNK, CHUNK + 3] {
            let columns: Vec<f64> = (0..count * layout.len).map(|at| at as f64).collect();
            let chunks = layout.pack(&columns);
            assert_eq!(chunks.iter().map(|chunk| chunk.count).sum::<usize>(), count);
            assert_eq!(chunks[0].layers[0][1][..2], columns[6..8]);
            let mut back = vec![f64::NAN; columns.len()];
            layout.unpack(&chunks, &mut back);
            assert_eq!(back, columns);
        }
    }
}
