/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Rounding to fewer bits.
    Precision,
}

/// Before every file: index arithmetic, element type, and what differs between compilers.
const PRELUDE: &str = include_str!("../kernels/prelude.h");

impl Source {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Precision];

    /// The name of the file, without its ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Precision => "precision",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Precision => include_str!("../kernels/precision.cu"),
        }
    }

    /// The text that a compiler sees, for f64 or f32 entries.
    pub fn text(self, double: bool) -> String {
        format!("#define DOUBLE {}\n{PRELUDE}\n{}", u8::from(double), self.body())
    }
}
