//! Is it the function of the module? Numbers that PyTorch has computed go in, the largest
//! differences come out, or a refusal that says which example and which operation.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor, safetensors::load_buffer};
use entk_device::files::{self, FileError};
use entk_models::{Model, Network, ParamKind, ParamSpec, Params, Reshape};

use crate::{
    error::{Result, TorchError},
    import::{Imported, inputs::ProgramValues},
};

/// Largest differences between f64 of two implementations: round-off of long sums.
const DOUBLE: f64 = 1e-9;
/// Largest differences where PyTorch's numbers are f32.
const SINGLE: f64 = 3e-5;
/// What to do about a file that is no such file.
const HOW: &str = "docs/pytorch.md says how to write it";

/// How close an imported network is to the module.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// Examples that were compared.
    pub examples: usize,
    /// Largest difference of outputs, relative to the largest output.
    pub outputs: f64,
    /// Largest difference of the Jacobian-vector product, relative to its largest entry, if the
    /// file has one.
    pub jvp: Option<f64>,
}

/// Compares an imported network with numbers that PyTorch has computed, in f64 whatever the element
/// type of its parameters.
///
/// The safetensors file holds `inputs` (N, ..) and `outputs` (N, C), and if a Jacobian-vector
/// product is to be compared, `jvp` (N, C) and `tangent.NAME` for every trained parameter. Values
/// of the program's nodes, `node.NAME` (N, ..), tell where numbers begin to differ. docs/pytorch.md
/// has the lines of Python that write it.
///
/// # Errors
/// [`TorchError::Differs`] beyond round-off: 1e-9 of the largest value, 3e-5 where the file's
/// numbers are f32; a file that cannot be read, lacks a tensor, or has inputs of another shape.
pub fn verify(imported: &Imported, path: impl AsRef<Path>) -> Result<Verified> {
    let Imported { network, params, aliases, values, .. } = imported;
    Reference::read(path.as_ref())?.verify(network, params, aliases, Some(values))
}

/// [`verify`] of any network, as of one of this library with weights from a file: the names of
/// tangents are those of its parameters, and values of nodes are not looked at.
///
/// # Errors
/// As [`verify`].
#[cfg_attr(feature = "tracing", tracing::instrument(name = "verify", skip_all))]
pub fn verify_network(
    network: &Network,
    params: &Params,
    path: impl AsRef<Path>,
) -> Result<Verified> {
    Reference::read(path.as_ref())?.verify(network, params, &[], None)
}

/// The numbers of PyTorch.
struct Reference<'p> {
    path: &'p Path,
    tensors: HashMap<String, Tensor>,
}

