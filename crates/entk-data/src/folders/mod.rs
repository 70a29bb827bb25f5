//! Images in folders, a subfolder for each class: a path comes in, a [`Dataset`] with the names of
//! its classes goes out. PNG and JPEG are decoded by the crates `png` and `zune-jpeg`. Programs
//! with images of their own call it.

mod config;
mod decode;

use std::path::{Path, PathBuf};

pub use config::{Alpha, Channels, FolderConfig};
use decode::Decoded;
use entk_device::{files, memory::ensure};

use crate::{
    dataset::Dataset,
    error::{DataError, Result},
    images::Images,
};

/// Endings of names that are read, in any case.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Images of folders.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    /// Images and labels, class by class, in ascending order of file names.
    pub data: Dataset,
    /// The class of each label: names of the subfolders, ascending.
    pub classes: Vec<String>,
    /// The file of each image.
    pub files: Vec<PathBuf>,
}

/// Reads `root/CLASS/FILE` with FILE ending in `.png`, `.jpg` or `.jpeg`: pixels in \[0, 1\], (N,
/// C, H, W), labels that count the names of the classes in ascending order.
///
/// What begins with a dot, other endings and folders in those of the classes are left out; an
/// orientation that a camera noted is not applied. The order is that of names, the same on every
/// machine. Memory: all images as f32, refused before it is taken.
///
/// ```
/// use entk_data::folders::{FolderConfig, read_folder};
///
/// let root = tempfile::tempdir()?;
/// for (class, gray) in [("cat", 0), ("dog", 255)] {
///     let folder = root.path().join(class);
///     std::fs::create_dir(&folder)?;
///     let mut encoder = png::Encoder::new(std::fs::File::create(folder.join("1.png"))?, 2, 1);
///     encoder.set_color(png::ColorType::Grayscale);
///     encoder.write_header()?.write_image_data(&[gray, gray])?;
/// }
/// let folder = read_folder(root.path(), &FolderConfig::default())?;
/// assert_eq!(folder.classes, ["cat", "dog"]);
/// assert_eq!(folder.data.labels(), [0, 1]);
/// assert_eq!(folder.data.images().to_vec()?, [0.0, 0.0, 1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DataError::Io`] where a folder or file cannot be read, [`DataError::Empty`] without a
/// subfolder or with one that has no image, [`DataError::Classes`] unless there are 2 to 256 of
/// them, [`DataError::Format`] with the file for one that cannot be decoded, has an alpha channel,
/// or other channels than the first, [`DataError::Shape`] for one of another size than the first,
/// and [`DataError::NoMemory`].
pub fn read_folder(root: impl AsRef<Path>, config: &FolderConfig) -> Result<ImageFolder> {
    let listing = Listing::of(root.as_ref())?;
    let Pixels { shape: [channels, height, width], values, .. } =
        listing.pixels(config, usize::MAX)?;
    let Listing { name, classes, files } = listing;
    let images = Images::from_vec(values, (files.len(), channels, height, width))?;
    let (labels, files) = files.into_iter().unzip();
    let data = Dataset::new(name, images, labels, classes.len())?;
    Ok(ImageFolder { data, classes, files })
}

/// The image in the bytes of a PNG or JPEG file, (1, C, H, W); `file` names them in errors.
///
/// # Errors
/// [`DataError::Format`] for what cannot be decoded or has an alpha channel, and
/// [`DataError::NoMemory`].
pub fn parse_image(bytes: &[u8], file: &str, config: &FolderConfig) -> Result<Images> {
    let image = converted(bytes, file, config, |_| Ok(()))?;
    let Pixels { shape: [channels, height, width], values, .. } =
        Pixels::first(&image, 1, Path::new(file), file)?;
    Images::from_vec(values, (1, channels, height, width))
}

/// What a folder holds, before a file is opened.
pub(crate) struct Listing {
    pub(crate) name: String,
    /// Names of the classes, ascending.
    pub(crate) classes: Vec<String>,
    /// Files with their labels.
    pub(crate) files: Vec<(u8, PathBuf)>,
}

