//! From an archive to a network: a path goes in, a network of one example and its parameters come
//! out, once it is certain that examples do not interact.

mod batch;
pub(crate) mod inputs;

use std::path::Path;

use entk_models::{Model, Network, Params};

use crate::{
    archive::Archive,
    config::Import,
    error::Result,
    import::{
        batch::{ForOne, traced_for_one},
        inputs::{ProgramValues, Signature},
    },
};

/// A network of an archive.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The function of one example: inputs and outputs as those of the module, without the batch.
    pub network: Network,
    /// Its parameters, buffers and constants, under the names of the module.
    pub params: Params,
    /// What a user should know of how it was read, a sentence each.
    pub notes: Vec<String>,
    /// Names of tied parameters, each with the name that stands for both.
    pub aliases: Vec<(String, String)>,
    /// The version of torch that wrote the archive.
    pub torch_version: String,
    pub(crate) values: ProgramValues,
}

/// The network of an archive that `torch.export.save` has written.
///
/// The program is run for one example, and is refused if the outputs of two differ from those of
/// each alone. Tied parameters are one; buffers are constants; batch norms are those of evaluation.
///
/// # Errors
/// A file that is damaged or of another kind, an operation without a rule (by its name and the
/// module that calls it), a program that is no function of one input with a vector an example, or
/// examples that interact.
pub fn import(path: impl AsRef<Path>, config: &Import) -> Result<Imported> {
    imported(&Archive::open(path.as_ref())?, config)
}

/// [`import`] of an archive in memory, as one that a program carries.
///
/// # Errors
/// As [`import`].
#[cfg_attr(feature = "tracing", tracing::instrument(name = "import", skip_all))]
pub fn import_bytes(bytes: impl Into<Vec<u8>>, config: &Import) -> Result<Imported> {
    imported(&Archive::of_bytes(bytes.into())?, config)
}

fn imported(archive: &Archive, config: &Import) -> Result<Imported> {
    let signature = Signature::of(archive)?;
    let ForOne { network, params, values, note } = traced_for_one(archive, &signature, config)?;
    let (network, params) = match &config.trainable {
        None => (network, params),
        Some(trainable) => {
            let network = network.with_trainable(trainable)?;
            let tensors = params.iter().chain(params.statistics());
            let named = tensors.map(|(name, tensor)| (name, tensor.clone()));
            let params = Params::from_named(&network.specs(), named)?;
            (network, params)
        }
    };
    Ok(Imported {
        network,
        params,
        notes: note.into_iter().chain(signature.narrowed(config)).collect(),
        aliases: signature.aliases,
        values,
        torch_version: archive.program.torch_version.clone().unwrap_or_default(),
    })
}
