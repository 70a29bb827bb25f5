//! What layers ask of parameters before they compute: is a tensor exactly zero, how small is a
//! variance. Tensors go in, answers that are read once come out. Held by `Params`.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use candle_core::{DType, Device, Tensor};

use crate::{ensure::all_zero, error::Result, loops::host_op::on_host};

/// Leading entries of a tensor that are read to see whether it is zero; the rest of it is read only
/// if these are.
const HEAD: usize = 512;

/// Which parameters are exactly zero and how small the statistics are, read once from tensors that
/// never change: layers choose by it what to compute. Every read of a GPU waits for it, so the
/// first question reads all tensors at once.
#[derive(Clone, Default)]
pub(crate) struct HostSummary(Arc<Summary>);

#[derive(Default)]
struct Summary {
    /// Names of the parameters that begin with zeros.
    zero_heads: OnceLock<HashSet<String>>,
    /// The smallest entry of every statistic.
    lowest: OnceLock<HashMap<String, f64>>,
}

impl HostSummary {
    /// Whether every entry of `theta`'s tensor `name` is exactly zero.
    pub(crate) fn is_zero(
        &self,
        theta: &[(String, Tensor)],
        name: &str,
        tensor: &Tensor,
    ) -> Result<bool> {
        if on_host(tensor) {
            return all_zero(tensor);
        }
        self.is_zero_by_heads(theta, name, tensor)
    }

    fn is_zero_by_heads(
        &self,
        theta: &[(String, Tensor)],
        name: &str,
        tensor: &Tensor,
    ) -> Result<bool> {
        let zero_heads = match self.0.zero_heads.get() {
            Some(names) => names,
            None => {
                let heads = read(theta, HEAD)?;
                let zero = |head: &[f64]| head.iter().all(|x| *x == 0.0);
                let names = heads.into_iter().filter(|(_, head)| zero(head)).map(|(name, _)| name);
                self.0.zero_heads.get_or_init(|| names.collect())
            }
        };
        Ok(zero_heads.contains(name) && (tensor.elem_count() <= HEAD || all_zero(tensor)?))
    }

    /// The smallest entry of the statistic `name`; NaN where it has one.
    pub(crate) fn lowest(&self, statistics: &[(String, Tensor)], name: &str) -> Result<f64> {
        let lowest = match self.0.lowest.get() {
            Some(lowest) => lowest,
            None => {
                // Variances are vectors; beside them may be large tensors that are not trained.
                let vectors = statistics.iter().filter(|(_, tensor)| tensor.rank() == 1);
                let all = read(&vectors.cloned().collect::<Vec<_>>(), usize::MAX)?;
                let least = |entries: Vec<f64>| entries.into_iter().fold(f64::INFINITY, smaller);
                let all = all.into_iter().map(|(name, entries)| (name, least(entries)));
                self.0.lowest.get_or_init(|| all.collect())
            }
        };
        Ok(lowest.get(name).copied().unwrap_or(f64::NAN))
    }
}

fn smaller(a: f64, b: f64) -> f64 {
    if a <= b || a.is_nan() { a } else { b }
}

/// The first `most` entries of every tensor, by one copy to the host.
fn read(tensors: &[(String, Tensor)], most: usize) -> Result<Vec<(String, Vec<f64>)>> {
    let heads = tensors
        .iter()
        .map(|(_, tensor)| {
            let flat = tensor.flatten_all()?;
            flat.narrow(0, 0, flat.elem_count().min(most))
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    if heads.is_empty() {
        return Ok(Vec::new());
    }
    let all = Tensor::cat(&heads, 0)?.to_device(&Device::Cpu)?;
    let all: Vec<f64> = all.to_dtype(DType::F64)?.to_vec1()?;
    let mut rest = all.as_slice();
    let mut named = Vec::with_capacity(tensors.len());
    for ((name, _), head) in tensors.iter().zip(&heads) {
        let (entries, after) = rest.split_at(head.elem_count());
        named.push((name.clone(), entries.to_vec()));
        rest = after;
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[(&str, Vec<f64>)]) -> Result<Vec<(String, Tensor)>> {
        let tensor = |v: &Vec<f64>| Tensor::from_slice(v, v.len(), &Device::Cpu);
        values.iter().map(|(name, v)| Ok(((*name).to_string(), tensor(v)?))).collect()
    }

    #[test]
    fn a_tensor_is_zero_if_its_head_and_its_rest_are() -> Result<()> {
        let mut late = vec![0.0; HEAD + 3];
        late[HEAD + 1] = 1e-30;
        let theta = named(&[
            ("zero", vec![0.0; 4]),
            ("one", vec![0.0, 1.0]),
            ("late", late),
            ("long", vec![0.0; 2 * HEAD]),
            ("nan", vec![f64::NAN]),
        ])?;
        let summary = HostSummary::default();
        for (name, tensor) in &theta {
            let zero = summary.is_zero_by_heads(&theta, name, tensor)?;
            assert_eq!(zero, matches!(name.as_str(), "zero" | "long"), "{name}");
            assert_eq!(zero, summary.is_zero(&theta, name, tensor)?, "{name}");
        }
        Ok(())
    }

    #[test]
    fn the_smallest_entry_is_found_and_nan_is_kept() -> Result<()> {
        let statistics = named(&[("a", vec![2.0, -1.0, 3.0]), ("b", vec![1.0, f64::NAN, 0.5])])?;
        let summary = HostSummary::default();
        assert_eq!(summary.lowest(&statistics, "a")?, -1.0);
        assert!(summary.lowest(&statistics, "b")?.is_nan());
        Ok(())
    }
}
