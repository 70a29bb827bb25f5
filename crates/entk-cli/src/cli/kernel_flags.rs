//! The flags that say which kernel of which network: they come in from the command line of a
//! command that need not form the kernel, and [`StreamedKernel`](crate::StreamedKernel) makes it of
//! them. Flattened into the flags of `eigen`, `plan` and `stats`.

use clap::Args;
use serde::Serialize;

use crate::cli::{
    model_flags::ModelFlags,
    names::{ActivationName, DTypeName, LayoutName},
    output_flags::OutputFlags,
};

/// Which kernel of which network, to be flattened into a command's own flags.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFlags {
    /// Network; the input shape of a name is that of the inputs
    #[command(flatten)]
    #[serde(flatten)]
    pub network: ModelFlags,

    /// Order of the axes of --inputs [default: nchw; refused where the last axis looks like that
    /// of the channels]
    #[arg(long, value_enum, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<LayoutName>,

    /// Activation of the network
    #[arg(long, value_enum, value_name = "NAME", default_value_t = ActivationName::Relu)]
    pub activation: ActivationName,

    /// Which kernel of several outputs
    #[command(flatten)]
    #[serde(flatten)]
    pub outputs: OutputFlags,

    /// Element type of weights and gradients, and of the entries of a Gram; without one, sums are
    /// in f64
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = DTypeName::F32)]
    pub dtype: DTypeName,
}
