//! The layers: what names parameters and writes operations into a graph, one file each.

mod batch_norm;
mod conv;
mod dense;
mod embedding;
mod evaluation;
mod multi_head_attention;
mod norms;
mod residual;
mod sequential;

pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d};
pub use conv::{Conv, Conv1d, Conv2d, ConvTranspose2d};
pub use dense::Dense;
pub use embedding::Embedding;
pub use evaluation::{Dropout, StochasticDepth};
pub use multi_head_attention::MultiHeadAttention;
pub use norms::{GroupNorm, InstanceNorm, LayerNorm, RmsNorm};
pub use residual::Residual;
pub use sequential::Sequential;
