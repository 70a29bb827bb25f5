//! Stand-in until the device crate is there.
use candle_core::{DType, Tensor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    F32,
    F64,
}
#[derive(Debug, Clone)]
pub struct Operand(Tensor);
type R<T> = Result<T, candle_core::Error>;
impl Operand {
    pub fn new(t: &Tensor, _: Precision) -> R<Self> {
        Ok(Self(t.contiguous()?))
    }
    pub fn t(&self) -> R<Self> {
        Ok(Self(self.0.t()?))
    }
    pub fn dims2(&self) -> R<(usize, usize)> {
        self.0.dims2()
    }
    pub fn accumulator(&self) -> DType {
        self.0.dtype()
    }
    pub fn parts(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.0, None)
    }
}
pub fn add_product(c: &Tensor, a: &Operand, b: &Operand) -> R<()> {
    c.slice_set(&(c + a.0.matmul(&b.0)?)?.contiguous()?, 0, 0)
}

impl Precision {
    pub fn operand_bytes(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
        }
    }
}
impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
