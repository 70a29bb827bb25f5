//! numpy's `.npz` archives: a zip archive and a name come in, the place of that array goes out.
//! Every entry is a `.npy` file. Called by `arrays`.

use crate::{
    arrays::{archive::Archive, choice::choose, located::Located},
    error::{DataError, Result},
    npy::header::Header,
};

/// The array of this name; without one, the only one.
pub(super) fn locate(mut archive: Archive, wanted: Option<&str>) -> Result<Located> {
    let of_entry = |(index, name)| Some((index, str::strip_suffix(name, ".npy")?));
    let entries = archive.names().iter().map(String::as_str).enumerate().filter_map(of_entry);
    let (indices, names): (Vec<usize>, Vec<&str>) = entries.unzip();
    if names.is_empty() {
        return Err(DataError::Format {
            file: archive.file().to_owned(),
            format: ".npz archive",
            problem: "is a zip archive without an array of numpy or a tensor of PyTorch".to_owned(),
            advice: "save arrays with numpy.savez, tensors with torch.save",
        });
    }
    let chosen = choose(&names, wanted, archive.file())?;
    let (index, name) = (indices[chosen], archive.named(names[chosen]));
    let mut entry = archive.entry(index)?;
    let size = entry.size;
    let header = Header::read_whole(&mut entry, size, &name);
    let header = header.map_err(|error| entry.damaged(error))?;
    drop(entry);
    Ok(Located::in_entry(archive, index, header.length, header, name))
}