impl Listing {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let name = root.display().to_string();
        let folders: Vec<PathBuf> = shown(root)?.filter(|path| path.is_dir()).collect();
        if folders.is_empty() {
            return Err(DataError::Empty { what: format!("{name} (subfolders, one a class)") });
        }
        let mut files = Vec::new();
        for (label, folder) in folders.iter().enumerate() {
            let found = || DataError::Classes { name: name.clone(), found: folders.len() };
            let (label, before) = (u8::try_from(label).map_err(|_| found())?, files.len());
            files.extend(shown(folder)?.filter(|path| is_image(path)).map(|path| (label, path)));
            if files.len() == before {
                let what = format!("{} (images, {})", folder.display(), ENDINGS.join(", "));
                return Err(DataError::Empty { what });
            }
        }
        Ok(Self { name, classes: folders.iter().map(|folder| name_of(folder)).collect(), files })
    }

    /// The first `most` images.
    pub(crate) fn pixels(&self, config: &FolderConfig, most: usize) -> Result<Pixels> {
        let count = self.files.len().min(most);
        let mut all: Option<Pixels> = None;
        for (_, path) in &self.files[..count] {
            let image = read_image(path, config, all.as_ref())?;
            match &mut all {
                Some(all) => all.push(&image),
                None => all = Some(Pixels::first(&image, count, path, &self.name)?),
            }
        }
        all.ok_or_else(|| DataError::Empty { what: format!("selection of {}", self.name) })
    }
}

/// What a folder holds, ascending by name.
fn shown(folder: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let paths = files::list(folder).map_err(DataError::io("list", folder))?;
    Ok(paths.into_iter().filter(|path| !name_of(path).starts_with('.')))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str()) && path.is_file()
}

/// The values of images, (N, C, H, W).
pub(crate) struct Pixels {
    /// Channels, rows and columns.
    pub(crate) shape: [usize; 3],
    pub(crate) values: Vec<f32>,
    /// The file of the first.
    first: PathBuf,
}

impl Pixels {
    fn first(image: &Decoded, count: usize, path: &Path, name: &str) -> Result<Self> {
        let bytes = (image.values.len() as u64 * 4).saturating_mul(count as u64);
        ensure(&format!("the images of {name}"), bytes, None, "use fewer or smaller images")?;
        let [height, width] = image.size;
        let shape = [image.channels, height, width];
        let mut pixels = Self { shape, values: Vec::new(), first: path.to_owned() };
        pixels.push(image);
        Ok(pixels)
    }

    fn push(&mut self, image: &Decoded) {
        for channel in 0..image.channels {
            self.values.extend(image.values.iter().skip(channel).step_by(image.channels));
        }
    }

    /// Refuses an image of another size.
    fn ensure_size(&self, found: [usize; 2], path: &Path) -> Result<()> {
        let [_, height, width] = self.shape;
        if found == [height, width] {
            return Ok(());
        }
        Err(DataError::Shape {
            what: path.display().to_string(),
            expected: format!(
                "[{height}, {width}] rows and columns as {}; resize one of them",
                self.first.display()
            ),
            found: found.to_vec(),
        })
    }
}

/// The image in a file, which must be like the first.
fn read_image(path: &Path, config: &FolderConfig, first: Option<&Pixels>) -> Result<Decoded> {
    let bytes = files::read(path).map_err(DataError::io("read", path))?;
    let file = path.display().to_string();
    let check = |size| first.map_or(Ok(()), |first| first.ensure_size(size, path));
    let image = converted(&bytes, &file, config, check)?;
    match first {
        Some(first) if first.shape[0] != image.channels => {
            let (expected, first) = (first.shape[0], first.first.display());
            let problem = format!("{} channels, expected {expected} as {first}", image.channels);
            Err(decode::refused(&file, problem))
        }
        _ => Ok(image),
    }
}

/// The image in the bytes of a file, if `check` takes its size, as the configuration asks.
fn converted(
    bytes: &[u8],
    file: &str,
    config: &FolderConfig,
    check: impl Fn([usize; 2]) -> Result<()>,
) -> Result<Decoded> {
    let image = decode::decode(bytes, file, check)?;
    image.converted(config).map_err(|problem| decode::refused(file, problem))
}
