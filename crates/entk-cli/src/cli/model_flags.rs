//! Which network a program takes: `--model` and what goes with it come in, a name or the path of an
//! archive of PyTorch goes out. Flattened into the flags of all programs that name a network.

use std::{ffi::OsStr, fmt, path::PathBuf};

use clap::{
    Arg, Args, Command, ValueEnum,
    builder::{EnumValueParser, PossibleValue, TypedValueParser},
    error::ErrorKind,
};
use entk::models::Trainable;
use serde::{Serialize, Serializer};

use crate::cli::{
    names::{ModelName, PaddingName},
    numbers::parse_size,
};

/// Filters of the first stage of the paper's ResNet18, where no `--width` is given.
pub const PAPER_WIDTH: usize = 64;

/// The flags of a network, to be flattened into a program's own.
///
/// | flag | purpose |
/// |---|---|
/// | `--model` | a name, or an archive of `torch.export.save` with its parameters |
/// | `--weights` | the parameters of a network that has a name |
/// | `--classes` | its outputs |
/// | `--width` | filters of the first stage of `resnet18` |
/// | `--padding` | where convolutions of stride 2 of `resnet18` and `resnet34` pad |
/// | `--trainable`, `--frozen` | patterns of the parameters that are trained, or not |
/// | `--verify` | numbers of PyTorch to compare an archive with |
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFlags {
    /// Network: a name, or an archive that `torch.export.save` has written, with its parameters;
    /// no seed draws those
    #[arg(long, value_name = "NAME|FILE.pt2", value_parser = ModelParser,
          default_value_t = ModelChoice::BuiltIn(ModelName::Mlp))]
    pub model: ModelChoice,

    /// Weights with PyTorch's names and layouts [default: the archive's, or the paper's
    /// initialisation with --seed]
    #[arg(long, value_name = "FILE.safetensors")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,

    /// Outputs of the network, one for each class [default: as wide as the head of --weights, or
    /// as the archive's; else 1]
    #[arg(long, value_name = "C", value_parser = parse_size)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,

    /// Filters of the first stage of resnet18; 64 is the paper's
    #[arg(long, value_name = "N", value_parser = parse_size, default_value_t = PAPER_WIDTH)]
    pub width: usize,

    /// Where 3x3 convolutions of stride 2 of resnet18 and resnet34 pad, which no shape of a weight
    /// shows [default: same, noted with --weights]
    #[arg(long, value_enum, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<PaddingName>,

    /// Train the parameters whose names match, `*` for any text, and no others; may be repeated
    /// [default: all, or those of the archive that require a gradient]
    #[arg(long, value_name = "PATTERN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trainable: Vec<String>,

    /// Keep the parameters whose names match at their values: they are no part of the kernel; may
    /// be repeated
    #[arg(long, value_name = "PATTERN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,

    /// Before anything is computed, compare the archive's network with outputs and a
    /// Jacobian-vector product of PyTorch
    #[arg(long, value_name = "FILE.safetensors")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<PathBuf>,
}

impl ModelFlags {
    /// The names of these flags but `classes`, which also says what the Gram of a file holds.
    pub const OF_NETWORK: [&str; 7] =
        ["model", "weights", "width", "padding", "trainable", "frozen", "verify"];

    /// Where convolutions of stride 2 pad, if the network has some.
    pub fn stride_padding(&self) -> Option<PaddingName> {
        let own = self.model.built_in().and_then(ModelName::stride_padding)?;
        Some(self.padding.unwrap_or(own))
    }

    /// Which parameters are trained, if the flags say so.
    pub fn trained(&self) -> Option<Trainable> {
        if self.trainable.is_empty() && self.frozen.is_empty() {
            return None;
        }
        let trainable = match self.trainable.as_slice() {
            [] => Trainable::default(),
            patterns => Trainable::only(patterns),
        };
        Some(trainable.without(&self.frozen))
    }
}

/// The network of this name, with nothing else chosen.
impl From<ModelName> for ModelFlags {
    fn from(name: ModelName) -> Self {
        Self {
            model: name.into(),
            weights: None,
            classes: None,
            width: PAPER_WIDTH,
            padding: None,
            trainable: Vec::new(),
            frozen: Vec::new(),
            verify: None,
        }
    }
}

/// What `--model` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// A network of this library.
    BuiltIn(ModelName),
    /// The network of an archive of PyTorch.
    Archive(PathBuf),
}

impl ModelChoice {
    /// The name, unless it is an archive.
    pub fn built_in(&self) -> Option<ModelName> {
        match self {
            Self::BuiltIn(name) => Some(*name),
            Self::Archive(_) => None,
        }
    }

    /// The name as a figure prints it: that of the file for an archive.
    pub fn title(&self) -> String {
        match self {
            Self::BuiltIn(name) => name.title().to_owned(),
            Self::Archive(path) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }
}

impl From<ModelName> for ModelChoice {
    fn from(name: ModelName) -> Self {
        Self::BuiltIn(name)
    }
}

impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => name.fmt(f),
            Self::Archive(path) => f.pad(&path.display().to_string()),
        }
    }
}

impl Serialize for ModelChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::BuiltIn(name) => name.serialize(serializer),
            Self::Archive(path) => path.serialize(serializer),
        }
    }
}

/// Reads a name, or any path that ends in `.pt2`.
#[derive(Clone, Copy, Debug)]
struct ModelParser;

impl TypedValueParser for ModelParser {
    type Value = ModelChoice;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<ModelChoice, clap::Error> {
        let path = PathBuf::from(value);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pt2")) {
            return Ok(ModelChoice::Archive(path));
        }
        if path.extension().is_some() {
            let message = format!(
                "--model {} is neither a name nor FILE.pt2, an archive that `torch.export.save` has \
                 written; weights alone go with --weights, beside the name of their network",
                path.display()
            );
            return Err(command.clone().error(ErrorKind::ValueValidation, message));
        }
        EnumValueParser::new().parse_ref(command, arg, value).map(ModelChoice::BuiltIn)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let archive = PossibleValue::new("FILE.pt2").hide(true); // no word that shells should offer
        let names = ModelName::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        Some(Box::new(names.chain([archive])))
    }
}
