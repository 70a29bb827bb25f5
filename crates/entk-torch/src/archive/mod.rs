//! An archive of `torch.export.save`: a path goes in, its program and its tensors come out, checked
//! against the file's own sizes. Called by the import.

pub(crate) mod argument;
mod container;
pub(crate) mod schema;
mod storages;

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
pub(crate) use storages::{Elements, StoredTensor};

use crate::{
    archive::{
        container::Container,
        schema::{Configuration, Program, TensorEntry},
    },
    error::{Result, TorchError},
};

/// The schema that is read: this major number, from this minor one.
const SCHEMA: (u64, u64) = (8, 14);

/// What an archive holds.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) program: Program,
    /// Parameters, buffers and constants by name.
    pub(crate) tensors: BTreeMap<String, StoredTensor>,
}

impl Archive {
    /// Reads a file whole. Memory is a few times the file's size.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::read(Container::open(path)?)
    }

    /// Reads an archive in memory.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::read(Container::of_bytes(bytes)?)
    }

    fn read(mut container: Container) -> Result<Self> {
        container.expect("archive_format", "pt2")?;
        container.expect("archive_version", "0")?;
        container.expect("byteorder", "little")?;
        let name = container.only_program()?;
        let text = container.read(&name)?;
        ensure_schema(&parse(&name, &text)?)?;
        let program = parse(&name, &text)?;
        drop(text);
        let mut tensors = BTreeMap::new();
        for folder in ["weights", "constants"] {
            tensors.extend(read_tensors(&mut container, folder)?);
        }
        Ok(Self { program, tensors })
    }
}

/// Refuses programs of other schemas before the rest of them is looked at.
fn ensure_schema(found: &schema::Versions) -> Result<()> {
    let (major, minor) = (found.schema_version.major, found.schema_version.minor);
    if major == SCHEMA.0 && minor >= SCHEMA.1 {
        return Ok(());
    }
    let torch = found.torch_version.clone().unwrap_or_else(|| "an unnamed version".to_owned());
    Err(TorchError::Schema { major, minor, torch })
}

fn read_tensors(container: &mut Container, folder: &str) -> Result<BTreeMap<String, StoredTensor>> {
    let name = format!("data/{folder}/model_{folder}_config.json");
    let text = container.read(&name)?;
    let entries: Configuration = parse(&name, &text)?;
    let mut storages = storages::Storages::new(container, format!("data/{folder}"));
    let read = |(name, entry): (String, TensorEntry)| {
        let tensor = storages.tensor(&name, &entry)?;
        Ok((name, tensor))
    };
    entries.config.into_iter().map(read).collect()
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| TorchError::Entry { entry: name.to_owned(), reason: error.to_string() })
}
