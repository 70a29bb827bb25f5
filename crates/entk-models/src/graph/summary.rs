//! A network to look at: a graph goes in, one line for each operation comes out, as data and as a
//! table. Called by networks.

use std::fmt;

use crate::{
    graph::{Graph, Source},
    params::spec::{ParamKind, ParamSpec},
};

/// One operation of a network.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NodeSummary {
    /// The operation as it prints.
    pub operation: String,
    /// Shape of one example of its result.
    pub shape: Vec<usize>,
    /// What it reads beside parameters: operations by their place in the list, counted from 1, and
    /// 0 for the network's input.
    pub reads: Vec<usize>,
    /// Names of the parameters and statistics that it reads.
    pub parameters: Vec<String>,
    /// Numbers that these hold.
    pub count: usize,
    /// Operations of its matrix products for one example, two a multiply-add.
    pub operations: f64,
}

/// A network, operation by operation, and its sizes. It prints as a table of their names; their
/// settings are in [`NodeSummary::operation`].
///
/// ```
/// # use entk_models::LeNet5Config;
/// let summary = LeNet5Config::default().network()?.summary();
/// println!("{summary}");
/// assert_eq!(summary.trainable, 136_121);
/// assert_eq!(summary.nodes[0].parameters, ["conv1.weight", "conv1.bias"]);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NetworkSummary {
    /// Shape of one input.
    pub input: Vec<usize>,
    /// The operations, each after what it reads.
    pub nodes: Vec<NodeSummary>,
    /// Scalars that are trained, P.
    pub trainable: usize,
    /// Scalars that keep their values.
    pub frozen: usize,
    /// Scalars of running statistics.
    pub statistics: usize,
    /// Operations of all matrix products for one example, two a multiply-add.
    pub operations: f64,
}

impl Graph {
    /// The graph as a list of its operations, for an input of this shape.
    pub(crate) fn summary(&self, input: &[usize]) -> NetworkSummary {
        let mut numbers = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for at in 0..self.nodes.len() {
            nodes.extend(self.node_summary(at, &numbers));
            numbers[at] = if self.read_by(at).is_empty() { 0 } else { nodes.len() };
        }
        let count = |kind| {
            let of_kind = self.specs.iter().filter(|spec| spec.kind == kind);
            of_kind.map(ParamSpec::elem_count).fold(0, usize::saturating_add)
        };
        NetworkSummary {
            input: input.to_vec(),
            nodes,
            trainable: count(ParamKind::Trainable),
            frozen: count(ParamKind::Frozen),
            statistics: count(ParamKind::Statistic),
            operations: self.operations(),
        }
    }

    fn node_summary(&self, at: usize, numbers: &[usize]) -> Option<NodeSummary> {
        let Source::Result { operation, inputs } = &self.nodes[at].source else { return None };
        let (mut reads, mut specs) = (Vec::new(), Vec::new());
        for input in inputs {
            match self.nodes[*input].source {
                Source::Parameter(spec) => specs.push(&self.specs[spec]),
                _ => reads.push(numbers[*input]),
            }
        }
        Some(NodeSummary {
            operation: format!("{operation:?}"),
            shape: self.nodes[at].shape.clone(),
            reads,
            parameters: specs.iter().map(|spec| spec.name.clone()).collect(),
            count: specs.iter().map(|s| s.elem_count()).fold(0, usize::saturating_add),
            operations: operation.operations(&self.shapes(inputs)),
        })
    }
}

/// Width of the column of operations.
const NAME: usize = 16;

/// The name of an operation, and of a closure its own, without settings, which make a line too long
/// to read.
fn short_name(operation: &str) -> &str {
    operation.split(" {").next().unwrap_or(operation)
}

/// A number, or nothing for zero.
fn unless_zero(number: f64, text: String) -> String {
    if number == 0.0 { String::new() } else { text }
}

impl NodeSummary {
    fn write(&self, number: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, operations, .. } = self;
        let (operation, shape) = (short_name(&self.operation), format!("{:?}", self.shape));
        let count = unless_zero(*count as f64, count.to_string());
        let operations = unless_zero(*operations, format!("{operations:.1e}"));
        let in_words = |read: &usize| match read {
            0 => "input".to_owned(),
            number => number.to_string(),
        };
        let reads = self.reads.iter().map(in_words).collect::<Vec<_>>().join(" ");
        let names = self.parameters.join(" ");
        let line = format!(
            "{number:>4}  {operation:<NAME$}  {reads:<9} {shape:<16} {count:>10} {operations:>10}  \
             {names}"
        );
        writeln!(f, "{}", line.trim_end())
    }
}

impl NetworkSummary {
    /// Numbers of all values of one example that follow from its input: what a sweep holds at most.
    pub fn values(&self) -> usize {
        let mut follows = vec![true];
        let mut values: usize = self.input.iter().product();
        for node in &self.nodes {
            let follow = node.reads.iter().any(|read| follows.get(*read) == Some(&true));
            follows.push(follow);
            values += if follow { node.shape.iter().product::<usize>() } else { 0 };
        }
        values
    }
}

impl fmt::Display for NetworkSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "input {:?}", self.input)?;
        let [operation, reads, shape] = ["operation", "reads", "shape"];
        let [count, operations, names] = ["numbers", "operations", "parameters"];
        writeln!(
            f,
            "   #  {operation:<NAME$}  {reads:<9} {shape:<16} {count:>10} {operations:>10}  {names}"
        )?;
        for (at, node) in self.nodes.iter().enumerate() {
            node.write(at + 1, f)?;
        }
        let Self { trainable, frozen, statistics, operations, .. } = self;
        write!(f, "{trainable} numbers are trained")?;
        for (count, what) in [(frozen, "are frozen"), (statistics, "are statistics")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, "; {operations:.1e} operations an example")
    }
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn settings_are_left_out_and_names_are_not() {
        assert_eq!(short_name("Softmax { axis: 1 }"), "Softmax");
        assert_eq!(short_name("Closure(\"softsign\")"), "Closure(\"softsign\")");
        assert_eq!(short_name("Relu"), "Relu");
    }
}
