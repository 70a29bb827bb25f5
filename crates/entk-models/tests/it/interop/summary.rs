//! Networks as tables.

use entk_models::{Activation, LeNet5Config, Model, Result, Trainable};
use entk_testing::networks::named;

#[test]
fn a_network_prints_as_a_short_table() -> Result<()> {
    let config = LeNet5Config { activation: Activation::Tanh, ..LeNet5Config::default() };
    let network = config.network()?.with_trainable(&Trainable::only(["fc*"]))?;
    let text = network.summary().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "input [3, 32, 32]");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let first = words(lines[2]);
    assert_eq!((first[0].as_str(), first[1].starts_with("Convolve")), ("1", true), "{text}");
    assert!(lines[2].ends_with("conv1.weight conv1.bias"), "{text}");
    assert_eq!(words(lines[3])[..3], ["2", "Tanh", "1"], "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{text}");
    let last = lines[lines.len() - 1];
    let expected = "133249 numbers are trained, 2872 are frozen; ";
    assert!(last.starts_with(expected), "{text}");
    Ok(())
}

#[test]
fn numbers_are_those_of_the_network() -> Result<()> {
    let network = named("resnet relu")?;
    let summary = network.summary();
    let specs = network.specs();
    let counted: usize = summary.nodes.iter().map(|node| node.count).sum();
    assert_eq!(counted, specs.iter().map(|spec| spec.elem_count()).sum::<usize>());
    assert_eq!(counted, summary.trainable + summary.frozen + summary.statistics);
    let operations: f64 = summary.nodes.iter().map(|node| node.operations).sum();
    assert_eq!(operations, network.operations());
    for (at, node) in summary.nodes.iter().enumerate() {
        assert!(!node.reads.is_empty() && node.reads.iter().all(|read| *read <= at), "{at}");
    }
    assert_eq!(summary.nodes.last().map(|node| node.shape.as_slice()), Some([1].as_slice()));
    Ok(())
}
