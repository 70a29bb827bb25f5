//! How images in folders are read: the settings of [`read_folder`](crate::folders::read_folder),
//! which its caller makes and its decoder follows.

/// Channels of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channels {
    /// 1 where the files are grayscale, 3 where they have colours; all must be alike.
    #[default]
    AsStored,
    /// 1; colours become their luminance, 0.2126 R + 0.7152 G + 0.0722 B.
    Gray,
    /// 3; grays are repeated.
    Rgb,
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Alpha {
    /// An image with an alpha channel is an error.
    #[default]
    Refuse,
    /// It is left out, and colours are as they are stored.
    Drop,
    /// Images are laid over this gray, from 0 to 1.
    Over(f32),
}

/// How images in folders are read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FolderConfig {
    /// Grayscale or colours.
    pub channels: Channels,
    /// What becomes of transparency.
    pub alpha: Alpha,
}
