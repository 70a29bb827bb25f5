//! Which kernel of a network with several outputs a program computes: `--outputs` and the width of
//! the network come in, the kernel with its formula goes out. Flattened into the flags of all
//! programs that name a kernel.

use std::{fmt, str::FromStr};

use anyhow::Result;
use clap::{Arg, Args};
use entk::gram::Outputs;
use serde::{Serialize, Serializer};

use crate::{
    cli::{device::by_name, refused::ensure_input},
    run::stderr::say,
};

/// The flag of the kernel, to be flattened into a program's own.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputFlags {
    /// Kernel of a network of C outputs: trace, sum (of the logits), full ((N C) x (N C), index
    /// n C + c) or class:K (one output, from 0) [default: trace]
    #[arg(long, value_name = "trace|sum|full|class:K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<OutputChoice>,
}

/// What `--outputs` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputChoice {
    /// The trace over outputs.
    Trace,
    /// The kernel of the sum of logits.
    Sum,
    /// All pairs of outputs in one matrix.
    Full,
    /// One output, from 0.
    Class(usize),
    /// All pairs of outputs, each in a matrix of its own.
    Pairs,
}

impl OutputChoice {
    /// The kernel that is assembled.
    pub fn kernel(self) -> Outputs {
        match self {
            Self::Trace => Outputs::Trace,
            Self::Sum => Outputs::SumOfLogits,
            Self::Full | Self::Pairs => Outputs::Full,
            Self::Class(class) => Outputs::One(class),
        }
    }
}

impl FromStr for OutputChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let class = text.strip_prefix("class:").map(str::parse);
        match (text, class) {
            ("trace", _) => Ok(Self::Trace),
            ("sum", _) => Ok(Self::Sum),
            ("full", _) => Ok(Self::Full),
            ("pairs", _) => Ok(Self::Pairs),
            (_, Some(Ok(class))) => Ok(Self::Class(class)),
            _ => Err("expected trace, sum, full, pairs, or class:K with K from 0".into()),
        }
    }
}

impl fmt::Display for OutputChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace => f.write_str("trace"),
            Self::Sum => f.write_str("sum"),
            Self::Full => f.write_str("full"),
            Self::Class(class) => write!(f, "class:{class}"),
            Self::Pairs => f.write_str("pairs"),
        }
    }
}

impl Serialize for OutputChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name(self, serializer)
    }
}

/// The kernel of a network, as records keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelChoice {
    /// Which kernel.
    pub outputs: OutputChoice,
    /// Outputs C of the network.
    pub classes: usize,
    /// An entry of the kernel.
    pub formula: String,
}

impl KernelChoice {
    /// Rows of the kernel that an example has.
    pub fn rows_per_example(&self) -> usize {
        self.outputs.kernel().rows_per_example(self.classes)
    }
}

impl OutputFlags {
    /// The kernel that is assembled: by default the trace.
    pub fn kernel(&self) -> Outputs {
        self.outputs.unwrap_or(OutputChoice::Trace).kernel()
    }

    /// The flag of a program that also writes the blocks of all pairs of outputs.
    pub fn with_pairs(arg: Arg) -> Arg {
        arg.value_name("trace|sum|full|class:K|pairs").help(
            "Kernel of a network of C outputs: trace, sum (of the logits), full ((N C) x (N C), \
             index n C + c), class:K (one output, from 0), or pairs (the blocks K_cc' of full, \
             c <= c', one by one) [default: trace]",
        )
    }

    /// The kernel of a network with so many outputs; says on stderr which one it is by default, if
    /// there are others.
    ///
    /// # Errors
    /// An output that the network does not have.
    pub fn of(&self, classes: usize) -> Result<KernelChoice> {
        let outputs = self.outputs.unwrap_or(OutputChoice::Trace);
        if let OutputChoice::Class(class) = outputs {
            ensure_input(class < classes, || {
                let last = classes - 1;
                format!(
                    "--outputs class:{class}: the network has outputs 0 to {last}; name one of \
                     them, or give --classes if the network is to have more"
                )
            })?;
        }
        let formula = outputs.kernel().formula();
        if self.outputs.is_none() && classes > 1 {
            say(format_args!("{classes} outputs: --outputs trace, K(x, x') = {formula}"));
        }
        Ok(KernelChoice { outputs, classes, formula })
    }

    /// The one kernel that a program works on: as [`of`](Self::of), without pairs.
    ///
    /// # Errors
    /// As [`of`](Self::of), and pairs.
    pub fn of_one(&self, classes: usize) -> Result<KernelChoice> {
        ensure_input(self.outputs != Some(OutputChoice::Pairs), || {
            "--outputs pairs: only `gram` writes the block of every pair of outputs; take trace, \
             sum, full or class:K"
                .into()
        })?;
        self.of(classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_as_they_parse() {
        for text in ["trace", "sum", "full", "pairs", "class:0", "class:12"] {
            let choice: Result<OutputChoice, String> = text.parse();
            assert_eq!(choice.map(|choice| choice.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "class:", "class:-1", "class", "Trace"] {
            assert!(text.parse::<OutputChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_output_that_is_not_there_is_refused_with_those_that_are() {
        let flags = OutputFlags { outputs: Some(OutputChoice::Class(10)) };
        assert_eq!(flags.of(11).map(|choice| choice.rows_per_example()).ok(), Some(1));
        let refused = flags.of(10).map(|_| ()).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|message| message.contains("outputs 0 to 9")));
    }
}
