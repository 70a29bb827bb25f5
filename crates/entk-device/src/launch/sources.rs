//! The files of kernels and their texts, as a compiler sees them: called by the device, which
//! compiles them at first use, and by the host's compiler in tests.

/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Activations and their derivatives.
    Entrywise,
    /// Means over windows and images.
    Pool,
    /// Batch normalisation.
    Norm,
    /// Patches of convolutions.
    Conv,
    /// Parts of tiles of Grams.
    Gram,
    /// Rounding to fewer bits.
    Precision,
}

/// Text put before every file: element type, index arithmetic, and what differs between compilers.
const PRELUDE: &str = include_str!("../../kernels/prelude.h");
const ACTIVATION: &str = include_str!("../../kernels/activation.h");

impl Source {
    /// All files.
    pub const ALL: [Self; 6] =
        [Self::Entrywise, Self::Pool, Self::Norm, Self::Conv, Self::Gram, Self::Precision];

    /// The name of the file, without its ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entrywise => "entrywise",
            Self::Pool => "pool",
            Self::Norm => "norm",
            Self::Conv => "conv",
            Self::Gram => "gram",
            Self::Precision => "precision",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Entrywise => include_str!("../../kernels/entrywise.cu"),
            Self::Pool => include_str!("../../kernels/pool.cu"),
            Self::Norm => include_str!("../../kernels/norm.cu"),
            Self::Conv => include_str!("../../kernels/conv.cu"),
            Self::Gram => include_str!("../../kernels/gram.cu"),
            Self::Precision => include_str!("../../kernels/precision.cu"),
        }
    }

    /// The text that a compiler sees, for f64 or f32 entries.
    pub fn text(self, double: bool) -> String {
        let double = u8::from(double);
        format!("#define DOUBLE {double}\n{PRELUDE}\n{ACTIVATION}\n{}", self.body())
    }

    /// The names of its kernels, in order.
    pub fn kernels(self) -> Vec<&'static str> {
        let heads = self.body().split("\nKERNEL(").skip(1);
        heads.filter_map(|rest| rest.split(')').next()).collect()
    }
}
