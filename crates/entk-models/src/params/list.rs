//! Lists of named tensors: one is found by its name, one list is put into the order of another.
//! Called by parameters.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    params::spec::name_differences,
};

/// The tensor of this name.
pub(crate) fn find<'a>(list: &'a [(String, Tensor)], name: &str) -> Result<&'a Tensor> {
    list.iter().find_map(|(n, t)| (n == name).then_some(t)).ok_or_else(|| ModelError::UnknownName {
        name: name.to_string(),
        known: list.iter().map(|(n, _)| n.clone()).collect(),
    })
}

/// The tensors of `other` in the order of `list`; names and shapes must be the same.
pub(crate) fn in_order_of<'a>(
    list: &[(String, Tensor)],
    other: &'a [(String, Tensor)],
) -> Result<Vec<&'a Tensor>> {
    let fits =
        |(a, s): &(String, Tensor), (b, t): &(String, Tensor)| a == b && s.dims() == t.dims();
    if list.len() == other.len() && list.iter().zip(other).all(|(a, b)| fits(a, b)) {
        return Ok(other.iter().map(|(_, tensor)| tensor).collect());
    }
    let by_name: HashMap<&str, &Tensor> = other.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let found = list.iter().map_while(|(name, tensor)| {
        by_name.get(name.as_str()).copied().filter(|found| found.dims() == tensor.dims())
    });
    let found: Vec<&Tensor> = found.collect();
    if found.len() == list.len() && other.len() == list.len() {
        return Ok(found);
    }
    let expected: Vec<_> = list.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
    let found: Vec<_> = other.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
    Err(name_differences(&expected, &found))
}