impl<'p> Reference<'p> {
    fn read(path: &'p Path) -> Result<Self> {
        let refused = |reason: String| TorchError::file(path, reason);
        let bytes = files::read(path).map_err(FileError::new("read", path))?;
        let tensors = load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| refused(format!("is no safetensors file: {error}; {HOW}")))?;
        Ok(Self { path, tensors })
    }

    fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let reason = format!("has no tensor {name}; {HOW}");
            TorchError::file(self.path, reason)
        })
    }

    fn inputs(&self) -> Result<Tensor> {
        let inputs = self.get("inputs")?;
        Ok(if inputs.dtype().is_int() { inputs.clone() } else { inputs.to_dtype(DType::F64)? })
    }

    fn verify(
        &self,
        network: &Network,
        params: &Params,
        aliases: &[(String, String)],
        values: Option<&ProgramValues>,
    ) -> Result<Verified> {
        let params = params.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let inputs = self.inputs()?;
        let explain = || match values {
            Some(values) => self.first_difference(values, &params, &inputs),
            None => Ok("are these its weights, its inputs and its layers?".to_owned()),
        };
        let sweep = network.sweep(&params, &inputs)?;
        let outputs = self.compare("outputs", sweep.outputs(), explain)?;
        let jvp = match self.tensors.contains_key("jvp") {
            false => None,
            true => {
                let along = self.direction(network, aliases, &params)?;
                Some(self.compare("jvp", &sweep.jvp(&along)?, explain)?)
            }
        };
        Ok(Verified { examples: inputs.dim(0)?, outputs, jvp })
    }

    /// The direction in parameter space, by either name of a tied parameter.
    fn direction(
        &self,
        network: &Network,
        aliases: &[(String, String)],
        params: &Params,
    ) -> Result<Params> {
        let tangent = |name: &str| {
            let of = |name: &str| self.tensors.get(&format!("tangent.{name}"));
            let aliases = aliases.iter().filter(|(_, main)| main == name);
            of(name).or_else(|| aliases.map(|(alias, _)| alias).find_map(|alias| of(alias)))
        };
        let specs = network.specs();
        let along = |spec: &ParamSpec| -> Result<(String, Tensor)> {
            let tensor = match (spec.kind, tangent(&spec.name)) {
                (ParamKind::Trainable, Some(tangent)) => tangent.to_dtype(DType::F64)?,
                (ParamKind::Trainable, None) => {
                    self.get(&format!("tangent.{}", spec.name))?.clone()
                }
                _ => params.get(&spec.name)?.zeros_like()?,
            };
            Ok((spec.name.clone(), tensor))
        };
        let along = specs.iter().map(along).collect::<Result<Vec<_>>>()?;
        Ok(Params::from_named(&specs, along)?)
    }

    /// The largest difference from the tensor of a name, relative to its largest entry.
    fn compare(
        &self,
        what: &'static str,
        found: &Tensor,
        explain: impl Fn() -> Result<String>,
    ) -> Result<f64> {
        let difference = self.difference(what, found)?;
        if difference.is_within() {
            return Ok(difference.largest);
        }
        let Difference { example, got, expected, tolerance, .. } = difference;
        Err(TorchError::Differs { what, example, got, expected, tolerance, place: explain()? })
    }

    fn difference(&self, name: &str, found: &Tensor) -> Result<Difference> {
        let expected = self.get(name)?;
        // One number for each example may be (N,) there and is (N, 1) here.
        let is_column = matches!((expected.dims(), found.dims()), ([n], [m, 1]) if n == m);
        if expected.dims() != found.dims() && !is_column {
            let shapes = (found.dims(), expected.dims());
            let reason = format!("{name}: shape {:?} here, {:?} in the file", shapes.0, shapes.1);
            return Err(TorchError::file(self.path, reason));
        }
        let tolerance = if expected.dtype() == DType::F64 { DOUBLE } else { SINGLE };
        let host = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let (found, expected) = (host(found)?, host(expected)?);
        let width = (found.len() / self.get("inputs")?.dim(0)?.max(1)).max(1);
        let scale = expected.iter().fold(f64::MIN_POSITIVE, |most: f64, x| most.max(x.abs()));
        let mut worst = Difference { example: 0, got: 0.0, expected: 0.0, largest: 0.0, tolerance };
        for (at, (got, expected)) in found.into_iter().zip(expected).enumerate() {
            let largest = (got - expected).abs() / scale;
            // Written so that NaN is the worst of all.
            let is_worse = largest.is_nan() || largest > worst.largest;
            if is_worse && !worst.largest.is_nan() {
                worst = Difference { example: at / width, got, expected, largest, tolerance };
            }
        }
        Ok(worst)
    }

    /// The first value of the program, of those in the file, that differs.
    fn first_difference(
        &self,
        values: &ProgramValues,
        params: &Params,
        inputs: &Tensor,
    ) -> Result<String> {
        let mut compared = 0;
        for computed in &values.computed {
            let name = format!("node.{}", computed.name);
            let Some(expected) = self.tensors.get(&name) else { continue };
            let Some(network) = network_of(values, computed.value)? else { continue };
            let found = network.forward(params, inputs)?;
            if found.elem_count() != expected.elem_count() {
                continue;
            }
            compared += 1;
            let difference = self.difference(&name, &found.reshape(expected.dims())?)?;
            if !difference.is_within() {
                let (name, origin) = (&computed.name, &computed.origin);
                return Ok(format!("the first value that differs is {name}, of {origin}"));
            }
        }
        Ok(match compared {
            0 => "was it written with these weights? Values of nodes in it (node.NAME) would tell \
                  where it begins to"
                .to_owned(),
            _ => format!("none of the {compared} values of nodes in the file differs"),
        })
    }
}

struct Difference {
    example: usize,
    got: f64,
    expected: f64,
    largest: f64,
    tolerance: f64,
}

impl Difference {
    /// False for NaN.
    fn is_within(&self) -> bool {
        self.largest <= self.tolerance
    }
}

/// The network whose output is a value of the program, as a vector; none if it is one for all
/// examples.
fn network_of(values: &ProgramValues, value: entk_models::Value) -> Result<Option<Network>> {
    let mut graph = values.graph.clone();
    if graph.is_shared(value) {
        return Ok(None);
    }
    let count = graph.shape(value)?.iter().product();
    let flat = graph.apply(Reshape::new(&[count]), &[value])?;
    Ok(Some(graph.network(flat)?))
}
