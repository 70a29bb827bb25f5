//! An archive of PyTorch beside numbers that PyTorch computed: their paths go in, the largest
//! error of the outputs and of one Jacobian-vector product come out. `tools/torch/census.py` runs
//! it.
//!
//! ```text
//! cargo run -p entk-torch --example compare ARCHIVE.pt2 VALUES.safetensors
//! ```

use std::{error::Error, path::Path};

use candle_core::{DType, Device, Tensor};
use entk_models::{Model, Params};
use entk_testing::relative_error;
use entk_torch::{Import, import};
use safetensors::SafeTensors;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let pairs = paths.chunks_exact(2);
    if !pairs.remainder().is_empty() || paths.is_empty() {
        return Err("usage: compare (ARCHIVE.pt2 VALUES.safetensors)..".into());
    }
    for pair in pairs {
        match compared(Path::new(&pair[0]), Path::new(&pair[1])) {
            Ok((outputs, jvp)) => println!("{} outputs {outputs:.1e} jvp {jvp:.1e}", pair[0]),
            Err(error) => println!("{} refused {error}", pair[0]),
        }
    }
    Ok(())
}

/// Largest errors of the outputs and of the product, relative to the largest entry of each.
fn compared(archive: &Path, values: &Path) -> Outcome<(f64, f64)> {
    let imported = import(archive, &Import { dtype: DType::F64, ..Import::default() })?;
    let bytes = std::fs::read(values)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let inputs = tensor(&file, "inputs")?;
    let inputs = if inputs.dtype().is_int() { inputs } else { inputs.to_dtype(DType::F64)? };
    let specs = imported.network.specs();
    let tangent = specs.iter().map(|spec| {
        let given = tensor(&file, &format!("tangent.{}", spec.name));
        let zeros = Tensor::zeros(spec.shape.as_slice(), DType::F64, &Device::Cpu);
        Ok((spec.name.clone(), given.or(zeros)?.to_dtype(DType::F64)?))
    });
    let tangent = Params::from_named(&specs, tangent.collect::<Outcome<Vec<_>>>()?)?;
    let sweep = imported.network.sweep(&imported.params, &inputs)?;
    let outputs = error(sweep.outputs(), &tensor(&file, "outputs")?)?;
    Ok((outputs, error(&sweep.jvp(&tangent)?, &tensor(&file, "jvp")?)?))
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Outcome<Tensor> {
    let view = file.tensor(name)?;
    let dtype = view.dtype().try_into()?;
    Ok(Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?)
}

fn error(found: &Tensor, expected: &Tensor) -> Outcome<f64> {
    let [found, expected] = [found, expected].map(|x| x.flatten_all()?.to_vec1::<f64>());
    Ok(relative_error(&found?, &expected?))
}
